//! Random bytes, for identities and epochs.

use crate::timestamp::Clock;

/// Random bytes of the operating system; without them, of the clock and an address.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        let mix = xxhash_rust::xxh3::xxh3_128_with_seed(
            &Clock::global().now().to_le_bytes(),
            (&raw const bytes).addr() as u64,
        );
        for (byte, mixed) in bytes.iter_mut().zip(mix.to_le_bytes()) {
            *byte = mixed;
        }
    }
    bytes
}
