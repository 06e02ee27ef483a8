//! Payloads that lie ready, as an encoder would have left them: to write one in the measured loop would measure how
//! long the processor takes to read back what was just written.

/// Different payloads before they repeat. Of 64 bytes, all of them stay in the first cache.
const COUNT: usize = 256;

/// Bytes of them all, at most: fewer than [`COUNT`] where they are large.
const BYTES_MAX: usize = 64 << 20;

/// Payloads of one length.
pub(crate) struct Payloads {
    bytes: Vec<u8>,
    length: usize,
    /// One less than a power of two: a division would be measured, too.
    last: usize,
}

impl Payloads {
    /// Payloads of `length` bytes.
    pub(crate) fn new(length: usize) -> Self {
        let count = 1 << COUNT.min(BYTES_MAX / length.max(1)).max(1).ilog2();
        let bytes = (0..count * length).map(|at| (at / length.max(1) + at) as u8).collect();
        Self { bytes, length, last: count - 1 }
    }

    /// One after the other, for ever; costs less than [`Payloads::of`].
    #[inline]
    pub(crate) fn cycle(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.length.max(1)).cycle()
    }

    /// The payload of event `number`.
    #[inline]
    pub(crate) fn of(&self, number: u64) -> &[u8] {
        let at = (number as usize & self.last) * self.length;
        &self.bytes[at..at + self.length]
    }
}
