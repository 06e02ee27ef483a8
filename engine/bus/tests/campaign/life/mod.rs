//! The life of a process that has a bus, and its end.
//!
//! Each seed is a schedule of openings that succeed and openings that fail, ingest, flushes, tickets, panics of tasks,
//! wakers, producers and of the bus's own threads, forks, other processes, clocks that jump, calls with neither
//! descriptors nor memory to spare, ends of all kinds in any order and on any thread, and kills, beside threads that
//! take the shards' cores. What must hold whatever happens: everything that was acknowledged is there after it, in
//! order; the books add up; every call ends; and once all is dropped, no thread, no descriptor, no lock and no memory
//! of the bus is left.

mod acts;
mod clocks;
mod drops;
mod happenings;
pub(crate) mod ledger;
pub(crate) mod memory;
mod neighbour;
mod one_life;
mod openings;
mod producers;
mod scarcity;
mod schedule;
pub(crate) mod surroundings;
mod victim;
mod wakers;

use std::time::Duration;

use crate::runner::{Campaign, child};

#[test]
#[ignore = "a campaign: scripts/crash life runs it"]
fn nothing_acknowledged_is_lost_and_nothing_is_left() {
    let campaign = Campaign {
        child: "life::case",
        repeat: "scripts/crash life 1",
        cases_per_process: 1,
        patience: Duration::from_secs(120),
        cases: ("TAPELINE_LIVES", 30),
    };
    campaign.run();
}

#[test]
fn case() {
    child(schedule::run);
}
