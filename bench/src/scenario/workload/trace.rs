//! A trace of requests: CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens, as Azure published its traces
//! of LLM inference (2023). When it ends it starts again.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use super::request::Request;
use crate::harness::Outcome;

/// A trace that repeats.
#[derive(Debug)]
pub(super) struct Trace {
    name: String,
    requests: Vec<Request>,
    /// From one repetition to the next.
    span: Duration,
    given: usize,
}

impl Trace {
    /// Reads all of a file.
    pub(super) fn open(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))?;
        let requests = parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let last = requests.last().map_or(Duration::ZERO, |request| request.arrival);
        // The gap from the last request to the first of the next repetition is the mean one.
        let span = last + last / u32::try_from(requests.len()).unwrap_or(u32::MAX).max(1);
        Ok(Self { name, requests, span, given: 0 })
    }

    /// Name of the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next request.
    pub(super) fn next(&mut self) -> Request {
        let (repetition, at) = (self.given / self.requests.len(), self.given % self.requests.len());
        self.given += 1;
        let request = self.requests[at];
        let before = self.span.saturating_mul(u32::try_from(repetition).unwrap_or(u32::MAX));
        Request { arrival: before.saturating_add(request.arrival), ..request }
    }
}

fn parse(text: &str) -> Outcome<Vec<Request>> {
    let mut lines = text.lines().enumerate();
    let header: Vec<&str> = lines.next().map_or_else(Vec::new, |(_, line)| line.trim().split(',').collect());
    let column = |name: &str| {
        header.iter().position(|found| *found == name).ok_or_else(|| format!("no column {name} in {header:?}"))
    };
    let (time, context, generated) = (column("TIMESTAMP")?, column("ContextTokens")?, column("GeneratedTokens")?);
    let mut requests = Vec::new();
    let mut first = None;
    let mut latest = 0.0f64;
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.trim().split(',').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let tokens = |at: usize| field(at).parse::<u32>().map_err(|_| at_line(number, field(at)));
        let seconds = seconds_of(field(time)).ok_or_else(|| at_line(number, field(time)))?;
        latest = latest.max(seconds - *first.get_or_insert(seconds));
        requests.push(Request {
            arrival: Duration::from_secs_f64(latest),
            context_tokens: tokens(context)?,
            generated_tokens: tokens(generated)?.max(1),
        });
    }
    match requests.is_empty() {
        true => Err("no requests".into()),
        false => Ok(requests),
    }
}

fn at_line(number: usize, found: &str) -> String {
    format!("line {}: cannot read {found:?}", number + 1)
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
