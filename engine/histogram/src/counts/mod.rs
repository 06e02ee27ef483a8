//! The buckets of one distribution: dense while it is recorded, sparse while it is one of many.
//!
//! A dense histogram takes 320 KiB whatever it holds, which is nothing for one and too much for thousands. [`Counts`]
//! keeps the buckets that hold something, 16 bytes each, and turns into a dense one where a library wants that.

#[cfg(test)]
mod tests;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Smallest value that differs from 0.
pub const LOWEST: u64 = 1;
/// Largest value that is kept: of nanoseconds, thirteen days. What is larger counts as this.
pub const HIGHEST: u64 = (1 << 50) - 1;
/// Significant decimal digits that are kept of a value.
pub const DIGITS: u8 = 3;

/// Values below this have a bucket of their own; above, each power of two has half as many buckets.
const SINGLE: u64 = 2048;

/// An empty histogram with the buckets of this crate. 320 KiB.
pub fn histogram() -> Histogram<u64> {
    histogram_up_to(HIGHEST)
}

/// The same for values up to `highest`, which is 2 or more.
fn histogram_up_to(highest: u64) -> Histogram<u64> {
    match Histogram::new_with_bounds(LOWEST, highest.clamp(2 * LOWEST, HIGHEST), DIGITS) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the library accepts bounds that are twice as far apart"),
    }
}

/// Width of the bucket that `value` falls into.
fn width(value: u64) -> u64 {
    1 << (value | (SINGLE - 1)).ilog2().saturating_sub(SINGLE.ilog2() - 1)
}

/// A distribution as its recorded buckets, in order of value. 16 bytes a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lowest value of a bucket, and how often it was recorded.
    buckets: Vec<(u64, u64)>,
    count: u64,
}

impl Counts {
    /// Nothing recorded.
    pub const fn new() -> Self {
        Self { buckets: Vec::new(), count: 0 }
    }

    /// Records a value. A search over the buckets there are; a value of a new bucket moves those after it.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        if count == 0 {
            return;
        }
        let value = value.min(HIGHEST);
        let lowest = value - value % width(value);
        match self.buckets.binary_search_by_key(&lowest, |&(lowest, _)| lowest) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (lowest, count)),
        }
        self.count += count;
    }

    /// Adds what others recorded. One pass over the buckets of both.
    pub fn add(&mut self, others: &Self) {
        let mut merged = Vec::with_capacity(self.buckets.len().max(others.buckets.len()));
        let (mut own, mut other) = (self.buckets.iter().peekable(), others.buckets.iter().peekable());
        while let Some(&&(lowest, _)) = own.peek().into_iter().chain(other.peek()).min() {
            let take = |buckets: &mut std::iter::Peekable<std::slice::Iter<'_, (u64, u64)>>| {
                buckets.next_if(|bucket| bucket.0 == lowest).map_or(0, |bucket| bucket.1)
            };
            merged.push((lowest, take(&mut own) + take(&mut other)));
        }
        self.buckets = merged;
        self.count += others.count;
    }

    /// The number of values that were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The recorded buckets by value: the lowest value of each, and how often it was recorded.
    pub fn buckets(&self) -> &[(u64, u64)] {
        &self.buckets
    }

    /// The value that a share of `quantile` (0 to 1) of what was recorded does not exceed, as the highest value of its
    /// bucket. 0 where nothing was recorded.
    pub fn value_at(&self, quantile: f64) -> u64 {
        let wanted = ((quantile.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().find(|&&(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0, |&(lowest, _)| highest_of(lowest))
    }

    /// The lowest value of the first bucket; 0 for none.
    pub fn min(&self) -> u64 {
        self.buckets.first().map_or(0, |&(lowest, _)| lowest)
    }

    /// The highest value of the last bucket; 0 for none.
    pub fn max(&self) -> u64 {
        self.buckets.last().map_or(0, |&(lowest, _)| highest_of(lowest))
    }

    /// The mean, each value taken as the middle of its bucket; 0 for none.
    pub fn mean(&self) -> f64 {
        let middle = |lowest| (lowest + width(lowest) / 2) as f64;
        let weighed = |&(lowest, count): &(u64, u64)| middle(lowest) * count as f64 / self.count as f64;
        self.buckets.iter().map(weighed).fold(0.0, |sum, part| sum + part)
    }

    /// The numbers that reports give.
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count,
            min: self.min(),
            mean: self.mean(),
            p50: self.value_at(0.5),
            p90: self.value_at(0.9),
            p99: self.value_at(0.99),
            p99_9: self.value_at(0.999),
            p99_99: self.value_at(0.9999),
            max: self.max(),
        }
    }

    /// The same as a dense histogram, no larger than its values need: it is made, written and compressed for each of
    /// many.
    pub fn to_histogram(&self) -> Histogram<u64> {
        let mut dense = histogram_up_to(self.max());
        for &(lowest, count) in &self.buckets {
            dense.saturating_record_n(lowest, count);
        }
        dense
    }
}

/// The highest value of the bucket that begins with `lowest`.
pub(crate) fn highest_of(lowest: u64) -> u64 {
    lowest + (width(lowest) - 1)
}

/// The values that a dense histogram of any bounds recorded.
impl From<&Histogram<u64>> for Counts {
    fn from(dense: &Histogram<u64>) -> Self {
        let mut counts = Self::new();
        for step in dense.iter_recorded() {
            counts.record_n(dense.lowest_equivalent(step.value_iterated_to()), step.count_at_value());
        }
        counts
    }
}

/// The numbers that reports give of a distribution, in its unit. All 0 where nothing was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Summary {
    /// Values.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// 90 of 100 values are at most this.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    #[serde(rename = "p99.9")]
    pub p99_9: u64,
    /// 9,999 of 10,000.
    #[serde(rename = "p99.99")]
    pub p99_99: u64,
    /// The largest.
    pub max: u64,
}
