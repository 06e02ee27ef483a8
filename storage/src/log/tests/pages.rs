//! The header and the footer page of a segment may be damaged: a repair makes them anew as the blocks prove them, and
//! believes no block that nothing proves to be of the shard.

use super::harness::*;
use super::repair::segments;
use crate::device::sim::SimDisk;
use crate::format::{Footer, LogId, LogShard, PAGE_BYTES, SegmentHeader, Sequence};
use crate::log::{LogOptions, RepairAction, plan_shard_repair, recover, repair_shard, survey_shard};
use crate::read::open_shard;

const EVENTS: u64 = 60;
const LONGEST: u64 = 3000;

/// A log of several segments that one opening wrote.
fn log(stop: Stop) -> SimDisk {
    log_of(options(11), stop)
}

fn log_of(options: LogOptions, stop: Stop) -> SimDisk {
    let disk = whole_disk(11);
    let log = recover(directory(&disk), options).expect("opens").start(Box::new(disk.device(4)));
    let doorbell = crate::device::Doorbell::new().expect("doorbell");
    let mut machine = Machine { disk: disk.clone(), log, now: 1, doorbell };
    (0..EVENTS).for_each(|number| machine.write(number..number + 1, LONGEST));
    machine.stop(stop)
}

fn plan(disk: &SimDisk) -> Vec<RepairAction> {
    plan_shard_repair(&*directory(disk), SHARD, &mut |_| ()).expect("plans")
}

/// Repairs, and checks that nothing is left to do and that every event is there.
fn repair_whole(disk: &SimDisk, case: &str) -> Vec<RepairAction> {
    let actions = plan(disk);
    repair_shard(&*directory(disk), SHARD, &actions, 99).expect("repairs");
    assert_eq!(plan(disk), [], "{case}: after {actions:?}");
    let (view, _) = open_shard(&directory(disk), SHARD).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(check_all(&view, LONGEST), EVENTS, "{case}: after {actions:?}");
    Machine::start(disk, 5).unwrap_or_else(|error| panic!("{case}: {error}")).close();
    actions
}

fn names_of(actions: &[RepairAction]) -> Vec<&'static str> {
    actions.iter().map(RepairAction::name).collect()
}

#[test]
fn every_damaged_byte_of_a_header_is_made_right_again() {
    for (stop, step) in [(Stop::Close, 2), (Stop::Crash, 13)] {
        let sound = log(stop);
        let names = segments(&sound);
        for (count, at) in (0..104).step_by(step).chain([3, 75, 500, 4095]).enumerate() {
            let (name, disk) = (&names[count % names.len()], log(stop));
            let before = disk.read_file(DIRECTORY, name)[..PAGE_BYTES].to_vec();
            disk.corrupt(DIRECTORY, name, at, |byte| byte ^ (1 << (at % 8)));
            let case = format!("{stop:?}: byte {at} of {name}");
            assert_eq!(names_of(&repair_whole(&disk, &case)), ["mend_header"], "{case}");
            if stop == Stop::Close && segments(&disk) == names {
                assert!(disk.read_file(DIRECTORY, name)[..PAGE_BYTES] == before, "{case}: as it was");
            }
            let aside = disk.read_file(DIRECTORY, &format!("{name}.aside"));
            assert!(aside.len() == PAGE_BYTES && aside != before, "{case}");
        }
    }
}

#[test]
fn a_header_that_is_gone_is_made_anew_where_a_segment_proves_the_blocks() {
    let sound = log(Stop::Close);
    let names = segments(&sound);
    let other = sound.read_file(DIRECTORY, &names[1])[..PAGE_BYTES].to_vec();
    let strange = SegmentHeader { log_id: LogId([7; 16]), ..SegmentHeader::decode(&other).expect("a header").0 };
    let pages = [vec![0; PAGE_BYTES], vec![0xa5; PAGE_BYTES], other, strange.encode().0.to_vec()];
    for stop in [Stop::Close, Stop::Crash] {
        for (page, name) in pages.iter().flat_map(|page| names.iter().map(move |name| (page, name))) {
            let disk = log(stop);
            if *name == names[1] && pages[2] == *page {
                continue;
            }
            disk.overwrite(DIRECTORY, name, 0, page);
            let case = format!("{stop:?}: {name} begins with {:?}", &page[..8]);
            assert_eq!(names_of(&repair_whole(&disk, &case))[0], "mend_header", "{case}");
        }
    }
    // The first block is damaged, too: only its events are lost.
    let disk = log_of(LogOptions { repack_saves_bytes: u64::MAX, ..options(11) }, Stop::Close);
    disk.overwrite(DIRECTORY, &names[1], 0, &[0; 2 * PAGE_BYTES]);
    let actions = plan(&disk);
    assert_eq!(names_of(&actions)[..2], ["mend_header", "rewrite"], "{actions:?}");
    let lost = actions.iter().find_map(|action| match action {
        RepairAction::Lose { from, to } => Some(to.since(*from)),
        _ => None,
    });
    assert!(lost.is_some_and(|lost| (1..10).contains(&lost)), "{actions:?}");
}

#[test]
fn a_segment_that_nothing_proves_to_be_of_the_shard_is_not_believed() {
    // Of another log, and of another shard, under the name of one of this shard that is missing.
    for shard in [LogShard::new(LogId([9; 16]), 0), LogShard::new(SHARD.log_id, 1)] {
        let other = log_of(LogOptions { shard, ..options(12) }, Stop::Close);
        for damage in [&[][..], &[3], &[70], &[3, 40, 70]] {
            let disk = log(Stop::Close);
            let (own, others) = (segments(&disk).swap_remove(1), segments(&other).swap_remove(1));
            disk.put_file(DIRECTORY, &own, &other.read_file(DIRECTORY, &others));
            damage.iter().for_each(|&at| disk.corrupt(DIRECTORY, &own, at, |byte| byte ^ 1));
            let actions = plan(&disk);
            assert!(names_of(&actions).starts_with(&["set_aside"]), "{damage:?}: {actions:?}");
        }
    }
}

#[test]
fn a_damaged_footer_is_told_and_made_anew() {
    let sound = log(Stop::Close);
    for name in segments(&sound) {
        for from_end in [1, 2000, 4096 - 100, 4096 - 20, 4096 - 3, 4096] {
            let disk = log(Stop::Close);
            let length = disk.read_file(DIRECTORY, &name).len() as u64;
            disk.corrupt(DIRECTORY, &name, length - from_end, |byte| byte ^ 0x10);
            let case = format!("{name}, {from_end} bytes from its end");
            let surveyed = survey_shard(&*directory(&disk), SHARD, &mut |_| ()).expect("surveys");
            let found = surveyed.into_iter().find(|file| file.name == name).and_then(|file| file.found.ok());
            let damage = found.expect("a segment").damage;
            assert!(matches!(&damage[..], [place] if place.reason.contains("footer")), "{case}: {damage:?}");
            assert_eq!(names_of(&repair_whole(&disk, &case)), ["reseal"], "{case}");
            let bytes = disk.read_file(DIRECTORY, &name);
            let footer = Footer::decode(&bytes[bytes.len() - PAGE_BYTES..]).expect("a footer");
            assert!(footer.index.is_some() && footer.base_sequence < Sequence::new(EVENTS), "{case}");
        }
    }
}
