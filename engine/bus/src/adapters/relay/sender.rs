//! The half of a relay that calls the adapter: batches with retries, dead letters, the end.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use tapeline_reader::random::random;
use tapeline_reader::{AdapterError, AdapterResult, StoredEvent};

use super::controls::Controls;
use super::dead_letters::DeadLetters;
use crate::adapters::{Adapter, call};
use crate::bus_core::{RelayHealth, RelayStatus};
use crate::core::timer::{Timer, Timers};
use crate::live::Batch;

/// Events of one batch of dead letters, and bytes of their payloads.
const REDRIVE_EVENTS: usize = 1000;
const REDRIVE_BYTES: usize = 4 << 20;

pub(super) struct Sender {
    /// Until it is initialised.
    pub(super) new: Option<Box<dyn Adapter>>,
    pub(super) adapter: Arc<OnceLock<Arc<dyn Adapter>>>,
    pub(super) controls: Arc<Controls>,
    pub(super) status: Arc<RelayStatus>,
    pub(super) dead_letters: DeadLetters,
    pub(super) timers: Arc<Timers>,
    pub(super) timeout: Duration,
    pub(super) pauses: (Duration, Duration),
}

impl Sender {
    /// Initialises the adapter, as often as it takes.
    pub(super) async fn init(&mut self) {
        let mut tries = 0;
        while let Some(mut new) = self.new.take() {
            self.may_call().await;
            match call(&self.timers, self.timeout, || new.init()).await {
                Ok(()) => {
                    let _ = self.adapter.set(Arc::from(new));
                }
                Err(error) => {
                    self.new = Some(new);
                    self.rest(&error, &mut tries).await;
                }
            }
        }
    }

    /// Delivers the batches of each step, one step after the other.
    pub(super) async fn deliver(&self, steps: Vec<Vec<Batch>>) {
        for step in steps {
            let mut batches: Vec<_> = step.into_iter().map(|batch| Box::pin(self.deliver_batch(batch))).collect();
            poll_fn(|context| {
                batches.retain_mut(|batch| batch.as_mut().poll(context).is_pending());
                if batches.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Delivers a batch; of an event that the adapter does not take, it writes a dead letter.
    async fn deliver_batch(&self, batch: Batch) {
        // In order: the first part is the last element.
        let mut parts = vec![Arc::new(batch)];
        while let Some(part) = parts.pop() {
            let Err(reason) = self.confirm(&part).await else { continue };
            match part.events.as_slice() {
                [event] => self.bury(event, &reason).await,
                events => {
                    let (first, second) = events.split_at(events.len() / 2);
                    parts.extend([second, first].map(|half| Arc::new(part.with_events(half.to_vec()))));
                }
            }
        }
    }

    /// Calls the adapter until it confirms the batch.
    ///
    /// # Errors
    /// The reason why it never will.
    async fn confirm(&self, batch: &Arc<Batch>) -> Result<(), String> {
        let mut tries = 0;
        loop {
            self.may_call().await;
            let Some(adapter) = self.adapter.get() else { return Ok(()) };
            match call(&self.timers, self.timeout, || adapter.on_batch(Arc::clone(batch))).await {
                Ok(()) => {
                    let bytes = batch.events.iter().map(|event| event.raw.len()).sum::<usize>();
                    count(&self.status.delivered.events, batch.len() as u64);
                    count(&self.status.delivered.bytes, bytes as u64);
                    count(&self.status.delivered.batches, 1);
                    self.status.set_health(RelayHealth::Healthy);
                    return Ok(());
                }
                Err(AdapterError::Serialization(reason)) => return Err(reason),
                Err(error) => self.rest(&error, &mut tries).await,
            }
        }
    }

    /// Writes a dead letter, as often as it takes.
    async fn bury(&self, event: &StoredEvent, reason: &str) {
        let mut tries = 0;
        while let Err(error) = self.dead_letters.add(event, reason) {
            let error = AdapterError::Denied(format!("the dead letters cannot be written: {error}"));
            self.rest(&error, &mut tries).await;
        }
        count(&self.status.dead_letters.written, 1);
        count(&self.status.dead_letters.waiting, 1);
    }

    /// Delivers the dead letters that are there.
    ///
    /// # Errors
    /// They cannot be read: those that were not delivered stay.
    pub(super) async fn redrive(&self) -> std::io::Result<()> {
        let mut is_last = false;
        while !is_last {
            let Some(mut taken) = self.dead_letters.take()? else { return Ok(()) };
            // Those that an earlier call has left come before the file that was written since.
            is_last = !taken.is_left();
            let mut events: Vec<StoredEvent> = Vec::new();
            loop {
                let next = taken.next()?;
                let bytes: usize = events.iter().map(|event| event.raw.len()).sum();
                let is_full = events.len() >= REDRIVE_EVENTS || bytes >= REDRIVE_BYTES;
                let shard = events.first().map(|event| event.shard_id);
                let goes_on = next.as_ref().is_some_and(|next| shard == Some(next.shard_id)) && !is_full;
                if let Some(shard) = shard.filter(|_| !goes_on) {
                    let (number, before) =
                        (events.len() as u64, self.status.dead_letters.written.load(Ordering::Relaxed));
                    self.deliver_batch(Batch::new(shard, std::mem::take(&mut events)).redriven()).await;
                    let again = self.status.dead_letters.written.load(Ordering::Relaxed) - before;
                    count(&self.status.dead_letters.redriven, number - again);
                }
                let Some(next) = next else { break };
                events.push(next);
            }
            taken.finish()?;
            self.status.dead_letters.waiting.store(self.dead_letters.count()?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Has the adapter flush and end; what it answers is reported, and that is all.
    pub(super) async fn end(&self) {
        let Some(adapter) = self.adapter.get() else { return };
        let flushed = call(&self.timers, self.timeout, || adapter.flush()).await;
        let ended = call(&self.timers, self.timeout, || adapter.shutdown()).await;
        for answer in [flushed, ended] {
            self.note(&answer);
        }
    }

    fn note(&self, answer: &AdapterResult<()>) {
        if let Err(error) = answer {
            self.status.set_health(RelayHealth::Unhealthy { reason: error.to_string() });
        }
    }

    /// Waits while the relay is paused.
    async fn may_call(&self) {
        poll_fn(|context| {
            let is_paused = self.controls.look(context).is_paused;
            self.status.is_paused.store(is_paused, Ordering::Relaxed);
            if is_paused { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Reports an error, and waits before the next try: twice as long each time, and as long as it ever does where an
    /// operator has to do something.
    pub(super) async fn rest(&self, error: &AdapterError, tries: &mut u32) {
        let reason = error.to_string();
        let (first, longest) = self.pauses;
        let (health, pause) = if error.is_retryable() {
            (RelayHealth::Retrying { reason }, first.saturating_mul(1 << (*tries).min(20)).min(longest))
        } else {
            (RelayHealth::Unhealthy { reason }, longest)
        };
        *tries = tries.saturating_add(1);
        count(&self.status.delivered.retries, 1);
        self.status.set_health(health);
        let pause = pause.mul_f64(0.75 + 0.25 * f64::from(u16::from_le_bytes(random())) / f64::from(u16::MAX));
        let Some(due) = Instant::now().checked_add(pause) else { return std::future::pending().await };
        let mut timer = Timer::new(&self.timers, due);
        if poll_fn(|context| Pin::new(&mut timer).poll(context)).await.is_err() {
            // Without a thread for timers, the relay's own waits.
            std::thread::sleep(first);
        }
    }
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
