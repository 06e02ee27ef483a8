//! An axis of values: where a value stands, and which values are labelled.

use super::picture::{BOTTOM, TOP};
use crate::unit::Unit;

/// A labelled place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// A ratio of largest to smallest value from which on an axis is logarithmic.
const LOGARITHMIC: f64 = 20.0;

/// Labels stand at least so far apart.
const APART: f64 = 22.0;

/// The vertical axis of a plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    unit: Unit,
    is_log: bool,
    low: f64,
    high: f64,
}

impl Scale {
    /// An axis for values from `min` to `max`: logarithmic where they differ much, else from 0.
    pub(super) fn fitting(unit: Unit, min: u64, max: u64) -> Self {
        let (min, max) = ((min as f64).max(1.0), (max as f64).max(1.0));
        if max / min >= LOGARITHMIC {
            Self { unit, is_log: true, low: min / 1.15, high: max * 1.15 }
        } else {
            Self { unit, is_log: false, low: 0.0, high: max * 1.1 }
        }
    }

    /// A logarithmic axis for values from `min` to `max`, over a factor of four at least. 0 stands where 1 does.
    pub(super) fn logarithmic(unit: Unit, min: u64, max: u64) -> Self {
        let (min, max) = ((min as f64).max(1.0), (max as f64).max(1.0) * 1.02);
        let lacking = (4.0 / (max / min)).max(1.0).sqrt();
        Self { unit, is_log: true, low: min / lacking, high: max * lacking }
    }

    /// The point of a value, as a share of the axis from its lower end.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.is_log {
            (value.max(1.0) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The point of a value on the picture.
    pub(super) fn at(&self, value: f64) -> f64 {
        BOTTOM - self.share(value).clamp(0.0, 1.0) * (BOTTOM - TOP)
    }

    /// The labels: round values, the roundest first, as many as there is room for.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        let candidates = if self.is_log { logarithmic(self.unit, self.high) } else { self.multiples() };
        for value in candidates.into_iter().filter(|value| (self.low..=self.high).contains(value)) {
            let at = self.at(value);
            if ticks.iter().all(|tick| (tick.at - at).abs() >= APART) {
                ticks.push(Tick { at, label: self.unit.text(value) });
            }
        }
        ticks
    }

    /// The round value of which six at most fit below the upper end.
    pub(super) fn step(&self) -> f64 {
        let mut steps = rounds(self.unit, self.high);
        steps.sort_by(f64::total_cmp);
        steps.into_iter().find(|step| self.high / step < 7.0).unwrap_or(self.high)
    }

    fn multiples(&self) -> Vec<f64> {
        (0..=6).map(|number| f64::from(number) * self.step()).collect()
    }
}

/// Labels of a logarithmic axis: round values, and less round ones where those leave room.
fn logarithmic(unit: Unit, high: f64) -> Vec<f64> {
    let rounds = rounds(unit, high);
    let mut values = rounds.clone();
    values.extend([3.0, 7.0, 1.5].iter().flat_map(|factor| rounds.iter().map(move |value| value * factor)));
    values
}

/// Round values of a unit up to `high`, and one above it, the roundest first.
fn rounds(unit: Unit, high: f64) -> Vec<f64> {
    const MINUTE: f64 = 60e9;
    // From a minute on, people count in sixties.
    let decimal_end = match unit {
        Unit::Nanoseconds => MINUTE,
        Unit::PerThousandSeconds => f64::INFINITY,
    };
    let powers = || std::iter::successors(Some(1.0), |power| Some(power * 10.0)).take(19);
    let decimal = |factor: f64| powers().map(move |power| power * factor).filter(move |value| *value < decimal_end);
    let clock: &[f64] = match unit {
        Unit::Nanoseconds => &[1.0, 10.0, 60.0, 720.0, 1440.0, 14_400.0, 5.0, 30.0, 240.0, 4320.0, 2.0, 20.0, 120.0],
        Unit::PerThousandSeconds => &[],
    };
    let clock = clock.iter().map(|minutes| minutes * MINUTE);
    let values = decimal(1.0).chain(clock).chain(decimal(2.0)).chain(decimal(5.0));
    values.filter(|value| *value <= high * 10.0).collect()
}
