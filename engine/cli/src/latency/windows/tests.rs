//! Windows hold all that was recorded, whatever their length becomes.

use super::*;
use crate::latency::measure::Measure;

const MS: u64 = 1_000_000;

fn gap(value: u64, time: u64) -> Sample {
    Sample { measure: Measure::InterToken, value, time }
}

#[test]
fn windows_become_longer_and_lose_nothing() {
    let mut windows = Windows::new(None);
    let start = 1_700_000_000_000 * MS + 7;
    for number in 0..5000 {
        let time = start + number * 17 * MS;
        windows.see(time).expect("any number");
        windows.tokens(time, 1);
        windows.record(gap(number, time));
    }
    // 85 seconds.
    assert_eq!(windows.length(), 1000 * MS);
    let all: Vec<_> = windows.all().collect();
    assert!(all.len() <= COUNT as usize && all.iter().all(|(start, _)| start % (1000 * MS) == 0), "{}", all.len());
    assert_eq!(all.iter().filter_map(|(_, part)| *part).map(|part| part.tokens).sum::<u64>(), 5000);
    let counted = all.iter().filter_map(|(_, part)| *part).map(|part| part.of(Measure::InterToken).count());
    assert_eq!(counted.sum::<u64>(), 5000);
    // An earlier time is not the first that is seen.
    windows.see(5 * MS).expect("any number");
    assert_eq!(windows.all().next().map(|(start, _)| start), Some(0));
}

#[test]
fn given_windows_keep_their_length_and_the_empty_ones_between() {
    let mut windows = Windows::new(Some(10 * MS));
    for time in [35 * MS, 95 * MS] {
        windows.see(time).expect("few");
        windows.record(gap(1, time));
    }
    let all: Vec<_> = windows.all().map(|(start, part)| (start / MS, part.is_some())).collect();
    let expected = [(30, true), (40, false), (50, false), (60, false), (70, false), (80, false), (90, true)];
    assert_eq!(all, expected);
    // The first is number 3.
    assert!(windows.see(10 * MS * (COUNT_MAX + 2)).is_ok());
    assert!(windows.see(10 * MS * (COUNT_MAX + 3)).is_err());
    assert!(windows.see(u64::MAX).is_err());
}
