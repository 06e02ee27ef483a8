//! Scaling: how many shards take events.
//!
//! Reading order: `policy` (when shards come and go), `metrics` (how busy they are), `scaler` (the decision), `change`
//! (how the shards change under load, without losing order), `worker` (the thread that does all this).

mod change;
mod metrics;
mod policy;
mod scaler;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use change::Change;
pub(crate) use metrics::Reading;
pub use metrics::ShardMetrics;
pub(crate) use policy::available_cores;
pub use policy::{ScalingDecision, ScalingError, ScalingPolicy};
pub(crate) use worker::Scaling;
