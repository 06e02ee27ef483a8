//! The records that were accepted, and those of them that are in the log: an event that the disk has no room for is not
//! counted.

use std::collections::{HashMap, VecDeque};
use std::io;

use tapeline::{Producer, Ticket};

use super::summary::Counts;

/// Entries after which those that are durable are taken off.
const CHECK_ENTRIES: usize = 1024;

/// A record that was accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) ticket: Ticket,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// An event of so many bytes that starts on this line.
    Event { line: u64, bytes: usize },
    /// A session was opened, for the first time or again.
    Opening { is_new: bool },
}

/// The records of a recording. It remembers those that may not be durable: what lanes and open blocks hold.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    durable: Counts,
    /// Records among those, by shard.
    durable_of: HashMap<u16, u64>,
    open: VecDeque<(usize, Entry)>,
    /// The source that is read, from 0.
    source: usize,
}

impl Ledger {
    /// The records that follow are of this source.
    pub(super) fn begin(&mut self, source: usize) {
        self.source = source;
    }

    /// Makes room for one more record.
    ///
    /// # Errors
    /// `ENOMEM`: nothing more can be accepted.
    pub(super) fn reserve(&mut self) -> io::Result<()> {
        self.open.try_reserve(1).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))
    }

    /// A record was accepted, for which there is room.
    pub(super) fn add(&mut self, entry: Entry, producer: &Producer) {
        self.open.push_back((self.source, entry));
        if self.open.len().is_multiple_of(CHECK_ENTRIES) {
            while self.open.front().is_some_and(|(_, entry)| producer.is_durable(entry.ticket))
                && let Some((_, entry)) = self.open.pop_front()
            {
                *self.durable_of.entry(entry.ticket.shard_id).or_default() += 1;
                entry.count(&mut self.durable);
            }
        }
    }

    /// Counts of all that was accepted.
    pub(super) fn accepted(&self) -> Counts {
        let mut counts = self.durable;
        self.open.iter().for_each(|(_, entry)| entry.count(&mut counts));
        counts
    }

    /// Counts of what is in the log, where each shard has so many records of this recording; and the first event that
    /// is not there: its source and line. A shard has the records that it was given first.
    pub(super) fn stored(&self, records: &HashMap<u16, u64>) -> (Counts, Option<(usize, u64)>) {
        let (mut counts, mut first_lost, mut given) = (self.durable, None, self.durable_of.clone());
        for (source, entry) in &self.open {
            let shard = entry.ticket.shard_id;
            let given = given.entry(shard).or_default();
            *given += 1;
            match entry.what {
                _ if *given <= records.get(&shard).copied().unwrap_or(0) => entry.count(&mut counts),
                What::Event { line, .. } => first_lost = first_lost.or(Some((*source, line))),
                What::Opening { .. } => {}
            }
        }
        (counts, first_lost)
    }
}

impl Entry {
    fn count(&self, counts: &mut Counts) {
        match self.what {
            What::Event { bytes, .. } => {
                counts.events += 1;
                counts.bytes += bytes as u64;
            }
            What::Opening { is_new } => counts.sessions += u64::from(is_new),
        }
    }
}
