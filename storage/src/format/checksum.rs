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
