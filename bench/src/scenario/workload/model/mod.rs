//! A model of requests, for machines without a trace: gamma-distributed gaps, log-normal lengths.
//!
//! Its constants are those of the Azure LLM inference trace of conversations (2023; 19,366 requests in 58 minutes):
//! moments of the gaps, and of the logarithms of the lengths.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::azure::single_request;
use super::plan::Plan;
use super::random::Random;

/// Mean gap between requests, in seconds.
const GAP_MEAN: f64 = 0.1808;

/// Shape of the gaps' gamma distribution; below 1 they come in clusters.
const GAP_SHAPE: f64 = 0.835;

/// Mean and standard deviation of the logarithm of a length, and the largest length.
struct Length {
    mean: f64,
    deviation: f64,
    max: f64,
}

const CONTEXT: Length = Length { mean: 6.633, deviation: 0.985, max: 14_050.0 };
const GENERATED: Length = Length { mean: 5.019, deviation: 0.859, max: 1000.0 };

/// Requests drawn from the model. Each is a session.
#[derive(Debug)]
pub(super) struct Model {
    random: Random,
    name: Arc<str>,
    arrival: f64,
    given: u64,
}

impl Model {
    /// The same seed gives the same requests.
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), name: Arc::from("synthetic"), arrival: 0.0, given: 0 }
    }

    /// The next request.
    pub(super) fn next(&mut self) -> Plan {
        self.arrival += self.random.gamma(GAP_SHAPE) * GAP_MEAN;
        self.given += 1;
        let arrival = Duration::try_from_secs_f64(self.arrival).unwrap_or(Duration::MAX);
        let (context, generated) = (self.length(&CONTEXT), self.length(&GENERATED));
        single_request(self.given, &self.name, arrival, context, generated)
    }

    fn length(&mut self, length: &Length) -> u32 {
        (length.mean + length.deviation * self.random.normal()).exp().clamp(1.0, length.max) as u32
    }
}
