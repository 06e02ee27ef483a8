//! Sealed segments: their indexes and dense copies say what their blocks said.

use std::sync::Arc;

use tapeline_testing::seeds;

use super::harness::*;
use crate::device::sim::{Failure, Faults, Random, SimDisk};
use crate::format::{Sequence, SessionId};
use crate::log::chore::ChoreKind;
use crate::log::{Durability, LogOptions, LogView, SessionSeek, Urgency};
use crate::read::{LogReader, Step, open_shard};

const LONGEST: u64 = 200;

fn reopened(disk: &SimDisk) -> Arc<LogView> {
    open_shard(&directory(disk), SHARD).expect("reads").0
}

/// A log whose events were committed one by one, and the number of them.
fn padded_log(disk: &SimDisk, events: u64) {
    let mut machine = Machine::start(disk, 7).expect("opens");
    (0..events).for_each(|number| machine.write(number..number + 1, LONGEST));
    machine.close();
}

fn blocks(view: &Arc<LogView>) -> u64 {
    view.segments().iter().filter_map(|segment| segment.footer()).map(|footer| footer.blocks).sum()
}

#[test]
fn sealed_segments_get_an_index() {
    let disk = whole_disk(1);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.write(0..500, 3000);
    machine.close();
    let view = reopened(&disk);
    assert!(view.segments().len() > 3);
    for segment in view.segments() {
        let sessions = segment.with_index(|index| index.sessions.len()).expect("reads").expect("has an index");
        assert!((1..=3).contains(&sessions));
    }
    assert_eq!(check_all(&view, 3000), 500);
}

#[test]
fn padded_segments_are_rewritten_densely_and_readers_read_on() {
    let disk = whole_disk(2);
    let mut machine = Machine::without_repacking(&disk, options(2));
    (0..60).for_each(|number| machine.write(number..number + 1, LONGEST));
    let before = reopened(&disk);
    machine.close();
    let mut standing = LogReader::new(Arc::clone(&before), Sequence::ZERO);
    assert!(matches!(standing.step(), Ok(Step::Block(_))));
    // Opened with repacking, segments that have an index are left alone, so the log is a new one.
    let disk = whole_disk(3);
    padded_log(&disk, 60);
    let view = reopened(&disk);
    assert!(blocks(&view) <= view.segments().len() as u64 * 2, "{} blocks", blocks(&view));
    assert!(!disk.files(DIRECTORY).contains(&"repack.tmp".to_owned()));
    assert_eq!((check_all(&view, LONGEST), check_all(&before, LONGEST)), (60, 60));
}

#[test]
fn reader_in_a_segment_that_is_repacked_under_it_reads_on() {
    let disk = whole_disk(4);
    let mut machine = Machine::start(&disk, 4).expect("opens");
    let mut reader = LogReader::new(Arc::clone(machine.view()), Sequence::ZERO);
    let mut seen = 0;
    for number in 0..200 {
        machine.write(number..number + 1, LONGEST);
        // Reads slower than the log grows, so that it stands in segments when they are repacked.
        if number % 3 == 0
            && let Step::Block(block) = reader.step().expect("reads")
        {
            assert_eq!(block.first_sequence(), Sequence::new(seen));
            seen = block.end_sequence().get();
        }
    }
    while let Step::Block(block) = reader.step().expect("reads") {
        assert_eq!(block.first_sequence(), Sequence::new(seen));
        seen = block.end_sequence().get();
    }
    assert_eq!(seen, 200);
    machine.close();
}

#[test]
fn copy_that_a_crash_left_is_removed() {
    let disk = whole_disk(9);
    padded_log(&disk, 20);
    disk.copy_file(DIRECTORY, "00000000000000000000.seg", "repack.tmp");
    assert_eq!(check_all(&reopened(&disk), LONGEST), 20);
    Machine::start(&disk, 10).expect("opens").close();
    assert!(!disk.files(DIRECTORY).contains(&"repack.tmp".to_owned()));
}

#[test]
fn full_disk_leaves_segments_as_they_are() {
    let disk = whole_disk(5);
    let mut machine = Machine::without_repacking(&disk, options(5));
    machine.write(0..30, LONGEST);
    let disk = machine.disk.clone();
    disk.crash();
    // Recovery seals what it finds and begins a new segment; there is no space for more than that.
    let disk = disk.reboot(Faults::default());
    let mut machine = Machine::start(&disk, 6).expect("opens");
    disk.set_capacity(0);
    for _ in 0..5 {
        machine.turn();
    }
    assert!(machine.log.poison().is_none());
    assert_eq!(check_all(machine.view(), LONGEST), 30);
    disk.set_capacity(u64::MAX);
    machine.close();
    assert_eq!(check_all(&reopened(&disk), LONGEST), 30);
}

#[test]
fn damaged_index_costs_time_and_nothing_else() {
    let disk = whole_disk(6);
    let mut machine = Machine::start(&disk, 6).expect("opens");
    machine.write(0..300, 2000);
    machine.close();
    for segment in reopened(&disk).segments() {
        let name = crate::log::Segment::file_name(segment.base());
        disk.corrupt(DIRECTORY, &name, segment.data_end() + 40, |byte| byte ^ 1);
    }
    let view = reopened(&disk);
    for segment in view.segments() {
        assert_eq!(segment.with_index(|_| ()).expect("reads"), None);
    }
    assert_eq!(check_all(&view, 2000), 300);
    assert_eq!(found_by_seeking(&view, &[SessionId(1)]), (0..300).filter(|n| n % 3 == 1).collect::<Vec<_>>());
}

