//! A follower beside a writer that rolls, closes, is killed, and has segments removed: it sees every durable event,
//! once and in order.

use std::sync::Arc;
use std::time::Duration;

use tapeline_testing::seeds;

use super::harness::{DIRECTORY, Machine, SHARD, directory, payload, whole_disk};
use crate::device::sim::{Random, SimDisk};
use crate::format::Sequence;
use crate::log::{OpenError, SPARE_NAME, Segment, Urgency};
use crate::read::{CLOSE_LOOK, FollowedShard, GapCause, LogReader, Look, Step};

const LONGEST: u64 = 3000;

fn follow(disk: &SimDisk) -> FollowedShard {
    FollowedShard::open(directory(disk), SHARD).expect("opens")
}

/// A follower and its reader.
struct Follower {
    shard: FollowedShard,
    reader: LogReader,
    trimmed: u64,
}

impl Follower {
    fn start(disk: &SimDisk) -> Self {
        let shard = follow(disk);
        let reader = LogReader::new(Arc::clone(shard.view()), shard.view().trimmed());
        let trimmed = shard.view().trimmed().get();
        Self { shard, reader, trimmed }
    }

    fn next(&self) -> u64 {
        self.reader.next_sequence().get()
    }

    /// Looks, and reads some or all of what there is.
    fn look(&mut self, steps: u64) {
        let before = self.shard.view().appended();
        let look = self.shard.look().expect("looks");
        let view = self.shard.view();
        match look {
            Look::Same => assert_eq!(view.appended(), before),
            Look::Grown => assert!(view.appended() >= before),
            Look::Replaced => {
                let position = self.reader.view().position(self.reader.next_sequence());
                let next = match view.resume(position) {
                    Ok(next) => {
                        assert_eq!(next, position.next, "seen, and gone");
                        next
                    }
                    Err(_) => {
                        assert!(view.trimmed() >= position.next, "forgotten: {position:?}");
                        self.trimmed = view.trimmed().get();
                        view.trimmed()
                    }
                };
                self.reader = LogReader::new(Arc::clone(view), next);
            }
        }
        for _ in 0..steps {
            match self.reader.step().expect("reads") {
                Step::End => return,
                Step::Gap(gap) => {
                    assert_eq!((gap.to, gap.cause), (self.shard.view().trimmed(), GapCause::Trimmed));
                    self.trimmed = gap.to.get();
                }
                Step::Block(block) => {
                    for (number, record) in (block.first_sequence().get()..).zip(block.records()) {
                        let record = record.expect("record");
                        assert!(record.payload() == payload(number, LONGEST), "event {number}");
                    }
                }
            }
        }
    }

    /// Looks until nothing can be hidden any more.
    fn look_until_quiet(&mut self) {
        (0..2 * CLOSE_LOOK).for_each(|_| self.look(u64::MAX));
    }
}

/// One history of a log and its follower; returns how many events there were. Segments are indexed and packed, and
/// trimmed if so wanted.
fn history(seed: u64, trims: bool) -> u64 {
    let mut random = Random::new(seed);
    let disk = whole_disk(seed);
    let mut follower = Follower::start(&disk);
    let mut written = 0;
    for run in 0..6 {
        let mut machine = Machine::start(&disk, seed * 100 + run).expect("opens");
        let mut next = machine.log.next_sequence().get();
        assert!(next >= written, "seed {seed}: acknowledged and lost");
        for _ in 0..random.below(80) {
            next += machine.append(next..next + random.below(5), LONGEST);
            machine.turn_awaited_if(random.chance(4000));
            if random.chance(3000) {
                machine.log.wait(&machine.doorbell, Duration::ZERO);
            }
            if trims && random.chance(400) {
                let cut = machine.view().durable().get().saturating_sub(random.below(30));
                machine.log.trim(Sequence::new(cut));
            }
            if random.chance(4000) {
                follower.look(random.below(4));
            }
        }
        written = machine.view().durable().get();
        match random.below(3) {
            // Killed: what it had given to the kernel lands.
            0 => drop(machine),
            1 => {
                machine.turn_until_durable();
                written = next;
                follower.look_until_quiet();
                assert_eq!(follower.next(), written, "seed {seed}: beside a writer at rest");
                drop(machine);
            }
            _ => {
                machine.close();
                written = next;
            }
        }
        if random.chance(3000) {
            follower.look_until_quiet();
            assert!(follower.next() >= written, "seed {seed}: {} of {written}, with no writer", follower.next());
        }
    }
    follower.look_until_quiet();
    assert!(follower.next() >= written, "seed {seed}: {} of {written} at the end", follower.next());
    assert_eq!(follower.next(), follow(&disk).view().appended().get(), "seed {seed}");
    follower.next()
}

#[test]
fn follower_sees_every_durable_event_once_and_in_order() {
    let events: u64 = seeds(150).map(|seed| history(seed, seed % 2 == 1)).sum();
    println!("{events} events");
}

