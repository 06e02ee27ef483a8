//! The resources that a log takes of its process do not grow with the number of its segments and blocks, and it takes
//! of its device no more than that gives.

use std::sync::Arc;

use super::harness::*;
use crate::device::scarcity;
use crate::device::sim::{Faults, Random};
use crate::format::Sequence;
use crate::log::{LogOptions, LogView, Segment, Surveyor};
use crate::read::{FollowedShard, GapCause, LogReader, Step, open_shard};

const LONGEST: u64 = 300;

/// Small segments, so that there are many.
fn tiny(seed: u64) -> LogOptions {
    LogOptions { segment_bytes: 4 * 4096, block_bytes: 4096, ..options(seed) }
}

/// Writes events `numbers`, each into a block of its own, and returns how many segments there are.
fn write(machine: &mut Machine, numbers: std::ops::Range<u64>) -> usize {
    numbers.for_each(|number| machine.write(number..number + 1, LONGEST));
    machine.view().segments().len()
}

#[test]
fn sealed_segment_takes_few_bytes() {
    assert!(size_of::<Segment>() <= 224, "{}", size_of::<Segment>());
}

#[test]
fn open_files_do_not_grow_with_the_log() {
    let disk = whole_disk(1);
    let mut machine = Machine::without_repacking(&disk, tiny(1));
    let segments = write(&mut machine, 0..600);
    assert!(segments > 250, "{segments} segments");
    assert_eq!(check_all(machine.view(), LONGEST), 600);
    // The active one, the spare, those of the device.
    assert!(disk.most_open_files() <= 8, "writing");
    machine.close();
    assert_eq!(disk.open_files(), 0);
    let mut machine = Machine::without_repacking(&disk, tiny(2));
    assert!(disk.most_open_files() <= 40, "opening for writing");
    assert!(disk.open_files() <= 4);
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
    assert_eq!(check_all(&view, LONGEST), 600);
    let mut follower = FollowedShard::open(directory(&disk), SHARD).expect("opens");
    assert_eq!(check_all(follower.view(), LONGEST), 600);
    assert!(disk.most_open_files() <= 40, "opening for reading");
    write(&mut machine, 600..900);
    (0..100).for_each(|_| assert!(follower.look().is_ok()));
    assert_eq!(check_all(follower.view(), LONGEST), 900);
    let mut surveyor = Surveyor::default();
    for segment in view.segments() {
        assert_eq!(surveyor.segment(&view, &segment, &mut |_| {}).expect("reads").damage, []);
    }
    assert!(disk.most_open_files() <= 16, "following, reading, verifying");
    machine.close();
    (0..100).for_each(|_| assert!(follower.look().is_ok()));
    assert!(disk.open_files() <= 2, "{} stay open", disk.open_files());
}

/// The end of a reader's first steps, each of which must be a block, or a trimmed gap.
fn read_to_end(reader: &mut LogReader) -> Vec<GapCause> {
    let mut gaps = Vec::new();
    loop {
        match reader.step().expect("no error") {
            Step::End => return gaps,
            Step::Gap(gap) => gaps.push(gap.cause),
            Step::Block(_) => {}
        }
    }
}

#[test]
fn segment_that_another_process_trimmed_is_a_gap() {
    let disk = whole_disk(2);
    let mut machine = Machine::without_repacking(&disk, tiny(1));
    write(&mut machine, 0..120);
    let views: Vec<Arc<LogView>> = vec![
        open_shard(&directory(&disk), SHARD).expect("opens").0,
        Arc::clone(FollowedShard::open(directory(&disk), SHARD).expect("opens").view()),
    ];
    let mut standing = LogReader::new(Arc::clone(&views[0]), Sequence::ZERO);
    assert!(matches!(standing.step(), Ok(Step::Block(_))));
    let cut = machine.view().segments()[20].base();
    machine.log.trim(cut);
    (0..20).for_each(|_| machine.turn_awaited());
    assert!(!disk.files(DIRECTORY).contains(&Segment::file_name(Sequence::ZERO)), "the files are gone");
    // It reads on in the segment that it stands in.
    assert!(matches!(standing.step(), Ok(Step::Block(block)) if block.first_sequence() == Sequence::new(1)));
    assert_eq!(read_to_end(&mut standing), [GapCause::Trimmed]);
    for view in views {
        let before = view.block_before(cut.plus(1)).expect("no error").expect("is there");
        assert_eq!(view.block_before(before).expect("no error"), None, "what is before it is gone");
        assert_eq!(read_to_end(&mut LogReader::new(Arc::clone(&view), Sequence::ZERO)), [GapCause::Trimmed]);
        assert_eq!(view.trimmed(), cut);
        let mut surveyor = Surveyor::default();
        let surveys = view.segments().into_iter().map(|it| surveyor.segment(&view, &it, &mut |_| {}).expect("reads"));
        assert!(surveys.into_iter().all(|survey| survey.damage.is_empty()));
    }
}

