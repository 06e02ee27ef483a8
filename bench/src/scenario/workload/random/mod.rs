//! Random numbers of a seed, and the distributions that a load needs.

#[cfg(test)]
mod tests;

use std::f64::consts::TAU;

/// The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(tapeline_testing::Random);

impl Random {
    /// The numbers of this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(tapeline_testing::Random::new(seed))
    }

    /// Any 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// In (0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// Exponential of mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// Gamma of this shape and mean 1 (Marsaglia and Tsang; a shape below 1 by way of the one above).
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        self.gamma_of_scale_1(shape) / shape
    }

    fn gamma_of_scale_1(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma_of_scale_1(shape + 1.0) * self.uniform().powf(1.0 / shape);
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
