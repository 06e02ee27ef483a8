//! Timestamps increase, compare, mean what they say, and survive being steered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::machine::{Machine, MachineEvent};
use super::scale::{Scale, ScaleCell};
use super::*;

/// Nanoseconds by which a timestamp may be smaller than one of another thread that was drawn before it: what the TSC
/// differs between cores, what a core reads it too early, and what the scale is bent by while a thread reads it.
const TOLERANCE_NS: u64 = 1_000;

const SECOND: u64 = 1_000_000_000;

/// A 3 GHz counter that started at the epoch.
fn three_gigahertz() -> Scale {
    Scale { tick: 0, nanos: 0, rate: Scale::rate_of(3 * SECOND, SECOND).unwrap() }
}

fn monotonic() -> &'static Clock {
    Box::leak(Box::new(Clock::monotonic()))
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// A timestamp drawn between two readings of the wall lies between them, to 50 ms.
fn assert_wall(draw: impl FnOnce() -> u64) {
    const ERROR: u64 = 50_000_000;
    let (before, stamp, after) = (wall(), draw(), wall());
    assert!(stamp + ERROR >= before && stamp <= after + ERROR, "{stamp} is not from {before} to {after}");
}

#[test]
fn timestamps_strictly_increase() {
    for clock in [Clock::global(), monotonic()] {
        let mut timestamps = Timestamps::new(clock);
        let mut last = timestamps.last();
        for _ in 0..200_000 {
            let next = timestamps.next();
            assert!(next > last, "{next} after {last}, tsc {}", clock.is_tsc());
            assert_eq!(timestamps.last(), next);
            last = next;
        }
    }
}

#[test]
fn timestamps_are_nanoseconds_of_the_wall() {
    for clock in [Clock::global(), monotonic()] {
        let mut timestamps = Timestamps::new(clock);
        assert_wall(|| timestamps.next());
    }
}

#[test]
fn a_generator_counts_nanoseconds() {
    const SPIN: Duration = Duration::from_millis(20);
    // 1 % is for the first calibration.
    let least = SPIN.as_nanos() as u64 / 100 * 99;
    for clock in [Clock::global(), monotonic()] {
        let generator = TimestampGenerator::with_clock(clock);
        // Spans that nest, so that a pause of this thread between two readings does not matter.
        let outer = Instant::now();
        let (first, raw) = (generator.next(), generator.now_raw());
        let inner = Instant::now();
        while inner.elapsed() < SPIN {
            std::hint::spin_loop();
        }
        let (raw_end, last) = (generator.now_raw(), generator.next());
        let most = outer.elapsed().as_nanos() as u64 / 100 * 101 + TOLERANCE_NS;
        let nanos = (generator.raw_to_nanos(raw), generator.raw_to_nanos(raw_end));
        for span in [last - first, nanos.1 - nanos.0, generator.delta_ns(raw, raw_end)] {
            assert!(span >= least && span <= most, "{span} ns, not {least} to {most}, tsc {}", clock.is_tsc());
        }
        let error = SPIN.as_nanos() as u64 - least;
        assert!(nanos.0 + error >= first && nanos.1 <= last + error, "{nanos:?} not in {first} to {last}");
        assert_eq!(generator.delta_ns(raw_end, raw), 0);
    }
}

#[test]
fn timestamps_of_threads_compare_along_messages() {
    const ROUNDS: usize = 5_000;
    let (to, inbox) = mpsc::channel::<u64>();
    let (back, answers) = mpsc::channel::<u64>();
    let echo = std::thread::spawn(move || {
        // A generator of its own for each stamp: nothing but the clock keeps them in order.
        for received in inbox {
            let stamp = TimestampGenerator::new().next();
            assert!(stamp + TOLERANCE_NS >= received, "{stamp} after {received}");
            back.send(stamp).unwrap();
        }
    });
    for _ in 0..ROUNDS {
        to.send(TimestampGenerator::new().next()).unwrap();
        let received = answers.recv().unwrap();
        let stamp = TimestampGenerator::new().next();
        assert!(stamp + TOLERANCE_NS >= received, "{stamp} after {received}");
    }
    drop(to);
    echo.join().unwrap();
}

