//! The requests of readers, as keyword arguments.

use pyo3::prelude::*;
use pyo3::types::PyString;
use tapeline::consumer::{ResumeToken, Start, Visibility};
use tapeline::event::{Kind, SessionId};
use tapeline::log::FollowStart;
use tapeline::{ConsumeRequest, Filter, Ordering, ReplayRequest, SubscribeRequest};

use crate::event::{KindArgument, SessionArgument, in_range};
use crate::failure::Failure;
use crate::payload::json_of;
use crate::settings::seconds;

/// Characters of a resume token; a cursor has more.
const TOKEN_CHARS: usize = 32;

/// Takes keyword arguments apart.
///
/// # Errors
/// An argument of another type or out of range, by its name.
pub(crate) fn take_apart<'a, 'py, T>(arguments: &'a Bound<'py, PyAny>) -> Result<T, Failure>
where
    T: FromPyObject<'a, 'py, Error = PyErr>,
{
    arguments.extract().map_err(|error| Failure::of_argument(arguments.py(), error))
}

/// The choice among a log's events.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Selection<'py> {
    sessions: Option<Vec<SessionArgument>>,
    kinds: Option<Vec<KindArgument>>,
    filter: Option<Bound<'py, PyAny>>,
}

impl Selection<'_> {
    pub(crate) fn sessions(&self) -> Option<Vec<SessionId>> {
        Some(self.sessions.as_ref()?.iter().map(|session| session.0).collect())
    }

    fn kinds(&self) -> Option<Vec<Kind>> {
        Some(self.kinds.as_ref()?.iter().map(|kind| kind.0).collect())
    }

    /// The filter: JSON, or what is written as JSON.
    fn filter(&self) -> Result<Option<Filter>, Failure> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let json = match filter.cast::<PyString>() {
            Ok(text) => text.to_str()?.to_owned(),
            Err(_) => json_of(filter)?,
        };
        Ok(Some(Filter::from_json(&json)?))
    }

    /// Kinds and filter as one filter.
    pub(crate) fn whole_filter(&self) -> Result<Option<Filter>, Failure> {
        let kinds = self.kinds().map(Filter::kinds);
        Ok(match (kinds, self.filter()?) {
            (Some(kinds), Some(filter)) => Some(Filter::and([kinds, filter])),
            (kinds, filter) => kinds.or(filter),
        })
    }
}

/// A replay.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct ReplayArguments<'py> {
    select: Selection<'py>,
    since: Option<u64>,
    until: Option<u64>,
}

impl ReplayArguments<'_> {
    /// # Errors
    /// A filter that is none.
    pub(crate) fn request(&self) -> Result<ReplayRequest, Failure> {
        let mut request = ReplayRequest::new();
        request.sessions = self.select.sessions();
        request.filter = self.select.whole_filter()?;
        request.since = self.since;
        request.until = self.until;
        Ok(request)
    }
}

/// A page.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct PollArguments<'py> {
    select: Selection<'py>,
    limit: usize,
    cursor: Option<String>,
    start: Bound<'py, PyAny>,
    by_time: bool,
    durable: bool,
    wait: f64,
}

impl PollArguments<'_> {
    /// # Errors
    /// An argument out of range, a filter that is none.
    pub(crate) fn request(&self) -> Result<ConsumeRequest, Failure> {
        let mut request = ConsumeRequest::new(self.limit).wait(seconds("wait", self.wait)?);
        request.from_id.clone_from(&self.cursor);
        request.start = start(&self.start)?;
        request.ordering = if self.by_time { Ordering::InsertionTs } else { Ordering::None };
        request.sessions = self.select.sessions();
        request.kinds = self.select.kinds();
        request.filter = self.select.filter()?;
        request.visibility = visibility(self.durable);
        Ok(request)
    }
}

/// A tail.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct TailArguments<'py> {
    pub(crate) select: Selection<'py>,
    after: Option<String>,
    start: Bound<'py, PyAny>,
    durable: bool,
}

/// A log that another process writes.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct FollowArguments<'py> {
    select: Selection<'py>,
    after: Option<String>,
    start: Bound<'py, PyAny>,
}

impl FollowArguments<'_> {
    /// # Errors
    /// A start that is none.
    pub(crate) fn start(&self) -> Result<FollowStart, Failure> {
        if let Some(cursor) = &self.after {
            return Ok(FollowStart::Cursor(cursor.clone()));
        }
        Ok(match start(&self.start)? {
            Start::Latest => FollowStart::Latest,
            Start::Time(time) => FollowStart::Time(time),
            _ => FollowStart::Earliest,
        })
    }

    /// # Errors
    /// A filter that is none.
    pub(crate) fn request(&self) -> Result<ReplayRequest, Failure> {
        let mut request = ReplayRequest::new();
        request.sessions = self.select.sessions();
        request.filter = self.select.whole_filter()?;
        Ok(request)
    }
}

/// The two ways to follow a log.
pub(crate) enum Follow {
    /// One session to its end, from the beginning or after a token.
    Relay { session: SessionId, after: Option<ResumeToken>, filter: Option<Filter>, visibility: Visibility },
    /// Any events.
    Subscribe(SubscribeRequest),
}

impl TailArguments<'_> {
    /// # Errors
    /// A token that is damaged or comes without its session, a filter that is none.
    pub(crate) fn follow(&self) -> Result<Follow, Failure> {
        let (sessions, start) = (self.select.sessions(), start(&self.start)?);
        let visibility = visibility(self.durable);
        let token = self.after.as_ref().filter(|after| after.len() <= TOKEN_CHARS);
        let after = token.map(|text| text.parse::<ResumeToken>()).transpose()?;
        let is_whole = self.after.is_none() && start == Start::Earliest;
        match (sessions.as_deref(), after) {
            (Some([session]), after) if after.is_some() || is_whole => {
                let filter = self.select.whole_filter()?;
                Ok(Follow::Relay { session: *session, after, filter, visibility })
            }
            (_, Some(_)) => Err(Failure::argument("a token continues one session; name that session, and no other")),
            _ => {
                let mut request = SubscribeRequest::new().start(start).visibility(visibility);
                request.cursor.clone_from(&self.after);
                request.until_close = sessions.is_some();
                request.sessions = sessions;
                request.kinds = self.select.kinds();
                request.filter = self.select.filter()?;
                Ok(Follow::Subscribe(request))
            }
        }
    }
}

fn visibility(durable: bool) -> Visibility {
    if durable { Visibility::Durable } else { Visibility::Appended }
}

fn start(start: &Bound<'_, PyAny>) -> Result<Start, Failure> {
    let Ok(word) = start.cast::<PyString>() else { return Ok(Start::Time(in_range("start", start.extract())?)) };
    match word.to_str()? {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        other => Err(Failure::argument(format!("start is {other:?}; earliest, latest, or a time in nanoseconds"))),
    }
}
