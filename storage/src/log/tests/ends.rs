//! Readers get a gap for what is missing at the end of a shard, wherever no crash leaves what is found: a file that was
//! cut short, emptied or removed, a header under which its blocks were not written, a footer that says otherwise than
//! they.

use super::harness::*;
use crate::device::Access;
use crate::device::sim::{Faults, SimDisk};
use crate::format::layout::{Layout, Links};
use crate::format::{PAGE_BYTES, Sequence};
use crate::log::{OpenError, RepairAction, Segment, Surveyor, plan_shard_repair, repair_shard, survey_shard};
use crate::read::{CLOSE_LOOK, FollowedShard, GapCause, LogReader, Step, open_shard};

const LONGEST: u64 = 3000;
const EVENTS: u64 = 60;

/// The end of the process that wrote a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Closed,
    /// Killed, and the log was opened again, which sealed what it found.
    Recovered,
    Killed,
}

fn log(ending: Ending) -> SimDisk {
    let disk = whole_disk(7);
    let mut machine = Machine::without_repacking(&disk, options(7));
    (0..EVENTS).for_each(|number| machine.write(number..number + 1, LONGEST));
    match ending {
        Ending::Closed => machine.close(),
        Ending::Recovered | Ending::Killed => disk.crash(),
    }
    let disk = disk.reboot(Faults::default());
    if ending == Ending::Recovered {
        open(&disk, 8).expect("recovers");
    }
    disk
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.files(DIRECTORY).into_iter().filter(|name| Segment::base_of_name(name).is_some()).collect()
}

fn last(disk: &SimDisk) -> String {
    segments(disk).pop().expect("a segment")
}

fn cut(disk: &SimDisk, name: &str, length: usize) {
    let file = directory(disk).open(name, Access::Write).expect("opens");
    file.truncate(length as u64).expect("truncates");
}

/// The error of an opening for writing; readers, followers and repairs see damage, too.
fn refused(disk: &SimDisk, case: &str) -> OpenError {
    let files = directory(disk);
    let Err(error) = open(disk, 9) else { panic!("{case}: opens for writing") };
    assert!(open_shard(&files, SHARD).is_err(), "{case}: opens for reading");
    assert!(FollowedShard::open(files, SHARD).is_err(), "{case}: is followed");
    error
}

/// Repairs, and returns the events that are read afterwards, where lost ranges end, and the plan.
fn repaired(disk: &SimDisk, case: &str) -> (u64, u64, Vec<RepairAction>) {
    let files = directory(disk);
    let plan = plan_shard_repair(&*files, SHARD, &mut |_| {}).expect("plans");
    assert_ne!(plan, [], "{case}");
    repair_shard(&*files, SHARD, &plan, 3).unwrap_or_else(|error| panic!("{case}: {plan:?}: {error}"));
    let rest = plan_shard_repair(&*files, SHARD, &mut |_| {}).expect("plans");
    assert_eq!(rest, [], "{case}: after {plan:?}");
    let machine = Machine::start(disk, 5).unwrap_or_else(|error| panic!("{case}: after {plan:?}: {error}"));
    let mut reader = LogReader::new(machine.view().clone(), Sequence::ZERO);
    let (mut read, mut next) = (0, 0);
    loop {
        match reader.step().unwrap_or_else(|error| panic!("{case}: {error}")) {
            Step::End => break,
            Step::Gap(gap) => {
                assert_eq!((gap.from.get(), gap.cause), (next, GapCause::Lost), "{case}");
                next = gap.to.get();
            }
            Step::Block(block) => {
                let count = block.end_sequence().since(block.first_sequence());
                (read, next) = (read + count, block.end_sequence().get());
            }
        }
    }
    machine.close();
    open_shard(&directory(disk), SHARD).unwrap_or_else(|error| panic!("{case}: after {plan:?}: {error}"));
    (read, next, plan)
}

#[test]
fn last_segment_at_rest_that_is_cut_short_is_reported_and_counted() {
    for ending in [Ending::Closed, Ending::Recovered] {
        let sound = log(ending);
        let bytes = sound.read_file(DIRECTORY, &last(&sound));
        let data_end = Layout::of(&bytes).data_end();
        for length in (0..bytes.len()).step_by(PAGE_BYTES).chain([1, 5000, data_end - 1]) {
            let (disk, case) = (log(ending), format!("{ending:?}, {length} of {}", bytes.len()));
            cut(&disk, &last(&disk), length);
            if length >= data_end {
                // All events are there: the footer is written anew.
                assert_eq!(check_all(open(&disk, 9).expect("opens").view(), LONGEST), EVENTS, "{case}");
                continue;
            }
            refused(&disk, &case);
            let found = survey_shard(&*directory(&disk), SHARD, &mut |_| {}).expect("surveys");
            let seen = found.iter().any(|file| file.found.as_ref().map_or(true, |found| !found.damage.is_empty()));
            let missing = matches!(open_shard(&directory(&disk), SHARD), Err(OpenError::Corrupt { .. }));
            assert!(seen || missing, "{case}: {found:?}");
            let (read, end, plan) = repaired(&disk, &case);
            assert!(read < EVENTS && end == EVENTS, "{case}: {read} read, up to {end}, after {plan:?}");
            assert!(!plan.iter().any(|action| matches!(action, RepairAction::LoseEnd { .. })), "{case}: {plan:?}");
        }
    }
}

