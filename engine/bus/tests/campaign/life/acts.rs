//! The acts of a bus's users.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use tapeline::consumer::Start;
use tapeline::{ConsumeRequest, IngestionError, RawEvent, SubscribeRequest};
use tapeline_storage::device::sim::Random;

use super::drops::Part;
use super::ledger::{Reader, payload};
use super::one_life::Life;
use super::producers;
use super::schedule::Outcome;
use super::surroundings::TASKS;
use super::wakers;
use crate::runner::{ON_PURPOSE, step};

impl Life<'_> {
    pub(super) fn start_producers(&mut self, random: &mut Random) {
        step("start producers");
        for _ in 0..1 + random.below(3) {
            let stream = self.stream();
            self.begun.producers.extend(producers::spawn(&self.bus, stream, random.next_u64(), self.trouble.clone()));
        }
    }

    /// By the calling thread's own producer, or by that of a thread that ends.
    pub(super) fn ingest(&mut self, random: &mut Random) -> Outcome {
        step("ingest");
        let (stream, bus, count) = (self.stream(), Arc::clone(&self.bus), random.below(300));
        let work = move || {
            for number in 0..count {
                let event = || RawEvent::from_bytes(payload(number)).with_session(stream.name.as_str());
                match bus.ingest_raw(event()) {
                    Ok(_) => stream.take(1),
                    Err(IngestionError::Backpressure { .. } | IngestionError::Budget { .. }) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            Ok(())
        };
        let outcome = match random.below(2) {
            0 => work(),
            _ => std::thread::spawn(work).join().unwrap_or(Ok(())),
        };
        self.forgive(outcome)
    }

    /// Work on a shard's thread: it ends, panics, or goes on for as long as the bus does.
    pub(super) fn task(&mut self, random: &mut Random) -> Outcome {
        step("a task on a shard");
        let shard = random.below(u64::from(self.bus.num_shards())) as u16;
        TASKS.fetch_add(1, Ordering::Relaxed);
        let (kind, stream) = (random.below(4), self.stream());
        let task = self.bus.run_on_shard(shard, move |mut context| async move {
            let session = context.session(stream.name.as_str());
            for number in 0..200 {
                if context.emit(session, tapeline::kinds::TOKEN, &payload(number)).is_err() {
                    break;
                }
                stream.take(1);
                context.yield_now().await;
            }
            match kind {
                0 => std::panic::panic_any(format!("{ON_PURPOSE}: a task")),
                1 => std::future::pending::<()>().await,
                _ => {}
            }
        });
        let task = match task {
            Ok(task) => task,
            Err(error) => return self.forgive(Err(format!("run_on_shard: {error}"))),
        };
        if kind == 1 {
            self.begun.parts.push(Box::new(task));
            return Ok(());
        }
        match (task.join(), kind) {
            (Err(tapeline::error::TaskError::Panicked(_)), 0) | (Ok(()), 2 | 3) => Ok(()),
            (outcome, _) => self.forgive(Err(format!("a task of kind {kind} ended with {outcome:?}"))),
        }
    }

    /// A reader from the beginning to what there is now, or to the end of the bus.
    pub(super) fn read(&mut self, random: &mut Random) -> Outcome {
        step("a reader");
        let subscription = block_on(self.bus.subscribe(SubscribeRequest::new()));
        let mut events = match subscription {
            Ok(events) => events,
            Err(error) => return self.forgive(Err(format!("subscribe: {error}"))),
        };
        let mut reader = Reader::default();
        if random.below(2) == 0 {
            while let Some(event) = events.try_next() {
                match event {
                    Ok(event) => reader.take(&event)?,
                    Err(error) => {
                        self.forgive(Err(format!("a reader: {error}")))?;
                        break;
                    }
                }
            }
            self.begun.parts.push(Box::new(events));
            return Ok(());
        }
        let mut events = events.blocking();
        self.begun.producers.push(std::thread::spawn(move || {
            for event in &mut events {
                match event {
                    Ok(event) => reader.take(&event)?,
                    // A shard that is poisoned ends its readers with an error.
                    Err(_) => return Ok(()),
                }
            }
            Ok(())
        }));
        self.begun.is_followed = true;
        Ok(())
    }

    /// A waker of a user's executor that panics at one of the calls to it.
    pub(super) fn curse_a_waker(&mut self, random: &mut Random) -> Outcome {
        let call = wakers::draw(random);
        step(&format!("a waker that panics at {call:?}"));
        let subscription = block_on(self.bus.subscribe(SubscribeRequest::live()));
        let Ok(mut events) = subscription else { return Ok(()) };
        wakers::poll(std::pin::pin!(events.next()), call);
        self.begun.parts.push(Box::new(events));
        let request = ConsumeRequest::new(10).start(Start::Latest).wait(Duration::from_secs(1));
        wakers::poll(std::pin::pin!(self.bus.poll(request)), call);
        wakers::poll(std::pin::pin!(self.bus.flush()), call);
        let stream = self.stream();
        let Ok(mut producer) = self.bus.producer() else { return Ok(()) };
        let session = producer.session(stream.name.as_str());
        if let Ok(ticket) = producer.emit(session, tapeline::kinds::TOKEN, &payload(0)) {
            stream.take(1);
            wakers::poll(std::pin::pin!(producer.durable(ticket)), call);
        }
        self.begun.parts.push(Box::new(producer));
        Ok(())
    }

    /// Something of the bus that is dropped with it.
    pub(super) fn keep_a_part(&mut self, random: &mut Random) {
        step("keep a part");
        let part: Option<Part> = match random.below(4) {
            0 => self.bus.producer().ok().map(|producer| Box::new(producer) as Part),
            1 => block_on(self.bus.subscribe(SubscribeRequest::live())).ok().map(|events| Box::new(events) as Part),
            2 => block_on(self.bus.poll(ConsumeRequest::new(10))).ok().map(|page| Box::new(page) as Part),
            _ => {
                let bus = Arc::clone(&self.bus);
                let mut flush = Box::pin(async move { bus.flush().await });
                let _ = block_on(poll_once(&mut flush));
                Some(Box::new(flush))
            }
        };
        self.begun.parts.extend(part);
    }

    /// Producers until memory is short; with them gone it is there again.
    pub(super) fn many_producers(&mut self) -> Outcome {
        step("many producers");
        let mut producers = Vec::new();
        for number in 0..400u128 {
            let Ok(mut producer) = self.bus.producer() else { break };
            let session = producer.session(number + 1);
            match producer.emit(session, tapeline::kinds::TOKEN, b"{}") {
                Ok(_) => producers.push(producer),
                Err(IngestionError::Budget { .. }) => break,
                Err(error) => return self.forgive(Err(format!("producer {number}: {error}"))),
            }
        }
        Ok(())
    }
}
