//! Maintenance of a log that no process has open for writing: its damage repaired, its oldest segments trimmed. And a
//! new log, restored from an export.

mod repair;
mod restore;
pub mod trim;

pub use repair::{RepairStep, plan_repair, repair_log};
pub use restore::{LogRestore, RestoredEvent};