#[test]
fn threads_that_share_a_generator_get_rising_timestamps_of_their_own() {
    const EACH: usize = 20_000;
    for clock in [Clock::global(), monotonic()] {
        let generator = TimestampGenerator::with_clock(clock);
        let draw = || (0..EACH).map(|_| generator.next()).collect::<Vec<_>>();
        let drawn: [Vec<u64>; 4] = std::thread::scope(|threads| {
            let threads = [(); 4].map(|()| threads.spawn(draw));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(drawn.iter().all(|stamps| stamps.is_sorted_by(|earlier, later| earlier < later)));
        let all: HashSet<u64> = drawn.iter().flatten().copied().collect();
        assert_eq!((all.len(), all.iter().max().copied()), (4 * EACH, Some(generator.last())));
    }
}

#[test]
fn ordered_time_is_larger_than_any_that_its_thread_has_seen() {
    for clock in [Clock::global(), monotonic()] {
        let (latest, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut timestamps = Timestamps::new(clock);
                while !is_over.load(Ordering::Relaxed) {
                    latest.store(timestamps.draw(TimeSource::Ordered), Ordering::Release);
                }
            });
            let mut timestamps = Timestamps::new(clock);
            let mut is_earlier = |seen| timestamps.draw(TimeSource::Ordered) <= seen;
            let inversions = (0..300_000).filter(|_| is_earlier(latest.load(Ordering::Acquire))).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(inversions, 0);
        });
    }
}

#[test]
fn times_of_a_group_are_those_of_its_last_event_counted_back() {
    let mut timestamps = Timestamps::new(Clock::global());
    let before = timestamps.draw(TimeSource::Ordered);
    assert_eq!(timestamps.draw(TimeSource::Pending), before, "no time of its own");
    let first = timestamps.next_group(16);
    assert!(first > before);
    assert_eq!(timestamps.last(), first + 15);
    assert!(timestamps.last() - 15 <= Clock::global().past(), "no time is ahead of the clock");
    assert!(timestamps.next_group(1) > first + 15);
}

#[test]
fn a_floor_is_passed_and_never_lowered() {
    let mut timestamps = Timestamps::new(Clock::global());
    let floor = timestamps.next() + 3_600 * SECOND;
    timestamps.at_least(floor);
    assert_eq!(timestamps.next(), floor + 1);
    timestamps.at_least(floor - SECOND);
    assert_eq!(timestamps.next(), floor + 2);
    timestamps.at_least(u64::MAX);
    assert_eq!(timestamps.next(), u64::MAX, "the end of the numbers is an end, not an overflow");
}

#[test]
fn discipline_keeps_the_clock_to_the_wall_and_forward() {
    let clock = Clock::global();
    let mut timestamps = Timestamps::new(clock);
    let start = Instant::now();
    let mut last = clock.now();
    while start.elapsed() < Duration::from_millis(350) {
        clock.discipline();
        let now = clock.now();
        assert!(now + TOLERANCE_NS >= last, "{now} after {last}");
        last = now;
        let before = timestamps.last();
        assert!(timestamps.next() > before);
    }
    assert_wall(|| clock.now());
}

#[test]
fn a_scale_converts_before_and_after_its_tick() {
    let scale = Scale { tick: 9_000, nanos: SECOND, ..three_gigahertz() };
    assert_eq!(scale.at(9_000), SECOND);
    assert!(scale.at(9_000 + 3_000_000).abs_diff(SECOND + 1_000_000) <= 1);
    assert!(scale.at(6_000).abs_diff(SECOND - 1_000) <= 1);
    assert!(scale.span(3 * SECOND).abs_diff(SECOND) <= 1);
    let before_wrap = Scale { tick: u64::MAX - 999, ..scale };
    assert!(before_wrap.at(2_000).abs_diff(SECOND + 1_000) <= 1, "the counter wraps");
}

#[test]
fn no_rate_from_readings_that_say_nothing() {
    assert_eq!(Scale::rate_of(0, SECOND), None);
    assert_eq!(Scale::rate_of(SECOND, 0), None);
    assert_eq!(Scale::rate_of(0u64.wrapping_sub(3 * SECOND), SECOND), None, "a counter that was set back");
    assert_eq!(Scale::rate_of(SECOND, SECOND), Some(Scale::RATE_ONE));
}

