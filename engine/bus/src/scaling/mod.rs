//! Scaling: how many shards take events.
//!
//! Reading order: [`ScalingPolicy`] (when shards come and go), `metrics` (how busy they are),
//! `scaler` (the decision), `worker` (the thread that changes the shards).

mod metrics;
mod scaler;
mod worker;

pub use crate::core::config::ScalingPolicy;
pub use metrics::ShardMetrics;
pub use scaler::ScalingDecision;
pub use tapeline_reader::ScalingError;
pub(crate) use worker::Scaling;

#[cfg(test)]
mod tests;
