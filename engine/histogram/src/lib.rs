//! Histogram reports: what a run measured, as files and pictures.
//!
//! A [`Report`] is a number of [`Series`], each a distribution of one measure, with its parts over time and by group.
//! [`Report::write_to`] leaves, in one directory:
//!
//! | file | holds | read by |
//! |---|---|---|
//! | `NAME.hgrm` | percentiles, as text | the plotters of HdrHistogram |
//! | `NAME.hlog` | the parts over time, log format 1.3 with V2 histograms | `HistogramLogReader` in any language |
//! | `NAME.groups.hlog` | the groups, where there are any: one interval each, tagged with its label | the same |
//! | `NAME.svg` | percentiles with a logarithmic tail | a browser |
//! | `NAME.heat.svg` | counts over time and value | a browser |
//! | `histograms.json` | everything, recorded buckets included | scripts |
//! | `index.html` | everything to look at; needs no other file and no network | a browser |
//!
//! Every histogram has the same buckets: values from 1 to [`HIGHEST`], of which three significant decimal digits are
//! kept; 0 is kept apart, larger values count as the highest. So histograms of two reports compare bucket for bucket.
//!
//! Nothing here measures, reads a clock, or knows what an event is. Values and times are what the caller says.

mod counts;
mod files;
mod html;
mod report;
mod svg;
pub mod text;
mod unit;

pub use counts::{Counts, DIGITS, HIGHEST, LOWEST, Summary, histogram};
/// The histograms that series are made of.
pub use hdrhistogram::Histogram;
pub use report::{Group, Report, Series, Slice};
pub use unit::Unit;