#[test]
fn look_at_a_log_at_rest_is_two_calls() {
    let disk = whole_disk(1);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.write(0..10, LONGEST);
    let mut follower = Follower::start(&disk);
    follower.look_until_quiet();
    let (calls, steps) = (disk.calls(), disk.steps());
    for _ in 1..CLOSE_LOOK {
        assert_eq!(follower.shard.look().expect("looks"), Look::Same);
    }
    // An attempt to open a file that is not there is one, too.
    assert!(disk.calls() - calls <= u64::from(2 * (CLOSE_LOOK - 1)), "{}", disk.calls() - calls);
    assert!(disk.steps() - steps <= u64::from(2 * (CLOSE_LOOK - 1)), "{}", disk.steps() - steps);
}

#[test]
fn events_in_a_spare_without_its_name_are_seen() {
    let disk = whole_disk(2);
    let mut machine = Machine::start(&disk, 2).expect("opens");
    let mut follower = Follower::start(&disk);
    let mut next = 0;
    // The spare is in use once blocks follow the header in it, and keeps its name while its chore does not run.
    while machine.view().segments().len() < 2 {
        next += machine.append(next..next + 3, LONGEST);
        machine.turn();
    }
    for _ in 0..100 {
        machine.now += 1_000_000;
        machine.log.turn(machine.now, Urgency::Awaited);
        machine.log.wait(&machine.doorbell, Duration::ZERO);
    }
    assert!(disk.files(DIRECTORY).contains(&SPARE_NAME.to_owned()));
    assert_eq!(machine.view().durable().get(), next);
    follower.look_until_quiet();
    assert_eq!(follower.next(), next);
    // It gets its name, and is the same segment.
    machine.write(next..next + 10, LONGEST);
    follower.look_until_quiet();
    assert_eq!(follower.next(), next + 10);
    machine.close();
    follower.look_until_quiet();
    assert!(follower.shard.view().segments().iter().all(|segment| segment.footer().is_some()), "all are sealed");
}

#[test]
fn removed_segments_are_a_gap_and_let_go() {
    let disk = whole_disk(3);
    let mut machine = Machine::start(&disk, 3).expect("opens");
    let mut follower = Follower::start(&disk);
    (0..60).for_each(|number| machine.write(number..number + 1, LONGEST));
    follower.look(1);
    let bases: Vec<_> = follower.shard.view().segments().iter().map(|segment| segment.base()).collect();
    assert!(bases.len() > 4 && follower.next() < bases[3].get());
    bases[..3].iter().for_each(|base| disk.remove_file(DIRECTORY, &Segment::file_name(*base)));
    (0..CLOSE_LOOK).for_each(|_| follower.look(0));
    follower.look_until_quiet();
    assert_eq!((follower.trimmed, follower.next()), (bases[3].get(), 60));
    assert_eq!(follower.shard.view().segments().first().map(|segment| segment.base()), Some(bases[3]));
    machine.write(60..90, LONGEST);
    follower.look_until_quiet();
    assert_eq!(follower.next(), 90);
}

#[test]
fn empty_segment_of_the_next_writer_takes_the_place_of_the_last() {
    let disk = whole_disk(4);
    let mut first = Machine::start(&disk, 4).expect("opens");
    first.write(0..5, LONGEST);
    first.close();
    let idle = Machine::start(&disk, 5).expect("opens");
    let mut follower = Follower::start(&disk);
    follower.look_until_quiet();
    assert_eq!(follower.next(), 5);
    // Killed with nothing written: the next one removes the empty file, and makes another of the same name.
    drop(idle);
    let mut machine = Machine::start(&disk, 6).expect("opens");
    machine.write(5..9, LONGEST);
    follower.look_until_quiet();
    assert_eq!(follower.next(), 9);
    // Positions that it gives are those of the run that wrote, should a crash take that later.
    let end = Sequence::new(9);
    assert_eq!(follower.shard.view().position(end), machine.view().position(end));
}

/// A writer that is killed, of whose last block, the one of event 4, the disk keeps half.
fn disk_with_torn_block() -> (SimDisk, Follower) {
    let disk = whole_disk(5);
    let mut machine = Machine::start(&disk, 7).expect("opens");
    let mut follower = Follower::start(&disk);
    (0..5).for_each(|number| machine.write(number..number + 1, LONGEST));
    follower.look(u64::MAX);
    assert_eq!(follower.next(), 5);
    drop(machine);
    // One page a block, after the header page.
    disk.overwrite(DIRECTORY, &Segment::file_name(Sequence::ZERO), 5 * 4096 + 60, &[0; 4000]);
    (disk, follower)
}

#[test]
fn what_was_seen_and_cut_off_is_another_view() {
    let (disk, mut follower) = disk_with_torn_block();
    let position = follower.reader.view().position(follower.reader.next_sequence());
    let mut machine = Machine::start(&disk, 8).expect("opens");
    machine.write(4..20, LONGEST);
    let looks = (0..2 * CLOSE_LOOK).map(|_| follower.shard.look().expect("looks"));
    assert!(looks.collect::<Vec<_>>().contains(&Look::Replaced));
    let view = follower.shard.view();
    assert_eq!((view.appended().get(), view.resume(position).map(Sequence::get)), (20, Ok(4)));
}

