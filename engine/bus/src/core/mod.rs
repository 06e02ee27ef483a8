//! What every part of a bus uses, and what uses none of them: settings, errors of ingestion, the memory budget, fences
//! and forks, foreign code and its panics, waiting on a plain thread, and the places where tests hold a bus up.

pub(crate) mod budget;
pub(crate) mod config;
pub(crate) mod error;
pub(crate) mod fence;
pub(crate) mod foreign;
pub(crate) mod park;
#[cfg(not(feature = "seam"))]
pub(crate) mod seam;
#[cfg(feature = "seam")]
pub mod seam;
