//! Every setting of a policy changes a decision, and noise around a threshold changes nothing twice.

use std::time::Duration;

use tapeline_reader::ScalingError;
use tapeline_testing::{Random, seed};

use super::metrics::{Meter, SAMPLES};
use super::scaler::Scaler;
use super::*;
use crate::core::config::{OverloadThresholds, ScalingPolicy};
use crate::shard::Reading;

const MS: u64 = 1_000_000;

fn policy() -> ScalingPolicy {
    ScalingPolicy { max_shards: 8, ..ScalingPolicy::default_for_cpus(8) }
}

fn overload(overload: OverloadThresholds) -> ScalingPolicy {
    ScalingPolicy { overload, ..policy() }
}

/// A window in which every shard looks like this.
fn window(active: u16, shape: impl Fn(&mut ShardMetrics)) -> Vec<ShardMetrics> {
    let one = |shard| {
        let mut metrics = ShardMetrics::new(shard);
        shape(&mut metrics);
        metrics
    };
    (0..active).map(one).collect()
}

/// The decision of the policy at once about two shards that look like this.
fn decide(policy: ScalingPolicy, shape: impl Fn(&mut ShardMetrics)) -> ScalingDecision {
    Scaler::new(policy).decide(0, &window(2, shape), 2)
}

/// The time, in milliseconds, at which two idle shards become one.
fn idle_until(policy: ScalingPolicy, shape: impl Fn(&mut ShardMetrics)) -> Option<u64> {
    let mut scaler = Scaler::new(policy);
    (0..200_000).find(|now| scaler.decide(now * MS, &window(2, &shape), 2) == ScalingDecision::ScaleDown(1))
}

#[test]
fn each_threshold_of_overload_adds_shards() {
    let up = ScalingDecision::ScaleUp(1);
    let busy: [fn(&mut ShardMetrics); 4] = [
        |m| m.fill_ratio = 0.8,
        |m| (m.avg_push_latency, m.event_rate) = (Duration::from_millis(6), 1e6),
        |m| (m.avg_flush_latency, m.fill_ratio) = (Duration::from_millis(60), 0.2),
        |m| m.event_rate = 6e6,
    ];
    let lenient = [
        ScalingPolicy { fill_ratio_threshold: 0.9, ..policy() },
        overload(OverloadThresholds {
            push_latency_threshold: Duration::from_millis(7),
            ..OverloadThresholds::default()
        }),
        overload(OverloadThresholds {
            flush_latency_threshold: Duration::from_millis(70),
            ..OverloadThresholds::default()
        }),
        overload(OverloadThresholds { event_rate_threshold: 7e6, ..OverloadThresholds::default() }),
    ];
    for (shape, lenient) in busy.into_iter().zip(lenient) {
        assert_eq!(decide(policy(), shape), up);
        assert_eq!(decide(lenient, shape), ScalingDecision::None);
    }
}

#[test]
fn naps_and_slow_commits_of_a_shard_without_work_are_no_overload() {
    let idle = |m: &mut ShardMetrics| {
        (m.event_rate, m.avg_push_latency, m.avg_flush_latency) =
            (100.0, Duration::from_millis(8), Duration::from_millis(90));
    };
    assert_eq!(decide(policy(), idle), ScalingDecision::None);
    assert!(idle_until(policy(), idle).is_some());
}

#[test]
fn what_large_events_needed_is_not_given_up_at_the_same_rate() {
    let mut scaler = Scaler::new(policy());
    let full = |m: &mut ShardMetrics| (m.fill_ratio, m.event_rate) = (0.9, 10_000.0);
    assert_eq!(scaler.decide(0, &window(1, full), 1), ScalingDecision::ScaleUp(1));
    scaler.changed(0);
    let relieved = |m: &mut ShardMetrics| m.event_rate = 5_000.0;
    let given_up = (1..200_000).find(|now| scaler.decide(now * MS, &window(2, relieved), 2) != ScalingDecision::None);
    assert_eq!(given_up, Some(110_000), "after ten times the delay it is forgotten, and the delay begins");
    let slow = |m: &mut ShardMetrics| m.event_rate = 1_000.0;
    let mut scaler = Scaler::new(policy());
    assert_eq!(scaler.decide(0, &window(1, full), 1), ScalingDecision::ScaleUp(1));
    let given_up = (1..200_000).find(|now| scaler.decide(now * MS, &window(2, slow), 2) != ScalingDecision::None);
    assert_eq!(given_up, Some(10_001), "what is not needed goes after the delay");
}

