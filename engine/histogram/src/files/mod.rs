//! The files that programs read.

mod hgrm;
mod hlog;
mod json;
#[cfg(test)]
mod tests;

pub(crate) use hgrm::hgrm;
pub(crate) use hlog::{groups_log, slices_log};
pub(crate) use json::json;
