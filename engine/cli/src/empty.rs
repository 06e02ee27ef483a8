//! The reason for which no event was selected, in words: a log without events, a session that is not there, or options
//! that leave all out.

use std::collections::BTreeMap;

use tapeline_reader::{Filter, Kind, LogFiles, ReplayRequest, SessionSummary, StoredEvent, kinds};

use crate::exit::{Exit, Failure};
use crate::human;
use crate::message;
use crate::output;
use crate::select::Selection;

/// Events that are looked at to find out what they are.
const LOOK_EVENTS: usize = 100_000;

/// Names and kinds that are listed.
const LIST_MAX: usize = 8;

/// The failure for sessions that are not in the log.
pub(crate) fn no_sessions(log: &LogFiles, names: &[&str]) -> Failure {
    let quoted: Vec<_> = names.iter().take(LIST_MAX).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > LIST_MAX { ", ..." } else { "" };
    let session = if names.len() == 1 { "no session" } else { "no sessions" };
    let advice = if log.segments().iter().all(|segment| segment.base == segment.end) {
        "the log has no events".to_owned()
    } else {
        format!("`tapeline ls {}` lists those there are", log.path().display())
    };
    Failure::new(Exit::NotFound, format_args!("{session} {}{more}; {advice}", quoted.join(", ")))
}

/// Says why nothing of the log is selected, on standard error.
pub(crate) fn explain(log: &LogFiles, selection: &Selection) {
    if let Some(why) = reason(log, selection) {
        message::note(why);
    }
}

/// `None` where the log cannot be read: another check reports that.
fn reason(log: &LogFiles, selection: &Selection) -> Option<String> {
    let sessions = log.sessions().ok()?;
    let wanted = selection.sessions().unwrap_or_default();
    let sessions: Vec<_> = sessions.iter().filter(|it| wanted.is_empty() || wanted.contains(&it.session)).collect();
    if sessions.is_empty() && !wanted.is_empty() {
        return Some(format!("nothing is selected: no session is called {}", selection.session.join(", ")));
    }
    let events: u64 = sessions.iter().map(|session| session.events).sum();
    let whose = match (&selection.session[..], sessions.as_slice()) {
        ([], _) => "the log".to_owned(),
        ([name, ..], [_]) => format!("session {name:?}"),
        _ => "the sessions".to_owned(),
    };
    if events == 0 {
        let opened = if sessions.is_empty() { String::new() } else { ", only openings of sessions".to_owned() };
        return Some(format!("nothing is selected: {whose} has no events{opened}"));
    }
    let what = format!("nothing is selected: {whose} has {}", human::some(events, "event"));
    let (since, until) = (selection.since.map(|when| when.0), selection.until.map(|when| when.0));
    let outside = || format!("{what}, none of them {}", out_of_range(since, until, sessions.iter().copied()));
    let looked = Looked::at(log, selection)?;
    match looked.in_range {
        0 => Some(outside()),
        // They came since.
        _ if selection.kind.is_empty() && selection.filter.is_none() => None,
        _ => Some(format!("{what}, {}", looked.left_out(selection))),
    }
}

/// The words for the times that are asked for, and for those of sessions that are all outside of them.
pub(crate) fn out_of_range<'a>(
    since: Option<u64>,
    until: Option<u64>,
    sessions: impl IntoIterator<Item = &'a SessionSummary>,
) -> String {
    let (first, last) = sessions.into_iter().fold((u64::MAX, 0), |(first, last), session| {
        (first.min(session.first_insertion_ts), last.max(session.last_insertion_ts))
    });
    let mut bounds = Vec::new();
    bounds.extend(since.map(|since| format!("from --since {} on", output::time(since))));
    bounds.extend(until.map(|until| format!("before --until {}", output::time(until))));
    let bounds = bounds.join(" and ");
    format!("{bounds}: they are from {} to {}", output::time(first), output::time(last))
}

/// The events in the range of time, whatever their kind and payload.
#[derive(Default)]
struct Looked {
    in_range: u64,
    /// Events by kind.
    kinds: BTreeMap<Kind, u64>,
    /// Events of a kind that is asked for.
    of_kind: u64,
    /// Those of them whose payload no filter can look into.
    opaque: u64,
}

impl Looked {
    fn at(log: &LogFiles, selection: &Selection) -> Option<Self> {
        let request = ReplayRequest { filter: None, ..selection.request() };
        let mut looked = Self::default();
        let events = log.replay_with(&request).ok()?.flatten().filter(|event| event.kind != kinds::SESSION);
        events.take(LOOK_EVENTS).for_each(|event| looked.add(&event, selection));
        Some(looked)
    }

    fn add(&mut self, event: &StoredEvent, selection: &Selection) {
        self.in_range += 1;
        *self.kinds.entry(event.kind).or_insert(0) += 1;
        if selection.kind.is_empty() || selection.kind.contains(&event.kind) {
            self.of_kind += 1;
            self.opaque += u64::from(is_opaque(&event.raw));
        }
    }

    fn left_out(&self, selection: &Selection) -> String {
        if self.of_kind == 0 {
            let asked: Vec<_> = selection.kind.iter().map(|kind| output::kind(*kind).into_owned()).collect();
            let there = self.kinds.iter().take(LIST_MAX);
            let there: Vec<_> =
                there.map(|(kind, events)| format!("{} ({})", output::kind(*kind), human::count(*events))).collect();
            return format!("none of --kind {}: they are {}", asked.join(", "), there.join(", "));
        }
        let looks_inside = selection.filter.as_ref().is_some_and(needs_payload);
        let mut text = format!("and --filter lets none of {} through", human::count(self.of_kind));
        if self.opaque > 0 && looks_inside {
            text.push_str(&format!(
                ": it looks into JSON, and into server-sent events whose data is JSON; neither: {}",
                human::some(self.opaque, "event")
            ));
        }
        text
    }
}

/// True if a filter looks into payloads.
fn needs_payload(filter: &Filter) -> bool {
    filter.compile().is_ok_and(|compiled| compiled.needs_payload())
}

/// True if no filter can look into a payload.
fn is_opaque(payload: &[u8]) -> bool {
    !tapeline_reader::is_filterable(payload)
}