/// Numbers of the events of these sessions, found by going from stretch to stretch.
fn found_by_seeking(view: &Arc<LogView>, sessions: &[SessionId]) -> Vec<u64> {
    let mut seek = SessionSeek::new(sessions.to_vec());
    let mut reader = LogReader::new(Arc::clone(view), Sequence::ZERO);
    let mut found = Vec::new();
    loop {
        let next = seek.next(view, reader.next_sequence());
        reader.return_to(next);
        match reader.step().expect("reads") {
            Step::End => return found,
            Step::Gap(gap) => panic!("{gap:?}"),
            Step::Block(block) => {
                for (number, record) in (block.first_sequence().get()..).zip(block.records()) {
                    if sessions.contains(&record.expect("record").session()) {
                        found.push(number);
                    }
                }
            }
        }
    }
}

#[test]
fn seeking_finds_what_a_scan_finds() {
    for seed in seeds(30) {
        let mut random = Random::new(seed);
        let disk = whole_disk(seed);
        let (mut number, mut streams) = (0, Vec::new());
        let mut machine = Machine::start(&disk, seed).expect("opens");
        while number < 300 {
            let end = number + 1 + random.below(40);
            let session = random.below(12) + 100 * (number / 60);
            machine.write_session(number..end, session);
            streams.extend((number..end).map(|_| session));
            number = end;
        }
        if random.chance(5000) {
            machine.close();
        }
        let view = reopened(&disk);
        for _ in 0..20 {
            let asked: Vec<_> = (0..1 + random.below(3)).map(|_| random.below(500)).collect();
            let expected: Vec<u64> =
                (0..).zip(&streams).filter(|(_, session)| asked.contains(session)).map(|(number, _)| number).collect();
            let ids: Vec<_> = asked.iter().map(|&session| SessionId(u128::from(session) + 1)).collect();
            assert_eq!(found_by_seeking(&view, &ids), expected, "seed {seed}, sessions {asked:?}");
        }
    }
}

#[test]
fn seeking_touches_the_blocks_it_has_to_alone() {
    let disk = whole_disk(8);
    let mut machine = Machine::start(&disk, 8).expect("opens");
    (0..100).for_each(|stream| machine.write_session(stream * 20..stream * 20 + 20, stream));
    machine.close();
    let view = reopened(&disk);
    let mut seek = SessionSeek::new(vec![SessionId(1 + 70)]);
    let first = seek.next(&view, Sequence::ZERO);
    assert!(first.get() <= 1400 && first.get() > 1300, "{first}");
    assert_eq!(seek.next(&view, Sequence::new(1420 + 100)), Sequence::new(2000));
}

#[test]
fn abandoned_tidying_ends_early_and_is_done_by_the_next_opening() {
    for repacks in [false, true] {
        let disk = whole_disk(11);
        let mut machine = Machine::without_repacking(&disk, options(11));
        (0..30).for_each(|number| machine.write(number..number + 1, LONGEST));
        disk.crash();
        let disk = disk.reboot(Faults::default());
        let mut machine = if repacks {
            Machine::start(&disk, 12).expect("opens")
        } else {
            Machine::without_repacking(&disk, options(12))
        };
        let chore = machine.log.next_tidying(u64::MAX).expect("a segment without an index");
        let mut looks = 0;
        let done = chore.run_while(|| {
            looks += 1;
            looks < 2
        });
        assert_eq!(looks, 2, "asked for each block, and not once more");
        machine.log.chore_done(done, machine.now);
        let waiting = machine.log.next_tidying(u64::MAX).expect("it is wanted still");
        machine.log.abandon_tidying();
        machine.log.chore_done(waiting.run(), machine.now);
        assert!(!machine.log.is_tidy(), "a chore that runs when the log ends is abandoned");
        assert!(!disk.files(DIRECTORY).contains(&"repack.tmp".to_owned()));
        machine.close();
        let view = reopened(&disk);
        assert!(view.segments().iter().all(|segment| segment.footer().is_some_and(|footer| footer.index.is_some())));
        assert_eq!(check_all(&view, LONGEST), 30);
    }
}

#[test]
fn chore_that_panics_is_answered_with_an_error() {
    let disk = whole_disk(12);
    let mut machine = Machine::without_repacking(&disk, options(11));
    machine.write(0..3, LONGEST);
    disk.crash();
    let disk = disk.reboot(Faults::default());
    let mut machine = Machine::start(&disk, 12).expect("opens");
    let chore = machine.log.next_tidying(u64::MAX).expect("a segment without an index");
    let done = chore.run_while(|| panic!("on purpose"));
    assert!(done.is_tidying());
    let error = done.result.expect_err("no outcome").to_string();
    assert_eq!((done.label.kind, &*error), (ChoreKind::Tidy, "panicked: on purpose"));
}

#[test]
fn what_the_page_cache_holds_is_synced_before_a_footer_counts_it() {
    let disk = whole_disk(31);
    let options = LogOptions { durability: Durability::PageCache, ..options(31) };
    let mut machine = Machine::without_repacking(&disk, options);
    let (mut next, mut seals) = (0, 0);
    while seals < 3 {
        next += machine.append(next..next + 4, 3000);
        machine.now += 1_000_000;
        machine.log.publish(|_| {});
        machine.log.turn(machine.now, Urgency::Awaited);
        let Some(chore) = machine.log.next_chore(machine.now) else { continue };
        if chore.label().kind == ChoreKind::Seal {
            seals += 1;
            let failing_call = Some(Failure { nth: disk.calls() + 1, errno: libc::EIO });
            disk.set_faults(Faults { failing_call, ..Faults::default() });
            let error = chore.clone().run().result.expect_err("its first call fails");
            assert!(error.to_string().starts_with("sync: "), "{error}");
            disk.set_faults(Faults::default());
        }
        machine.log.chore_done(chore.run(), machine.now);
    }
}
