//! The measurements as a histogram report.

use std::path::Path;

use tapeline_histogram::{Counts, Group, Report, Series, Slice, Unit};
use tapeline_reader::LogFiles;

use super::args::{By, LatencyArgs};
use super::groups::{GROUPS_MAX, OTHERS};
use super::measure::{Measure, Part};
use super::meter::{Measured, Tokens};
use super::track::per_thousand_seconds;
use crate::exit::Exit;
use crate::{human, output};

/// The name of the measure that windows give values of, not events or sessions.
pub(super) const THROUGHPUT: &str = "throughput";

/// The report. `exit` says whether anything was missing.
pub(super) fn report(args: &LatencyArgs, log: &LogFiles, measured: &Measured, exit: Exit) -> Report {
    let measures = Measure::ALL.into_iter().zip(&measured.totals).map(|(measure, total)| {
        let mut series = Series::new(measure.name(), measure.title(), measure.unit(), total.clone());
        series.slices = slices(measured, |part| part.of(measure).clone());
        series.groups = match args.by {
            Some(By::Session | By::Kind | By::Model) => {
                let groups = measured.groups.iter();
                groups
                    .map(|group| Group { label: group.label.clone(), counts: group.part.of(measure).clone() })
                    .collect()
            }
            // Windows are there in any case.
            Some(By::Time) | None => Vec::new(),
        };
        series
    });
    Report {
        title: format!("Latency of {}", name(&args.directory)),
        facts: facts(args, log, measured, exit),
        grouped_by: args.by.map(|by| by.name().to_owned()).unwrap_or_default(),
        series: measures.chain([throughput(measured)]).collect(),
    }
}

/// Tokens a second of all sessions: one value for each window, those without a token included.
pub(super) fn throughput(measured: &Measured) -> Series {
    let rate =
        |part: Option<&Part>| per_thousand_seconds(part.map_or(0, |part| part.tokens), measured.windows.length());
    let title = "Tokens a second of all sessions";
    let mut series = Series::new(THROUGHPUT, title, Unit::PerThousandSeconds, tapeline_histogram::histogram());
    for (start_ns, part) in measured.windows.all() {
        let mut counts = Counts::new();
        counts.record(rate(part));
        series.histogram.saturating_record(rate(part));
        series.slices.push(Slice { start_ns, end_ns: start_ns.saturating_add(measured.windows.length()), counts });
    }
    series
}

/// The windows in which something was recorded.
fn slices(measured: &Measured, counts: impl Fn(&Part) -> Counts) -> Vec<Slice> {
    let windows = measured.windows.all().filter_map(|(start_ns, part)| Some((start_ns, counts(part?))));
    let slice = |(start_ns, counts): (u64, Counts)| {
        let end_ns = start_ns.saturating_add(measured.windows.length());
        (counts.count() > 0).then_some(Slice { start_ns, end_ns, counts })
    };
    windows.filter_map(slice).collect()
}

fn facts(args: &LatencyArgs, log: &LogFiles, measured: &Measured, exit: Exit) -> Vec<(String, String)> {
    let mut facts = vec![("log", log.log_id().to_string())];
    if let Some((first, last)) = measured.span {
        facts.push(("first event", output::time(first)));
        facts.push(("last event", output::time(last)));
    }
    facts.push(("sessions", measured.sessions.to_string()));
    facts.push(("tokens", format!("{} ({})", measured.token_count, what(measured.tokens))));
    facts.push(("windows", Unit::Nanoseconds.text(measured.windows.length() as f64)));
    if measured.without_session > 0 {
        facts.push(("not measured", format!("{} without a session", human::some(measured.without_session, "event"))));
    }
    facts.extend(others(measured).map(|text| ("groups", text)));
    facts.extend(args.selection.is_some().then(|| ("selected", "by sessions, kinds, times or a filter".to_owned())));
    facts.extend((exit != Exit::Done).then(|| {
        (
            "incomplete",
            "parts of the log are gone or damaged, and what spans them is measured as if nothing were missing"
                .to_owned(),
        )
    }));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The note that there are more groups than stand by themselves, if there are.
pub(super) fn others(measured: &Measured) -> Option<String> {
    (measured.lumped > 0).then(|| {
        format!(
            "the first {} groups stand by themselves, what came later is together in {OTHERS:?}; --session, --since or \
             --filter select less",
            human::count(GROUPS_MAX as u64)
        )
    })
}

/// The events that counted as tokens, in words.
pub(super) fn what(tokens: Tokens) -> &'static str {
    match tokens {
        Tokens::OfKindToken => "events of kind token",
        Tokens::WithContent => "no event is of kind token: those that bring content",
    }
}

fn name(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or(directory.as_os_str());
    output::printable(&name.to_string_lossy())
}
