//! Retention: how long the log of a bus keeps its events.
//!
//! Reading order: `apply` (how what a [`TrimPlan`] lists goes), `keeper` (the thread that looks once a
//! second).

mod apply;
mod keeper;

pub(crate) use apply::{carried_out, carry_out, plan_for_bus};
pub(crate) use keeper::Keeper;
pub use tapeline_reader::{KeptSegment, RetentionPolicy, TrimPlan, TrimReason, TrimmedSegment};
