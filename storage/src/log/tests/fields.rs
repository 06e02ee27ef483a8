//! One field of a log says something else, and its checksum is right: after a repair the log opens, goes on, and has
//! lost no more than the structure that the field belongs to.

use std::collections::BTreeSet;
use std::ops::Range;

use super::harness::*;
use crate::device::sim::SimDisk;
use crate::format::layout::{Layout, Links, sum_small};
use crate::format::{BLOCK_HEADER_BYTES, BlockHeader, PAGE_BYTES, RECORD_ROOT_BYTES};
use crate::log::{LogView, Surveyor, plan_shard_repair, repair_shard};
use crate::read::{LogReader, Step, open_shard};

const LONGEST: u64 = 3000;
const EVENTS: u64 = 30;

/// Offset in the structure, and width in bytes (docs/FORMAT.md).
type Field = (usize, usize);

const HEADER: &[Field] = &[
    (12, 4),
    (16, 8),
    (32, 4),
    (36, 4),
    (40, 8),
    (48, 8),
    (56, 8),
    (64, 8),
    (72, 8),
    (80, 4),
    (84, 4),
    (88, 8),
    (96, 8),
];
const BLOCK: &[Field] = &[(16, 8), (24, 8), (32, 4), (36, 4), (40, 4), (44, 4), (48, 8), (56, 8), (64, 8), (72, 8)];
const FOOTER: &[Field] = &[
    (12, 4),
    (16, 8),
    (24, 8),
    (32, 8),
    (40, 8),
    (48, 8),
    (56, 8),
    (64, 8),
    (72, 8),
    (80, 4),
    (84, 4),
    (88, 8),
    (96, 4),
    (100, 8),
];
const GAPS: &[Field] = &[(12, 4), (16, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 8)];
/// Session, timestamp, length of the payload, kind, zero.
const RECORD: &[Field] = &[(0, 8), (16, 8), (24, 4), (28, 2), (30, 2)];

/// The files of a shard's directory.
type Files = Vec<(String, Vec<u8>)>;

fn files_of(disk: &SimDisk) -> Files {
    disk.files(DIRECTORY).into_iter().map(|name| (name.clone(), disk.read_file(DIRECTORY, &name))).collect()
}

fn disk_of(files: &Files) -> SimDisk {
    let disk = whole_disk(1);
    files.iter().for_each(|(name, bytes)| disk.put_file(DIRECTORY, name, bytes));
    disk
}

/// A log that was closed, or one whose process died; in either the first segment was trimmed.
fn log(stop: Stop) -> Files {
    let disk = whole_disk(7);
    let mut machine = Machine::start(&disk, 7).expect("opens");
    (0..EVENTS).for_each(|number| machine.write(number..number + 1, LONGEST));
    let cut = machine.view().segments()[1].base();
    machine.log.trim(cut);
    machine.turn_until_durable();
    (0..20).for_each(|_| machine.turn_awaited());
    files_of(&machine.stop(stop))
}

/// Values that a field may get.
fn values(before: u64, width: usize) -> BTreeSet<u64> {
    let most = u64::MAX >> (64 - 8 * width);
    let page = PAGE_BYTES as u64;
    let values = [
        0,
        1,
        most,
        most / 2,
        before.wrapping_add(1),
        before.wrapping_sub(1),
        before.wrapping_add(page),
        before.wrapping_add(16),
        1 << 61,
        1 << 62,
    ];
    let values = values.into_iter().filter(|value| *value <= most && *value != before);
    values.collect()
}

/// The structure that a change belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harmed {
    Header,
    Block,
    Record,
    Footer,
    Index,
    Gaps,
}

/// The structures of a file, each with its fields.
fn structures(name: &str, bytes: &[u8]) -> Vec<(Harmed, usize, &'static [Field])> {
    if name == "gaps" {
        return vec![(Harmed::Gaps, 0, GAPS), (Harmed::Gaps, PAGE_BYTES, GAPS)];
    }
    let layout = Layout::of(bytes);
    let mut all = vec![(Harmed::Header, 0, HEADER)];
    let count = layout.blocks.len();
    for (_, block) in layout.blocks.iter().enumerate().filter(|(at, _)| *at == 0 || at + 1 == count) {
        all.push((Harmed::Block, block.start, BLOCK));
        let header = BlockHeader::decode(&bytes[block.start..]).expect("a block");
        let column = block.start + BLOCK_HEADER_BYTES + header.records_bytes as usize;
        let first = usize::from(u16::from_le_bytes([bytes[column], bytes[column + 1]])) * 16;
        all.push((Harmed::Record, block.start + BLOCK_HEADER_BYTES + first - RECORD_ROOT_BYTES, RECORD));
    }
    all.extend(layout.footer.map(|footer| (Harmed::Footer, footer.start, FOOTER)));
    // The root of an index: where its lists lie, and how long they are.
    const ROOT: &[Field] = &[(0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4), (28, 4), (48, 1)];
    all.extend(layout.index.map(|index| (Harmed::Index, index.end - 52, ROOT)));
    all
}

/// Events that can be read, by their numbers; where each stands, and is what it was.
fn read(view: &std::sync::Arc<LogView>, case: &str) -> BTreeSet<u64> {
    let mut reader = LogReader::new(view.clone(), view.trimmed());
    let mut found = BTreeSet::new();
    loop {
        match reader.step().unwrap_or_else(|error| panic!("{case}: {error}")) {
            Step::End => return found,
            Step::Gap(_) => {}
            Step::Block(block) => {
                for (number, record) in (block.first_sequence().get()..).zip(block.records()) {
                    let record = record.unwrap_or_else(|error| panic!("{case}: {error}"));
                    found.extend((record.payload() == payload(number, LONGEST)).then_some(number));
                }
            }
        }
    }
}