#[test]
fn bounds_hold() {
    let busy = |m: &mut ShardMetrics| m.fill_ratio = 0.9;
    assert_eq!(decide(ScalingPolicy { max_shards: 2, ..policy() }, busy), ScalingDecision::None);
    let mut scaler = Scaler::new(ScalingPolicy { max_shards: 7, ..policy() });
    assert_eq!(scaler.decide(0, &window(6, busy), 6), ScalingDecision::ScaleUp(1), "three are wanted, one may come");
    assert_eq!(decide(ScalingPolicy { min_shards: 3, ..policy() }, |_| {}), ScalingDecision::ScaleUp(1));
    assert_eq!(idle_until(ScalingPolicy { min_shards: 2, ..policy() }, |_| {}), None);
    let scaler = Scaler::new(ScalingPolicy { min_shards: 2, max_shards: 3, ..policy() });
    assert_eq!((scaler.more(2, 5), scaler.more(3, 1)), (Ok(3), Err(ScalingError::AtMaxShards(3))));
    assert_eq!((scaler.fewer(0, 3, 5), scaler.fewer(0, 2, 1)), (Ok(2), Err(ScalingError::AtMinShards(2))));
}

#[test]
fn one_of_three_that_is_overloaded_is_not_enough() {
    let mut shards = window(3, |_| {});
    shards[0].fill_ratio = 1.0;
    assert_eq!(Scaler::new(policy()).decide(0, &shards, 3), ScalingDecision::None);
    shards[1].fill_ratio = 1.0;
    assert_eq!(Scaler::new(policy()).decide(0, &shards, 3), ScalingDecision::ScaleUp(1));
}

#[test]
fn shards_go_after_the_delay_if_the_rest_can_take_their_events() {
    let seconds = |delay| ScalingPolicy { scale_down_delay: Duration::from_secs(delay), ..policy() };
    assert_eq!((idle_until(seconds(1), |_| {}), idle_until(seconds(60), |_| {})), (Some(1_000), Some(60_000)));
    // 2.6 M/s are more than half of what one shard is good for.
    assert_eq!(idle_until(policy(), |m| m.event_rate = 1.3e6), None);
    assert!(idle_until(policy(), |m| m.event_rate = 1.2e6).is_some());
    let half_full = |m: &mut ShardMetrics| m.fill_ratio = 0.2;
    assert_eq!(idle_until(policy(), half_full), None);
    assert!(idle_until(ScalingPolicy { underutilized_threshold: 0.3, ..policy() }, half_full).is_some());
    let never = ScalingPolicy { underutilized_threshold: 0.0, ..policy() };
    assert_eq!(idle_until(never, |_| {}), None, "a threshold of 0 keeps every shard");
    assert_eq!(idle_until(ScalingPolicy { auto_scale: false, ..policy() }, |_| {}), None);
}

#[test]
fn a_busy_window_begins_the_delay_anew() {
    let mut scaler = Scaler::new(policy());
    for now in 0..60_000 {
        let busy = now % 9_000 == 0;
        let shape = |m: &mut ShardMetrics| m.fill_ratio = if busy { 0.5 } else { 0.0 };
        assert_eq!(scaler.decide(now * MS, &window(2, shape), 2), ScalingDecision::None, "{now} ms");
    }
}

#[test]
fn nothing_changes_in_the_cooldown() {
    for cooldown in [Duration::from_millis(100), Duration::from_secs(2)] {
        let mut scaler = Scaler::new(ScalingPolicy { cooldown, ..policy() });
        scaler.changed(0);
        let first = (0..10_000)
            .find(|now| scaler.decide(now * MS, &window(2, |m| m.fill_ratio = 1.0), 2) != ScalingDecision::None);
        assert_eq!(first, Some(cooldown.as_millis() as u64));
        assert_eq!(scaler.fewer(MS, 3, 1), Err(ScalingError::InCooldown));
        assert_eq!(scaler.more(2, 1), Ok(3), "a caller that asks for more gets it at once");
    }
}

