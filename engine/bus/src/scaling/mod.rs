//! Scaling: how many shards take events.
//!
//! Reading order: [`ScalingPolicy`](crate::ScalingPolicy) (when shards come and go), `metrics` (how busy they are),
//! `scaler` (the decision), `change` (how the shards change under load, without losing order), `worker` (the thread
//! that does all this).

mod metrics;
mod scaler;
mod worker;

pub use metrics::ShardMetrics;
pub use scaler::ScalingDecision;
pub(crate) use worker::Scaling;

#[cfg(test)]
mod tests;
