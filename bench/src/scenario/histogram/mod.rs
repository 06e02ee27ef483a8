//! Histograms of ingest, deliver and durable latencies under a chosen load, as files and a page.
//!
//! An open loop: every latency counts from the moment its event was due, so that a stall shows in all events that
//! waited behind it. `ingest` ends when the call returns, `deliver` when a live subscriber has the event in its hands,
//! `durable` when the bus's level of durability has been reached. Each producer has a thread that makes its calls;
//! between them it looks for what has become durable, and the first one looks at the subscription, too: this takes no
//! thread from the cores, and is why latencies of deliver and durable are as fine as the time between two looks.

mod load;
mod series;
mod watch;

use std::path::{Path, PathBuf};

use tapeline::config::Durability;
use tapeline_histogram::{Counts, Report as Files, Series, text};

use self::load::Load;
use crate::args::HistogramArgs;
use crate::harness::clock::Clock;
use crate::harness::cores::Cores;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::{Outcome, bus};

/// Events of a run: 32 bytes of each are kept until it is over.
const EVENTS_MAX: f64 = 5e7;

/// The meaning of each measure: facts for people who look at the page.
const MEANINGS: [(&str, &str); 3] = [
    ("ingest", "from the moment an event is due until the call returns"),
    ("deliver", "from the same moment until a live subscriber has the event"),
    ("durable", "from the same moment until the event has reached the level of durability"),
];

/// Width of a plot in characters.
const WIDTH: usize = 80;

/// Runs the load and writes the report.
pub(crate) fn run(args: &HistogramArgs, output: &mut Output) -> Outcome<()> {
    if args.rate * args.seconds > EVENTS_MAX {
        return Err(format!("more than {EVENTS_MAX:e} events: lower --rate or --seconds").into());
    }
    let cores = Cores::plan(usize::from(args.producers), 1)?;
    let clock = Clock::calibrate();
    let scratch = Scratch::below(args.dir.as_deref())?;
    let level = Durability::from(args.durability);
    let bus = bus::open(bus::config(level, scratch.path(), &cores))?;
    let described = bus::describe(described(args, level, clock), &bus);
    let load = Load { rate: args.rate, seconds: args.seconds, payload: args.payload };
    let ran = load.run(&bus, &cores, clock)?;
    bus::close(bus)?;
    let facts = described.facts(output.machine());
    let all = series::all(&ran, clock, args.seconds);
    let files = Files {
        title: format!("Latency at {} events a second, {level}", rounded(args.rate)),
        facts: MEANINGS.map(|(name, meaning)| (name.into(), meaning.into())).into_iter().chain(facts).collect(),
        grouped_by: String::new(),
        series: all,
    };
    let written = files.write_to(&args.out).map_err(|error| format!("write {}: {error}", args.out.display()))?;
    report(&files, &described, ran.rate, written.last(), output)
}

fn described(args: &HistogramArgs, level: Durability, clock: Clock) -> Report {
    Report::new("histogram")
        .param("rate", rounded(args.rate))
        .param("seconds", rounded(args.seconds))
        .param("payload", args.payload)
        .param("producers", args.producers)
        .param("durability", level.to_string())
        .param("timer_overhead_ns", rounded(clock.overhead_ns()))
}

/// Prints a result and a plot for each series, and where to look.
fn report(files: &Files, described: &Report, rate: f64, page: Option<&PathBuf>, output: &mut Output) -> Outcome<()> {
    for Series { name, title, unit, histogram, .. } in &files.series {
        let counts = Counts::from(histogram);
        let summary = counts.summary();
        let report = described.clone().param("case", name.clone()).figure("events_per_second", rate);
        let figures = [
            ("p50_ns", summary.p50),
            ("p90_ns", summary.p90),
            ("p99_ns", summary.p99),
            ("p999_ns", summary.p99_9),
            ("p9999_ns", summary.p99_99),
            ("max_ns", summary.max),
        ];
        let report = figures.into_iter().fold(report, |report, (name, value)| report.figure(name, value as f64));
        output.emit(&report)?;
        output.text(&format!("{title}\n{}", text::plot(&counts, *unit, WIDTH)))?;
    }
    let page = page.map_or(Path::new(""), PathBuf::as_path);
    Ok(output.text(&format!("look at {}", page.display()))?)
}
