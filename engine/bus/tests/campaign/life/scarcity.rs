//! Calls of a process that has run out of descriptors or memory.

use std::fs;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::retention::RetentionPolicy;
use tapeline::{
    AdapterError, ConsumeRequest, EventBus, IngestionError, RawEvent, ReplayRequest, SubscribeRequest, kinds,
};
use tapeline_storage::device::sim::Random;

use super::drops::Part;
use super::ledger::{Stream, payload};
use super::surroundings::{Limit, TASKS};
use crate::runner::step;

/// The resource that is short.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scarce {
    Descriptors(u64),
    Bytes(u64),
}

impl Scarce {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let most = 1 << random.below(25);
        match random.below(2) {
            0 => Self::Descriptors(random.below(5)),
            _ => Self::Bytes(random.below(most)),
        }
    }

    pub(crate) fn limit(self) -> Limit {
        match self {
            Self::Descriptors(more) => Limit::descriptors(more),
            Self::Bytes(more) => Limit::lower(libc::RLIMIT_AS, address_space() + more),
        }
    }
}

/// Little to spare, until it is dropped.
pub(crate) struct Shortage {
    /// The time for which it still lasts.
    over: mpsc::Sender<Duration>,
    thread: Option<JoinHandle<()>>,
}

impl Shortage {
    pub(crate) fn begin(scarce: Scarce) -> Self {
        let (over, receiver) = mpsc::channel();
        let (begun, wait) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let limit = scarce.limit();
            let _ = begun.send(());
            let rest = receiver.recv().unwrap_or_default();
            let _ = receiver.recv_timeout(rest);
            drop(limit);
        });
        wait.recv().expect("begins");
        Self { over, thread: Some(thread) }
    }

    /// Ends by itself: a change of the shards waits until their logs can write, and a producer that blocks waits for
    /// room.
    pub(crate) fn pass(&self) {
        let _ = self.over.send(LONGEST);
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        let _ = self.over.send(Duration::ZERO);
        self.thread.take().into_iter().for_each(|thread| thread.join().expect("ends"));
    }
}

/// Longest wait of a caller for the end of a shortage.
const LONGEST: Duration = Duration::from_millis(300);

/// Bytes of the process's address space.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// Asks a bus for any one thing. It may be refused; what came of it is returned, to be dropped at some time.
pub(crate) fn ask(bus: &EventBus, shortage: &Shortage, stream: &Stream, random: &mut Random) -> Option<Part> {
    let named = random.below(3);
    match random.below(16) {
        0 => part("producer", bus.producer().ok()),
        1 => part("subscribe", block_on(bus.subscribe(SubscribeRequest::new())).ok()),
        2 => part("batches", block_on(bus.batches(SubscribeRequest::live())).ok()),
        3 => part("poll", block_on(bus.poll(ConsumeRequest::new(1000))).ok()),
        4 => {
            part("replay", block_on(bus.replay_with(ReplayRequest::new())).map(|events| events.take(100).count()).ok())
        }
        5 => {
            TASKS.fetch_add(1, Ordering::Relaxed);
            part("run_on_shard", bus.run_on_shard(0, |_| async {}).ok())
        }
        6 => part("trim", block_on(bus.trim(&RetentionPolicy::new().max_segments(10_000))).ok()),
        7 => {
            shortage.pass();
            part("manual_scale_up", block_on(bus.manual_scale_up(1)).ok())
        }
        8 => {
            shortage.pass();
            part("manual_scale_down", block_on(bus.manual_scale_down(1)).ok())
        }
        14 => part("flush", block_on(bus.flush()).ok()),
        9 => part("save_cursor", save_cursor(bus, &format!("cursor-{named}"))),
        10 => part("load_cursor", bus.load_cursor(&format!("cursor-{named}")).ok()),
        11 => part("remove_cursor", bus.remove_cursor(&format!("cursor-{named}")).ok()),
        12 => part("cursors", bus.cursors().ok()),
        13 => part("numbers", Some((bus.stats(), bus.lane_stats(), bus.shard_stats(), bus.shard_metrics()))),
        _ => {
            shortage.pass();
            part("ingest", Some(ingest(bus, stream, random.below(20_000))))
        }
    }
}

fn part<T: Send + 'static>(name: &str, made: Option<T>) -> Option<Part> {
    step(&format!("with little to spare: {name} {}", if made.is_some() { "is there" } else { "is refused" }));
    made.map(|part| Box::new(part) as Part)
}

fn save_cursor(bus: &EventBus, name: &str) -> Option<()> {
    let cursor = block_on(bus.poll(ConsumeRequest::new(10))).ok()?.next_id?;
    bus.save_cursor(name, &cursor).ok()
}

/// Ingests up to `events`, from the first on, until one is refused.
fn ingest(bus: &EventBus, stream: &Stream, events: u64) -> Option<()> {
    if stream.taken() > 0 {
        return None;
    }
    let mut producer = bus.producer().ok()?;
    let session = producer.session(stream.name.as_str());
    for number in 0..events {
        producer.emit(session, kinds::TOKEN, &payload(number)).ok()?;
        stream.take(1);
    }
    Some(())
}

/// Returns whether all is as before the shortage: the bus now does what it refused then.
pub(crate) fn is_over(bus: &EventBus) -> Result<(), String> {
    step("enough is there again: ask for everything");
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("after a shortage: {what}: {error}");
    match bus.ingest_raw(RawEvent::from_str("x").with_session(1u128)) {
        Ok(_) | Err(IngestionError::Backpressure { .. } | IngestionError::Budget { .. }) => {}
        Err(error) => return Err(failed("ingest", &error)),
    }
    let producer = bus.producer().map(drop);
    match producer {
        Ok(()) | Err(IngestionError::Budget { .. }) => {}
        Err(error) => return Err(failed("producer", &error)),
    }
    block_on(bus.subscribe(SubscribeRequest::live())).map_err(|error| failed("subscribe", &error))?;
    block_on(bus.poll(ConsumeRequest::new(10))).map_err(|error| failed("poll", &error))?;
    TASKS.fetch_add(1, Ordering::Relaxed);
    match bus.run_on_shard(0, |_| async {}) {
        Ok(task) => task.join().map_err(|error| failed("a task", &error))?,
        Err(AdapterError::Shutdown) => return Err("after a shortage: run_on_shard: the shard has ended".into()),
        Err(error) => return Err(failed("run_on_shard", &error)),
    }
    bus.cursors().map(drop).map_err(|error| failed("cursors", &error))
}
