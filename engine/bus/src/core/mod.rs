//! The tools of every part of a bus, which use none of these parts: settings, errors of ingestion, the memory budget,
//! fences and forks, foreign code and its panics, locks, waiting on a plain thread, timers, and the steps at which
//! tests hold a bus up.

pub(crate) mod budget;
pub(crate) mod config;
pub(crate) mod error;
pub(crate) mod fence;
pub(crate) mod foreign;
pub(crate) mod lock;
pub(crate) mod park;
#[cfg(feature = "jetstream")]
pub(crate) mod percent;
pub(crate) mod refusals;
#[cfg(not(feature = "seam"))]
pub(crate) mod seam;
#[cfg(feature = "seam")]
pub mod seam;
pub(crate) mod signal;
pub(crate) mod timer;
