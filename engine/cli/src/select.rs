//! Which events a command is about: sessions, kinds, times, a filter.

use clap::Args;
use tapeline::{Filter, Kind, LogFiles, Replay, ReplayRequest, SessionId, kinds};

use crate::exit::{Exit, Failure};
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
    /// Only from this time on: 2026-01-31T12:00:00Z, 2026-01-31, -5m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<When>,
    /// Only before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<When>,
    /// Only events that this filter lets through: JSON, the grammar of docs/CONSUMERS.md
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
}

impl Selection {
    /// Whether it leaves anything out.
    pub(crate) fn is_some(&self) -> bool {
        let Self { session, kind, since, until, filter } = self;
        !session.is_empty() || !kind.is_empty() || since.is_some() || until.is_some() || filter.is_some()
    }

    /// The filter that all of it but the sessions and times amounts to.
    pub(crate) fn filter(&self) -> Option<Filter> {
        let kinds = (!self.kind.is_empty()).then(|| Filter::kinds(self.kind.iter().copied()));
        match (kinds, self.filter.clone()) {
            (Some(kinds), Some(filter)) => Some(Filter::and([kinds, filter])),
            (kinds, filter) => kinds.or(filter),
        }
    }

    /// The ids of the sessions that are asked for; none: all.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.session.iter().flat_map(|name| ids(name)).collect()
    }

    /// The request for a replay.
    pub(crate) fn request(&self) -> ReplayRequest {
        let sessions = self.sessions();
        let mut request = ReplayRequest::new();
        request.sessions = (!sessions.is_empty()).then_some(sessions);
        request.since = self.since.map(|when| when.0);
        request.until = self.until.map(|when| when.0);
        request.filter = self.filter();
        request
    }

    /// Replays the selected events. `each` gets them in order, and what is in place of those that cannot be read.
    ///
    /// # Errors
    /// Those of `each`; [`Exit::NotFound`] where a session was asked for and nothing was selected.
    pub(crate) fn replay(
        &self,
        log: &LogFiles,
        mut each: impl FnMut(<Replay as Iterator>::Item) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut any = false;
        for event in log.replay_with(&self.request())? {
            any = true;
            each(event)?;
        }
        match self.session.as_slice() {
            _ if any => Ok(()),
            [] => Ok(()),
            [name] => Err(Failure::new(Exit::NotFound, format_args!("no session {name:?}; `tapeline ls` lists them"))),
            names => Err(Failure::new(Exit::NotFound, format_args!("none of the sessions {names:?}"))),
        }
    }
}

/// The ids that the words of a person may mean: those of a name, or the id itself.
pub(crate) fn ids(name: &str) -> impl Iterator<Item = SessionId> {
    let id = (name.len() == 32).then(|| u128::from_str_radix(name, 16).ok()).flatten();
    [Some(tapeline::session_id(name)), id.map(SessionId)].into_iter().flatten()
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    kinds::parse(text).ok_or_else(|| "neither the name of a kind nor a number below 65536".to_owned())
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    Filter::from_json(text).map_err(|error| error.to_string())
}