/// Events of a file, or of its block around an offset.
fn events_of(bytes: &[u8], at: Option<usize>) -> BTreeSet<u64> {
    let blocks = Layout::of(bytes).blocks.into_iter().filter(|block| at.is_none_or(|at| block.contains(&at)));
    let range = |block: Range<usize>| {
        let header = BlockHeader::decode(&bytes[block.start..]).expect("a block");
        header.first_sequence.get()..header.end_sequence().get()
    };
    blocks.flat_map(range).collect()
}

/// Repairs what there is, writes on, and returns the events that are left.
fn repaired(disk: &SimDisk, case: &str) -> BTreeSet<u64> {
    let files = directory(disk);
    let plan = plan_shard_repair(&*files, SHARD, &mut |_| {}).unwrap_or_else(|error| panic!("{case}: {error}"));
    repair_shard(&*files, SHARD, &plan, 3).unwrap_or_else(|error| panic!("{case}: {plan:?}: {error}"));
    let rest = plan_shard_repair(&*files, SHARD, &mut |_| {}).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(rest, [], "{case}: after {plan:?}");
    let mut machine = Machine::start(disk, 5).unwrap_or_else(|error| panic!("{case}: after {plan:?}: {error}"));
    let next = machine.log.next_sequence().get();
    machine.write(next..next + 5, LONGEST);
    machine.close();
    let (view, _) = open_shard(&files, SHARD).unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut surveyor = Surveyor::default();
    for segment in view.segments() {
        let found = surveyor.segment(&view, &segment, &mut |_| {}).expect("surveys");
        assert_eq!(found.damage, [], "{case}: after {plan:?}, segment {}", segment.base());
    }
    let left = read(&view, case);
    let written = (next..next + 5).collect();
    assert!(left.is_superset(&written), "{case}: after {plan:?} {left:?}");
    left.difference(&written).copied().collect()
}

/// One change of a file.
struct Change {
    file: usize,
    harmed: Harmed,
    /// Offset of the structure's start.
    start: usize,
    field: Field,
    value: u64,
    links: Links,
}

impl Change {
    /// The file afterwards; `None` if it is as it was.
    fn of(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (at, width) = (self.start + self.field.0, self.field.1);
        let mut changed = bytes.to_vec();
        changed[at..at + width].copy_from_slice(&self.value.to_le_bytes()[..width]);
        match self.harmed {
            Harmed::Gaps => sum_small(&mut changed),
            _ => Layout::of(bytes).sum(&mut changed, self.links),
        }
        (changed != bytes).then_some(changed)
    }

    /// Events that may be lost by it.
    fn reach(&self, bytes: &[u8], stop: Stop, all: &BTreeSet<u64>) -> BTreeSet<u64> {
        match self.harmed {
            Harmed::Gaps => all.clone(),
            Harmed::Footer | Harmed::Index => BTreeSet::new(),
            Harmed::Block | Harmed::Record if stop == Stop::Close => events_of(bytes, Some(self.start)),
            // What is not known to have been acknowledged is cut.
            Harmed::Block | Harmed::Record | Harmed::Header => events_of(bytes, None),
        }
    }
}

/// All changes of a field to other values; of one of them also with the link to the structure broken.
fn changes(sound: &Files) -> Vec<Change> {
    let mut changes = Vec::new();
    for (file, (name, bytes)) in sound.iter().enumerate() {
        for (harmed, start, fields) in structures(name, bytes) {
            for &field in fields {
                let mut word = [0; 8];
                word[..field.1].copy_from_slice(&bytes[start + field.0..][..field.1]);
                let before = u64::from_le_bytes(word);
                for value in values(before, field.1) {
                    changes.push(Change { file, harmed, start, field, value, links: Links::Mended });
                    if value == before.wrapping_add(1) {
                        changes.push(Change { file, harmed, start, field, value, links: Links::Kept });
                    }
                }
            }
        }
    }
    changes
}

/// Makes each change, repairs, and looks at what is left; returns how many changes there were.
fn change_all(stop: Stop) -> usize {
    let sound = log(stop);
    let all = repaired(&disk_of(&sound), "sound");
    let mut cases = 0;
    for change in changes(&sound) {
        let (name, bytes) = &sound[change.file];
        let Some(changed) = change.of(bytes) else { continue };
        let Change { harmed, start, field, value, links, .. } = change;
        let case = format!("{name} {harmed:?} at {start} + {} is {value:#x}, links {links:?}", field.0);
        let mut files = sound.clone();
        files[change.file].1 = changed;
        let left = repaired(&disk_of(&files), &case);
        let lost: BTreeSet<_> = all.difference(&left).copied().collect();
        assert!(lost.is_subset(&change.reach(bytes, stop, &all)), "{case}: lost {lost:?}");
        cases += 1;
    }
    cases
}

#[test]
fn closed_log_opens_after_a_repair_whatever_field_is_changed() {
    let cases = change_all(Stop::Close);
    assert!(cases > 900, "{cases}");
}

#[test]
fn log_that_a_crash_left_opens_after_a_repair_whatever_field_is_changed() {
    let cases = change_all(Stop::Crash);
    assert!(cases > 900, "{cases}");
}
