//! A machine that is suspended, hibernated or migrated while a bus runs.

use std::time::{SystemTime, UNIX_EPOCH};

use tapeline::TimestampGenerator;
use tapeline::seam::{Machine, MachineEvent};
use tapeline_storage::device::sim::Random;

use super::surroundings::eventually;

const SECOND: u64 = 1_000_000_000;

/// Has something happen to the machine. Returns whether its clock may be ahead from then on.
pub(crate) fn happen(machine: &Machine, random: &mut Random) -> bool {
    let some_time = SECOND << random.below(22);
    let slept = some_time + random.below(some_time);
    let ticks = slept as i64;
    let event = |slept, ticks, per_mille| MachineEvent { slept, ticks, per_mille };
    let (event, may_be_ahead) = match random.below(6) {
        // The counter goes on while the machine is suspended, stands still, or begins anew.
        0 => (event(slept, 0, 1_000), false),
        1 => (event(slept, -ticks, 1_000), false),
        2 => (event(slept, -(1 << 59), 1_000), false),
        // Another machine: its counter is behind or ahead, and has another rate.
        3 => (event(random.below(SECOND), -ticks, 300 + random.below(700)), true),
        4 => (event(random.below(SECOND), ticks, 1_000 + random.below(2_000)), true),
        _ => (event(0, 0, 300 + random.below(2_700)), true),
    };
    machine.happen(event);
    may_be_ahead
}

/// Waits until events have the time of the wall again, or a later one.
pub(crate) fn keep_up(machine: &Machine) -> Result<(), String> {
    let generator = TimestampGenerator::new();
    eventually(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64 + machine.slept();
        let behind = wall.saturating_sub(generator.next());
        (behind > SECOND).then(|| format!("the clock is {behind} ns behind the wall"))
    })
}
