//! Events over time as bars of text.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;

use crate::human;

/// Most bars that a width is chosen for.
const BARS_MAX: u64 = 24;

/// Characters of the longest bar.
const BAR_CHARS: u64 = 40;

/// Stretches without events in a row that are one line.
const QUIET_MAX: u64 = 3;

/// Widths that people count time in, in nanoseconds.
const WIDTHS: [u64; 19] = {
    const MS: u64 = 1_000_000;
    const S: u64 = 1000 * MS;
    const H: u64 = 3600 * S;
    [
        MS,
        10 * MS,
        100 * MS,
        S,
        5 * S,
        10 * S,
        30 * S,
        60 * S,
        300 * S,
        600 * S,
        1800 * S,
        H,
        3 * H,
        6 * H,
        12 * H,
        24 * H,
        168 * H,
        720 * H,
        8760 * H,
    ]
};

/// The width that gives a handy number of bars for a stretch of time, in nanoseconds.
pub(super) fn width(range: &RangeInclusive<u64>) -> u64 {
    let bars = |width: u64| range.end() / width - range.start() / width + 1;
    WIDTHS.into_iter().find(|width| bars(*width) <= BARS_MAX).unwrap_or(WIDTHS[WIDTHS.len() - 1])
}

/// Prints a line for each stretch of time; where there is nothing for long, one for all of that.
pub(super) fn print(out: &mut impl Write, counts: &BTreeMap<u64, u64>, width: u64) -> io::Result<()> {
    let most = counts.values().copied().max().unwrap_or(0).max(1);
    let digits = human::count(most).len();
    let mut expected = counts.keys().next().copied().unwrap_or(0);
    for (&start, &count) in counts {
        let quiet = (start - expected) / width;
        if quiet > QUIET_MAX {
            writeln!(out, "{:<24}  {:>digits$}  nothing for {}", "...", "", human::duration(start - expected))?;
        } else {
            for at in 0..quiet {
                writeln!(out, "{}  {:>digits$}", human::time(expected + at * width), 0)?;
            }
        }
        let bar = (u128::from(count) * u128::from(BAR_CHARS)).div_ceil(u128::from(most));
        writeln!(out, "{}  {:>digits$}  {}", human::time(start), human::count(count), "#".repeat(bar as usize))?;
        // The last stretch that there is has none after it.
        expected = start.saturating_add(width);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn width_fits_the_time_and_bars_the_most() {
        assert_eq!(width(&(0..=0)), 1_000_000);
        assert_eq!(width(&(0..=20 * S - 1)), S);
        assert_eq!(width(&(0..=86_400 * S - 1)), 3600 * S);
        assert_eq!(width(&(0..=u64::MAX)), WIDTHS[18]);
        assert_eq!(width(&(u64::MAX..=u64::MAX)), WIDTHS[0]);
        let counts = BTreeMap::from([(0, 1000), (S, 1), (3 * S, 500), (100 * S, 250)]);
        let mut out = Vec::new();
        print(&mut out, &counts, S).expect("prints");
        let text = String::from_utf8(out).expect("text");
        let expected = [
            format!("1970-01-01T00:00:00.000Z  1,000  {}", "#".repeat(40)),
            "1970-01-01T00:00:01.000Z      1  #".to_owned(),
            "1970-01-01T00:00:02.000Z      0".to_owned(),
            format!("1970-01-01T00:00:03.000Z    500  {}", "#".repeat(20)),
            format!("{:<24}         nothing for 1m36s", "..."),
            format!("1970-01-01T00:01:40.000Z    250  {}", "#".repeat(10)),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
