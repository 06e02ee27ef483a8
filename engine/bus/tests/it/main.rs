//! The bus as its users see it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod adapters;
mod ahead;
mod batches;
mod catch_up;
mod causal;
mod closing;
mod contents;
mod cursors;
mod daemons;
mod ending;
mod failures;
mod flow;
mod follow;
mod found;
mod gaps;
mod kill;
mod large;
mod lending;
mod lifecycle;
mod metrics;
mod names;
mod openings;
mod order;
mod paced;
mod porting;
mod power;
mod refusals;
mod relay;
mod restore;
mod retention;
mod scaling;
mod scratch;
mod segments;
mod session_openings;
mod sources;
mod sse;
mod subscribe;
mod taps;
mod tasks;
mod tickets;
mod typed;
mod wakers;
mod watermarks;
mod workers;
