//! Writes that met an error that passes, until they are tried again.

use super::LogOptions;
use super::outage::Outage;
use crate::device::Write;

/// The refused writes, which are tried again together, and the outage that they are in.
#[derive(Debug, Default)]
pub(super) struct Refused {
    writes: Vec<Write>,
    /// Its last failure may be long ago.
    outage: Option<Outage>,
}

impl Refused {
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn add(&mut self, write: Write, now: u64) {
        // Of writes that are tried again together some may succeed before others fail.
        let is_recent = |outage: &Outage| now <= outage.last().saturating_add(2 * LogOptions::FULL_RETRY_NS);
        self.outage = Some(Outage::add(self.outage.filter(is_recent), now));
        self.writes.push(write);
    }

    /// All of them, if it is time to try again.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<Write> {
        let retry_at = self.outage.map_or(0, |outage| outage.last().saturating_add(LogOptions::FULL_RETRY_NS));
        if now < retry_at { Vec::new() } else { std::mem::take(&mut self.writes) }
    }

    /// The outage, while there are any.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.outage.filter(|_| !self.is_empty())
    }
}
