//! The events that a command is about: sessions, kinds, times, a filter.

use clap::Args;
use tapeline_reader::{
    ConsumerResult, Filter, Kind, LogFiles, ReplayRequest, SessionId, SessionOpening, StoredEvent, kinds,
};

use crate::empty;
use crate::exit::{Exit, Failure};
use crate::message;
use crate::openings::{self, Openings};
use crate::when::When;

/// Options that select events. What several of them say must all hold.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which events")]
pub(crate) struct Selection {
    /// Only this session: its name, or its id as 32 hexadecimal digits; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Vec<String>,
    /// Only this kind: its name (token, tool_call, ...) or number; may be repeated
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    pub(crate) kind: Vec<Kind>,
    /// Only from this time on: 2026-01-31T12:00:00Z, 2026-01-31, 1700000000, -5m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<When>,
    /// Only before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<When>,
    /// Only events that this filter lets through: JSON
    ///
    /// {"path":"model","value":"x"}                     the payload has a field model that is "x"
    /// {"$gt":{"path":"usage.total_tokens","value":9}}  likewise $gte, $lt, $lte, $ne, $prefix, $contains
    /// {"$in":{"path":"model","values":["x","y"]}}      one of them
    /// {"$exists":{"path":"usage"}}                     it is there
    /// {"$session":"a"}, {"$kind":1}, {"$size":{"gte":9}}, {"$time":{"gte":1700000000000000000}}
    /// {"$and":[F, ..]}, {"$or":[F, ..]}, {"$not":F}    of other filters
    ///
    /// It looks into JSON, and into server-sent events whose data is JSON. `tapeline help filter` has all of it.
    #[arg(long, value_name = "JSON", value_parser = parse_filter, verbatim_doc_comment)]
    pub(crate) filter: Option<Filter>,
    /// The sessions that the names mean in the log, once they are looked up.
    #[arg(skip)]
    pub(crate) meant: Option<Vec<SessionId>>,
}

impl Selection {
    /// Returns whether it leaves anything out.
    pub(crate) fn is_some(&self) -> bool {
        let Self { session, kind, since, until, filter, meant: _ } = self;
        !session.is_empty() || !kind.is_empty() || since.is_some() || until.is_some() || filter.is_some()
    }

    /// The filter that all of it but the sessions and times amounts to.
    pub(crate) fn filter(&self) -> Option<Filter> {
        // What was recorded in parts is an event of no kind.
        let parts = self.kind.contains(&kinds::UNSPECIFIED).then_some(kinds::PART);
        let kinds = (!self.kind.is_empty()).then(|| Filter::kinds(self.kind.iter().copied().chain(parts)));
        match (kinds, self.filter.clone()) {
            (Some(kinds), Some(filter)) => Some(Filter::and([kinds, filter])),
            (kinds, filter) => kinds.or(filter),
        }
    }

    /// The ids of the sessions that are asked for; `None`: all.
    pub(crate) fn sessions(&self) -> Option<Vec<SessionId>> {
        let all = || self.session.iter().flat_map(|name| ids(name)).collect();
        (!self.session.is_empty()).then(|| self.meant.clone().unwrap_or_else(all))
    }

    /// The same with those of this log whose ids do not follow from their names. Others may come.
    pub(crate) fn sessions_in(&self, log: &LogFiles) -> Option<Vec<SessionId>> {
        self.sessions()?;
        let (mut sessions, mut names) = (Vec::new(), Vec::new());
        for name in &self.session {
            match id_in(log, name) {
                Some(id) => sessions.push(id),
                None => {
                    sessions.extend(ids(name));
                    names.push(name);
                }
            }
        }
        let is_asked_for = |name: &String| names.contains(&name);
        sessions.extend(log.session_names().into_iter().filter(|(_, name)| is_asked_for(name)).map(|(id, _)| id));
        Some(sessions)
    }

    /// The request for a replay.
    pub(crate) fn request(&self) -> ReplayRequest {
        let mut request = ReplayRequest::new();
        request.sessions = self.sessions();
        request.since = self.since.map(|when| when.0);
        request.until = self.until.map(|when| when.0);
        request.filter = self.filter();
        request
    }

