//! Sparse counts are what the dense histograms of the library are.

use tapeline_testing::{Random, seed};

use super::*;

/// As many values of one length in bits as of another.
fn value(random: &mut Random) -> u64 {
    let bits = random.below(64);
    random.next_u64() >> bits
}

#[test]
fn counts_are_what_the_library_counts() {
    let mut random = Random::new(seed());
    let (mut dense, mut sparse) = (histogram(), Counts::new());
    let edges = [0, 1, 2047, 2048, 2049, 4095, 4096, HIGHEST - 1, HIGHEST, HIGHEST + 1, u64::MAX];
    let drawn: Vec<u64> = (0..20_000).map(|_| value(&mut random)).collect();
    for value in edges.into_iter().chain(drawn) {
        dense.saturating_record(value);
        sparse.record(value);
        assert_eq!(sparse.count(), dense.len());
    }
    assert_eq!(Counts::from(&dense), sparse);
    assert_eq!(sparse.to_histogram(), dense);
    assert_eq!((sparse.min(), sparse.max()), (dense.min(), dense.max()));
    for quantile in [0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
        assert_eq!(sparse.value_at(quantile), dense.value_at_quantile(quantile), "at {quantile}");
    }
    assert!((sparse.mean() / dense.mean() - 1.0).abs() < 1e-9, "{} {}", sparse.mean(), dense.mean());
}

#[test]
fn nothing_recorded_is_all_zero() {
    assert_eq!(Counts::new().summary(), Summary::default());
    assert_eq!(Counts::from(&histogram()), Counts::new());
    let mut none = Counts::new();
    none.record_n(7, 0);
    assert_eq!(none, Counts::new());
}

#[test]
fn adding_is_recording_again() {
    let (mut one, mut other, mut both) = (Counts::new(), Counts::new(), Counts::new());
    for value in [0, 5, 5, 100_000, 1 << 40] {
        one.record(value);
        both.record(value);
    }
    for value in [5, 99_999, 1 << 41] {
        other.record(value);
        both.record(value);
    }
    one.add(&other);
    assert_eq!(one, both);
}

#[test]
fn histograms_of_few_values_hold_them() {
    for values in [&[][..], &[0], &[1], &[2, 3], &[5000, 1 << 30], &[HIGHEST]] {
        let mut counts = Counts::new();
        values.iter().for_each(|value| counts.record(*value));
        assert_eq!(Counts::from(&counts.to_histogram()), counts, "{values:?}");
    }
}
