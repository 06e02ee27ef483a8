//! Memory: how fast bytes are copied, and how fast they are read.

use std::hint::black_box;
use std::time::Instant;

use crate::harness::stats::median;

/// Copies of which the median counts.
const COPIES: usize = 9;

/// Bytes of memory that are read through: far beyond the caches.
const SCAN_BYTES: usize = 256 << 20;

/// Bytes a second that one core copies, in pieces of `piece` bytes which walk through a target of `target` bytes, as
/// a producer walks through its lane.
pub(crate) fn copy_rate(piece: usize, target: usize) -> f64 {
    let piece = piece.max(1);
    let source: Vec<u8> = (0..piece).map(|index| index as u8).collect();
    let mut target = vec![1u8; target.max(piece)];
    // Tiny pieces are timed together, or the clock would be most of what is measured.
    let together = ((1 << 20) / piece).max(1);
    let mut at = 0;
    let mut copy = || {
        let start = Instant::now();
        for _ in 0..together {
            if at + piece > target.len() {
                at = 0;
            }
            target[at..at + piece].copy_from_slice(black_box(&source));
            at += piece;
        }
        black_box(&mut target);
        (piece * together) as f64 / start.elapsed().as_secs_f64()
    };
    copy();
    let rates: Vec<f64> = (0..COPIES).map(|_| copy()).collect();
    median(&rates)
}

/// Bytes a second that one core reads and adds up.
pub(crate) fn scan_rate() -> f64 {
    let words: Vec<u64> = (0..SCAN_BYTES as u64 / 8).collect();
    let rates: Vec<f64> = (0..COPIES)
        .map(|_| {
            let start = Instant::now();
            let sum = black_box(&words).iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
            black_box(sum);
            SCAN_BYTES as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    median(&rates)
}
