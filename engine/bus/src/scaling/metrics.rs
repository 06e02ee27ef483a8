//! The load of a shard: computed from numbers that are there anyway, which the scaling thread reads now and then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::core::config::ScalingPolicy;
use crate::shard::Reading;

/// Samples in a window.
pub(super) const SAMPLES: u32 = 4;

/// The load of one shard in the last [`metrics_window`](ScalingPolicy::metrics_window).
///
/// From [`EventBus::shard_metrics`](crate::EventBus::shard_metrics), of a bus with a scaling policy.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, ScalingPolicy};
///
/// let policy = ScalingPolicy { auto_scale: false, ..ScalingPolicy::default_for_cpus(2) };
/// let bus = EventBus::new(EventBusConfig::builder().scaling(policy).build()?).await?;
/// for shard in bus.shard_metrics().expect("the bus has a policy") {
///     println!("shard {}: {} events/s, {:.0} % full", shard.shard_id, shard.event_rate, 100.0 * shard.fill_ratio);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShardMetrics {
    /// The shard.
    pub shard_id: u16,
    /// The fill of its fullest lane on average, by bytes or by events, from 0 to 1.
    pub fill_ratio: f64,
    /// Events a second that it took.
    pub event_rate: f64,
    /// The time that an event waited in its lane on average: events waiting by events a second (J. Little).
    pub avg_push_latency: Duration,
    /// The time that a block took from its first event until it was acknowledged, on average; 0 in memory.
    pub avg_flush_latency: Duration,
    /// True if it gets no new events and has not taken all that it had.
    pub draining: bool,
    /// The share of its capacity that it uses: the largest of the above by its threshold, the two times only if it has
    /// work at all. 0 is idle, above 1 is overloaded.
    pub weight: f64,
    /// The time of the look at it.
    pub last_updated: Instant,
}

impl ShardMetrics {
    /// Those of an idle shard.
    pub fn new(shard_id: u16) -> Self {
        Self {
            shard_id,
            fill_ratio: 0.0,
            event_rate: 0.0,
            avg_push_latency: Duration::ZERO,
            avg_flush_latency: Duration::ZERO,
            draining: false,
            weight: 0.0,
            last_updated: Instant::now(),
        }
    }

    /// The [`weight`](Self::weight) by this policy.
    pub fn compute_weight(&self, policy: &ScalingPolicy) -> f64 {
        let work =
            (self.fill_ratio / policy.fill_ratio_threshold).max(self.event_rate / policy.overload.event_rate_threshold);
        // The nap of an idle shard is longer than the thresholds, and another shard would not shorten it.
        if self.fill_ratio < policy.underutilized_threshold && work < policy.underutilized_threshold {
            return work;
        }
        let waiting = ratio(self.avg_push_latency, policy.overload.push_latency_threshold);
        let committing = ratio(self.avg_flush_latency, policy.overload.flush_latency_threshold);
        work.max(waiting).max(committing)
    }
}

/// A time by its threshold, which is not zero.
fn ratio(time: Duration, threshold: Duration) -> f64 {
    time.as_secs_f64() / threshold.as_secs_f64()
}

/// The readings of one shard over a window.
#[derive(Debug, Default)]
pub(super) struct Meter(VecDeque<Reading>);

impl Meter {
    /// Adds a reading, and forgets what lies before the window.
    pub(super) fn add(&mut self, reading: Reading) {
        self.0.push_back(reading);
        while self.0.len() > SAMPLES as usize + 1 {
            self.0.pop_front();
        }
    }

    /// Computes the load of a shard that takes no new events.
    pub(super) fn metrics_of_retired(&self, shard_id: u16, policy: &ScalingPolicy) -> ShardMetrics {
        let draining = self.0.back().is_some_and(|last| last.pending > 0);
        ShardMetrics { draining, ..self.metrics(shard_id, policy) }
    }

    /// Computes the load of a shard that takes new events.
    pub(super) fn metrics(&self, shard_id: u16, policy: &ScalingPolicy) -> ShardMetrics {
        let mut metrics = ShardMetrics::new(shard_id);
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return metrics };
        let seconds = last.at.saturating_sub(first.at) as f64 / 1e9;
        let average = |number: fn(&Reading) -> f64| self.0.iter().map(number).sum::<f64>() / self.0.len() as f64;
        metrics.fill_ratio = average(|reading| reading.fill_ratio);
        if seconds > 0.0 {
            metrics.event_rate = last.events.saturating_sub(first.events) as f64 / seconds;
        }
        if metrics.event_rate > 0.0 {
            let seconds = average(|reading| reading.pending as f64) / metrics.event_rate;
            metrics.avg_push_latency = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        } else if last.pending > 0 {
            // It takes nothing though there is something.
            metrics.avg_push_latency = Duration::from_nanos(last.at.saturating_sub(first.at));
        }
        let commits = last.commits.saturating_sub(first.commits);
        let commit_ns = last.commit_ns.saturating_sub(first.commit_ns);
        metrics.avg_flush_latency = Duration::from_nanos(commit_ns.checked_div(commits).unwrap_or(0));
        metrics.weight = metrics.compute_weight(policy);
        metrics
    }
}
