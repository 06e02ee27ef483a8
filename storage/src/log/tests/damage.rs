//! Files that are damaged, missing, foreign or copied are named, never taken for the end of the log.

use super::harness::{DIRECTORY, Machine, SHARD, Stop, check_all, directory, open, options, whole_disk};
use crate::device::Access;
use crate::device::sim::{Faults, Random, SimDisk};
use crate::format::{Epoch, LogId, LogShard, PAGE_BYTES, SegmentHeader, Sequence, crc32c};
use crate::log::{OpenError, RepairAction, plan_shard_repair, recover, scan};

const FIRST: &str = "00000000000000000000.seg";

/// A log of several segments, closed, or left as a crash leaves it.
fn disk_with_log(stop: Stop) -> SimDisk {
    let disk = whole_disk(11);
    let mut machine = Machine::start(&disk, 11).expect("opens");
    for number in 0..60 {
        machine.write(number..number + 1, 3000);
    }
    machine.stop(stop)
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.files(DIRECTORY).into_iter().filter(|name| name != "spare.seg").collect()
}

#[test]
fn missing_segment_is_named_with_its_sequences() {
    for at in [0, 1, 2] {
        let disk = disk_with_log(Stop::Close);
        let names = segments(&disk);
        disk.remove_file(DIRECTORY, &names[at]);
        match open(&disk, 1).expect_err("missing") {
            OpenError::Missing { from, to, .. } => {
                assert_eq!(crate::log::Segment::file_name(from), names[at]);
                assert_eq!(crate::log::Segment::file_name(to), names[at + 1]);
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn renamed_and_copied_segments_are_named() {
    let disk = disk_with_log(Stop::Close);
    disk.copy_file(DIRECTORY, FIRST, "00000000000000009999.seg");
    assert!(
        matches!(open(&disk, 1), Err(OpenError::Renamed { base: Sequence::ZERO, path }) if path.ends_with("9999.seg"))
    );
    let disk = disk_with_log(Stop::Close);
    disk.copy_file(DIRECTORY, FIRST, "copy of segment.seg");
    assert!(matches!(open(&disk, 1), Err(OpenError::ForeignName { .. })));
    let disk = disk_with_log(Stop::Close);
    disk.copy_file(DIRECTORY, FIRST, "spare.seg");
    disk.remove_file(DIRECTORY, FIRST);
    let error = open(&disk, 1).expect_err("renamed");
    assert!(matches!(&error, OpenError::Renamed { path, .. } if path.ends_with("spare.seg")), "{error}");
    let plan = plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("planned");
    assert_eq!(plan, [RepairAction::Rename { file: "spare.seg".into(), to: FIRST.into() }]);
}

#[test]
fn overlapping_segment_is_named() {
    let disk = disk_with_log(Stop::Close);
    let header = SegmentHeader::new(SHARD, Epoch::new(1), Epoch::new(1), Sequence::new(1));
    let name = "00000000000000000001.seg";
    disk.copy_file(DIRECTORY, FIRST, name);
    disk.overwrite(DIRECTORY, name, 0, &header.encode().0);
    assert!(matches!(open(&disk, 1), Err(OpenError::Overlap { base, .. }) if base == Sequence::new(1)));
}

#[test]
fn segment_of_another_log_or_shard_is_named() {
    let disk = disk_with_log(Stop::Close);
    let other = LogId([6; 16]);
    assert!(matches!(
        scan(&directory(&disk), LogShard::new(other, 0), Access::Read),
        Err(OpenError::ForeignSegment { log_id, .. }) if log_id == SHARD.log_id
    ));
    assert!(matches!(
        scan(&directory(&disk), LogShard::new(SHARD.log_id, 1), Access::Read),
        Err(OpenError::ForeignSegment { shard_id: 0, .. })
    ));
}

#[test]
fn newer_format_is_named_and_left_alone() {
    let disk = disk_with_log(Stop::Close);
    disk.overwrite(DIRECTORY, FIRST, 12, &[9]);
    let page = disk.read_file(DIRECTORY, FIRST);
    disk.overwrite(DIRECTORY, FIRST, 8, &crc32c(&page[12..PAGE_BYTES]).to_le_bytes());
    let before = disk.read_file(DIRECTORY, FIRST);
    let error = open(&disk, 1).expect_err("newer");
    assert!(error.to_string().contains("format version is 9, this build reads 1"), "{error}");
    assert!(disk.read_file(DIRECTORY, FIRST) == before);
}

#[test]
fn flipped_bit_below_the_durable_mark_is_corruption_and_nothing_is_cut() {
    let seed = 21;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..60 {
        let disk = disk_with_log(Stop::Crash);
        // The last segment is not sealed; all of its blocks but the last are proven by later ones.
        let found = scan(&directory(&disk), SHARD, Access::Read).expect("whole");
        let last = found.segments.last().expect("a segment");
        let places = last.totals.blocks;
        assert!(places > 2);
        let proven =
            last.segment.place_of(Sequence::new(last.totals.end_sequence.get() - 2)).expect("reads").expect("a block");
        let at = PAGE_BYTES as u64 + random.below(proven.offset - PAGE_BYTES as u64);
        let byte = disk.read_file(DIRECTORY, &last.name())[at as usize];
        disk.overwrite(DIRECTORY, &last.name(), at, &[byte ^ 1 << random.below(8)]);
        let before = disk.read_file(DIRECTORY, &last.name());
        match open(&disk, 1) {
            Err(OpenError::Corrupt { offset, .. }) => assert!(offset <= at && at < offset + 8192, "round {round}"),
            other => panic!("round {round}, byte {at}: {other:?}"),
        }
        assert!(disk.read_file(DIRECTORY, &last.name()) == before, "nothing is cut");
    }
}

#[test]
fn damage_in_the_last_block_is_a_torn_tail_and_reported() {
    let disk = disk_with_log(Stop::Crash);
    let found = scan(&directory(&disk), SHARD, Access::Read).expect("whole");
    let last = found.segments.last().expect("a segment");
    disk.overwrite(DIRECTORY, &last.name(), last.totals.data_end - 4096 + 100, &[0xff; 8]);
    let recovered = open(&disk, 1).expect("recovers");
    assert_eq!(check_all(recovered.view(), 3000), 59);
    let cut = &recovered.cuts()[0];
    assert_eq!((cut.segment.as_str(), cut.sequence), (last.name().as_str(), Sequence::new(59)));
    assert!(cut.reason.contains("checksum"), "{}", cut.reason);
    assert_eq!(cut.large_events, 0);
}

#[test]
fn damaged_footer_costs_a_scan_and_no_event() {
    let disk = disk_with_log(Stop::Close);
    let length = disk.read_file(DIRECTORY, FIRST).len() as u64;
    disk.overwrite(DIRECTORY, FIRST, length - 4096 + 20, &[0xff; 4]);
    let recovered = open(&disk, 1).expect("recovers");
    assert_eq!(check_all(recovered.view(), 3000), 60);
}

#[test]
fn stale_blocks_of_a_reused_file_do_not_come_back() {
    let disk = disk_with_log(Stop::Close);
    let first = disk.read_file(DIRECTORY, FIRST);
    // The file of an old segment under a fresh header: same places, same sequences, other epoch.
    let reused = whole_disk(12);
    let mut machine = Machine::start(&reused, 12).expect("opens");
    machine.write(0..2, 100);
    let end = machine.view().segments()[0].data_end();
    reused.crash();
    let reused = reused.reboot(Faults::default());
    reused.overwrite(DIRECTORY, FIRST, end, &first[end as usize..]);
    let recovered = recover(directory(&reused), options(13)).expect("recovers");
    assert_eq!(check_all(recovered.view(), 100), 2);
}

#[test]
fn random_damage_never_panics_and_never_invents_an_event() {
    let seed = 31;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..300 {
        let disk = disk_with_log(if round % 2 == 0 { Stop::Close } else { Stop::Crash });
        for _ in 0..1 + random.below(3) {
            let names = disk.files(DIRECTORY);
            let name = &names[random.below(names.len() as u64) as usize];
            let length = disk.read_file(DIRECTORY, name).len() as u64;
            let noise = random.next_u64().to_le_bytes();
            disk.overwrite(DIRECTORY, name, random.below(length.saturating_sub(8).max(1)), &noise);
        }
        if let Ok(recovered) = open(&disk, round) {
            let mut reader = crate::read::LogReader::new(recovered.view().clone(), Sequence::ZERO);
            let mut number = 0;
            while let Ok(crate::read::Step::Block(block)) = reader.step() {
                for record in block.records() {
                    assert_eq!(
                        record.expect("record").payload(),
                        super::harness::payload(number, 3000),
                        "round {round}"
                    );
                    number += 1;
                }
            }
        }
    }
}