    /// Replays the selected events. `each` gets them in order, and what is in place of those that cannot be read; and
    /// of each session what it was opened as, where that is asked for. Where nothing is selected it says why. Returns
    /// [`Exit::NotFound`] where a session was asked for that the log has not got, beside others that it has.
    ///
    /// # Errors
    /// Those of `each`; [`Exit::NotFound`] where none of the sessions is there that were asked for.
    pub(crate) fn replay(
        &self,
        log: &LogFiles,
        asks: AsksFor,
        mut each: impl FnMut(Met) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        let Found { selection, exit } = self.found_in(log)?;
        let mut request = selection.request();
        if asks == AsksFor::Openings {
            request.filter = request.filter.map(openings::let_through);
        }
        let is_wanted = |event: &StoredEvent| event.kind != kinds::SESSION || self.kind.contains(&kinds::SESSION);
        let mut openings = (asks != AsksFor::Events).then(Openings::default);
        let mut any = false;
        for event in log.replay_with(&request)? {
            any |= event.as_ref().map_or(true, is_wanted);
            if let (Some(openings), Ok(event)) = (&mut openings, &event)
                && let Some(opening) = openings.before(event, |time| {
                    // Of sessions that begin later, the openings may not come.
                    let time = if asks == AsksFor::Beginnings { u64::MAX } else { time };
                    log.openings_before(time, request.sessions.as_deref())
                })
            {
                each(Met::Opening(event.session, opening))?;
            }
            each(Met::Event(event))?;
        }
        if !any {
            empty::explain(log, &selection);
        }
        Ok(exit)
    }

    /// The same selection with the ids of sessions that are not named after them, as far as they are in the log.
    ///
    /// # Errors
    /// [`Exit::NotFound`] where none of the sessions is there. It reports those that are missing beside others on
    /// standard error.
    pub(crate) fn found_in(&self, log: &LogFiles) -> Result<Found, Failure> {
        let mut found = Found { selection: self.clone(), exit: Exit::Done };
        let mut meant: Vec<_> = self.session.iter().flat_map(|name| meant(log, name)).collect();
        found.selection.meant = Some(meant.clone());
        let missing: Vec<_> = self.session.iter().filter(|name| !may_have(log, name)).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        // A session may have any id, and be called what its opening event says.
        let names = log.session_names();
        let mut unknown = Vec::new();
        for name in missing {
            let ids: Vec<_> = names.iter().filter(|(_, known)| *known == name).map(|(id, _)| *id).collect();
            if ids.is_empty() {
                unknown.push(name.as_str());
            }
            meant.extend(ids);
        }
        found.selection.meant = Some(meant);
        if !unknown.is_empty() {
            let failure = empty::no_sessions(log, &unknown);
            if unknown.len() == self.session.len() {
                return Err(failure);
            }
            found.exit = failure.exit;
            message::error(failure);
        }
        Ok(found)
    }
}

/// The items that a replay hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsksFor {
    /// The selected events.
    Events,
    /// These, and what each session was opened as whose first is another than its opening.
    Beginnings,
    /// These, what each session was opened as before its first, and all events of kind session in the range of time.
    Openings,
}

/// The next item of a replay.
#[derive(Debug)]
pub(crate) enum Met {
    /// The last opening of the session before its first event that is handed out.
    Opening(SessionId, SessionOpening),
    /// An event, or what is in place of some.
    Event(ConsumerResult<StoredEvent>),
}

/// A selection whose sessions were looked up.
pub(crate) struct Found {
    pub(crate) selection: Selection,
    /// [`Exit::NotFound`] where some are missing.
    pub(crate) exit: Exit,
}

/// Returns whether the log has events of the session of this name or id, or may have some in parts that cannot be read.
/// Looks for the first.
fn may_have(log: &LogFiles, name: &str) -> bool {
    let mut request = ReplayRequest::new();
    request.sessions = Some(ids(name).collect());
    log.replay_with(&request).is_ok_and(|mut events| events.next().is_some())
}

/// The sessions that the words of a person mean in a log: that of the id, if the log has events of it, or else those of
/// the name.
fn meant(log: &LogFiles, name: &str) -> Vec<SessionId> {
    id_in(log, name).map_or_else(|| ids(name).collect(), |id| vec![id])
}

/// The id that is written, if it is one and the log has events of it.
fn id_in(log: &LogFiles, text: &str) -> Option<SessionId> {
    let id = id_of(text)?;
    let mut request = ReplayRequest::new();
    request.sessions = Some(vec![id]);
    let mut events = log.replay_with(&request).ok()?;
    events.any(|event| event.is_ok()).then_some(id)
}

/// The ids that the words of a person may mean: those of a name, or the id itself.
pub(crate) fn ids(name: &str) -> impl Iterator<Item = SessionId> {
    [Some(tapeline_reader::session_id(name)), id_of(name)].into_iter().flatten()
}

/// The id that 32 hexadecimal digits are.
fn id_of(text: &str) -> Option<SessionId> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| u128::from_str_radix(text, 16).ok().map(SessionId)).flatten()
}

/// A kind, from its name or number.
pub(crate) fn parse_kind(text: &str) -> Result<Kind, String> {
    kinds::parse(text).ok_or_else(|| {
        let names: Vec<_> = (0..kinds::RESERVED.start).map_while(|number| kinds::name(Kind(number))).collect();
        format!("a kind is a number below 65536, or one of {}", names.join(", "))
    })
}

/// A filter, from JSON.
pub(crate) fn parse_filter(text: &str) -> Result<Filter, String> {
    Filter::from_json(text).map_err(|error| error.to_string())
}