#[test]
fn torn_block_is_the_end_until_it_is_cut() {
    let (disk, _) = disk_with_torn_block();
    let mut follower = Follower::start(&disk);
    follower.look_until_quiet();
    assert_eq!(follower.next(), 4);
    let mut machine = Machine::start(&disk, 8).expect("opens");
    machine.write(4..30, LONGEST);
    follower.look_until_quiet();
    assert_eq!(follower.next(), 30);
}

#[test]
fn damage_to_acknowledged_data_is_reported_once_and_passed_when_sealed() {
    let disk = whole_disk(6);
    let mut machine = Machine::start(&disk, 9).expect("opens");
    let mut follower = Follower::start(&disk);
    machine.write(0..1, LONGEST);
    follower.look(u64::MAX);
    machine.write(1..2, LONGEST);
    machine.write(2..3, LONGEST);
    machine.write(3..4, LONGEST);
    disk.corrupt(DIRECTORY, &Segment::file_name(Sequence::ZERO), 2 * 4096 + 100, |byte| byte ^ 1);
    let told = |follower: &mut Follower| {
        let looks = (0..4 * CLOSE_LOOK).filter_map(|_| follower.shard.look().err());
        looks.map(|error| assert!(matches!(error, OpenError::Corrupt { .. }), "{error}")).count()
    };
    assert_eq!(told(&mut follower), 1);
    assert_eq!((follower.next(), follower.shard.view().appended().get()), (1, 1));
    machine.close();
    assert_eq!(told(&mut follower), 0);
    let view = follower.shard.view();
    let next = view.resume(follower.reader.view().position(Sequence::new(1))).expect("knows the position");
    let mut reader = LogReader::new(Arc::clone(view), next);
    assert!(reader.step().is_err());
    let gap = reader.pass_damage();
    assert_eq!((gap.from.get(), gap.to.get()), (1, 2));
    assert!(matches!(reader.step(), Ok(Step::Block(block)) if block.first_sequence().get() == 2));
}

#[test]
fn log_is_walked_backwards_block_by_block() {
    let disk = whole_disk(7);
    let mut machine = Machine::start(&disk, 10).expect("opens");
    (0..50).step_by(2).for_each(|number| machine.write(number..number + 2, LONGEST));
    machine.append(50..53, LONGEST);
    machine.log.publish(|_| {});
    // In memory they are dense.
    for (view, end, least) in [(Arc::clone(machine.view()), 53, 1), (Arc::clone(follow(&disk).view()), 50, 6)] {
        let (mut end, mut blocks) = (Sequence::new(end), 0);
        while let Some(first) = view.block_before(end).expect("finds") {
            assert!(first < end);
            let mut reader = LogReader::new(Arc::clone(&view), first);
            while reader.next_sequence() < end {
                assert!(matches!(reader.step(), Ok(Step::Block(block)) if block.first_sequence() >= first));
            }
            (end, blocks) = (first, blocks + 1);
        }
        assert_eq!(end, Sequence::ZERO);
        assert!(blocks >= least);
    }
}

#[test]
fn positions_are_of_the_run_that_wrote() {
    let disk = whole_disk(8);
    let mut first = Machine::start(&disk, 11).expect("opens");
    first.write(0..5, LONGEST);
    let mut follower = Follower::start(&disk);
    let old = follower.shard.view().position(Sequence::new(5));
    assert_eq!(old, first.view().position(Sequence::new(5)));
    first.close();
    let mut second = Machine::start(&disk, 12).expect("opens");
    second.write(5..9, LONGEST);
    follower.look_until_quiet();
    let new = follower.shard.view().position(Sequence::new(9));
    assert_eq!(new, second.view().position(Sequence::new(9)));
    assert_eq!(follower.shard.view().resume(old).map(Sequence::get), Ok(5));
}

#[test]
fn indexes_and_dense_copies_take_the_place_of_what_was_followed() {
    let disk = whole_disk(9);
    let mut machine = Machine::start(&disk, 13).expect("opens");
    let mut shard = follow(&disk);
    for number in 0..40 {
        machine.write(number..number + 1, 1);
        shard.look().expect("looks");
    }
    machine.close();
    for _ in 0..16 * CLOSE_LOOK {
        shard.look().expect("looks");
    }
    let forms = |view: &crate::log::LogView| {
        view.segments().iter().map(|segment| (segment.base(), segment.data_end(), segment.footer().copied())).collect()
    };
    let (followed, found): (Vec<_>, Vec<_>) = (forms(shard.view()), forms(follow(&disk).view()));
    assert_eq!(followed, found);
    assert!(found.iter().all(|(_, _, footer)| footer.is_some_and(|footer| footer.index.is_some())));
    assert!(found.len() > 1 && found[0].1 == 2 * 4096, "a dense copy");
    assert_eq!(crate::log::tests::harness::check_all(shard.view(), 1), 40);
}
