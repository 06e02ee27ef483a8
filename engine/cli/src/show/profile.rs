//! The profile of a session: totals, kinds, stalls.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tapeline_reader::{Kind, SessionId, SessionOpening, StoredEvent, kinds};

use crate::human;
use crate::output;

/// A session as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Profile {
    r#type: &'static str,
    pub(super) session: Option<String>,
    pub(super) session_id: String,
    pub(super) shards: BTreeSet<u16>,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) first_timestamp: u64,
    pub(super) last_timestamp: u64,
    pub(super) duration_ns: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) events_per_second: Option<f64>,
    pub(super) kinds: Vec<KindTotals>,
    pub(super) stalls: Vec<Stall>,
    /// The gaps, in words.
    pub(super) gaps: Vec<String>,
}

/// The totals of one kind in a session.
#[derive(Debug, Serialize)]
pub(super) struct KindTotals {
    pub(super) kind: String,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) first_timestamp: u64,
    pub(super) last_timestamp: u64,
}

/// Two events in a row, and the time between them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Stall {
    pub(super) duration_ns: u64,
    /// Time of the event before it.
    pub(super) timestamp: u64,
    pub(super) time: String,
    /// Shard and sequence of the event before it.
    pub(super) after: EventRef,
    /// Shard and sequence of the event that ended it.
    pub(super) before: EventRef,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct EventRef {
    pub(super) shard: u16,
    pub(super) sequence: u64,
}

/// A profile in the making.
#[derive(Debug)]
pub(super) struct Profiler {
    stalls_max: usize,
    name: Option<String>,
    id: Option<SessionId>,
    shards: BTreeSet<u16>,
    kinds: BTreeMap<Kind, KindTotals>,
    /// The longest first.
    stalls: Vec<Stall>,
    last: Option<(u64, EventRef)>,
    gaps: Vec<String>,
}

impl Profiler {
    /// Remembers the `stalls_max` longest stalls.
    pub(super) fn new(stalls_max: usize) -> Self {
        Self {
            stalls_max,
            name: None,
            id: None,
            shards: BTreeSet::new(),
            kinds: BTreeMap::new(),
            stalls: Vec::new(),
            last: None,
            gaps: Vec::new(),
        }
    }

    /// Takes an event, in the order of the session.
    pub(super) fn add(&mut self, event: &StoredEvent) {
        self.id = Some(event.session);
        self.shards.insert(event.shard_id);
        if event.kind == kinds::SESSION && self.name.is_none() {
            self.name = SessionOpening::parse(&event.raw).name;
        }
        let time = event.insertion_ts;
        let totals = self.kinds.entry(event.kind).or_insert_with(|| KindTotals {
            kind: output::kind(event.kind).into_owned(),
            events: 0,
            bytes: 0,
            first_timestamp: time,
            last_timestamp: time,
        });
        totals.events += 1;
        totals.bytes += event.raw.len() as u64;
        totals.first_timestamp = totals.first_timestamp.min(time);
        totals.last_timestamp = totals.last_timestamp.max(time);
        let this = EventRef { shard: event.shard_id, sequence: event.sequence.get() };
        if let Some((before, after)) = self.last.replace((time, this)) {
            self.note_stall(time.saturating_sub(before), before, after, this);
        }
    }

    /// The session, if none of its events says what it is called.
    pub(super) fn unnamed(&self) -> Option<SessionId> {
        self.id.filter(|id| self.name.is_none() && *id != SessionId::NONE)
    }

    /// The session is called so.
    pub(super) fn name(&mut self, name: Option<String>) {
        self.name = name;
    }

    /// Takes what is missing.
    pub(super) fn add_gap(&mut self, what: String) {
        self.gaps.push(what);
    }

    fn note_stall(&mut self, duration_ns: u64, timestamp: u64, after: EventRef, before: EventRef) {
        let at = self.stalls.partition_point(|stall| stall.duration_ns >= duration_ns);
        if at < self.stalls_max {
            self.stalls.truncate(self.stalls_max - 1);
            let time = output::time(timestamp);
            self.stalls.insert(at, Stall { duration_ns, timestamp, time, after, before });
        }
    }

    /// The profile. `None`, if there was no event.
    pub(super) fn finish(self) -> Option<Profile> {
        let id = self.id?;
        let first_timestamp = self.kinds.values().map(|totals| totals.first_timestamp).min()?;
        let last_timestamp = self.kinds.values().map(|totals| totals.last_timestamp).max()?;
        let duration_ns = last_timestamp - first_timestamp;
        let counted = self.kinds.iter().filter(|(kind, _)| **kind != kinds::SESSION);
        let (events, bytes) =
            counted.fold((0, 0), |(events, bytes), (_, totals)| (events + totals.events, bytes + totals.bytes));
        Some(Profile {
            r#type: "session",
            session: self.name,
            session_id: id.to_string(),
            shards: self.shards,
            first: output::time(first_timestamp),
            last: output::time(last_timestamp),
            first_timestamp,
            last_timestamp,
            duration_ns,
            events,
            bytes,
            events_per_second: human::per_second(events, duration_ns),
            kinds: self.kinds.into_values().collect(),
            stalls: self.stalls,
            gaps: self.gaps,
        })
    }
}
