//! Threads that ingest, each into a stream of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use futures_lite::future::block_on;
use tapeline::{AdapterError, EventBus, IngestionError, Producer, Session, kinds};
use tapeline_storage::device::sim::Random;

use super::ledger::{Stream, any_payload, payload};
use super::surroundings::eventually;
use crate::runner::ON_PURPOSE;

/// Says whether the bus may refuse for another reason than that it ends or is behind. For good once it may.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<AtomicBool>);

impl Trouble {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_here(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The way in which a producer comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Quota,
    Flush,
    Panic,
}

/// A thread that ingests until it has its fill or the bus ends. Returns what it held against the bus.
pub(crate) fn spawn(
    bus: &EventBus,
    stream: Arc<Stream>,
    seed: u64,
    trouble: Trouble,
) -> Option<JoinHandle<Result<(), String>>> {
    let producer = bus.producer().ok()?;
    let work = move || Ingest::new(producer, stream, seed, trouble).run();
    Some(std::thread::spawn(work))
}

struct Ingest {
    producer: Producer,
    session: Session,
    stream: Arc<Stream>,
    random: Random,
    trouble: Trouble,
    next: u64,
}

impl Ingest {
    fn new(producer: Producer, stream: Arc<Stream>, seed: u64, trouble: Trouble) -> Self {
        let session = producer.session(stream.name.as_str());
        Self { producer, session, stream, random: Random::new(seed), trouble, next: 0 }
    }

    fn run(mut self) -> Result<(), String> {
        let most = 1 << (4 + self.random.below(9));
        let quota = self.random.below(most);
        let end = [End::Quota, End::Flush, End::Panic][self.random.below(3) as usize];
        while self.next < quota {
            let goes_on = match self.random.below(50) {
                0 => self.flush()?,
                1 => self.wait()?,
                2..=5 => self.batch(false)?,
                _ => self.emit()?.is_some(),
            };
            if !goes_on {
                return Ok(());
            }
        }
        match end {
            End::Flush => self.flush().map(drop),
            End::Panic => self.batch(true).map(drop),
            End::Quota => Ok(()),
        }
    }

    /// The ticket of the event; `None` if the bus takes no more.
    fn emit(&mut self) -> Result<Option<tapeline::Ticket>, String> {
        loop {
            match self.producer.emit(self.session, kinds::TOKEN, &any_payload(self.next)) {
                Ok(ticket) => {
                    self.next += 1;
                    self.stream.take(1);
                    return Ok(Some(ticket));
                }
                Err(error) if self.ends(&error)? => return Ok(None),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// Returns whether the error is the end; otherwise it is worth another try.
    fn ends(&self, error: &IngestionError) -> Result<bool, String> {
        match error {
            IngestionError::Backpressure { .. } => Ok(false),
            IngestionError::ShuttingDown => Ok(true),
            IngestionError::Budget { .. } | IngestionError::EventBudget { .. } => Ok(true),
            // The life has begun a shortage meanwhile: a large event takes memory of its own.
            IngestionError::Memory(_) => Ok(true),
            _ if self.trouble.is_here() => Ok(true),
            other => Err(format!("{}: event {} is refused: {other}", self.stream.name, self.next)),
        }
    }

    /// Some events that become visible at once; with `panics`, a thread that ends before they do.
    fn batch(&mut self, panics: bool) -> Result<bool, String> {
        let count = 1 + self.random.below(40);
        let mut batch = self.producer.batch(self.session);
        let mut pushed = 0;
        while pushed < count && batch.push(kinds::TOKEN, &payload(self.next + pushed)).is_ok() {
            pushed += 1;
        }
        if panics {
            std::panic::panic_any(format!("{ON_PURPOSE}: a producer in the middle of a batch"));
        }
        match batch.publish() {
            Ok(_) => {
                drop(batch);
                self.next += pushed;
                self.stream.take(pushed);
                // Without an event there is nothing to wait for; the shard needs a turn.
                if pushed == 0 {
                    return Ok(self.emit()?.is_some());
                }
                Ok(true)
            }
            Err(error) => {
                drop(batch);
                Ok(!self.ends(&error)?)
            }
        }
    }

    fn flush(&mut self) -> Result<bool, String> {
        let taken = self.stream.taken();
        let outcome = through_shortages(|| block_on(self.producer.flush()));
        self.acknowledged(taken, outcome)
    }

    /// Waits for the ticket of one event more.
    fn wait(&mut self) -> Result<bool, String> {
        let Some(ticket) = self.emit()? else { return Ok(false) };
        let taken = self.stream.taken();
        let blocks = self.random.below(2) == 0;
        let outcome = through_shortages(|| {
            if blocks { self.producer.wait_durable(ticket) } else { block_on(self.producer.durable(ticket)) }
        });
        self.acknowledged(taken, outcome)
    }

    fn acknowledged(&self, taken: u64, outcome: Result<(), AdapterError>) -> Result<bool, String> {
        match outcome {
            Ok(()) => {
                self.stream.acknowledge(taken);
                Ok(true)
            }
            Err(error) if error.is_shutdown() || self.trouble.is_here() => Ok(false),
            Err(error) => Err(format!("{}: not acknowledged: {error}", self.stream.name)),
        }
    }
}

/// Waits again while the process is short of memory or descriptors, which ends: an answer that stays is a fault.
pub(crate) fn through_shortages(mut wait: impl FnMut() -> Result<(), AdapterError>) -> Result<(), AdapterError> {
    let mut outcome = Ok(());
    let _ = eventually(|| {
        outcome = wait();
        outcome.as_ref().err().filter(|error| matches!(error, AdapterError::HeldUp { .. })).map(ToString::to_string)
    });
    outcome
}
