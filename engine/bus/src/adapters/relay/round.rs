//! Rounds: what a relay delivers between two positions of its cursor.
//!
//! A round has at most one batch for each shard in each of its steps. The batches of a step are delivered together, and
//! steps one after the other. Nearly every round has one step. Another begins where a session has moved from a shard to
//! another within the round, so that a backend gets the events of each session in order, whatever it makes of shards.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tapeline_reader::StoredEvent;
use tapeline_reader::timestamp::Clock;
use tapeline_storage::format::SessionId;
use tapeline_storage::log::{BatchOptions, BatchTarget};

use crate::live::Batch;

/// Bytes of payloads that make a round.
const ROUND_BYTES: usize = 8 << 20;

/// A round, and the cursor after it.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) steps: Vec<Vec<Batch>>,
    pub(super) cursor: String,
    /// The time of ingestion of its first event.
    pub(super) oldest: Option<u64>,
    /// The number of its events.
    pub(super) events: u64,
}

/// The events of the next round.
#[derive(Debug)]
pub(super) struct Collector {
    target: BatchTarget,
    steps: Vec<Vec<Batch>>,
    /// The batches of the last step.
    shards: BTreeMap<u16, Vec<StoredEvent>>,
    /// The shard of each session in the last step, from the second shard on.
    sessions: HashMap<SessionId, u16>,
    bytes: usize,
    /// The events of the fullest batch.
    largest: usize,
    /// The time at which the first event was taken up, and of its ingestion.
    since: Option<(Instant, u64)>,
    /// The time at which the last round was taken.
    taken: Option<Instant>,
    total: u64,
}

impl Collector {
    pub(super) fn new(options: BatchOptions) -> Self {
        Self {
            target: BatchTarget::new(options),
            steps: Vec::new(),
            shards: BTreeMap::new(),
            sessions: HashMap::new(),
            bytes: 0,
            largest: 0,
            since: None,
            taken: None,
            total: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// Returns whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= ROUND_BYTES || self.largest >= self.target.options().events_max
    }

    /// Returns whether it has as many events as are worth a batch: it takes more that are there, and waits for none.
    pub(super) fn has_batch(&self) -> bool {
        self.largest >= self.target.events()
    }

    /// The number of its events.
    pub(super) fn events(&self) -> u64 {
        let ended = self.steps.iter().flatten().map(Batch::len).sum::<usize>();
        (ended + self.shards.values().map(Vec::len).sum::<usize>()) as u64
    }

    /// The time of ingestion of its first event.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.since.map(|(_, ingested)| ingested)
    }

    /// The time from which its events wait for no others.
    pub(super) fn due(&self) -> Option<Instant> {
        let (since, _) = self.since?;
        let delay = Duration::from_nanos(self.target.options().delay_ns);
        // After a pause there is nothing to wait for.
        let has_paused = self.taken.is_none_or(|taken| since.saturating_duration_since(taken) >= delay);
        if has_paused { Some(since) } else { since.checked_add(delay) }
    }

    pub(super) fn add(&mut self, event: StoredEvent) {
        if self.since.is_none() {
            self.target.note(Clock::global().now(), self.total);
            self.since = Some((Instant::now(), event.insertion_ts));
        }
        if self.has_moved(&event) {
            self.end_step();
        }
        self.total += 1;
        self.bytes += event.raw.len();
        let batch = self.shards.entry(event.shard_id).or_default();
        batch.push(event);
        self.largest = self.largest.max(batch.len());
    }

    /// Returns whether the step has events of the session from another shard.
    fn has_moved(&mut self, event: &StoredEvent) -> bool {
        if self.shards.keys().all(|shard| *shard == event.shard_id) {
            return false;
        }
        if self.sessions.is_empty() {
            let known = self.shards.values().flatten().map(|event| (event.session, event.shard_id));
            self.sessions = known.collect();
        }
        let before = self.sessions.insert(event.session, event.shard_id);
        event.session != SessionId::NONE && before.is_some_and(|shard| shard != event.shard_id)
    }

    fn end_step(&mut self) {
        self.sessions.clear();
        let batches = std::mem::take(&mut self.shards);
        self.steps.push(batches.into_iter().map(|(shard, events)| Batch::new(shard, events)).collect());
    }

    /// Takes the round.
    pub(super) fn take(&mut self, cursor: String) -> Round {
        self.end_step();
        let (oldest, events) = (self.oldest(), self.events());
        (self.bytes, self.largest, self.since, self.taken) = (0, 0, None, Some(Instant::now()));
        Round { steps: std::mem::take(&mut self.steps), cursor, oldest, events }
    }
}

#[cfg(test)]
mod tests {
    use tapeline_reader::{EventId, kinds};
    use tapeline_storage::format::{LogId, Sequence};

    use super::*;
    use crate::core::config::BatchConfig;

    fn event(shard_id: u16, sequence: u64, session: u128) -> StoredEvent {
        let sequence = Sequence::new(sequence);
        StoredEvent {
            id: EventId { log: LogId([7; 16]), shard_id, sequence },
            raw: b"payload".to_vec().into(),
            insertion_ts: 1,
            shard_id,
            sequence,
            session: SessionId(session),
            kind: kinds::TOKEN,
            name: None,
        }
    }

    fn shape(round: &Round) -> Vec<Vec<(u16, usize)>> {
        let step = |step: &Vec<Batch>| step.iter().map(|batch| (batch.shard_id, batch.len())).collect();
        round.steps.iter().map(step).collect()
    }

    #[test]
    fn a_session_that_moves_begins_a_step_and_no_other_event_does() {
        let mut collector = Collector::new(BatchConfig::default().options());
        let moved = [(0, 0, 5), (0, 1, 6), (1, 0, 7), (1, 1, 6), (0, 2, 5), (1, 2, 6)];
        moved.into_iter().for_each(|(shard, sequence, session)| collector.add(event(shard, sequence, session)));
        assert_eq!(shape(&collector.take(String::new())), [vec![(0, 2), (1, 1)], vec![(0, 1), (1, 2)]]);
        // Events without a session never move.
        [(0, 3), (1, 3), (0, 4)].into_iter().for_each(|(shard, sequence)| collector.add(event(shard, sequence, 0)));
        assert_eq!(shape(&collector.take(String::new())), [vec![(0, 2), (1, 1)]]);
        assert!(collector.is_empty());
    }

    #[test]
    fn a_round_ends_with_the_events_of_a_batch_or_with_its_bytes() {
        let batch = BatchConfig { min_size: 3, max_size: 3, adaptive: false, ..BatchConfig::default() };
        let mut collector = Collector::new(batch.options());
        for sequence in 0..3 {
            assert!(!collector.is_full());
            collector.add(event(0, sequence, 1));
        }
        assert!(collector.is_full());
        let _ = collector.take(String::new());
        let large = StoredEvent { raw: vec![0; ROUND_BYTES].into(), ..event(0, 3, 1) };
        collector.add(large);
        assert!(collector.is_full());
    }
}
