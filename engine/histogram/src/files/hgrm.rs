//! Percentiles as text, the way `outputPercentileDistribution` of the Java library prints them. Values are those of the
//! series, unscaled: a plotter that asks for the unit of the values has to be given nanoseconds.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// Lines for each halving of the distance to 100 %.
const TICKS: u32 = 5;

/// The text.
pub(crate) fn hgrm(histogram: &Histogram<u64>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        write!(out, "{value:12.3} {quantile:2.12} {total:10}")?;
        // The last line has no such number.
        if quantile < 1.0 { writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile))? } else { writeln!(out)? }
    }
    // The library leaves the largest value of an empty histogram undefined.
    let max = if histogram.is_empty() { 0 } else { histogram.max() };
    writeln!(out, "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]", histogram.mean(), histogram.stdev())?;
    writeln!(out, "#[Max     = {:12.3}, Total count    = {:12}]", max as f64, histogram.len())?;
    // Three digits make 2,048 of each.
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), 2048)?;
    Ok(out)
}
