//! A report of made-up distributions of every shape, to look at after a change of the pictures:
//!
//! ```text
//! cargo run -p tapeline-histogram --example gallery -- DIRECTORY
//! ```

use std::path::Path;

use tapeline_histogram::{Counts, Group, Report, Series, Slice, Unit};
use tapeline_testing::Random;

const SECOND: u64 = 1_000_000_000;

/// About `middle`, now and then much more.
fn latency(random: &mut Random, middle: f64) -> u64 {
    let sum: f64 = (0..6).map(|_| random.fraction()).sum::<f64>() / 3.0;
    let tail = if random.fraction() < 0.002 { (1.0 - random.fraction()).recip().min(80.0) } else { 1.0 };
    (middle * sum.powi(2) * tail) as u64
}

/// `each` gives the values of second `number`.
fn series(name: &str, title: &str, unit: Unit, seconds: u64, mut each: impl FnMut(u64) -> Vec<u64>) -> Series {
    let mut series = Series::new(name, title, unit, tapeline_histogram::histogram());
    for number in 0..seconds {
        let mut counts = Counts::new();
        for value in each(number) {
            counts.record(value);
            series.histogram.saturating_record(value);
        }
        let start_ns = (1_700_000_000 + number) * SECOND;
        series.slices.push(Slice { start_ns, end_ns: start_ns + SECOND, counts });
    }
    series
}

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "target/gallery".to_owned());
    let mut random = Random::new(7);
    let mut long = series("long-tail", "Inter-token latency", Unit::Nanoseconds, 120, |second| {
        let middle = if (50..58).contains(&second) { 180e6 } else { 24e6 + second as f64 * 5e4 };
        (0..400).map(|_| latency(&mut random, middle)).collect()
    });
    for (number, label) in
        ["gpt-oss-120b", "llama-3.1-8b", "a <model> & its \"very\" long name", "-"].iter().enumerate()
    {
        let mut counts = Counts::new();
        let values = (0..40_000 >> (2 * number)).map(|_| latency(&mut random, 12e6 * (number + 1) as f64));
        values.for_each(|value| counts.record(value));
        long.groups.push(Group { label: (*label).to_owned(), counts });
    }
    let narrow = series("narrow", "Call of ingest", Unit::Nanoseconds, 10, |_| {
        (0..20_000).map(|_| 40 + (random.fraction() * 30.0) as u64).collect()
    });
    let rate = series("rate", "Rate of sessions", Unit::PerThousandSeconds, 40, |second| {
        (0..5).map(|_| 30_000 + (second * 700) + (random.fraction() * 9000.0) as u64).collect()
    });
    let days = series("days", "Session length", Unit::Nanoseconds, 3, |_| {
        (0..300).map(|_| (random.fraction().powi(6) * 3e14) as u64).collect()
    });
    let one = series("one", "One value", Unit::Nanoseconds, 1, |_| vec![1_234_567]);
    let zero = series("zero", "Only zeros", Unit::Nanoseconds, 2, |_| vec![0, 0]);
    let none = series("none", "No value", Unit::Nanoseconds, 0, |_| Vec::new());
    let report = Report {
        title: "A gallery of distributions".to_owned(),
        facts: vec![("machine".to_owned(), "none: the values are made up".to_owned())],
        grouped_by: "model".to_owned(),
        series: vec![long, narrow, rate, days, one, zero, none],
    };
    for series in &report.series {
        println!(
            "{}\n{}",
            series.title,
            tapeline_histogram::text::plot(&Counts::from(&series.histogram), series.unit, 80)
        );
    }
    let written = report.write_to(Path::new(&directory))?;
    written.iter().for_each(|path| println!("{}", path.display()));
    Ok(())
}
