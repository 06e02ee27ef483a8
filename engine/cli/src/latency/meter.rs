//! The one pass over the events: what is known of each session, and what has been measured.

use std::collections::HashMap;

use tapeline_histogram::Histogram;
use tapeline_reader::{SessionId, SessionOpening, StoredEvent, kinds};

use super::args::By;
use super::content::Said;
use super::groups::{Group, Groups};
use super::measure::{Measure, Sample};
use super::track::Track;
use super::windows::Windows;
use crate::exit::Failure;
use crate::recorded::Recorded;

/// The events that count as tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tokens {
    /// Those of kind token.
    OfKindToken,
    /// Those that bring content, of any kind but session: as long as no event of kind token has been met.
    WithContent,
}

/// Measures events, one after the other.
#[derive(Debug)]
pub(super) struct Meter {
    tokens: Tokens,
    sessions: HashMap<SessionId, Session>,
    totals: [Histogram<u64>; Measure::ALL.len()],
    windows: Windows,
    groups: Groups,
    /// The last opening of the session before its next event.
    earlier: Option<SessionOpening>,
    /// First and last time that was met.
    span: Option<(u64, u64)>,
    without_session: u64,
}

/// A session.
#[derive(Debug)]
struct Session {
    track: Track,
    group: usize,
    /// The form in which it was recorded.
    recorded: Recorded,
}

impl Session {
    fn open(&mut self, opening: SessionOpening, groups: &mut Groups) {
        if opening.name.is_some() {
            self.recorded = Recorded::of(&opening);
        }
        self.group = groups.opened(self.group, opening);
    }
}

/// The measurements.
#[derive(Debug)]
pub(super) struct Measured {
    /// The events that counted as tokens.
    pub(super) tokens: Tokens,
    /// The number of tokens.
    pub(super) token_count: u64,
    /// Sessions that were met.
    pub(super) sessions: u64,
    /// Events that belong to no session. They were not measured.
    pub(super) without_session: u64,
    /// First and last time that was met.
    pub(super) span: Option<(u64, u64)>,
    /// By measure.
    pub(super) totals: [Histogram<u64>; Measure::ALL.len()],
    pub(super) windows: Windows,
    pub(super) groups: Vec<Group>,
    /// The number of sessions, kinds or models that are in one group because there were too many.
    pub(super) lumped: u64,
}

impl Meter {
    /// A meter that has met nothing.
    pub(super) fn new(by: Option<By>, window: Option<u64>) -> Self {
        Self {
            tokens: Tokens::WithContent,
            sessions: HashMap::new(),
            totals: std::array::from_fn(|_| tapeline_histogram::histogram()),
            windows: Windows::new(window),
            groups: Groups::new(by),
            earlier: None,
            span: None,
            without_session: 0,
        }
    }

    /// The session of the next event was opened as this, at a time that is not measured.
    pub(super) fn opened_before(&mut self, opening: SessionOpening) {
        self.earlier = Some(opening);
    }

    /// Measures an event. Those of a session come in its order.
    ///
    /// # Errors
    /// As [`Windows::see`].
    pub(super) fn event(&mut self, event: &StoredEvent) -> Result<(), Failure> {
        if event.session == SessionId::NONE {
            self.without_session += 1;
            return Ok(());
        }
        let time = event.insertion_ts;
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        self.windows.see(time)?;
        if event.kind == kinds::TOKEN && self.tokens == Tokens::WithContent {
            self.forget_tokens();
        }
        let session = self.sessions.entry(event.session).or_insert_with(|| Session {
            track: Track::begun(time, 0),
            group: self.groups.of_session(event.session),
            recorded: Recorded::default(),
        });
        if let Some(opening) = self.earlier.take() {
            session.open(opening, &mut self.groups);
        }
        if event.kind == kinds::SESSION {
            session.open(SessionOpening::parse(&event.raw), &mut self.groups);
            session.track.event(time);
            return Ok(());
        }
        // Nothing is parsed for what is known without.
        let is_asked = (event.kind != kinds::TOKEN && self.tokens == Tokens::WithContent)
            || self.groups.asks_for_model(session.group)
            || self.groups.asks_for_what(event.kind);
        let said = is_asked.then(|| Said::of(event, session.recorded));
        if let Some(model) = said.as_ref().and_then(|said| said.model.as_deref()) {
            session.group = self.groups.of_model(session.group, model);
        }
        let what = said.as_ref().and_then(|said| said.what.as_deref());
        self.groups.event(event, what.filter(|_| event.kind == kinds::UNSPECIFIED), &session.track);
        let is_by_content = event.kind != kinds::TOKEN && self.tokens == Tokens::WithContent;
        let said = said.filter(|_| is_by_content).unwrap_or_default();
        let (track, group) = (&mut session.track, session.group);
        let token = if event.kind == kinds::TOKEN || said.has_content {
            self.windows.token(time);
            self.groups.token(group);
            track.token(time)
        } else {
            track.event(time);
            None
        };
        let ended = if said.ends_answer { track.end_answer() } else { None };
        [token, ended].into_iter().flatten().for_each(|sample| self.record(group, sample));
        Ok(())
    }

    /// There is an event of kind token: only these count, and what was counted before them does not. Happens once.
    fn forget_tokens(&mut self) {
        self.tokens = Tokens::OfKindToken;
        self.sessions.values_mut().for_each(|session| session.track.forget_tokens());
        self.totals.iter_mut().for_each(Histogram::reset);
        self.windows.clear();
        self.groups.forget_tokens();
    }

    fn record(&mut self, group: usize, sample: Sample) {
        self.totals[sample.measure as usize].saturating_record(sample.value);
        self.windows.record(sample);
        self.groups.record(group, sample);
    }

    /// The measurements, with all sessions taken to be over.
    pub(super) fn ended(mut self) -> Measured {
        let (mut token_count, sessions) = (0, self.sessions.len() as u64);
        for Session { track, group, .. } in std::mem::take(&mut self.sessions).into_values() {
            token_count += track.tokens();
            track.ended().for_each(|sample| self.record(group, sample));
        }
        let Self { tokens, totals, windows, groups, span, without_session, .. } = self;
        let (groups, lumped) = groups.ended();
        Measured { tokens, token_count, sessions, without_session, span, totals, windows, groups, lumped }
    }
}
