//! The whole by session, kind or model. Windows of time are in a module of their own.

use std::borrow::Cow;
use std::collections::HashMap;

use tapeline_reader::{Kind, SessionId, SessionOpening, StoredEvent, kinds};

use super::args::By;
use super::content::Said;
use super::measure::{Part, Sample};
use super::track::Track;
use crate::choices::Choices;
use crate::output;

/// The label of sessions whose model no event names.
const UNNAMED: &str = "-";

/// Most groups that stand by themselves. Those that come later are one together.
pub(super) const GROUPS_MAX: usize = 10_000;

/// The label of that group.
pub(super) const OTHERS: &str = "others";

/// A group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// As it is called. What shows it on a line of text escapes it.
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
    /// Streams of the events of one group in a session; only where it is grouped by kind.
    kinds: HashMap<(SessionId, usize), Track>,
    /// The group of all that came when there were [`GROUPS_MAX`].
    others: Option<usize>,
    /// The number of sessions, kinds or models it stands for, those that came again counted again.
    lumped: u64,
}

impl Groups {
    /// No groups yet.
    pub(super) fn new(by: Option<By>) -> Self {
        Self { by, all: Vec::new(), named: HashMap::new(), kinds: HashMap::new(), others: None, lumped: 0 }
    }

    /// The group that a new session belongs to as long as nothing names another. 0 where sessions do not decide.
    pub(super) fn of_session(&mut self, session: SessionId) -> usize {
        match self.by {
            Some(By::Session) => {
                let group = self.add(output::session(None, session));
                if self.others != Some(group) {
                    self.all[group].unnamed = Some(session);
                }
                group
            }
            Some(By::Model) => self.named(Cow::Borrowed(UNNAMED)),
            Some(By::Kind | By::Time) | None => 0,
        }
    }

    /// A session's group, once an event has opened it.
    pub(super) fn opened(&mut self, group: usize, opening: SessionOpening) -> usize {
        match (self.by, opening.name) {
            (Some(By::Session), Some(name)) if self.others != Some(group) => {
                self.all[group].label = name;
                self.all[group].unnamed = None;
                group
            }
            _ => match opening.metadata.model {
                Some(model) => self.of_model(group, &model),
                None => group,
            },
        }
    }

    /// A session's group, once an event has named a model. The first that does decides; what came before it stays
    /// where it is.
    pub(super) fn of_model(&mut self, group: usize, model: &str) -> usize {
        if self.asks_for_model(group) { self.named(Cow::Owned(model.to_owned())) } else { group }
    }

    /// True if the model of this group's session is not known, and of interest.
    pub(super) fn asks_for_model(&self, group: usize) -> bool {
        self.by == Some(By::Model) && self.all[group].label == UNNAMED
    }

    /// True if events of this kind are distinguished by what they say: by kind, where they have none.
    pub(super) fn asks_for_what(&self, kind: Kind) -> bool {
        self.by == Some(By::Kind) && kind == kinds::UNSPECIFIED
    }

    /// Counts tokens of a session's group.
    pub(super) fn tokens(&mut self, group: usize, tokens: u64) {
        if let (Some(By::Session | By::Model), Some(group)) = (self.by, self.all.get_mut(group)) {
            group.part.tokens += tokens;
        }
    }

    /// Records a sample of a session's group.
    pub(super) fn record(&mut self, group: usize, sample: Sample) {
        if let (Some(By::Session | By::Model), Some(group)) = (self.by, self.all.get_mut(group)) {
            group.part.record(sample);
        }
    }

    /// An event of a kind other than session, where it is grouped by kind; what it `said` of itself, if it was asked.
    /// `session` has not counted it yet.
    pub(super) fn event(&mut self, event: &StoredEvent, said: Option<&Said>, session: &Track) {
        if self.by != Some(By::Kind) {
            return;
        }
        let what = said.and_then(|said| said.what.as_deref()).filter(|_| event.kind == kinds::UNSPECIFIED);
        let label = what.map_or_else(|| output::kind(event.kind), |what| Cow::Owned(what.to_owned()));
        let choices = said.map_or(Choices::FIRST, Said::choices);
        let group = self.named(label);
        let track = self.kinds.entry((event.session, group)).or_insert_with(|| Track::within(session));
        let part = &mut self.all[group].part;
        track.follow(session).for_each(|sample| part.record(sample));
        for sample in track.token(event.insertion_ts, choices.indexes()) {
            part.record(sample);
        }
        part.tokens += choices.indexes().count() as u64;
    }

    /// The tokens so far were none. Kinds are measured by themselves and stay.
    pub(super) fn forget_tokens(&mut self) {
        if self.by != Some(By::Kind) {
            self.all.iter_mut().for_each(|group| group.part = Part::default());
        }
    }

    /// All groups, and how many are in the one of all others: sessions in the order in which they began, others by
    /// their tokens, the most first. Those without any sample or token are left out, except sessions.
    pub(super) fn ended(mut self) -> (Vec<Group>, u64) {
        for ((_, group), track) in &self.kinds {
            track.ended().for_each(|sample| self.all[*group].part.record(sample));
        }
        if self.by != Some(By::Session) {
            self.all.retain(|group| group.part != Part::default());
            self.all.sort_by(|one, other| {
                other.part.tokens.cmp(&one.part.tokens).then_with(|| one.label.cmp(&other.label))
            });
        }
        (self.all, self.lumped)
    }

    fn named(&mut self, name: Cow<'static, str>) -> usize {
        if let Some(&group) = self.named.get(&name) {
            return group;
        }
        let group = self.add(name.clone().into_owned());
        if self.others != Some(group) {
            self.named.insert(name, group);
        }
        group
    }

    /// Another group, or that of all others.
    fn add(&mut self, label: String) -> usize {
        if self.all.len() >= GROUPS_MAX {
            self.lumped += 1;
            if let Some(others) = self.others {
                return others;
            }
            self.others = Some(self.all.len());
            self.all.push(Group { label: OTHERS.to_owned(), unnamed: None, part: Part::default() });
        } else {
            self.all.push(Group { label, unnamed: None, part: Part::default() });
        }
        self.all.len() - 1
    }
}
