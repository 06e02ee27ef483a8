//! CRC-32C (Castagnoli), the checksum of every page and block.
//!
//! Expected cost: 63 GB/s over 1 MiB in cache where the processor has VPCLMULQDQ.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32C of the bytes of `pieces`, one after the other.
pub(super) fn crc32c_of(pieces: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    pieces.iter().for_each(|piece| digest.update(piece));
    // CRC-32 algorithms fill the low half only.
    digest.finalize() as u32
}

/// Finds a change of one byte by which the CRC-32C of `bytes` becomes `crc`: its place, and the bits to change. Where
/// more than one byte is wrong, some change of one fits in one of 2^32 cases for each of its 255 values.
pub(super) fn one_byte_change(bytes: &[u8], crc: u32) -> Option<(usize, u8)> {
    // The checksum is linear: a change of a byte makes this one of the register, moved on by each byte that follows.
    let mut register = crc32c(bytes) ^ crc;
    for at in (0..bytes.len()).rev() {
        register = before_byte(register);
        if let Ok(change) = u8::try_from(register)
            && change != 0
        {
            return Some((at, change));
        }
    }
    None
}

/// The register of the checksum that a byte of zeros makes this one of.
fn before_byte(register: u32) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    (0..u8::BITS).fold(register, |register, _| {
        let bit = register >> 31;
        (register ^ (POLYNOMIAL & bit.wrapping_neg())) << 1 | bit
    })
}

/// A CRC-32C computed piece by piece, and sealed with the segment's epoch.
#[derive(Debug, Clone)]
pub struct Checksum(Digest);

impl Default for Checksum {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Checksum {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds the epoch and gives the checksum, so that stale bytes of another epoch never validate. The epoch comes last
    /// because a block is summed while it fills, before it is known which segment it goes to.
    pub fn finish(mut self, epoch: super::Epoch) -> u32 {
        self.0.update(&epoch.get().to_le_bytes());
        // CRC-32 algorithms fill the low half only.
        self.0.finalize() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_was_changed_is_found_by_the_checksum() {
        let bytes: Vec<u8> = (0..4084_u32).map(|number| (number.wrapping_mul(0x9e37) >> 5) as u8).collect();
        let crc = crc32c(&bytes);
        for at in (0..bytes.len()).step_by(97) {
            let (mut changed, change) = (bytes.clone(), (at as u8) | 1);
            changed[at] ^= change;
            assert_eq!(one_byte_change(&changed, crc), Some((at, change)));
            changed[(at + 1000) % bytes.len()] ^= 1;
            assert_eq!(one_byte_change(&changed, crc), None);
        }
    }
}
