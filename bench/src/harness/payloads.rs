//! Payloads that lie ready, as an encoder would have left them: to write one in the measured loop would measure how
//! long the processor takes to read back what was just written.

/// Different payloads before they repeat. Of 64 bytes, all of them stay in the first cache.
const COUNT: usize = 256;

/// Payloads of one length.
pub(crate) struct Payloads {
    bytes: Vec<u8>,
    length: usize,
}

impl Payloads {
    /// Payloads of `length` bytes.
    pub(crate) fn new(length: usize) -> Self {
        let bytes = (0..COUNT * length).map(|at| (at / length.max(1) + at) as u8).collect();
        Self { bytes, length }
    }

    /// One after the other, for ever; costs less than [`Payloads::of`].
    #[inline]
    pub(crate) fn cycle(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.length.max(1)).cycle()
    }

    /// The payload of event `number`.
    #[inline]
    pub(crate) fn of(&self, number: u64) -> &[u8] {
        let at = number as usize % COUNT * self.length;
        &self.bytes[at..at + self.length]
    }
}
