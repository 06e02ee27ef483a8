//! A log on a simulated machine, fed with events that say who they are.

use std::sync::Arc;
use std::time::Duration;

use crate::device::sim::{Faults, Random, SimDisk};
use crate::device::{Directory, Doorbell};
use crate::format::{
    Kind, LogId, LogShard, RECORD_ALIGN, Record, RecordView, Sequence, SessionId, archive_into, archived_bytes,
};
use crate::log::{Log, LogMemory, LogOptions, LogView, OpenError, Recovered, Urgency, recover};
use crate::read::{LogReader, Step};

pub(super) const SHARD: LogShard = LogShard::new(LogId([5; 16]), 0);
pub(super) const DIRECTORY: &str = "shard-0000";

/// Small segments, so that a run rolls often.
pub(super) fn options(seed: u64) -> LogOptions {
    LogOptions {
        segment_bytes: 16 * 4096,
        block_bytes: 8 * 4096,
        memory: LogMemory { blocks: 6, ..LogMemory::default() },
        repack_saves_bytes: 4096,
        ..LogOptions::new(SHARD, seed)
    }
}

/// The same, with other memory.
pub(super) fn with_memory(mut options: LogOptions, change: impl FnOnce(&mut LogMemory)) -> LogOptions {
    change(&mut options.memory);
    options
}

/// Payload of event `number`: its number, then as many bytes as it determines.
pub(super) fn payload(number: u64, longest: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + random.below(longest) as usize, number as u8);
    bytes
}

/// Events `numbers` as a run: archives back to back, and their lengths.
pub(super) fn run_of(numbers: std::ops::Range<u64>, longest: u64) -> (Vec<u8>, Vec<u16>) {
    run_in(numbers, longest, |number| SessionId(u128::from(number % 3)))
}

fn run_in(numbers: std::ops::Range<u64>, longest: u64, session: impl Fn(u64) -> SessionId) -> (Vec<u8>, Vec<u16>) {
    let (mut records, mut lengths) = (Vec::new(), Vec::new());
    for number in numbers {
        let payload = payload(number, longest);
        let start = records.len();
        records.resize(start + archived_bytes(payload.len()), 0);
        let record = Record { session: session(number), timestamp: 1000 + number, kind: Kind(1), payload: &payload };
        archive_into(&record, &mut records[start..]);
        lengths.push(((records.len() - start) / RECORD_ALIGN) as u16);
    }
    (records, lengths)
}

/// A running log and its clock.
pub(super) struct Machine {
    pub(super) disk: SimDisk,
    pub(super) log: Log,
    pub(super) now: u64,
    pub(super) doorbell: Doorbell,
}

pub(super) fn open(disk: &SimDisk, seed: u64) -> Result<Recovered, OpenError> {
    recover(disk.directory(DIRECTORY), options(seed))
}

impl Machine {
    pub(super) fn start(disk: &SimDisk, seed: u64) -> Result<Self, OpenError> {
        Self::with_depth(disk, seed, 4)
    }

    /// A machine that leaves its blocks as they were committed.
    pub(super) fn without_repacking(disk: &SimDisk, options: LogOptions) -> Self {
        let options = LogOptions { repack_saves_bytes: u64::MAX, ..options };
        let log = recover(directory(disk), options).expect("opens").start(Box::new(disk.device(4)));
        Self { disk: disk.clone(), log, now: 1, doorbell: Doorbell::new().expect("doorbell") }
    }

    /// A machine whose device takes `depth` writes at a time, and panics at one more.
    pub(super) fn with_depth(disk: &SimDisk, seed: u64, depth: usize) -> Result<Self, OpenError> {
        let log = open(disk, seed)?.start(Box::new(disk.device(depth)));
        Ok(Self { disk: disk.clone(), log, now: 1, doorbell: Doorbell::new().expect("doorbell") })
    }

    pub(super) fn view(&self) -> &Arc<LogView> {
        self.log.view()
    }

    /// One turn with its chore, and no tidying.
    pub(super) fn turn_untidied(&mut self, urgency: Urgency) {
        self.now += 1_000_000;
        self.log.publish(|_| {});
        self.log.turn(self.now, urgency);
        if let Some(chore) = self.log.next_chore(self.now) {
            self.log.chore_done(chore.run(), self.now);
        }
    }

