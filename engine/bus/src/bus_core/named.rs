//! The consumers of a bus that have a name, by which the log keeps their cursor.

use super::assignments::Assignments;
use super::daemons::Daemons;
use super::relays::Relays;
use super::taps::Taps;

/// Those that were started, and the cursors that they publish with batches.
#[derive(Debug, Default)]
pub(super) struct NamedConsumers {
    pub(super) daemons: Daemons,
    pub(super) assignments: Assignments,
    pub(super) relays: Relays,
    pub(super) taps: Taps,
}
