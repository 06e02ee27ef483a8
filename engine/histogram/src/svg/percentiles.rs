//! Values by percentile: to the right, each nine of 99.9...% takes as much room as the one before.

use std::fmt::Write as _;

use super::axis::{Scale, Tick};
use super::picture::{CHARACTER, LEFT, Picture, Place, RIGHT, TOP, cut};
use super::style::LINES;
use crate::counts::Counts;
use crate::report::{Report, Series};
use crate::unit::{Unit, grouped};

/// A point nearer than this to the last is left out.
const NEAR: f64 = 0.4;

/// One line.
struct Line {
    label: String,
    counts: Counts,
}

/// A series and, where it has groups, the largest of them.
pub(crate) fn percentiles(series: &Series) -> Picture {
    let counts = Counts::from(&series.histogram);
    // A single value is no distribution.
    let mut groups: Vec<_> = series.groups.iter().filter(|group| group.counts.count() > 1).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.counts.count()));
    let groups = groups.iter().take(LINES - 1);
    let groups = groups.map(|group| Line { label: group.label.clone(), counts: group.counts.clone() });
    let whole = Line { label: "all".to_owned(), counts };
    let lines: Vec<Line> = std::iter::once(whole).chain(groups).collect();
    plot(&format!("{} by percentile", series.title), series.unit, &lines)
}

/// The series of a report that are durations, side by side; `None` where there are not two.
pub(crate) fn compared(report: &Report) -> Option<Picture> {
    let durations =
        report.series.iter().filter(|series| series.unit == Unit::Nanoseconds && !series.histogram.is_empty());
    let lines: Vec<Line> = durations
        .take(LINES)
        .map(|series| Line { label: series.title.clone(), counts: Counts::from(&series.histogram) })
        .collect();
    (lines.len() > 1).then(|| plot("All measures by percentile", Unit::Nanoseconds, &lines))
}

fn plot(name: &str, unit: Unit, lines: &[Line]) -> Picture {
    let most = lines.iter().map(|line| line.counts.count()).max().unwrap_or(0);
    if most == 0 {
        return Picture::empty(name);
    }
    let recorded = || lines.iter().filter(|line| line.counts.count() > 0);
    let min = recorded().map(|line| line.counts.min()).min().unwrap_or(0);
    let max = recorded().map(|line| line.counts.max()).max().unwrap_or(0);
    let (nines, scale) = (Nines::of(most), Scale::fitting(unit, min, max));
    let mut picture = Picture::new(name);
    picture.axes(&nines.ticks(), "percentile", &scale, unit.axis());
    legend(&mut picture, lines);
    // The first line is drawn last, above the others.
    for (number, line) in lines.iter().enumerate().rev().filter(|(_, line)| line.counts.count() > 0) {
        picture.put(format_args!("<path class=\"line l{number}\" d=\"{}\"/>", path(&line.counts, nines, &scale)));
    }
    picture
}

/// The horizontal axis: how many nines it shows.
#[derive(Debug, Clone, Copy)]
struct Nines(f64);

impl Nines {
    /// As many as so many values have, one at least.
    fn of(count: u64) -> Self {
        Self((count as f64).log10().max(1.0))
    }

    /// The point of the share `1 - rest` of all values.
    fn at(self, rest: f64) -> f64 {
        LEFT + (-rest.log10() / self.0).clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn ticks(self) -> Vec<Tick> {
        let half = Tick { at: self.at(0.5), label: "50%".to_owned() };
        let whole = (0..=self.0 as i32).map(|nines| Tick { at: self.at(10f64.powi(-nines)), label: percent(nines) });
        let mut ticks: Vec<Tick> = whole.collect();
        ticks.insert(1, half);
        ticks
    }
}

/// 0, 90, 99, 99.9, ... %.
fn percent(nines: i32) -> String {
    match nines {
        0 => "0%".to_owned(),
        1 => "90%".to_owned(),
        _ => format!("{:.*}%", nines as usize - 2, 100.0 - 100.0 * 10f64.powi(-nines)),
    }
}

/// The steps of a distribution: level over the values of a bucket, up to the next.
fn path(counts: &Counts, nines: Nines, scale: &Scale) -> String {
    let (total, mut seen, mut path) = (counts.count() as f64, 0, String::new());
    // The values after the last one's own share are not known; a line needs some length all the same.
    let last = nines.at(1.0 / total).max(LEFT + 24.0);
    let mut drawn = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (number, &(value, count)) in counts.buckets().iter().enumerate() {
        let from = nines.at(1.0 - seen as f64 / total);
        seen += count;
        let to = if seen == counts.count() { last } else { nines.at(1.0 - seen as f64 / total) };
        let y = scale.at(value as f64);
        let is_last = seen == counts.count();
        if number > 0 && !is_last && to - drawn.0 < NEAR && (y - drawn.1).abs() < NEAR {
            continue;
        }
        let command = if number == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{from:.1} {y:.1}H{to:.1}");
        drawn = (to, y);
    }
    path
}

/// Names of the lines, above the plot, as many as two rows have room for.
fn legend(picture: &mut Picture, lines: &[Line]) {
    const ROW: f64 = 18.0;
    let (mut x, mut y) = (LEFT, TOP - 12.0 - ROW);
    for (number, Line { label, counts }) in lines.iter().enumerate() {
        let text = format!("{} ({})", cut(label, 30), grouped(counts.count()));
        let width = 24.0 + text.chars().count() as f64 * CHARACTER + 12.0;
        if x + width > RIGHT && number > 0 {
            if y + ROW > TOP {
                picture.text(Place::start(x, y), "", "\u{2026}");
                return;
            }
            (x, y) = (LEFT, y + ROW);
        }
        picture.put(format_args!("<path class=\"line l{number}\" d=\"M{x:.1} {:.1}h16\"/>", y - 4.0));
        picture.text(Place::start(x + 22.0, y), "key", &text);
        x += width;
    }
}
