//! Campaigns: many seeded cases, each judged by what must hold whatever happens.
//!
//! The cases run in processes of their own (`runner`), so that one that hangs, dies or takes all memory is reported
//! like any other failure. scripts/crash and scripts/fuzz start them with many and fresh seeds, `cargo test` with few
//! and fixed ones.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod faults;
mod fuzz;
mod life;
mod runner;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../it/scratch.rs"]
mod scratch;
