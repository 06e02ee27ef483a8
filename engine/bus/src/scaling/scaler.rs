//! The decision: more shards, fewer, or neither.
//!
//! Overload counts at once, in a single window; that shards are not needed has to last. Between the two thresholds
//! nothing happens, and after a change nothing either for a while: so noise around a threshold changes nothing twice.

use std::time::Duration;

use tapeline_reader::ScalingError;

use super::ShardMetrics;
use crate::core::config::ScalingPolicy;

/// A decision about the number of shards.
///
/// ```
/// use tapeline::scaling::ScalingDecision;
///
/// fn say(decision: ScalingDecision) -> String {
///     match decision {
///         ScalingDecision::None => "enough shards".into(),
///         ScalingDecision::ScaleUp(more) => format!("{more} more"),
///         ScalingDecision::ScaleDown(fewer) => format!("{fewer} fewer"),
///     }
/// }
/// assert_eq!(say(ScalingDecision::ScaleUp(1)), "1 more");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalingDecision {
    /// Nothing.
    None,
    /// So many more.
    ScaleUp(u16),
    /// So many fewer.
    ScaleDown(u16),
}

/// Decides by a policy. Times are nanoseconds of any one clock.
#[derive(Debug)]
pub(super) struct Scaler {
    policy: ScalingPolicy,
    changed_at: Option<u64>,
    underutilized_since: Option<u64>,
    /// The time at which shards were overloaded last, and the events a second that each took then.
    overload: Option<(u64, f64)>,
}

/// The time for which an overload is remembered, in times of `scale_down_delay`.
const MEMORY: u32 = 10;

impl Scaler {
    pub(super) fn new(policy: ScalingPolicy) -> Self {
        Self { policy, changed_at: None, underutilized_since: None, overload: None }
    }

    pub(super) fn policy(&self) -> &ScalingPolicy {
        &self.policy
    }

    /// Decides from now on, whether the policy had it so or not.
    pub(super) fn start(&mut self) {
        self.policy.auto_scale = true;
    }

    /// The shards have changed.
    pub(super) fn changed(&mut self, now: u64) {
        (self.changed_at, self.underutilized_since) = (Some(now), None);
    }

    /// Decides about the `active` shards that these metrics are of.
    pub(super) fn decide(&mut self, now: u64, metrics: &[ShardMetrics], active: u16) -> ScalingDecision {
        let policy = &self.policy;
        let overloaded = metrics.iter().filter(|shard| shard.compute_weight(policy) > 1.0).count() as u16;
        if overloaded > active / 2 {
            let rate: f64 = metrics.iter().map(|shard| shard.event_rate).sum();
            self.overload = Some((now, rate / f64::from(active.max(1))));
        }
        let is_idle = self.is_underutilized(now, metrics, active);
        self.underutilized_since = if is_idle { self.underutilized_since.or(Some(now)) } else { None };
        if !policy.auto_scale || self.is_cooling(now) {
            return ScalingDecision::None;
        }
        let room = policy.max_shards.saturating_sub(active);
        if active < policy.min_shards {
            return ScalingDecision::ScaleUp(policy.min_shards - active);
        }
        if overloaded > active / 2 && room > 0 {
            return ScalingDecision::ScaleUp((overloaded / 2).clamp(1, room));
        }
        let has_lasted = self.underutilized_since.is_some_and(|since| has_passed(since, now, policy.scale_down_delay));
        if has_lasted && active > policy.min_shards { ScalingDecision::ScaleDown(1) } else { ScalingDecision::None }
    }

    /// Returns whether one shard fewer would do, with room to spare.
    fn is_underutilized(&self, now: u64, metrics: &[ShardMetrics], active: u16) -> bool {
        let policy = &self.policy;
        let rate: f64 = metrics.iter().map(|shard| shard.event_rate).sum();
        let rate_without_one = rate / f64::from(active.saturating_sub(1).max(1));
        let is_empty = |shard: &ShardMetrics| shard.fill_ratio < policy.underutilized_threshold;
        active > policy.min_shards
            && metrics.iter().all(is_empty)
            && metrics.iter().all(|shard| shard.compute_weight(policy) <= 1.0)
            && rate_without_one <= self.good_for(now) / 2.0
    }

    /// Events a second that a shard is good for: the threshold, or what it took when it was overloaded by something
    /// else, such as the size of the events or the disk. Otherwise such a bus would give up, over and over, what it
    /// needs.
    fn good_for(&self, now: u64) -> f64 {
        let threshold = self.policy.overload.event_rate_threshold;
        match self.overload {
            Some((at, rate)) if !has_passed(at, now, self.policy.scale_down_delay.saturating_mul(MEMORY)) => {
                threshold.min(rate)
            }
            _ => threshold,
        }
    }

    fn is_cooling(&self, now: u64) -> bool {
        self.changed_at.is_some_and(|at| !has_passed(at, now, self.policy.cooldown))
    }

    /// The number of shards after a caller has asked for `count` more.
    ///
    /// # Errors
    /// [`ScalingError::AtMaxShards`], where there may not be any more at all.
    pub(super) fn more(&self, active: u16, count: u16) -> Result<u16, ScalingError> {
        if active >= self.policy.max_shards {
            Err(ScalingError::AtMaxShards(active))
        } else {
            Ok(active.saturating_add(count).min(self.policy.max_shards))
        }
    }

    /// The number of shards after a caller has asked for `count` fewer.
    ///
    /// # Errors
    /// [`ScalingError::AtMinShards`], where there may not be any fewer at all; [`ScalingError::InCooldown`].
    pub(super) fn fewer(&self, now: u64, active: u16, count: u16) -> Result<u16, ScalingError> {
        if active <= self.policy.min_shards {
            Err(ScalingError::AtMinShards(active))
        } else if self.is_cooling(now) {
            Err(ScalingError::InCooldown)
        } else {
            Ok(active.saturating_sub(count).max(self.policy.min_shards))
        }
    }
}

fn has_passed(since: u64, now: u64, time: Duration) -> bool {
    u128::from(now.saturating_sub(since)) >= time.as_nanos()
}
