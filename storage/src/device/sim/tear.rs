//! The bytes of an interrupted write that reach the disk.

use std::iter;
use std::ops::Range;

use super::Random;

/// The unit that a disk writes wholly or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// Ranges of the bytes that reach the disk: none, all, a beginning, an end, or any sectors, each in a fifth of cases.
pub(super) fn tear(random: &mut Random, length: usize) -> Vec<Range<usize>> {
    let cut = cut(random, length);
    let part = match random.below(5) {
        0 => 0..0,
        1 => 0..length,
        2 => 0..cut,
        3 => cut..length,
        _ => return scatter(random, length),
    };
    iter::once(part).filter(|part| !part.is_empty()).collect()
}

/// A boundary between two sectors.
fn cut(random: &mut Random, length: usize) -> usize {
    let inner = length.div_ceil(SECTOR_BYTES).saturating_sub(1);
    (SECTOR_BYTES * (1 + random.below(inner as u64) as usize)).min(length)
}

fn scatter(random: &mut Random, length: usize) -> Vec<Range<usize>> {
    let mut coins = 0;
    let starts = (0..length).step_by(SECTOR_BYTES).enumerate();
    let heads = starts.filter(|(nth, _)| {
        coins = if nth.is_multiple_of(64) { random.next_u64() } else { coins >> 1 };
        coins & 1 == 1
    });
    heads.map(|(_, start)| start..(start + SECTOR_BYTES).min(length)).collect()
}
