//! One life of a bus: it is opened, things happen to it, and it ends in one of many ways.

use std::path::Path;
use std::sync::Arc;

use futures_lite::future::block_on;
use tapeline::seam::{self, Machine};
use tapeline::{EventBus, EventBusConfig, RawEvent};
use tapeline_storage::device::sim::Random;

use super::drops::{Part, drop_all};
use super::ledger::{Expect, Ledger, Stream};
use super::producers::{self, Trouble};
use super::schedule::{Outcome, SHARDS_MAX, open};
use super::surroundings::{Fork, eventually};
use crate::runner::step;

/// One life of a bus.
pub(super) struct Life<'l> {
    pub(super) bus: Arc<EventBus>,
    pub(super) path: &'l Path,
    pub(super) ledger: &'l Ledger,
    pub(super) number: u64,
    pub(super) streams: u64,
    pub(super) trouble: Trouble,
    pub(super) begun: Begun,
    /// Memory that a shard of the bus took before the first event came.
    pub(super) shard_memory: u64,
    /// The machine whose clocks the process has, if they can be set.
    pub(super) machine: Option<&'static Machine>,
}

/// The acts of a life that go on until it ends.
#[derive(Default)]
pub(super) struct Begun {
    pub(super) producers: Vec<std::thread::JoinHandle<Outcome>>,
    pub(super) parts: Vec<Part>,
    pub(super) forks: Vec<Fork>,
    /// A thread reads until the bus ends.
    pub(super) is_followed: bool,
}

impl<'l> Life<'l> {
    pub(super) fn open(
        path: &'l Path,
        ledger: &'l Ledger,
        number: u64,
        config: EventBusConfig,
    ) -> Result<Self, String> {
        let bus = Arc::new(open(config)?);
        Ok(Self {
            shard_memory: bus.stats().memory.bytes / u64::from(bus.num_shards()),
            bus,
            path,
            ledger,
            number,
            streams: 0,
            trouble: Trouble::default(),
            begun: Begun::default(),
            machine: None,
        })
    }

    pub(super) fn config_words(&self) -> String {
        let shard = &self.bus.shard_stats()[0];
        format!("{} shards, {}", self.bus.num_shards(), shard.host.device)
    }

    pub(super) fn stream(&mut self) -> Arc<Stream> {
        self.streams += 1;
        self.ledger.stream(format!("{}-{}", self.number, self.streams))
    }

    pub(super) fn act(&mut self, random: &mut Random) -> Outcome {
        match random.below(22) {
            0..=3 => self.start_producers(random),
            4 => self.ingest(random)?,
            5 => self.flush()?,
            6 => self.task(random)?,
            7 => self.read(random)?,
            8 => self.curse_a_waker(random)?,
            9 => self.fork(random)?,
            10 => self.few_descriptors(random)?,
            11 => self.scale(random),
            12 => self.second_opener()?,
            13 => self.trim(random)?,
            14 => self.keep_a_part(random),
            15 => self.spoil(random)?,
            16 => self.many_producers()?,
            17 | 18 => self.scarcity(random)?,
            19 => self.happen(random)?,
            20 => self.neighbour()?,
            _ => self.lose_a_thread(random)?,
        }
        Ok(())
    }

    /// A failure that the schedule brought about is none.
    pub(super) fn forgive(&self, outcome: Outcome) -> Outcome {
        if self.trouble.is_here() { Ok(()) } else { outcome }
    }

    pub(super) fn flush(&mut self) -> Outcome {
        step("flush");
        let taken = self.ledger.taken();
        match producers::through_shortages(|| block_on(self.bus.flush())) {
            Ok(()) => {
                Ledger::acknowledge(taken);
                Ok(())
            }
            Err(error) => self.forgive(Err(format!("flush: {error}"))),
        }
    }

    /// Ends the bus in one of many ways. Returns what must be in the log.
    pub(super) fn end(mut self, random: &mut Random) -> Result<Expect, String> {
        let mut expect = if self.trouble.is_here() { Expect::Acknowledged } else { Expect::Everything };
        if random.below(2) == 0 && !self.begun.is_followed {
            self.join_producers()?;
            self.rest(random)?;
        }
        if random.below(2) == 0 {
            step("shut down");
            match block_on(self.bus.shutdown_via_ref()) {
                Ok(()) => expect = Expect::Everything,
                Err(error) => self.forgive(Err(format!("shutdown: {error}")))?,
            }
            self.join_producers()?;
            if !self.bus.stats().is_balanced() {
                self.forgive(Err(format!("the books after the end: {:?}", self.bus.stats())))?;
            }
        }
        let Self { bus, begun: Begun { producers, parts, forks, .. }, .. } = self;
        let log = bus.log_id();
        drop_all(bus, parts, random);
        step("join producers");
        producers.into_iter().try_for_each(join)?;
        seam::forget(log);
        // A child that lives on keeps nothing: the next opening finds the log free. It ends with this process.
        std::mem::forget(forks);
        Ok(expect)
    }

    pub(super) fn join_producers(&mut self) -> Outcome {
        step("join producers");
        std::mem::take(&mut self.begun.producers).into_iter().try_for_each(join)
    }

    /// Nothing is being ingested: the books add up, and lanes without a producer are gone. The memory of the shards is
    /// left, and little beside it.
    pub(super) fn rest(&mut self, random: &mut Random) -> Outcome {
        step("at rest");
        self.flush()?;
        let stats = self.bus.stats();
        if !stats.is_balanced() {
            return self.forgive(Err(format!("the books at rest: {stats:?}")));
        }
        if !self.begun.parts.is_empty() || random.below(2) == 0 {
            return Ok(());
        }
        step("memory is back");
        let most = u64::from(SHARDS_MAX) * self.shard_memory + (4 << 20);
        let bus = Arc::clone(&self.bus);
        eventually(|| {
            let taken =
                (1..=20u128).all(|session| bus.ingest_raw(RawEvent::from_str("x").with_session(session)).is_ok());
            let flushed = block_on(bus.flush()).is_ok();
            let memory = bus.stats().memory.bytes;
            (taken && flushed && memory > most).then(|| format!("{memory} bytes of memory at rest, {most} expected"))
        })
    }
}

fn join(thread: std::thread::JoinHandle<Outcome>) -> Outcome {
    // The hook reports a panic that was not meant.
    thread.join().unwrap_or(Ok(()))
}
