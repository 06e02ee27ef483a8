//! The one pass over the events: what is known of each session, and what has been measured.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use tapeline_histogram::Histogram;
use tapeline_reader::{SessionId, SessionOpening, StoredEvent, kinds};

use super::args::By;
use super::content::{End, Said};
use super::groups::{Group, Groups};
use super::measure::{Measure, Sample};
use super::track::Track;
use super::windows::Windows;
use crate::choices::Choices;
use crate::cut_off;
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
    /// Room for the samples of one event.
    samples: Vec<Sample>,
}

/// A session.
#[derive(Debug)]
struct Session {
    track: Track,
    group: usize,
    /// The form in which it was recorded.
    recorded: Recorded,
    answer: Answer,
}

/// The facts that say where the answer under way ends.
#[derive(Debug, Default)]
struct Answer {
    /// The hash of its id, as far as its chunks have one.
    id: Option<u64>,
    /// One of its choices has come to an end.
    has_finished: bool,
    /// It has come to an end, of which the end of its stream may be left.
    is_over: bool,
}

impl Answer {
    /// Takes an event. Returns whether it begins another answer: one that has come to its end is followed by the next.
    fn takes(&mut self, said: &Said) -> bool {
        let Said { piece, end, .. } = said;
        let id = piece.id.as_ref().map(hash);
        let is_another = self.has_finished && id.is_some() && self.id.is_some() && self.id != id;
        let is_next = is_another || (self.is_over && *end != Some(End::Stream));
        if is_next {
            *self = Self::default();
        }
        self.id = id.or(self.id);
        self.has_finished |= !piece.finished.is_empty();
        is_next
    }
}

fn hash(id: &String) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

impl Session {
    fn open(&mut self, opening: SessionOpening, groups: &mut Groups) {
        if opening.name.is_some() {
            self.recorded = Recorded::of(&opening);
        }
        self.group = groups.opened(self.group, opening);
    }
}

/// The session of an event, opened as `earlier` says if that is its first.
fn session_of<'s>(
    event: &StoredEvent,
    sessions: &'s mut HashMap<SessionId, Session>,
    groups: &mut Groups,
    earlier: &mut Option<SessionOpening>,
) -> &'s mut Session {
    let session = sessions.entry(event.session).or_insert_with(|| Session {
        track: Track::begun(event.insertion_ts),
        group: groups.of_session(event.session),
        recorded: Recorded::default(),
        answer: Answer::default(),
    });
    if let Some(opening) = earlier.take() {
        session.open(opening, groups);
    }
    session
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
            samples: Vec::new(),
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
        // The note is of a later recording, and tells nothing of when the session ended.
        if event.kind == kinds::SESSION && self.earlier.is_none() && cut_off::is_note(&event.raw) {
            return Ok(());
        }
        self.meet(event.insertion_ts)?;
        if event.kind == kinds::TOKEN && self.tokens == Tokens::WithContent {
            self.forget_tokens();
        }
        let mut samples = std::mem::take(&mut self.samples);
        let group = if event.kind == kinds::SESSION {
            self.change(event, &mut samples)
        } else {
            self.answer(event, &mut samples)
        };
        samples.drain(..).for_each(|sample| self.record(group, sample));
        self.samples = samples;
        Ok(())
    }

    fn meet(&mut self, time: u64) -> Result<(), Failure> {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        self.windows.see(time)
    }

    /// An event about its session. Returns the session's group.
    fn change(&mut self, event: &StoredEvent, samples: &mut Vec<Sample>) -> usize {
        let session = session_of(event, &mut self.sessions, &mut self.groups, &mut self.earlier);
        session.open(SessionOpening::parse(&event.raw), &mut self.groups);
        if session.answer.is_over {
            session.answer = Answer::default();
            samples.extend(session.track.end_answer());
        }
        session.track.event(event.insertion_ts);
        session.group
    }

    /// An event of an answer. Returns its session's group.
    fn answer(&mut self, event: &StoredEvent, samples: &mut Vec<Sample>) -> usize {
        let session = session_of(event, &mut self.sessions, &mut self.groups, &mut self.earlier);
        let is_by_content = event.kind != kinds::TOKEN && self.tokens == Tokens::WithContent;
        // Nothing is parsed for what is known without.
        let is_asked =
            is_by_content || self.groups.asks_for_model(session.group) || self.groups.asks_for_what(event.kind);
        let said = is_asked.then(|| Said::of(event, session.recorded));
        if let Some(model) = said.as_ref().and_then(|said| said.model.as_deref()) {
            session.group = self.groups.of_model(session.group, model);
        }
        let meant = said.as_ref().filter(|_| is_by_content);
        if meant.is_some_and(|said| session.answer.takes(said)) {
            samples.extend(session.track.end_answer());
        }
        self.groups.event(event, said.as_ref(), &session.track);
        let token = if event.kind == kinds::TOKEN { Choices::FIRST } else { Choices::default() };
        let choices = meant.map_or(token, |said| said.content);
        let time = event.insertion_ts;
        if choices.is_empty() {
            session.track.event(time);
        } else {
            let tokens = choices.indexes().count() as u64;
            self.windows.tokens(time, tokens);
            self.groups.tokens(session.group, tokens);
            samples.extend(session.track.token(time, choices.indexes()));
        }
        match meant.and_then(|said| said.end) {
            Some(End::Answer) => session.answer.is_over = true,
            Some(End::Stream) => {
                session.answer = Answer::default();
                samples.extend(session.track.end_answer());
            }
            None => {}
        }
        session.group
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
