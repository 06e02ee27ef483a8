//! A distribution on a terminal: a bar for each stretch of values.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use crate::counts::{Counts, highest_of};
use crate::unit::{Unit, grouped};

/// Most lines of a plot.
const ROWS: usize = 14;

/// Narrowest plot there is, in characters.
const WIDTH_MIN: usize = 40;

/// Eighths of a character, from one to seven.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Plots a distribution: each line stands for values from the one it names up to that of the next line, with a bar as
/// long as its share and the count after it. The steps are of equal ratio where the values differ much, else of equal
/// width. Lines have at most `width` characters, or 40 where that is less, and end with a line feed.
pub fn plot(counts: &Counts, unit: Unit, width: usize) -> String {
    if counts.count() == 0 {
        return "  nothing was recorded\n".to_owned();
    }
    let steps = steps(counts);
    let mut rows = vec![0u64; steps.len()];
    for &(value, count) in counts.buckets() {
        // By its highest value, so that a round value is on the line of its own name.
        let at = steps.partition_point(|step| *step <= highest_of(value) as f64);
        rows[at.saturating_sub(1)] += count;
    }
    let names = unit.texts(&steps);
    let numbers: Vec<String> = rows.iter().map(|count| grouped(*count)).collect();
    let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let number_width = numbers.iter().map(String::len).max().unwrap_or(0);
    let most = rows.iter().copied().max().unwrap_or(1).max(1);
    // Two spaces before the name, and between all columns; the share has six characters.
    let bar_width = width.max(WIDTH_MIN).saturating_sub(2 + name_width + 2 + 2 + number_width + 2 + 6).max(4);
    let mut plot = String::new();
    for ((name, number), &count) in names.iter().zip(&numbers).zip(&rows) {
        let (bar, percent) = (bar(count, most, bar_width), count as f64 / counts.count() as f64 * 100.0);
        // Writing to a string does not fail.
        let _ = writeln!(plot, "  {name:>name_width$}  {bar:<bar_width$}  {number:>number_width$}  {percent:>5.1}%");
    }
    plot
}

/// The values at which lines begin, in order.
fn steps(counts: &Counts) -> Vec<f64> {
    let (min, max) = (counts.min() as f64, (counts.max() as f64).max(1.0));
    match counts.buckets() {
        [(only, _)] => vec![*only as f64],
        _ if max / min.max(1.0) >= 4.0 => ratios(min.max(1.0), max),
        _ => {
            let step = nice_step((max - min) / (ROWS - 2) as f64);
            let first = (min / step).floor() * step;
            std::iter::successors(Some(first), |value| Some(value + step)).take_while(|value| *value <= max).collect()
        }
    }
}

/// Steps of about equal ratio from the one at or below `min` up to `max`: the finest that are few enough.
fn ratios(min: f64, max: f64) -> Vec<f64> {
    const DECADES: [(&[f64], i32); 6] = [
        (&[1.0, 1.25, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0], 1),
        (&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], 1),
        (&[1.0, 2.0, 5.0], 1),
        (&[1.0, 3.0], 1),
        (&[1.0], 1),
        (&[1.0], 2),
    ];
    let all = DECADES.iter().map(|&(factors, stride)| {
        let powers = (0..16).step_by(stride as usize).map(|power| 10f64.powi(power));
        let steps: Vec<f64> = powers.flat_map(|power| factors.iter().map(move |factor| factor * power)).collect();
        let first = steps.partition_point(|step| *step <= min).saturating_sub(1);
        let end = steps.partition_point(|step| *step <= max);
        steps[first..end].to_vec()
    });
    let mut fitting = all.skip_while(|steps| steps.len() > ROWS);
    // The coarsest has eight steps over all values there are.
    fitting.next().unwrap_or_default()
}

/// The smallest of 1, 2 or 5 times a power of ten that is not below `least`, and at least 1.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1.0).log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= least);
    found.unwrap_or(10.0 * power).max(1.0)
}

/// A bar for `count`, where the longest is for `most`. What is there is seen, however little.
fn bar(count: u64, most: u64, width: usize) -> String {
    if count == 0 {
        return String::new();
    }
    let eighths = ((count as f64 / most as f64 * (width * 8) as f64).round() as usize).max(1);
    let rest = (eighths % 8).checked_sub(1).map(|at| EIGHTHS[at]);
    "█".repeat(eighths / 8).chars().chain(rest).collect()
}
