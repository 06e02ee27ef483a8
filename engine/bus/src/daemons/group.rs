//! The group in the making: outputs of the events since the last checkpoint.

use std::time::{Duration, Instant};

use super::Output;

/// Most outputs of a group.
const OUTPUTS_MAX: usize = 1024;
/// Most bytes of outputs that a group is meant to have: with its note it fits a block.
pub(super) const GROUP_BYTES_MAX: usize = 512 << 10;
/// Bytes at which a group takes no more events.
const FULL_BYTES: usize = 128 << 10;
/// The longest time that an output waits for others while there are events to process.
const LINGER: Duration = Duration::from_millis(2);
/// Bytes that an output takes beside its payload.
const OUTPUT_BYTES: usize = 64;
/// The time after which a group without outputs is written.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Group {
    pub(super) outputs: Vec<Output>,
    bytes: usize,
    /// Events that were processed since the last checkpoint.
    pub(super) events: u64,
    /// The time of the first output.
    first: Option<Instant>,
    written: Instant,
}

impl Group {
    pub(super) fn new() -> Self {
        Self { outputs: Vec::new(), bytes: 0, events: 0, first: None, written: Instant::now() }
    }

    /// Bytes that outputs take in a group.
    pub(super) fn bytes_of(outputs: &[Output]) -> usize {
        outputs.iter().map(|output| output.payload.len() + OUTPUT_BYTES).sum()
    }

    pub(super) fn add(&mut self, outputs: Vec<Output>) {
        if !outputs.is_empty() {
            self.bytes += Self::bytes_of(&outputs);
            self.first.get_or_insert_with(Instant::now);
            self.outputs.extend(outputs);
        }
    }

    /// Returns whether it is to be written although there are events to process.
    pub(super) fn is_full(&self) -> bool {
        self.outputs.len() >= OUTPUTS_MAX
            || self.bytes >= FULL_BYTES
            || self.first.is_some_and(|first| first.elapsed() >= LINGER)
            || (self.events.is_multiple_of(4096) && self.events > 0 && self.is_due())
    }

    /// Returns whether it is to be written where there is nothing to process.
    pub(super) fn is_due(&self) -> bool {
        !self.outputs.is_empty() || (self.events > 0 && self.written.elapsed() >= CHECKPOINT_INTERVAL)
    }

    /// The time at which it is due if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.events > 0).then(|| self.written + CHECKPOINT_INTERVAL)
    }

    /// It was written.
    pub(super) fn clear(&mut self) {
        self.outputs.clear();
        (self.bytes, self.events, self.first, self.written) = (0, 0, None, Instant::now());
    }
}
