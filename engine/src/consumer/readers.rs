//! What the consumers of one bus share.

use std::path::Path;

use super::named::CursorStore;
use super::sweep::Parked;
use crate::horizon::Horizon;

/// Shared by the consumers of a bus.
#[derive(Debug)]
pub(crate) struct Readers {
    /// How far reading in order of time may go.
    pub(crate) horizon: Horizon,
    /// Readers in order of time, between two pages.
    pub(crate) parked: Parked,
    /// Places with a name.
    pub(crate) cursors: CursorStore,
}

impl Readers {
    /// Those of a log at `path`, or in memory.
    pub(crate) fn new(path: Option<&Path>) -> Self {
        Self { horizon: Horizon::default(), parked: Parked::default(), cursors: CursorStore::new(path) }
    }
}
