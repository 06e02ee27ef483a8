//! The times at which blocks are written, and the events that they hold: every setting is seen in the blocks.

use super::harness::*;
use crate::format::Sequence;
use crate::log::{BatchOptions, BatchTarget, Grain, LogOptions};
use crate::read::open_shard;

const MS: u64 = 1_000_000;

const SLOW: BatchOptions = BatchOptions { events_min: 1_000, events_max: 10_000, delay_ns: u64::MAX, window_ns: None };

fn machine(batch: BatchOptions) -> Machine {
    Machine::without_repacking(&whole_disk(1), LogOptions { batch, ..options(1) })
}

/// Events of each block that was written, as another process finds them.
fn blocks(machine: &Machine) -> Vec<u64> {
    let (mut next, mut sizes) = (Sequence::ZERO, Vec::new());
    let (view, _) = open_shard(&machine.disk.directory(DIRECTORY), SHARD).expect("opens");
    while let Some(span) = view.span(next, machine.view().durable(), Grain::Block).expect("spans") {
        sizes.push(span.end.since(span.first));
        next = span.end;
    }
    sizes
}

/// Appends `events`, `at_a_time`, with a turn after each, a millisecond apart.
fn stream(machine: &mut Machine, events: u64, at_a_time: u64) {
    let mut next = machine.log.next_sequence().get();
    let end = next + events;
    while next < end {
        next += machine.append(next..(next + at_a_time).min(end), 1);
        machine.turn();
        machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
    }
}

#[test]
fn no_block_holds_more_than_the_most() {
    for most in [7, 50] {
        let mut machine = machine(BatchOptions { events_min: 1, events_max: most, ..SLOW });
        stream(&mut machine, 500, 120);
        machine.turn_until_durable();
        assert!(blocks(&machine).iter().all(|events| *events <= most as u64), "{:?}", blocks(&machine));
        check_all(machine.view(), 1);
    }
}

#[test]
fn without_adapting_the_most_ends_a_block() {
    let mut machine = machine(BatchOptions { events_min: 1, events_max: 20, ..SLOW });
    stream(&mut machine, 100, 5);
    machine.turn_until_durable();
    assert_eq!(blocks(&machine), [20; 5]);
}

#[test]
fn oldest_event_waits_for_the_delay_and_no_longer() {
    for delay in [5, 20] {
        let mut machine = machine(BatchOptions { delay_ns: delay * MS, ..SLOW });
        stream(&mut machine, 100, 1);
        machine.turn_until_durable();
        let sizes = blocks(&machine);
        assert!(sizes[..sizes.len() - 1].iter().all(|events| *events == delay), "{delay}: {sizes:?}");
    }
}

#[test]
fn blocks_grow_with_the_rate_between_the_least_and_the_most() {
    let adaptive = BatchOptions { events_min: 4, events_max: 40, delay_ns: 2 * MS, window_ns: Some(10 * MS) };
    let sizes_at = |rate: u64, batch: BatchOptions| {
        let mut machine = machine(batch);
        stream(&mut machine, rate * 60, rate);
        machine.turn_until_durable();
        let sizes = blocks(&machine);
        sizes[sizes.len() / 2]
    };
    let slow = BatchOptions { delay_ns: u64::MAX >> 20, ..adaptive };
    assert_eq!(sizes_at(2, BatchOptions { window_ns: Some(u64::MAX), ..slow }), 4, "the least, while nothing is known");
    assert_eq!(sizes_at(8, adaptive), 16, "what comes in the delay");
    assert_eq!(sizes_at(30, adaptive), 40, "the most");
}

#[test]
fn first_event_after_idle_is_written_at_once_for_whoever_waits() {
    let mut machine = machine(SLOW);
    // The segment is there, and the delay is far away.
    machine.write(0..1, 1);
    machine.append(1..2, 1);
    machine.turn_awaited();
    machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
    machine.turn_awaited();
    assert_eq!(blocks(&machine), [1, 1]);
}

#[test]
fn target_follows_the_rate_of_its_window() {
    let mut target = BatchTarget::new(BatchOptions::default());
    assert_eq!(target.events(), 1_000);
    // 300 events a millisecond.
    (0..=100).for_each(|ms| target.note(ms * MS, ms * 300));
    assert_eq!(target.events(), 3_000);
    target.note(10_000 * MS, 30_001);
    assert_eq!(target.events(), 1_000, "nothing came for long");
}
