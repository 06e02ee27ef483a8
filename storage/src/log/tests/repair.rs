//! After a repair a log opens, everything that is intact is read, and everything else is reported as a gap.

use std::collections::BTreeSet;

use tapeline_testing::seeds;

use super::harness::*;
use crate::device::sim::{Failure, Faults, Random, SimDisk};
use crate::format::{BlockHeader, Kind, PAGE_BYTES, Record, Sequence, SessionId};
use crate::log::{LogView, OpenError, RepairAction, ShardRestore, plan_shard_repair, repair_shard};
use crate::read::{GapCause, LogReader, ReadError, Step, open_shard};

const LONGEST: u64 = 3000;
const EVENTS: u64 = 60;

/// A log of several segments: closed, or as a crash leaves it.
fn log(seed: u64, stop: Stop) -> SimDisk {
    let disk = whole_disk(seed);
    let mut machine = Machine::start(&disk, seed).expect("opens");
    (0..EVENTS).for_each(|number| machine.write(number..number + 1, LONGEST));
    machine.stop(stop)
}

pub(super) fn segments(disk: &SimDisk) -> Vec<String> {
    disk.files(DIRECTORY).into_iter().filter(|name| name.starts_with('0') && name.ends_with(".seg")).collect()
}

/// A block of the log before it was damaged.
struct Block {
    file: String,
    bytes: std::ops::Range<u64>,
    events: std::ops::Range<u64>,
}

fn blocks(disk: &SimDisk) -> Vec<Block> {
    let mut blocks = Vec::new();
    for file in segments(disk) {
        let bytes = disk.read_file(DIRECTORY, &file);
        let mut at = PAGE_BYTES;
        while let Some(Ok(header)) = bytes.get(at..).map(BlockHeader::decode) {
            let end = at + header.block_bytes as usize;
            let events = header.first_sequence.get()..header.end_sequence().get();
            blocks.push(Block { file: file.clone(), bytes: at as u64..end as u64, events });
            at = end;
        }
    }
    blocks
}

/// Errors of the environment, which say nothing about what the files hold.
const REFUSALS: [i32; 6] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EACCES, libc::ESTALE, libc::ETXTBSY];

