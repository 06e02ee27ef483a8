//! Retention: how long a log keeps its events.
//!
//! Reading order: [`RetentionPolicy`] (what is to be kept), `plan` (which segments go, and why), `apply` (how they go),
//! `names` (what sessions are called whose opening goes), `keeper` (the thread that looks once a second).

mod apply;
mod keeper;
mod names;
mod plan;
mod policy;

pub use apply::trim_log;
pub(crate) use apply::{carried_out, carry_out, plan_for_bus};
pub(crate) use keeper::Keeper;
pub(crate) use names::{NameStore, save as save_names};
pub use plan::{KeptSegment, TrimPlan, TrimReason, TrimmedSegment};
pub(crate) use plan::{Pin, plan};
pub use policy::RetentionPolicy;
