//! SplitMix64: numbers that a seed determines, and its finaliser, which spreads the bits of a number.

/// The step from one number to the next: the golden ratio's part of 2^64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

const FIRST_FACTOR: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND_FACTOR: u64 = 0x94d0_49bb_1331_11eb;

/// Spreads the bits of a number over all 64. Part of the format: see the filter of an index.
pub(crate) fn mix(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(FIRST_FACTOR);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(SECOND_FACTOR);
    mixed ^ mixed >> 31
}

/// The number that [`mix`] made this one of.
fn unmix(mixed: u64) -> u64 {
    let number = (mixed ^ mixed >> 31 ^ mixed >> 62).wrapping_mul(inverse(SECOND_FACTOR));
    let number = (number ^ number >> 27 ^ number >> 54).wrapping_mul(inverse(FIRST_FACTOR));
    number ^ number >> 30 ^ number >> 60
}

/// The number by which an odd one is 1 modulo 2^64, by Newton's method: each step doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut bits_right = 3;
    while bits_right < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits_right *= 2;
    }
    inverse
}

/// The numbers of a seed.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// The draws after which a seed that gave `from` gives `to`. Two numbers of different seeds are some 2^63 apart.
    pub(crate) fn draws_between(from: u64, to: u64) -> u64 {
        unmix(to).wrapping_sub(unmix(from)).wrapping_mul(inverse(STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_between_two_numbers_of_a_seed_are_counted() {
        for seed in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let mut numbers = SplitMix64::new(seed);
            let first = numbers.draw();
            let later: Vec<_> = (1..50).map(|count| (count, numbers.draw())).collect();
            for (count, number) in later {
                assert_eq!(SplitMix64::draws_between(first, number), count);
                assert_eq!(SplitMix64::draws_between(number, first), count.wrapping_neg());
            }
            let other = SplitMix64::new(seed ^ 5).draw();
            assert!((1 << 40..u64::MAX - (1 << 40)).contains(&SplitMix64::draws_between(first, other)));
        }
    }
}
