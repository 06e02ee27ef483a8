//! The whole by session, kind or model. Windows of time are in a module of their own.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tapeline::{Kind, SessionId, StoredEvent};

use super::args::By;
use super::measure::{Part, Sample};
use super::track::Track;
use crate::output;

/// What stands for a model that no event names.
const UNNAMED: &str = "-";

/// What an event that opens a session says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Opening {
    name: Option<Value>,
    model: Option<Value>,
}

impl Opening {
    /// Reads the payload of an event of kind session. Any producer may write one: what says nothing is no error.
    pub(super) fn of(event: &StoredEvent) -> Self {
        serde_json::from_slice(&event.raw).unwrap_or_default()
    }
}

/// A group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) label: String,
    /// The session, as long as the label is its id.
    pub(super) unnamed: Option<SessionId>,
    pub(super) part: Part,
}

/// The groups, and which of them a sample belongs to.
#[derive(Debug)]
pub(super) struct Groups {
    by: Option<By>,
    all: Vec<Group>,
    /// Group of a model, or of a kind, by its name.
    named: HashMap<Cow<'static, str>, usize>,
    /// Streams of the events of one kind, and their groups; only where it is grouped by kind.
    kinds: HashMap<(SessionId, Kind), (Track, usize)>,
}

impl Groups {
    /// No groups yet.
    pub(super) fn new(by: Option<By>) -> Self {
        Self { by, all: Vec::new(), named: HashMap::new(), kinds: HashMap::new() }
    }

    /// The group that a new session belongs to as long as nothing names another. 0 where sessions do not decide.
    pub(super) fn of_session(&mut self, session: SessionId) -> usize {
        match self.by {
            Some(By::Session) => {
                let group = self.add(output::session(None, session));
                self.all[group].unnamed = Some(session);
                group
            }
            Some(By::Model) => self.named(Cow::Borrowed(UNNAMED)),
            Some(By::Kind | By::Time) | None => 0,
        }
    }

    /// A session's group, once an event has opened it. The first event that names a model decides; what came before it
    /// stays where it is.
    pub(super) fn opened(&mut self, group: usize, opening: Opening) -> usize {
        match self.by {
            Some(By::Session) => {
                if let Some(Value::String(name)) = opening.name {
                    self.all[group].label = output::printable(&name);
                    self.all[group].unnamed = None;
                }
                group
            }
            Some(By::Model) if self.all[group].label == UNNAMED => match opening.model {
                Some(Value::String(model)) => self.named(Cow::Owned(output::printable(&model))),
                _ => group,
            },
            Some(By::Model | By::Kind | By::Time) | None => group,
        }
    }

    /// Counts a token of a session's group.
    pub(super) fn token(&mut self, group: usize) {
        if let (Some(By::Session | By::Model), Some(group)) = (self.by, self.all.get_mut(group)) {
            group.part.tokens += 1;
        }
    }

    /// Records a sample of a session's group.
    pub(super) fn record(&mut self, group: usize, sample: Sample) {
        if let (Some(By::Session | By::Model), Some(group)) = (self.by, self.all.get_mut(group)) {
            group.part.record(sample);
        }
    }

    /// An event of a kind other than session, where it is grouped by kind. `session` has not counted it yet.
    pub(super) fn event(&mut self, event: &StoredEvent, session: &Track) {
        if self.by != Some(By::Kind) {
            return;
        }
        let key = (event.session, event.kind);
        if !self.kinds.contains_key(&key) {
            let (begun, events) = session.beginning();
            let group = self.named(output::kind(event.kind));
            self.kinds.insert(key, (Track::begun(begun, events), group));
        }
        if let Some((track, group)) = self.kinds.get_mut(&key) {
            let part = &mut self.all[*group].part;
            part.tokens += 1;
            if let Some(sample) = track.token(event.insertion_ts) {
                part.record(sample);
            }
        }
    }

    /// The tokens so far were none. Kinds are measured by themselves and stay.
    pub(super) fn forget_tokens(&mut self) {
        if self.by != Some(By::Kind) {
            self.all.iter_mut().for_each(|group| group.part = Part::default());
        }
    }

    /// All groups: sessions in the order in which they began, others by their tokens, the most first. Those without any
    /// sample or token are left out, except sessions.
    pub(super) fn ended(mut self) -> Vec<Group> {
        for (track, group) in self.kinds.values() {
            track.ended().for_each(|sample| self.all[*group].part.record(sample));
        }
        if self.by != Some(By::Session) {
            self.all.retain(|group| group.part != Part::default());
            self.all.sort_by(|one, other| {
                other.part.tokens.cmp(&one.part.tokens).then_with(|| one.label.cmp(&other.label))
            });
        }
        self.all
    }

    fn named(&mut self, name: Cow<'static, str>) -> usize {
        if let Some(&group) = self.named.get(&name) {
            return group;
        }
        let group = self.add(name.clone().into_owned());
        self.named.insert(name, group);
        group
    }

    fn add(&mut self, label: String) -> usize {
        self.all.push(Group { label, unnamed: None, part: Part::default() });
        self.all.len() - 1
    }
}
