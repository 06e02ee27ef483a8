//! A trace of single requests: CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens, as Azure published its
//! traces of LLM inference (2023). Each request is a session. When the trace ends it starts again.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::lines::Lines;
use super::plan::{Answer, Plan, Request, prefill, seconds};
use crate::harness::Outcome;

/// The columns, in the order of [`Columns`].
pub(super) const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// A trace that repeats.
#[derive(Debug)]
pub(super) struct AzureTrace {
    lines: Lines,
    columns: Columns,
    /// Stands where a model's name would.
    model: Arc<str>,
    requests: u64,
    /// Time of the first request, in seconds since 1970.
    first: f64,
    /// Latest arrival so far, from the start of the trace.
    latest: Duration,
    /// From one repetition to the next, and when this one began.
    span: Duration,
    began: Duration,
    given: u64,
}

/// A line.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Seconds since 1970.
    time: f64,
    context_tokens: u32,
    generated_tokens: u32,
}

impl AzureTrace {
    /// Reads the trace once, so that what is wrong with it is known before the load begins.
    pub(super) fn open(mut lines: Lines) -> Outcome<Self> {
        let name = lines.name();
        let model = Arc::from(name.strip_suffix(".csv").unwrap_or(&name));
        let columns = Columns::of(&mut lines)?;
        let (mut first, mut latest, mut requests) = (None, Duration::ZERO, 0);
        while let Some(row) = columns.next(&mut lines)? {
            latest = latest.max(arrival(row.time, *first.get_or_insert(row.time), &lines)?);
            requests += 1;
        }
        let first = first.ok_or_else(|| lines.failure("no requests"))?;
        // The gap from the last request to the first of the next repetition is the mean one.
        let span = latest + latest.div_f64(requests as f64);
        lines.restart()?;
        Columns::of(&mut lines)?;
        let (latest, began) = (Duration::ZERO, Duration::ZERO);
        Ok(Self { lines, columns, model, requests, first, latest, span, began, given: 0 })
    }

    /// Name of the file.
    pub(super) fn name(&self) -> String {
        self.lines.name()
    }

    /// Requests in the trace.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// The next request; arrivals never go back.
    pub(super) fn next(&mut self) -> Outcome<Plan> {
        let row = match self.columns.next(&mut self.lines)? {
            Some(row) => row,
            None => self.again()?,
        };
        self.latest = self.latest.max(arrival(row.time, self.first, &self.lines)?);
        self.given += 1;
        let arrival = self.began.saturating_add(self.latest);
        Ok(single_request(self.given, &self.model, arrival, row.context_tokens, row.generated_tokens))
    }

    /// The first line, once more.
    fn again(&mut self) -> Outcome<Row> {
        self.lines.restart()?;
        Columns::of(&mut self.lines)?;
        self.began = self.began.saturating_add(self.span);
        self.latest = Duration::ZERO;
        let row = self.columns.next(&mut self.lines)?;
        row.ok_or_else(|| self.lines.failure("no requests any more").into())
    }
}

/// A session of one request that is answered with text.
pub(super) fn single_request(
    number: u64,
    model: &Arc<str>,
    arrival: Duration,
    context_tokens: u32,
    generated_tokens: u32,
) -> Plan {
    let request = Request {
        pause: Duration::ZERO,
        model: Arc::clone(model),
        has_tool_result: false,
        context_tokens,
        first_token: prefill(context_tokens),
        generated_tokens,
        answer: Answer { has_text: true, ..Answer::default() },
        finish: Some("stop"),
    };
    Plan { name: format!("request-{number:07}"), model: Arc::clone(model), arrival, requests: vec![request] }
}

/// The numbers of the columns.
#[derive(Debug, Clone, Copy)]
struct Columns([usize; 3]);

impl Columns {
    /// Reads the header.
    fn of(lines: &mut Lines) -> Outcome<Self> {
        let header = lines.next()?.unwrap_or_default().to_owned();
        let mut columns = Self([0; 3]);
        for (at, name) in columns.0.iter_mut().zip(COLUMNS) {
            let found = header.split(',').position(|column| column.trim() == name);
            *at = found.ok_or_else(|| lines.failure(format!("no column {name}")))?;
        }
        Ok(columns)
    }

    /// Reads a row.
    fn next(&self, lines: &mut Lines) -> Outcome<Option<Row>> {
        let Some(line) = lines.next()? else { return Ok(None) };
        let field = |at: usize| line.split(',').nth(at).unwrap_or_default().trim();
        let [time, context, generated] = self.0.map(field);
        let tokens = |text: &str| text.parse().map_err(|_| format!("no number of tokens: {text:?}"));
        let row = || {
            let time = seconds_of(time).ok_or_else(|| format!("no time: {time:?}"))?;
            Ok(Row { time, context_tokens: tokens(context)?, generated_tokens: tokens(generated)? })
        };
        row().map(Some).map_err(|what: String| lines.failure(what).into())
    }
}

/// A time from the first of the trace on. Lines that are out of order by a little arrive with the one before.
fn arrival(time: f64, first: f64, lines: &Lines) -> Outcome<Duration> {
    seconds((time - first).max(0.0)).ok_or_else(|| lines.failure("more than a hundred days from the first").into())
}

/// Seconds since the Unix epoch of `YYYY-MM-DD HH:MM:SS.fraction`.
fn seconds_of(text: &str) -> Option<f64> {
    let (date, time) = text.trim().split_once([' ', 'T'])?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let hour: u32 = time.next()?.parse().ok()?;
    let minute: u32 = time.next()?.parse().ok()?;
    let second: f64 = time.next()?.parse().ok().filter(|second: &f64| second.is_finite())?;
    let days = days_from_civil(year, month, day)?;
    Some(days as f64 * 86_400.0 + f64::from(hour) * 3600.0 + f64::from(minute) * 60.0 + second)
}

/// Days from 1970-01-01 in the Gregorian calendar, by counting years from March (H. Hinnant, "chrono-compatible
/// low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}
