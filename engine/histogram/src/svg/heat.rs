//! Counts over time and value: to the right time, upwards the value, the darker (or, on dark paper, the brighter) the
//! more events. Both the values and the colours are logarithmic: one slow event in a million shows.

use std::fmt::Write as _;

use super::axis::{Scale, Tick};
use super::picture::{BOTTOM, LEFT, Picture, Place, RIGHT, TOP};
use super::style::HEATS;
use crate::report::{Series, Slice};
use crate::unit::{Unit, grouped};

/// Most columns and rows there are.
const COLUMNS: u64 = 160;
const ROWS: usize = 34;

/// The heat map of a series over its slices.
pub(crate) fn heat_map(series: &Series) -> Picture {
    let name = format!("{} over time", series.title);
    let recorded: Vec<&Slice> = series.slices.iter().filter(|slice| slice.counts.count() > 0).collect();
    let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else { return Picture::empty(&name) };
    let (start, end) = (first.start_ns, last.end_ns.max(first.end_ns));
    let min = recorded.iter().map(|slice| slice.counts.min()).min().unwrap_or(0);
    let max = recorded.iter().map(|slice| slice.counts.max()).max().unwrap_or(0);
    let scale = Scale::logarithmic(series.unit, min, max);
    let cells = Cells::of(&recorded, start, end, &scale);
    let mut picture = Picture::new(&name);
    picture.axes(&times(end - start), "time since the start", &scale, series.unit.axis());
    cells.draw(&mut picture);
    legend(&mut picture, cells.most());
    picture
}

/// Counts of the cells, a column after the other.
struct Cells {
    columns: usize,
    counts: Vec<u64>,
}

impl Cells {
    fn of(slices: &[&Slice], start: u64, end: u64, scale: &Scale) -> Self {
        let span = (end - start).max(1);
        let widest = slices.iter().map(|slice| slice.end_ns - slice.start_ns).max().unwrap_or(span).max(1);
        // A column is never narrower than a slice: between slices there would be empty ones.
        let columns = (span / widest).clamp(1, COLUMNS) as usize;
        let mut counts = vec![0; columns * ROWS];
        for slice in slices {
            let middle = (slice.start_ns - start) + (slice.end_ns - slice.start_ns) / 2;
            let column = (middle as f64 / span as f64 * columns as f64) as usize;
            for &(value, count) in slice.counts.buckets() {
                let row = (scale.share(value as f64).clamp(0.0, 1.0) * ROWS as f64) as usize;
                counts[column.min(columns - 1) * ROWS + row.min(ROWS - 1)] += count;
            }
        }
        Self { columns, counts }
    }

    fn most(&self) -> u64 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    /// One path a colour.
    fn draw(&self, picture: &mut Picture) {
        let (width, height) = ((RIGHT - LEFT) / self.columns as f64, (BOTTOM - TOP) / ROWS as f64);
        let mut paths: [String; HEATS] = std::array::from_fn(|_| String::new());
        for (at, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (x, y) = (LEFT + (at / ROWS) as f64 * width, BOTTOM - (at % ROWS + 1) as f64 * height);
            // A hair wider, so that no paper shows between neighbours.
            let (wide, high) = (width + 0.3, height + 0.3);
            let _ = write!(paths[heat(count, self.most())], "M{x:.1} {y:.1}h{wide:.1}v{high:.1}h-{wide:.1}z");
        }
        for (heat, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
            picture.put(format_args!("<path class=\"h{heat}\" d=\"{path}\"/>"));
        }
    }
}

/// The colour of a count, where the largest is `most`.
fn heat(count: u64, most: u64) -> usize {
    let share = if most > 1 { (count as f64).ln() / (most as f64).ln() } else { 1.0 };
    ((share * HEATS as f64) as usize).min(HEATS - 1)
}

/// The meaning of the colours, to the right of the name.
fn legend(picture: &mut Picture, most: u64) {
    const BOX: f64 = 16.0;
    if most == 1 {
        return picture.text(Place::end(RIGHT, 20.0), "", "events: 1 in each cell");
    }
    let label = grouped(most);
    let x = RIGHT - label.len() as f64 * 7.0 - 8.0 - BOX * HEATS as f64;
    picture.text(Place::end(x - 6.0, 20.0), "", "events: 1");
    for heat in 0..HEATS {
        let at = x + BOX * heat as f64;
        picture.put(format_args!("<rect class=\"h{heat}\" x=\"{at:.1}\" y=\"9\" width=\"{BOX}\" height=\"14\"/>"));
    }
    picture.text(Place::start(x + BOX * HEATS as f64 + 6.0, 20.0), "", &label);
}

/// Labels of a time axis over `span` nanoseconds.
fn times(span: u64) -> Vec<Tick> {
    let span = span.max(1) as f64;
    let step = Scale::fitting(Unit::Nanoseconds, span as u64, span as u64).step();
    let numbers = (0..=8).map(|number| f64::from(number) * step).filter(|time| *time <= span);
    numbers
        .map(|time| {
            let label = if time > 0.0 { Unit::Nanoseconds.text(time) } else { "0".to_owned() };
            Tick { at: LEFT + time / span * (RIGHT - LEFT), label }
        })
        .collect()
}
