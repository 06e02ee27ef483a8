//! A model of requests, for machines without a trace: gamma-distributed gaps, log-normal lengths.
//!
//! Its constants are those of the Azure LLM inference trace of conversations (2023; 19,366 requests in 58 minutes):
//! moments of the gaps, and of the logarithms of the lengths.

#[cfg(test)]
mod tests;

use std::f64::consts::TAU;
use std::time::Duration;

use super::request::Request;

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

/// Requests drawn from the model.
#[derive(Debug)]
pub(super) struct Model {
    seed: u64,
    random: Random,
    arrival: f64,
}

impl Model {
    /// The same seed gives the same requests.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, random: Random(seed), arrival: 0.0 }
    }

    /// The seed.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The next request.
    pub(super) fn next(&mut self) -> Request {
        self.arrival += self.random.gamma(GAP_SHAPE) * GAP_MEAN / GAP_SHAPE;
        Request {
            arrival: Duration::from_secs_f64(self.arrival),
            context_tokens: self.length(&CONTEXT),
            generated_tokens: self.length(&GENERATED),
        }
    }

    fn length(&mut self, length: &Length) -> u32 {
        (length.mean + length.deviation * self.random.normal()).exp().clamp(1.0, length.max) as u32
    }
}

/// Random numbers: splitmix64.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// Gamma of this shape and scale 1 (Marsaglia and Tsang; a shape below 1 by way of the one above).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.uniform().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let normal = self.normal();
            let v = (1.0 + c * normal).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * normal * normal + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}
