//! The three series of a run, with their slices over time.

use tapeline_histogram::{Counts, Series, Slice, Unit, histogram};

use super::load::{Calls, Ran};
use crate::harness::clock::Clock;

/// Slices that a run is cut into.
const SLICES: u64 = 100;

/// Shortest slice: a millisecond, which is what logs resolve.
const SLICE_NS_MIN: u64 = 1_000_000;

/// The times at which events' latencies end, by call.
type Ends = fn(&Calls) -> &[u64];

/// Latencies from the moment an event was due until each of three ends. A slice has the events that were due in it.
pub(super) fn all(ran: &Ran, clock: Clock, seconds: f64) -> Vec<Series> {
    let ends: [(&str, &str, Ends); 3] = [
        ("ingest", "Ingest", |calls| &calls.returned),
        ("deliver", "Deliver", |calls| &calls.delivered),
        ("durable", "Durable", |calls| &calls.durable),
    ];
    let length = ((seconds * 1e9) as u64 / SLICES).max(SLICE_NS_MIN);
    ends.into_iter().map(|(name, title, ends)| one(ran, clock, length, (name, title), ends)).collect()
}

fn one(ran: &Ran, clock: Clock, length: u64, (name, title): (&str, &str), ends: Ends) -> Series {
    let mut series = Series::new(name, title, Unit::Nanoseconds, histogram());
    let mut slices: Vec<Counts> = Vec::new();
    for calls in &ran.producers {
        for (due, end) in calls.due.iter().zip(ends(calls)).skip(ran.warm_up) {
            let value = clock.nanos(end.saturating_sub(*due)).round() as u64;
            let slice = (clock.nanos(due.saturating_sub(ran.start_ticks)) as u64 / length) as usize;
            if slices.len() <= slice {
                slices.resize_with(slice + 1, Counts::new);
            }
            slices[slice].record(value);
            series.histogram.saturating_record(value);
        }
    }
    let slices = (0..).zip(slices).map(|(number, counts)| {
        let start_ns = ran.start_ns + number * length;
        Slice { start_ns, end_ns: start_ns + length, counts }
    });
    series.slices = slices.collect();
    series
}
