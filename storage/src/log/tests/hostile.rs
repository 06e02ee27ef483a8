//! Files that say what no writer writes, with the right checksums: readers, verification and repair end, with what is
//! there or an error.

use std::sync::Arc;

use super::harness::*;
use crate::device::sim::{Faults, SimDisk};
use crate::device::{Access, SegmentFile};
use crate::format::{Footer, PAGE_BYTES, SegmentHeader, SegmentIndex, Sequence, SessionFilter, SessionId};
use crate::log::ending::{index_of, read_footer, write_ending};
use crate::log::names::REPACK_NAME;
use crate::log::scan::scan;
use crate::log::{LogView, OpenError, SegmentSurvey, SessionSeek, Surveyor, blocks, plan_shard_repair, repair_shard};
use crate::read::{LogReader, Step, open_shard};

const EVENTS: u64 = 60;
const LONGEST: u64 = 3000;

/// A log of several segments with indexes.
fn log() -> SimDisk {
    let disk = whole_disk(21);
    let mut machine = Machine::without_repacking(&disk, options(21));
    (0..EVENTS).step_by(3).for_each(|number| machine.write(number..number + 3, LONGEST));
    machine.close();
    disk.reboot(Faults::default())
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.files(DIRECTORY).into_iter().filter(|name| name.ends_with(".seg")).collect()
}

/// A sealed segment's file and its footer.
fn open(disk: &SimDisk, name: &str) -> (Arc<dyn SegmentFile>, Footer) {
    let file = directory(disk).open(name, Access::Write).expect("opens");
    let mut page = vec![0; PAGE_BYTES];
    file.read_at(&mut page, 0).expect("reads");
    let (header, _) = SegmentHeader::decode(&page).expect("header");
    let (footer, _) = read_footer(&file, &header, file.length().expect("length")).expect("reads").expect("sealed");
    (file, footer)
}

/// Changes the index of a segment, and makes its checksum right.
fn change_index(disk: &SimDisk, name: &str, change: impl Fn(&Footer, &mut SegmentIndex)) {
    let (file, footer) = open(disk, name);
    let mut index = index_of(&*file, &footer, || Ok(())).expect("an index");
    change(&footer, &mut index);
    write_ending(&*file, footer.epoch, Footer { index: None, ..footer }, Some(&index)).expect("writes");
}

/// Changes a footer, and makes its checksum right.
fn change_footer(disk: &SimDisk, name: &str, change: impl Fn(&mut Footer)) {
    let (file, mut footer) = open(disk, name);
    let offset = footer.offset();
    change(&mut footer);
    file.write_at(&footer.encode(&SessionFilter::all()), offset).expect("writes");
}

/// Reads to the end, going past damage; returns how many records there were.
fn read_all(view: &Arc<LogView>) -> u64 {
    let mut reader = LogReader::new(Arc::clone(view), Sequence::ZERO);
    let mut records = 0;
    for _ in 0..10 * EVENTS {
        match reader.step() {
            Ok(Step::End) => return records,
            Ok(Step::Gap(_)) => {}
            Ok(Step::Block(block)) => records += block.records().count() as u64,
            Err(_) => drop(reader.pass_damage()),
        }
    }
    panic!("the reader does not end");
}

fn surveys(view: &LogView) -> Vec<SegmentSurvey> {
    let mut surveyor = Surveyor::default();
    view.segments().iter().map(|segment| surveyor.segment(view, segment, &mut |_| {}).expect("reads")).collect()
}

