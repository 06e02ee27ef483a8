//! Positions that outlive a run.

use super::harness::{Machine, check_all, whole_disk};
use crate::device::sim::Faults;
use crate::format::Sequence;
use crate::log::{LogView, Position};
use crate::read::{LogReader, Step, Visibility, open_shard};

fn at(view: &LogView, next: u64) -> Position {
    view.position(Sequence::new(next))
}

#[test]
fn position_above_what_a_crash_left_is_found_at_the_end_of_its_run() {
    let disk = whole_disk(3);
    let mut first = Machine::start(&disk, 1).expect("opens");
    first.write(0..10, 100);
    first.append(10..15, 100);
    first.log.publish(|_| {});
    let positions = [0, 7, 10, 13, 15].map(|next| at(first.view(), next));
    disk.crash();
    let disk = disk.reboot(Faults::default());
    // A run that loses all it appended leaves no segment.
    let mut second = Machine::start(&disk, 2).expect("opens");
    assert_eq!(second.view().appended(), Sequence::new(10));
    second.append(10..12, 100);
    second.log.publish(|_| {});
    let lost = at(second.view(), 12);
    disk.crash();
    let disk = disk.reboot(Faults::default());
    let mut third = Machine::start(&disk, 3).expect("opens");
    third.write(10..40, 100);
    let found = |position| third.view().resume(position).map(Sequence::get);
    assert_eq!(positions.map(found), [Ok(0), Ok(7), Ok(10), Ok(10), Ok(10)]);
    assert_eq!(found(lost), Ok(10));
    for next in 0..=40 {
        assert_eq!(found(at(third.view(), next)), Ok(next), "a position of this run");
    }
    let kept = at(third.view(), 40);
    third.close();
    let (view, _) = open_shard(&super::harness::directory(&disk), super::harness::SHARD).expect("reads");
    assert_eq!(view.resume(kept).map(Sequence::get), Ok(40));
    assert_eq!(check_all(&view, 100), 40);
}

#[test]
fn durable_reader_ends_where_the_watermark_is() {
    let disk = whole_disk(4);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.write(0..10, 100);
    machine.append(10..15, 100);
    machine.log.publish(|_| {});
    let read = |visibility| {
        let view = std::sync::Arc::clone(machine.view());
        let mut reader = LogReader::new(view, Sequence::ZERO).with_visibility(visibility);
        let mut count = 0;
        while let Step::Block(block) = reader.step().expect("reads") {
            count += block.records().count();
        }
        count
    };
    assert_eq!((read(Visibility::Durable), read(Visibility::Appended)), (10, 15));
}

#[test]
fn reader_goes_on_after_a_damaged_block() {
    let disk = whole_disk(5);
    let mut machine = Machine::without_repacking(&disk, super::harness::options(1));
    for number in 0..8 {
        machine.write(number..number + 1, 100);
    }
    machine.close();
    let name = crate::log::Segment::file_name(Sequence::ZERO);
    // The body of the block of event 3: one page a block, after the header page.
    disk.corrupt(super::harness::DIRECTORY, &name, 4 * 4096 + 100, |byte| byte ^ 1);
    let (view, _) = open_shard(&super::harness::directory(&disk), super::harness::SHARD).expect("reads");
    let mut reader = LogReader::new(view, Sequence::ZERO);
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match reader.step() {
            Ok(Step::Block(block)) => found.extend(block.first_sequence().get()..block.end_sequence().get()),
            Ok(Step::Gap(gap)) => panic!("{gap:?}"),
            Ok(Step::End) => break,
            Err(_) => gaps.push(reader.pass_damage()),
        }
    }
    assert_eq!(found, [0, 1, 2, 4, 5, 6, 7]);
    assert_eq!(gaps.iter().map(|gap| (gap.from.get(), gap.to.get())).collect::<Vec<_>>(), [(3, 4)]);
}