#[test]
fn a_call_that_the_environment_refuses_is_never_taken_for_damage() {
    for stop in [Stop::Close, Stop::Crash] {
        let disk = log(4, stop);
        // Sound, and with a segment that needs a repair.
        for is_hurt in [false, true] {
            if is_hurt {
                let name = segments(&disk).swap_remove(1);
                let length = disk.read_file(DIRECTORY, &name).len() as u64;
                disk.corrupt(DIRECTORY, &name, length / 2, |byte| !byte);
            }
            let plan = || plan_shard_repair(&*directory(&disk), SHARD, &mut |_| ());
            let read = || -> Result<Vec<String>, ReadError> {
                let Ok((view, _)) = open_shard(&directory(&disk), SHARD) else { return Ok(vec!["shut".into()]) };
                let mut reader = LogReader::new(view, Sequence::ZERO);
                let mut found = Vec::new();
                loop {
                    match reader.step() {
                        Ok(Step::Block(block)) => found.push(format!("{}", block.end_sequence())),
                        Ok(Step::Gap(gap)) => found.push(format!("{gap:?}")),
                        Ok(Step::End) => return Ok(found),
                        Err(ReadError::Corrupt { offset, .. }) => {
                            found.push(format!("corrupt at {offset}"));
                            reader.pass_damage();
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            let (expected, events) = (plan().expect("a plan"), read().expect("reads"));
            assert_eq!(expected.is_empty(), !is_hurt, "{expected:?}");
            for nth in 1.. {
                let errno = REFUSALS[nth as usize % REFUSALS.len()];
                let fail = |after| {
                    let failing_call = Some(Failure { nth: after + nth, errno });
                    disk.set_faults(Faults { failing_call, ..Faults::default() });
                };
                let before = disk.calls();
                fail(before);
                match plan() {
                    Ok(found) => assert_eq!(found, expected, "call {nth}, errno {errno}"),
                    Err(error) => assert!(matches!(error, OpenError::Io { .. }), "call {nth}: {error}"),
                }
                let planned = disk.calls() - before;
                let before = disk.calls();
                fail(before);
                match read() {
                    Ok(found) => assert_eq!(found, events, "call {nth}, errno {errno}"),
                    Err(error) => assert!(matches!(error, ReadError::Io { .. }), "call {nth}: {error}"),
                }
                disk.set_faults(Faults::default());
                if nth > planned.max(disk.calls() - before) {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_removed_file_of_gaps_is_missed_also_with_the_newest_segment() {
    for (stop, with_newest) in [(Stop::Close, false), (Stop::Close, true), (Stop::Crash, false), (Stop::Crash, true)] {
        let disk = log(6, stop);
        let newest = segments(&disk).pop().expect("a segment");
        disk.remove_file(DIRECTORY, "gaps");
        if with_newest {
            disk.remove_file(DIRECTORY, &newest);
        }
        let error = open_shard(&directory(&disk), SHARD).expect_err("missed");
        assert!(matches!(&error, OpenError::NoGaps { path } if path.ends_with("gaps")), "{error}");
        let plan = || plan_shard_repair(&*directory(&disk), SHARD, &mut |_| ()).expect("a plan");
        let actions = plan();
        assert!(matches!(actions.first(), Some(RepairAction::ReplaceGaps { .. })), "{actions:?}");
        repair_shard(&*directory(&disk), SHARD, &actions, 1).expect("repairs");
        assert_eq!(plan(), []);
        let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
        assert!(view.appended().get() >= if with_newest { 1 } else { EVENTS });
        open(&disk, 7).expect("opens");
    }
    // A shard without segments needs none.
    let (view, _) = open_shard(&directory(&whole_disk(1)), SHARD).expect("opens");
    assert_eq!(view.appended(), Sequence::ZERO);
}

/// Gives two files each other's names.
fn swap(disk: &SimDisk, one: &str, other: &str) {
    if one != other {
        disk.copy_file(DIRECTORY, one, "between");
        disk.remove_file(DIRECTORY, one);
        disk.copy_file(DIRECTORY, other, one);
        disk.remove_file(DIRECTORY, other);
        disk.copy_file(DIRECTORY, "between", other);
        disk.remove_file(DIRECTORY, "between");
    }
}

/// Does harm, and returns the events that were in what was harmed, and whether there are copies, which may hold them.
fn harm(disk: &SimDisk, random: &mut Random) -> (BTreeSet<u64>, bool) {
    if random.chance(3000) {
        let names = segments(disk);
        let mut any = || names[random.below(names.len() as u64) as usize].clone();
        swap(disk, &any(), &any());
    }
    let blocks = blocks(disk);
    let (mut lost, mut has_copies) = (BTreeSet::new(), false);
    for _ in 0..1 + random.below(4) {
        let names = segments(disk);
        let Some(name) = names.get(random.below(names.len().max(1) as u64) as usize) else { break };
        let in_file = |lost: &mut BTreeSet<u64>, harmed: &dyn Fn(&Block) -> bool| {
            blocks
                .iter()
                .filter(|block| block.file == *name && harmed(block))
                .for_each(|block| lost.extend(block.events.clone()));
        };
        let harm = random.below(6);
        has_copies |= [2, 3].contains(&harm);
        match harm {
            0 => {
                disk.remove_file(DIRECTORY, name);
                in_file(&mut lost, &|_| true);
            }
            // The first block proves what the byte was.
            1 => disk.corrupt(DIRECTORY, name, random.below(PAGE_BYTES as u64), |byte| byte ^ 1),
            2 => disk.copy_file(DIRECTORY, name, &format!("{:020}.seg", 900_000 + random.below(1000))),
            3 => disk.copy_file(DIRECTORY, name, &format!("copy {}.seg", random.below(1000))),
            _ => {
                let length = disk.read_file(DIRECTORY, name).len() as u64;
                let at = PAGE_BYTES as u64 + random.below(length - PAGE_BYTES as u64);
                disk.corrupt(DIRECTORY, name, at, |byte| byte ^ 0x10);
                in_file(&mut lost, &|block| block.bytes.contains(&at));
            }
        }
    }
    (lost, has_copies)
}

/// Plans and repairs until there is nothing to do; that takes one time.
fn repair(disk: &SimDisk, seed: u64) -> Vec<RepairAction> {
    let directory = directory(disk);
    let actions = plan_shard_repair(&*directory, SHARD, &mut |_| {}).expect("plans");
    repair_shard(&*directory, SHARD, &actions, seed).expect("repairs");
    let rest = plan_shard_repair(&*directory, SHARD, &mut |_| {}).expect("plans");
    assert!(rest.is_empty(), "seed {seed}: after {actions:?}\nthere is still {rest:?}");
    actions
}

/// Every event that is read is its own; returns those that are reported missing.
fn read(view: &std::sync::Arc<LogView>, seed: u64) -> BTreeSet<u64> {
    read_from(view, 0, seed)
}

fn read_from(view: &std::sync::Arc<LogView>, first: u64, seed: u64) -> BTreeSet<u64> {
    let mut reader = LogReader::new(view.clone(), Sequence::new(first));
    let (mut next, mut missing) = (first, BTreeSet::new());
    loop {
        match reader.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
            Step::End => return missing,
            Step::Gap(gap) => {
                assert_eq!((gap.from.get(), gap.cause), (next, GapCause::Lost), "seed {seed}");
                missing.extend(gap.from.get()..gap.to.get());
                next = gap.to.get();
            }
            Step::Block(block) => {
                assert_eq!(block.first_sequence().get(), next, "seed {seed}");
                for record in block.records() {
                    assert_eq!(record.expect("record").payload(), payload(next, LONGEST), "seed {seed}: event {next}");
                    next += 1;
                }
            }
        }
    }
}

#[test]
fn what_is_intact_is_read_after_a_repair_and_the_rest_is_reported() {
    let mut repaired = 0;
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let disk = log(seed, Stop::Close);
        let (lost, has_copies) = harm(&disk, &mut random);
        repaired += repair(&disk, seed).len();
        let (view, _) = open_shard(&directory(&disk), SHARD).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let missing = read(&view, seed);
        let trailing: BTreeSet<_> = (view.appended().get()..EVENTS).collect();
        let gone: BTreeSet<_> = missing.union(&trailing).copied().collect();
        assert!(gone == lost || (has_copies && gone.is_subset(&lost)), "seed {seed}: {gone:?}, harmed: {lost:?}");
        // A log that is repaired goes on, and nothing of it is lost by that.
        let mut machine = Machine::start(&disk, seed + 1).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let end = machine.log.next_sequence().get();
        assert!(end >= view.appended().get(), "seed {seed}");
        machine.write(end..end + 5, LONGEST);
        machine.close();
        let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
        assert_eq!(read(&view, seed), missing, "seed {seed}");
    }
    assert!(repaired > 300, "there is something to repair: {repaired}");
}

#[test]
fn log_that_a_crash_left_opens_after_a_repair() {
    for seed in seeds(200) {
        let mut random = Random::new(seed);
        let disk = log(seed, Stop::Crash);
        let harmless = plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans");
        assert_eq!(harmless, [], "seed {seed}: what a crash leaves needs no repair");
        let (lost, _) = harm(&disk, &mut random);
        repair(&disk, seed);
        let machine = Machine::start(&disk, seed + 1).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let missing = read(machine.view(), seed);
        assert!(missing.is_subset(&lost), "seed {seed}: {missing:?} were missing, {lost:?} were harmed");
    }
}

#[test]
fn repair_that_is_interrupted_is_begun_again_and_loses_nothing() {
    for seed in seeds(12) {
        let damaged = |faults| {
            let disk = log(seed, Stop::Close);
            let (lost, _) = harm(&disk, &mut Random::new(seed));
            (disk.reboot(faults), lost)
        };
        let (disk, _) = damaged(Faults::default());
        let before = disk.steps();
        repair(&disk, seed);
        for step in before + 1..=disk.steps() {
            let (disk, lost) = damaged(Faults { crash_at: Some(step), ..Faults::default() });
            let directory_now = directory(&disk);
            if let Ok(actions) = plan_shard_repair(&*directory_now, SHARD, &mut |_| {}) {
                let _ = repair_shard(&*directory_now, SHARD, &actions, seed);
            }
            let disk = disk.reboot(Faults::default());
            repair(&disk, seed + 1);
            let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
            let trailing: BTreeSet<_> = (view.appended().get()..EVENTS).collect();
            let gone: BTreeSet<_> = read(&view, seed).union(&trailing).copied().collect();
            assert!(gone.is_subset(&lost), "seed {seed} step {step}: {gone:?}, harmed: {lost:?}");
        }
    }
}

#[test]
fn copy_of_what_was_trimmed_is_set_aside() {
    let disk = log(3, Stop::Close);
    let names = segments(&disk);
    disk.copy_file(DIRECTORY, &names[0], "kept");
    let mut machine = Machine::start(&disk, 4).expect("opens");
    let cut = machine.view().segments()[1].base();
    machine.log.trim(cut);
    machine.turn_until_durable();
    machine.close();
    // An operator puts back a copy of what was trimmed.
    disk.rename_file(DIRECTORY, "kept", "backup.seg");
    let actions = repair(&disk, 5);
    assert!(matches!(&actions[..], [RepairAction::SetAside { file, .. }] if file == "backup.seg"), "{actions:?}");
    Machine::start(&disk, 6).expect("opens").close();
}

/// A log whose blocks do not say what was acknowledged: the footers alone do. What comes before `first` counts as
/// trimmed.
fn restored(first: u64) -> SimDisk {
    let disk = whole_disk(first);
    let mut restore = ShardRestore::new(directory(&disk), options(first), 1);
    for number in first..EVENTS {
        let payload = payload(number, LONGEST);
        let record = Record { session: SessionId(1), timestamp: 1000 + number, kind: Kind(1), payload: &payload };
        restore.append(Sequence::new(number), &record).expect("appended");
    }
    restore.finish().expect("sealed");
    disk
}

#[test]
fn segment_after_missing_ones_is_kept_without_its_footer() {
    for first in [0, 10] {
        let count = segments(&restored(first)).len();
        for missing_from in 0..count - 1 {
            let disk = restored(first);
            let names = segments(&disk);
            let (last, others) = names.split_last().expect("segments");
            let base_of = |name: &str| name.trim_end_matches(".seg").parse::<u64>().expect("a base");
            others[missing_from..].iter().for_each(|name| disk.remove_file(DIRECTORY, name));
            let footer = disk.read_file(DIRECTORY, last).len() - PAGE_BYTES;
            disk.corrupt(DIRECTORY, last, footer as u64 + 20, |byte| byte ^ 1);
            repair(&disk, first);
            let machine = Machine::start(&disk, 1).unwrap_or_else(|error| panic!("from {missing_from}: {error}"));
            let missing = (base_of(&names[missing_from])..base_of(last)).collect();
            assert_eq!(read_from(machine.view(), first, first), missing, "from {missing_from}");
            assert_eq!(machine.view().appended().get(), EVENTS, "from {missing_from}");
            machine.close();
        }
    }
}

#[test]
fn header_of_a_damaged_block_states_what_was_acknowledged() {
    let mut repaired = 0;
    for (seed, from) in (0..20).flat_map(|seed| (0..4).map(move |from| (seed, from))) {
        let disk = log(seed, Stop::Crash);
        let last = segments(&disk).pop().expect("a segment");
        // All bodies from one block on: only the headers are evidence.
        for block in blocks(&disk).iter().filter(|block| block.file == last).skip(from) {
            disk.corrupt(DIRECTORY, &last, block.bytes.start + 200, |byte| byte ^ 1);
        }
        repaired += repair(&disk, seed).len();
        Machine::start(&disk, 1).unwrap_or_else(|error| panic!("seed {seed} from {from}: {error}"));
    }
    assert!(repaired > 0, "some of it was acknowledged");
}

#[test]
fn damaged_gaps_and_indexes_are_made_anew() {
    let disk = log(5, Stop::Close);
    let mut machine = Machine::start(&disk, 6).expect("opens");
    let cut = machine.view().segments()[1].base();
    machine.log.trim(cut);
    machine.turn_until_durable();
    machine.close();
    for at in [20, 4096 + 20] {
        disk.corrupt(DIRECTORY, "gaps", at, |byte| byte ^ 1);
    }
    let (name, data_end) = {
        let name = segments(&disk).pop().expect("a segment");
        let bytes = disk.read_file(DIRECTORY, &name);
        (name, crate::format::Footer::decode(&bytes[bytes.len() - PAGE_BYTES..]).expect("footer").data_end)
    };
    disk.corrupt(DIRECTORY, &name, data_end + 100, |byte| byte ^ 1);
    let actions = repair(&disk, 5);
    assert!(actions.iter().any(|action| matches!(action, RepairAction::ReplaceGaps { .. })), "{actions:?}");
    assert!(actions.contains(&RepairAction::Reindex { file: name }), "{actions:?}");
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
    // Nothing says any more that it was trimmed.
    assert_eq!(read(&view, 5), (0..cut.get()).collect());
    assert!(disk.files(DIRECTORY).iter().any(|name| name == "gaps.aside"));
}