#[test]
fn segment_that_is_missing_and_was_not_trimmed_is_an_error() {
    let disk = whole_disk(3);
    let mut machine = Machine::without_repacking(&disk, tiny(1));
    write(&mut machine, 0..40);
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
    let gone = view.segments()[3].base();
    disk.remove_file(DIRECTORY, &Segment::file_name(gone));
    let mut reader = LogReader::new(view, gone);
    assert!(reader.step().is_err());
    assert_eq!(reader.pass_damage().from, gone);
    assert!(matches!(reader.step(), Ok(Step::Block(_))));
}

#[test]
fn log_that_gets_no_memory_takes_nothing_and_goes_on_when_it_does() {
    let disk = whole_disk(1);
    scarcity::begin();
    let mut machine = Machine::start(&disk, 1).expect("opens");
    for _ in 0..100 {
        assert_eq!(machine.append(0..10, LONGEST), 0);
        machine.turn_awaited();
    }
    scarcity::end();
    machine.write(0..10, LONGEST);
    let (mut random, mut next, mut lent) = (Random::new(1), 10, Vec::new());
    while next < 4_000 {
        match random.below(3) {
            0 => scarcity::end(),
            _ => scarcity::begin(),
        }
        next += machine.append(next..next + 40, LONGEST);
        machine.turn_awaited_if(random.below(2) == 0);
        // A reader keeps blocks for a while, so that the log needs others.
        let mut reader = LogReader::new(Arc::clone(machine.view()), Sequence::new(next.saturating_sub(100)));
        lent.extend((0..3).filter_map(|_| match reader.step() {
            Ok(Step::Block(block)) => Some(block),
            _ => None,
        }));
        if random.below(40) == 0 {
            lent.clear();
        }
    }
    scarcity::end();
    machine.turn_until_durable();
    assert!(machine.view().poison().is_none());
    assert_eq!(check_all(machine.view(), LONGEST), next);
    machine.close();
}

#[test]
fn log_that_gets_no_memory_for_a_header_closes_all_the_same() {
    let disk = whole_disk(1);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    assert_eq!(machine.append(0..10, LONGEST), 10);
    scarcity::begin();
    (0..100).for_each(|_| machine.turn_awaited());
    let troubles = machine.view().troubles();
    assert!(troubles.iter().any(|trouble| trouble.operation == "take memory" && trouble.is_retried), "{troubles:?}");
    let error = machine.log.close(&machine.doorbell, ticking(machine.now)).expect_err("10 events are not durable");
    scarcity::end();
    assert!(error.message.contains("take memory"), "{error}");
}

#[test]
fn a_log_keeps_to_the_depth_of_its_device_whether_it_rolls_or_not() {
    for depth in [1, 2, 3, 64] {
        let disk = whole_disk(depth as u64);
        let mut machine = Machine::with_depth(&disk, 7, depth).expect("opens");
        machine.write(0..400, 2000);
        assert!(machine.view().segments().len() > 3, "it rolled");
        assert_eq!(machine.view().durable().get(), 400);
        machine.close();
        let disk = disk.reboot(Faults::default());
        assert_eq!(check_all(open(&disk, 8).expect("opens").view(), 2000), 400, "depth {depth}");
    }
}