    /// One turn with its chores.
    pub(super) fn turn(&mut self) {
        self.turn_awaited_if(false);
    }

    /// The same, while a caller waits for durability.
    pub(super) fn turn_awaited(&mut self) {
        self.turn_awaited_if(true);
    }

    pub(super) fn turn_awaited_if(&mut self, is_awaited: bool) {
        self.turn_untidied(if is_awaited { Urgency::Awaited } else { Urgency::None });
        if let Some(chore) = self.log.next_tidying(self.now) {
            self.log.chore_done(chore.run(), self.now);
        }
    }

    /// Appends events as far as there is memory; returns how many.
    pub(super) fn append(&mut self, numbers: std::ops::Range<u64>, longest: u64) -> u64 {
        let (records, lengths) = run_of(numbers, longest);
        self.log.append(&records, &lengths, self.now).0 as u64
    }

    /// Appends all of them, with as many turns as it takes, and makes them durable.
    pub(super) fn write(&mut self, numbers: std::ops::Range<u64>, longest: u64) {
        let mut next = numbers.start;
        while next < numbers.end {
            next += self.append(next..numbers.end, longest);
            self.turn();
            assert!(self.log.poison().is_none() || !self.disk.is_on(), "{:?}", self.log.poison());
        }
        self.turn_until_durable();
    }

    /// Appends events of one session, and makes them durable.
    pub(super) fn write_session(&mut self, numbers: std::ops::Range<u64>, session: u64) {
        let (records, lengths) = run_in(numbers, 400, |_| SessionId(u128::from(session) + 1));
        let (mut taken, mut bytes) = (0, 0);
        while taken < lengths.len() {
            let (more, more_bytes) = self.log.append(&records[bytes..], &lengths[taken..], self.now);
            (taken, bytes) = (taken + more, bytes + more_bytes);
            self.turn();
        }
        self.turn_until_durable();
    }

    /// Turns until everything is durable.
    pub(super) fn turn_until_durable(&mut self) {
        for _ in 0..10_000 {
            self.turn_awaited();
            if self.log.is_idle() {
                return;
            }
            self.log.wait(&self.doorbell, Duration::ZERO);
        }
        panic!("the log does not come to rest: {:?}", self.log);
    }

    pub(super) fn close(mut self) {
        let outcome = self.log.close(&self.doorbell, ticking(self.now));
        assert!(outcome.is_ok() || !self.disk.is_on(), "{outcome:?}");
    }
}

/// The way in which a log's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Close,
    Crash,
}

impl Machine {
    /// Ends the process. Returns the disk as the next one finds it.
    pub(super) fn stop(self, stop: Stop) -> SimDisk {
        let disk = self.disk.clone();
        match stop {
            Stop::Close => self.close(),
            Stop::Crash => disk.crash(),
        }
        disk.reboot(Faults::default())
    }
}

/// A clock that goes 10 ms at each look.
pub(super) fn ticking(mut now: u64) -> impl FnMut() -> u64 {
    move || {
        now += 10_000_000;
        now
    }
}

/// All events of a view, checked to be `0..n` in order with their own payloads; returns n.
pub(super) fn check_all(view: &Arc<LogView>, longest: u64) -> u64 {
    check_each(view, 0, |record, number| {
        assert_eq!(record.payload(), payload(number, longest), "event {number}");
        assert_eq!(record.timestamp(), 1000 + number);
    })
}

/// Checks each event from `from` on, which are there without a hole; returns the number after the last.
pub(super) fn check_each(view: &Arc<LogView>, from: u64, check: impl Fn(&RecordView<'_>, u64)) -> u64 {
    let mut reader = LogReader::new(Arc::clone(view), Sequence::new(from));
    let mut number = from;
    loop {
        match reader.step().expect("reads") {
            Step::End => return number,
            Step::Gap(gap) => panic!("gap {gap:?}"),
            Step::Block(block) => {
                assert_eq!(block.first_sequence(), Sequence::new(number));
                for record in block.records() {
                    check(&record.expect("record"), number);
                    number += 1;
                }
                assert_eq!(block.end_sequence(), Sequence::new(number));
            }
        }
    }
}

pub(super) fn whole_disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, Faults::default())
}

pub(super) fn directory(disk: &SimDisk) -> Arc<dyn Directory> {
    disk.directory(DIRECTORY)
}