#[test]
fn index_that_does_not_fit_the_blocks_counts_as_none() {
    let changes: [fn(&Footer, &mut SegmentIndex); 6] = [
        |footer, index| index.blocks.iter_mut().for_each(|block| block.offset = footer.data_end),
        |_, index| index.blocks.iter_mut().for_each(|block| block.offset = u64::MAX),
        |_, index| index.blocks.iter_mut().for_each(|block| block.first_sequence = u64::MAX),
        |_, index| index.blocks.reverse(),
        |_, index| index.blocks.truncate(1),
        |_, index| index.blocks.clear(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let disk = log();
        names(&disk).iter().for_each(|name| change_index(&disk, name, change));
        let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
        assert_eq!(check_all(&view, LONGEST), EVENTS, "change {at}");
        let mut seek = SessionSeek::new(vec![SessionId(1)]);
        let mut next = Sequence::ZERO;
        while next < view.appended() {
            next = seek.next(&view, next).plus(1);
        }
        assert!((1..=EVENTS).all(|end| view.block_before(Sequence::new(end)).expect("reads").is_some()));
    }
}

#[test]
fn footer_with_totals_that_cannot_be_is_none() {
    let changes: [fn(&mut Footer); 7] = [
        |footer| footer.end_sequence = footer.base_sequence,
        |footer| footer.end_sequence = Sequence::new(u64::MAX),
        |footer| footer.end_sequence = footer.base_sequence.plus(1 << 40),
        |footer| footer.blocks = 0,
        |footer| footer.blocks = u64::MAX,
        |footer| footer.records_bytes = u64::MAX,
        |footer| footer.data_end = u64::MAX - 4095,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let disk = log();
        let last = names(&disk).pop().expect("segments");
        change_footer(&disk, &last, change);
        let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
        assert_eq!(check_all(&view, LONGEST), EVENTS, "change {at}");
        assert!(Machine::start(&disk, 5).is_ok(), "change {at}: opens for writing");
    }
}

#[test]
fn footer_with_another_end_than_its_blocks_is_damage_and_is_repaired() {
    for change in [|end: u64| end + 1, |end: u64| end - 1] {
        let disk = log();
        let last = names(&disk).pop().expect("segments");
        change_footer(&disk, &last, |footer| footer.end_sequence = Sequence::new(change(footer.end_sequence.get())));
        match open_shard(&directory(&disk), SHARD) {
            Ok((view, _)) => {
                assert!(read_all(&view) >= EVENTS);
                assert!(surveys(&view).iter().any(|survey| !survey.damage.is_empty()), "verification sees it");
            }
            Err(OpenError::Missing { from, to, .. }) => assert_eq!((from.get(), to.get()), (EVENTS - 1, EVENTS)),
            Err(other) => panic!("{other}"),
        }
        let plan = plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans");
        assert!(!plan.is_empty(), "and so does repair");
        repair_shard(&*directory(&disk), SHARD, &plan, 3).expect("repairs");
        let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
        assert_eq!(read_all(&view), EVENTS);
        assert!(surveys(&view).iter().all(|survey| survey.damage.is_empty()), "nothing is left");
        assert_eq!(plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans"), []);
    }
}

#[test]
fn file_that_ends_before_its_last_block_is_an_error() {
    let disk = log();
    let (file, footer) = open(&disk, &names(&disk)[0]);
    let index = index_of(&*file, &footer, || Ok(())).expect("an index");
    file.truncate(index.blocks[1].offset).expect("truncates");
    let mut seen = 0;
    let walked = blocks::for_each(&*file, &footer, |_, _| {
        seen += 1;
        Ok(())
    });
    assert_eq!((walked.expect_err("too short").kind(), seen), (std::io::ErrorKind::UnexpectedEof, 1));
}

#[test]
fn block_that_does_not_check_in_the_mapping_is_read_from_the_device() {
    let disk = log();
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
    let name = &names(&disk)[0];
    let at = PAGE_BYTES as u64 + 100;
    let byte = disk.read_file(DIRECTORY, name)[at as usize];
    disk.overwrite(DIRECTORY, name, at, &[byte ^ 1]);
    let mut reader = LogReader::new(Arc::clone(&view), Sequence::ZERO);
    assert!(reader.step().is_err(), "it does not check there either");
    // The mapping was made of the file as it was.
    disk.overwrite(DIRECTORY, name, at, &[byte]);
    assert_eq!(check_all(&view, LONGEST), EVENTS);
}

#[test]
fn gaps_that_end_within_a_missing_segment_are_an_error() {
    let disk = log();
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("opens");
    let first = view.segments().remove(0);
    assert!(first.end_sequence() > Sequence::new(2));
    let mut gaps = crate::log::gaps::read(&*directory(&disk), SHARD).expect("reads");
    gaps.trim(Sequence::new(1));
    crate::log::gaps::write(&*directory(&disk), SHARD, &mut gaps).expect("writes");
    disk.remove_file(DIRECTORY, &names(&disk)[0]);
    let mut reader = LogReader::new(Arc::clone(&view), Sequence::ZERO);
    assert!(matches!(reader.step(), Ok(Step::Gap(gap)) if gap.to == Sequence::new(1)));
    assert!(reader.step().is_err());
    assert!(view.block_before(Sequence::new(3)).is_err());
    assert_eq!(read_all(&view), EVENTS - first.end_sequence().get());
}

#[test]
fn recovery_removes_no_file_that_took_the_name_of_its_own() {
    let disk = log();
    let segments = names(&disk);
    // The first segment was trimmed and is still there, and a copy was not finished.
    let mut gaps = crate::log::gaps::read(&*directory(&disk), SHARD).expect("reads");
    gaps.trim(open_shard(&directory(&disk), SHARD).expect("opens").0.segments()[1].base());
    crate::log::gaps::write(&*directory(&disk), SHARD, &mut gaps).expect("writes");
    disk.copy_file(DIRECTORY, &segments[2], REPACK_NAME);
    let found = scan(&directory(&disk), SHARD, Access::Write).expect("scans");
    let left: Vec<_> = found.leftovers.iter().map(|leftover| leftover.name.as_str()).collect();
    assert_eq!(left, [&segments[0], REPACK_NAME]);
    for leftover in &found.leftovers {
        disk.remove_file(DIRECTORY, &leftover.name);
        disk.copy_file(DIRECTORY, &segments[1], &leftover.name);
        let error = leftover.remove(&*directory(&disk)).expect_err("another file");
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(disk.read_file(DIRECTORY, &leftover.name), disk.read_file(DIRECTORY, &segments[1]));
    }
}