#[test]
fn steering_brings_a_scale_to_the_true_time_without_a_step() {
    for error in [-400_000i64, -20, 0, 20, 400_000] {
        let scale = three_gigahertz();
        let target = SECOND.wrapping_add_signed(-error);
        let steered = scale.steered(3 * SECOND, target, scale.rate, SECOND);
        assert_eq!(steered.at(3 * SECOND), scale.at(3 * SECOND), "no step, error {error}");
        let left = steered.at(6 * SECOND).abs_diff(target + SECOND);
        assert!(left <= 2, "error {error}: {left} ns are left");
    }
}

#[test]
fn a_scale_far_behind_steps_forward_and_one_far_ahead_slows_down() {
    let scale = three_gigahertz();
    let tick = 3 * SECOND;
    let stepped = scale.steered(tick, 5 * SECOND, scale.rate, SECOND);
    assert_eq!(stepped, Scale { tick, nanos: 5 * SECOND, rate: scale.rate });
    let slowed = scale.steered(tick, SECOND / 2, scale.rate, SECOND);
    assert_eq!(slowed.at(tick), scale.at(tick), "never back");
    let gained = slowed.at(2 * tick) - slowed.at(tick);
    assert!(gained.abs_diff(SECOND - SECOND / 2_000) <= 2, "{gained} ns in a second at 500 ppm");
}

#[test]
fn readers_of_a_scale_never_see_half_of_a_replacement() {
    let whole = |number: u64| Scale { tick: number, nanos: number, rate: number };
    let (cell, stop) = (ScaleCell::new(whole(0)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..200_000 {
                cell.replace(whole(number));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut last = 0;
        while !stop.load(Ordering::Relaxed) {
            let scale = cell.read(|scale| *scale);
            assert_eq!(scale, whole(scale.tick));
            assert!(scale.tick >= last, "an older scale");
            let kept = cell.keep();
            assert_eq!(kept.scale, whole(kept.scale.tick));
            last = scale.tick.max(kept.scale.tick);
        }
    });
}

#[test]
fn a_kept_scale_is_in_force_until_it_is_replaced() {
    let cell = ScaleCell::new(three_gigahertz());
    let kept = cell.keep();
    assert!(cell.is_in_force(&kept));
    cell.replace(Scale { nanos: SECOND, ..three_gigahertz() });
    assert!(!cell.is_in_force(&kept));
    assert_eq!(cell.keep().scale.nanos, SECOND);
}

/// Lets so much time pass.
fn pass(time: Duration, mut meanwhile: impl FnMut()) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        meanwhile();
    }
}

/// The clock moves within 0.1 % of the real time.
fn assert_moves(now: impl Fn() -> u64, event: MachineEvent) {
    const SPIN: Duration = Duration::from_millis(40);
    let outer = Instant::now();
    let first = now();
    let inner = Instant::now();
    pass(SPIN, || {});
    let least = inner.elapsed().as_nanos() as u64 / 1_000 * 999;
    let moved = now().saturating_sub(first);
    let most = outer.elapsed().as_nanos() as u64 / 1_000 * 1_001;
    assert!(moved + TOLERANCE_NS >= least && moved <= most + TOLERANCE_NS, "{moved}, not {least} to {most}: {event:?}");
}

#[test]
fn clock_neither_crawls_nor_stands_after_its_counter_was_set() {
    for event in MachineEvent::EXAMPLES {
        let counter: &'static Machine = Box::leak(Box::new(Machine::new()));
        let clock: &'static Clock = Box::leak(Box::new(Clock::set_by(counter).expect("a rate")));
        let mut timestamps = Timestamps::new(clock);
        for _ in 0..3 {
            pass(Duration::from_millis(110), || {});
            clock.discipline();
        }
        let before = timestamps.next();
        counter.happen(event);
        clock.discipline();
        assert!(clock.now() >= before, "goes back: {event:?}");
        assert_moves(|| clock.now(), event);
        pass(Duration::from_millis(110), || {});
        clock.discipline();
        assert_moves(|| clock.now(), event);
        assert!(timestamps.next() > before);
        if event.ticks < 0 {
            assert_wall(|| clock.now());
        }
    }
}

#[test]
fn a_poor_first_rate_is_mended_by_the_next_measurement() {
    let counter: &'static Machine = Box::leak(Box::new(Machine::new()));
    let clock: &'static Clock = Box::leak(Box::new(Clock::set_by(counter).expect("a rate")));
    clock.misjudge_rate();
    pass(Duration::from_millis(110), || {});
    clock.discipline();
    assert_moves(|| clock.now(), MachineEvent { ticks: 0, per_mille: 1_000, slept: 0 });
}
