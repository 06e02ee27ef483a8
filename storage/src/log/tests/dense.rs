//! Recent events in dense blocks: readers get what a plain scan gets, and small blocks give their memory back.

use std::sync::Arc;

use tapeline_testing::seeds;

use super::harness::with_memory;
use super::harness::*;
use crate::device::sim::Random;
use crate::format::{Sequence, SessionId};
use crate::log::{LogOptions, SessionSeek};
use crate::read::{LogReader, Step};

/// Longest filling of a payload.
const LONGEST: u64 = 3000;

/// Reads the sessions from `from` on: sequences and payloads. Without sessions it reads all.
fn read(machine: &Machine, from: u64, sessions: Option<Vec<SessionId>>) -> Vec<(u64, Vec<u8>)> {
    let mut reader = LogReader::new(Arc::clone(machine.view()), Sequence::new(from));
    let mut seek = sessions.clone().map(SessionSeek::new);
    let mut found = Vec::new();
    loop {
        if let Some(seek) = &mut seek {
            let next = seek.next(machine.view(), reader.next_sequence()).min(reader.end());
            reader.return_to(next.max(reader.next_sequence()));
        }
        let Step::Block(block) = reader.step().expect("reads") else { return found };
        for (sequence, record) in (block.first_sequence().get()..).zip(block.records()) {
            let record = record.expect("a record");
            if sessions.as_ref().is_none_or(|sessions| sessions.contains(&record.session())) {
                found.push((sequence, record.payload().to_vec()));
            }
        }
    }
}

/// The outcome of a plain scan: every event from `from` on, as it was written.
fn written(from: u64, end: u64, sessions: Option<&[SessionId]>) -> Vec<(u64, Vec<u8>)> {
    let is_wanted = |number: &u64| sessions.is_none_or(|wanted| wanted.contains(&SessionId(u128::from(number % 3))));
    (from..end).filter(is_wanted).map(|number| (number, payload(number, LONGEST))).collect()
}

#[test]
fn readers_get_what_a_scan_gets_wherever_it_lies() {
    for seed in seeds(150) {
        let mut random = Random::new(seed);
        let blocks = 4 + random.below(6) as usize;
        let index_bytes = [0, 20 << 10, 8 << 20][random.below(3) as usize];
        let options = with_memory(options(seed), |memory| (memory.blocks, memory.index_bytes) = (blocks, index_bytes));
        let mut machine = Machine::without_repacking(&whole_disk(seed), options);
        let mut next = 0;
        for _ in 0..60 {
            let count = 1 + random.below(12);
            // More time between blocks lets the shard reach more of them.
            machine.now += [0, 10_000, 10_000_000][random.below(3) as usize];
            machine.append(next..next + count, LONGEST);
            next = machine.log.next_sequence().get();
            if random.chance(7000) {
                machine.turn_until_durable();
            } else {
                machine.turn_awaited_if(random.chance(5000));
            }
            let end = machine.view().appended().get();
            let from = random.below(end.max(1));
            let sessions = random.chance(6000).then(|| vec![SessionId(u128::from(random.below(3)))]);
            let found = read(&machine, from, sessions.clone());
            assert!(found == written(from, end, sessions.as_deref()), "seed {seed}: from {from} to {end}");
        }
    }
}

#[test]
fn memory_of_small_blocks_is_given_back_as_they_are_written() {
    let disk = whole_disk(3);
    let options = LogOptions { segment_bytes: 4 << 20, ..with_memory(options(3), |memory| memory.blocks = 4) };
    let mut machine = Machine::without_repacking(&disk, options);
    // As many blocks as memory would hold a hundred times.
    for number in 0..400 {
        machine.now += 10_000_000;
        machine.write(number..number + 1, 1);
    }
    machine.turn_until_durable();
    let first = machine.view().tail().block(Sequence::new(399)).expect("in memory").first_sequence();
    assert!(machine.view().tail().block(Sequence::ZERO).is_some(), "the first event is in memory still");
    assert_eq!(first, Sequence::ZERO, "in one block");
}

#[test]
fn reader_of_one_session_is_led_past_blocks_without_it() {
    let mut machine = Machine::without_repacking(&whole_disk(4), LogOptions { segment_bytes: 4 << 20, ..options(4) });
    for number in 0..300 {
        machine.now += 10_000_000;
        machine.write(number..number + 1, 1);
    }
    machine.turn_until_durable();
    // One block in three has the session.
    let mut seek = SessionSeek::new(vec![SessionId(1)]);
    let led: Vec<u64> = (0..299).map(|from| seek.next(machine.view(), Sequence::new(from)).get()).collect();
    let exact = (0..299u64).filter(|from| led[*from as usize] == from + (4 - from % 3) % 3).count();
    assert!(exact > 280, "{exact} of 299: {led:?}");
    let segments = machine.view().segments();
    let sessions = segments[0].active_sessions(0, 10).expect("it is active").sessions;
    assert_eq!(sessions.iter().map(|session| session.events).sum::<u64>(), 300);
}