#[test]
fn newest_segments_that_are_removed_are_missing() {
    for ending in [Ending::Closed, Ending::Recovered] {
        for count in 1..=segments(&log(ending)).len() {
            let (disk, case) = (log(ending), format!("{ending:?}, {count} removed"));
            let gone = segments(&disk).split_off(segments(&disk).len() - count);
            gone.iter().for_each(|name| disk.remove_file(DIRECTORY, name));
            match refused(&disk, &case) {
                OpenError::Missing { from, to, .. } => {
                    assert_eq!((Segment::file_name(from), to.get()), (gone[0].clone(), EVENTS), "{case}");
                }
                other => panic!("{case}: {other}"),
            }
            let (_, end, _) = repaired(&disk, &case);
            assert_eq!(end, EVENTS, "{case}");
        }
    }
}

#[test]
fn segment_of_a_killed_process_is_reported_where_it_is_cut_short() {
    let sound = log(Ending::Killed);
    let bytes = sound.read_file(DIRECTORY, &last(&sound));
    let data_end = Layout::of(&bytes).data_end();
    assert!(bytes.len() > data_end + PAGE_BYTES, "its length is that of a file that is written");
    for length in (0..bytes.len()).step_by(PAGE_BYTES).chain([1, 5000, data_end - 1]) {
        let (disk, case) = (log(Ending::Killed), format!("{length} of {}", bytes.len()));
        let name = last(&disk);
        cut(&disk, &name, length);
        match refused(&disk, &case) {
            OpenError::CutShort { path, length: found, stated, .. } => {
                assert!(path.ends_with(&name) && found == length as u64 && stated == bytes.len() as u64, "{case}");
            }
            OpenError::Header { .. } => assert!(length < PAGE_BYTES, "{case}"),
            other => panic!("{case}: {other}"),
        }
        let (read, end, plan) = repaired(&disk, &case);
        assert!(read == end && (read == EVENTS) == (length >= data_end), "{case}: {read} read, up to {end}");
        assert!(plan.contains(&RepairAction::LoseEnd { from: Sequence::new(end) }), "{case}: {plan:?}");
    }
}

#[test]
fn header_under_which_the_blocks_were_not_written_is_reported() {
    // The epoch, and the writer run.
    for (ending, at) in [(Ending::Closed, 48), (Ending::Killed, 48), (Ending::Killed, 72)] {
        let (disk, case) = (log(ending), format!("{ending:?}, byte {at}"));
        let name = last(&disk);
        let mut bytes = disk.read_file(DIRECTORY, &name);
        let layout = Layout::of(&bytes);
        bytes[at] ^= 1;
        layout.sum(&mut bytes, Links::Kept);
        // Blocks are summed with the epoch that they state: they are as they were.
        disk.put_file(DIRECTORY, &name, &bytes);
        let error = refused(&disk, &case);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{case}: {error}");
        let (read, end, plan) = repaired(&disk, &case);
        let told = end == EVENTS || plan.contains(&RepairAction::LoseEnd { from: Sequence::new(end) });
        assert!(read == EVENTS || told, "{case}: {read} read, up to {end}, after {plan:?}");
    }
}

#[test]
fn footer_that_says_otherwise_than_its_blocks_is_damage_and_is_repaired() {
    // Blocks, bytes of records, smallest and largest timestamp, checksum of the last block's header.
    for at in [48, 56, 64, 72, 80] {
        let (disk, case) = (log(Ending::Closed), format!("byte {at}"));
        let name = segments(&disk).swap_remove(0);
        let mut bytes = disk.read_file(DIRECTORY, &name);
        let layout = Layout::of(&bytes);
        let footer = layout.footer.clone().expect("a footer").start;
        bytes[footer + at] = match at {
            56 => bytes[footer + at] + 16,
            _ => bytes[footer + at].wrapping_sub(1),
        };
        layout.sum(&mut bytes, Links::Kept);
        disk.put_file(DIRECTORY, &name, &bytes);
        let (view, _) = open_shard(&directory(&disk), SHARD).unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = Surveyor::default().segment(&view, &view.segments()[0], &mut |_| {}).expect("surveys");
        assert!(found.damage.iter().any(|place| place.reason.starts_with("footer: ")), "{case}: {:?}", found.damage);
        let (read, end, _) = repaired(&disk, &case);
        assert_eq!((read, end), (EVENTS, EVENTS), "{case}");
    }
}

#[test]
fn follower_reports_a_file_that_is_cut_short_under_it() {
    let disk = whole_disk(7);
    let mut machine = Machine::without_repacking(&disk, options(7));
    machine.write(0..1, LONGEST);
    let mut follower = FollowedShard::open(directory(&disk), SHARD).expect("opens");
    assert_eq!(follower.view().appended(), Sequence::new(1));
    cut(&disk, &last(&disk), PAGE_BYTES);
    let told = (0..4 * CLOSE_LOOK).find_map(|_| follower.look().err());
    assert!(matches!(told, Some(OpenError::CutShort { .. })), "{told:?}");
}
