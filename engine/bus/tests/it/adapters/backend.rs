//! A backend in memory that fails as its schedule says.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, ready};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tapeline::AdapterError;
use tapeline::adapter::{Adapter, AdapterFuture, Batch, Delivery, RelayHandle};
use tapeline::event::StoredEvent;
use tapeline_testing::Random;

/// The answer to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Store,
    /// Stores a part, perhaps all of it, and answers with an error.
    StorePart,
    Refuse,
    Deny,
    Hang,
    Panic,
}

/// The events that the backend holds, and its answers. Clones are the same.
#[derive(Clone)]
pub(super) struct Backend(Arc<(Mutex<State>, Condvar)>);

pub(super) struct State {
    /// Everything that was stored, in the order in which it came, repeats included.
    pub(super) arrived: Vec<StoredEvent>,
    pub(super) redriven: Vec<StoredEvent>,
    pub(super) calls: u64,
    pub(super) batch_len_max: usize,
    /// Calls of `init` that fail before one succeeds.
    pub(super) inits: u32,
    pub(super) ended: Vec<&'static str>,
    answer: Box<dyn FnMut() -> Answer + Send>,
    /// Payloads that it does not take.
    pub(super) poison: Option<&'static [u8]>,
}

impl Backend {
    pub(super) fn new(answer: impl FnMut() -> Answer + Send + 'static) -> Self {
        let state = State {
            arrived: Vec::new(),
            redriven: Vec::new(),
            calls: 0,
            batch_len_max: 0,
            inits: 0,
            ended: Vec::new(),
            answer: Box::new(answer),
            poison: None,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub(super) fn reliable() -> Self {
        Self::new(|| Answer::Store)
    }

    /// Answers in every way, each call as a seed has it.
    pub(super) fn faulty(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let answers = [Answer::Store, Answer::Store, Answer::Store, Answer::StorePart, Answer::Refuse, Answer::Hang];
        Self::new(move || if random.below(40) == 0 { Answer::Panic } else { random.pick(&answers) })
    }

    pub(super) fn adapter(&self) -> Box<dyn Adapter> {
        Box::new(self.clone())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("no panic")
    }

    pub(super) fn answer(&self, answer: impl FnMut() -> Answer + Send + 'static) {
        self.lock().answer = Box::new(answer);
    }

    /// Waits until something holds of it.
    pub(super) fn wait(&self, mut holds: impl FnMut(&State) -> bool) {
        let (state, changed) = (self.lock(), &self.0.1);
        let waited = changed.wait_timeout_while(state, Duration::from_secs(60), |state| !holds(state));
        assert!(!waited.expect("no panic").1.timed_out(), "it does not come to that");
    }

    /// The sequences of each shard in the order in which they first came.
    pub(super) fn first_arrivals(&self) -> BTreeMap<u16, Vec<u64>> {
        let (state, mut known, mut shards) = (self.lock(), BTreeSet::new(), BTreeMap::<_, Vec<_>>::new());
        for event in &state.arrived {
            if known.insert(event.dedup_id()) {
                shards.entry(event.shard_id).or_default().push(event.sequence.get());
            }
        }
        shards
    }

    fn store(&self, batch: &Batch) -> Result<(), AdapterError> {
        let mut state = self.lock();
        state.calls += 1;
        state.batch_len_max = state.batch_len_max.max(batch.len());
        let poison = state.poison;
        let is_poison = |event: &StoredEvent| poison.is_some_and(|poison| event.raw == poison);
        if batch.events.iter().any(is_poison) {
            return Err(AdapterError::Serialization("it is poison".into()));
        }
        let answer = (state.answer)();
        let stored = match answer {
            Answer::Store => batch.len(),
            Answer::StorePart => state.calls as usize % (batch.len() + 1),
            _ => 0,
        };
        let events = batch.events[..stored].iter().cloned();
        match batch.delivery {
            Delivery::Redriven => state.redriven.extend(events),
            _ => state.arrived.extend(events),
        }
        drop(state);
        self.0.1.notify_all();
        match answer {
            Answer::Store => Ok(()),
            Answer::StorePart => Err(AdapterError::Connection("lost in the middle".into())),
            Answer::Refuse => Err(AdapterError::Backpressure("full".into())),
            Answer::Deny => Err(AdapterError::Denied("the password is wrong".into())),
            Answer::Hang => Err(AdapterError::Transient("hang".into())),
            Answer::Panic => panic!("as its schedule says"),
        }
    }
}

impl Adapter for Backend {
    fn name(&self) -> &'static str {
        "backend"
    }

    fn init(&mut self) -> AdapterFuture<'_> {
        let mut state = self.lock();
        let answer = match state.inits {
            0 => Ok(()),
            _ => Err(AdapterError::Connection("refused".into())),
        };
        state.inits = state.inits.saturating_sub(1);
        drop(state);
        Box::pin(ready(answer))
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        match self.store(&batch) {
            Err(AdapterError::Transient(hang)) if hang == "hang" => Box::pin(pending()),
            answer => Box::pin(ready(answer)),
        }
    }

    fn flush(&self) -> AdapterFuture<'_> {
        self.lock().ended.push("flush");
        Box::pin(ready(Ok(())))
    }

    fn shutdown(&self) -> AdapterFuture<'_> {
        self.lock().ended.push("shutdown");
        Box::pin(ready(Ok(())))
    }
}

/// Waits until something holds of a relay.
pub(super) fn wait_stats(relay: &RelayHandle, mut holds: impl FnMut(&tapeline::adapter::RelayStats) -> bool) {
    for _ in 0..60_000 {
        if holds(&relay.stats()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the relay does not come to that: {:?}", relay.stats());
}