#[test]
fn noise_around_the_thresholds_does_not_make_it_flap() {
    let mut random = Random::new(seed());
    for center in [0.1, 0.7] {
        let (mut scaler, mut active, mut turns, mut last) = (Scaler::new(policy()), 4_i32, 0, 0);
        for now in (0..600_000).step_by(100) {
            let metrics = window(active as u16, |m| m.event_rate = 1e5);
            let metrics: Vec<_> = metrics
                .into_iter()
                .map(|m| ShardMetrics { fill_ratio: center + 0.2 * (random.fraction() - 0.5), ..m })
                .collect();
            let change = match scaler.decide(now * MS, &metrics, active as u16) {
                ScalingDecision::None => continue,
                ScalingDecision::ScaleUp(count) => i32::from(count),
                ScalingDecision::ScaleDown(count) => -i32::from(count),
            };
            scaler.changed(now * MS);
            active += change;
            turns += i32::from(last != 0 && change.signum() != last);
            last = change.signum();
        }
        assert_eq!(turns, 0, "around {center} it turned back {turns} times");
    }
}

#[test]
fn policies_out_of_range_are_named() {
    let cases = [
        (ScalingPolicy { fill_ratio_threshold: f64::NAN, ..policy() }, "fill_ratio_threshold"),
        (ScalingPolicy { fill_ratio_threshold: 1.1, ..policy() }, "fill_ratio_threshold"),
        (ScalingPolicy { underutilized_threshold: 0.7, ..policy() }, "underutilized_threshold"),
        (ScalingPolicy { underutilized_threshold: f64::NAN, ..policy() }, "underutilized_threshold"),
        (
            overload(OverloadThresholds { push_latency_threshold: Duration::ZERO, ..OverloadThresholds::default() }),
            "push_latency_threshold",
        ),
        (
            overload(OverloadThresholds { flush_latency_threshold: Duration::ZERO, ..OverloadThresholds::default() }),
            "flush_latency_threshold",
        ),
        (
            overload(OverloadThresholds { event_rate_threshold: f64::INFINITY, ..OverloadThresholds::default() }),
            "event_rate_threshold",
        ),
        (ScalingPolicy { min_shards: 0, ..policy() }, "min_shards"),
        (ScalingPolicy { min_shards: 9, ..policy() }, "max_shards"),
        (ScalingPolicy { cooldown: Duration::ZERO, ..policy() }, "cooldown"),
        (ScalingPolicy { scale_down_delay: Duration::ZERO, ..policy() }, "scale_down_delay"),
        (ScalingPolicy { metrics_window: Duration::from_millis(3), ..policy() }, "metrics_window"),
    ];
    for (case, setting) in cases {
        let error = case.validate().expect_err(setting).to_string();
        assert!(error.contains(&format!("{setting} is")), "{error}");
    }
    for good in [policy(), ScalingPolicy::high_throughput(2), ScalingPolicy::conservative(0), ScalingPolicy::default()]
    {
        good.validate().expect("a preset");
    }
    assert_eq!(ScalingPolicy { min_shards: 9, ..policy() }.normalize().max_shards, 9);
}

#[test]
fn meter_averages_over_its_window() {
    let mut meter = Meter::default();
    // Long ago it was busy.
    meter.add(Reading { at: 0, fill_ratio: 1.0, ..Reading::default() });
    for sample in 0..=u64::from(SAMPLES) {
        meter.add(Reading {
            at: 1_000 * MS + sample * 25 * MS,
            events: sample * 1_000,
            pending: 80,
            fill_ratio: 0.5,
            commits: sample,
            commit_ns: sample * 3 * MS,
        });
    }
    let metrics = meter.metrics(7, &policy());
    assert_eq!((metrics.shard_id, metrics.fill_ratio, metrics.event_rate), (7, 0.5, 40_000.0));
    assert_eq!(
        (metrics.avg_push_latency, metrics.avg_flush_latency, metrics.draining),
        (Duration::from_nanos(2 * MS), Duration::from_millis(3), false)
    );
    assert!((metrics.weight - 0.5 / 0.7).abs() < 1e-9, "{}", metrics.weight);
    assert!(meter.metrics_of_retired(7, &policy()).draining);
}
