//! The cursor: a reader's position over all shards, as opaque text.
//!
//! A reader that resumes gets no event twice and misses none: the position in each shard is the sequence after the last
//! event that was handed out, sequences are dense and never change, and [`LogView::resume`] continues at that sequence.
//! A position also has the run, that is the opening of the log, which wrote the event before it. If a crash took events
//! that the reader had seen, the next run gave their sequences to other events; `resume` then goes back to where the
//! position's run ended, and the reader gets a gap. A shard that is not named is read from its beginning.
//!
//! Hexadecimal digits of: version, flags, log id, the position of each shard, CRC-32C of all that; between them what
//! pages in order of time need. Little-endian.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapeline_storage::format::{Epoch, LogId, Sequence, crc32c};
use tapeline_storage::log::{LogView, Position, Run};

use crate::event::StoredEvent;

const VERSION: u8 = 2;
const CRC_BYTES: usize = 4;
/// Flag of a cursor in order of time: it has a frontier, and for each position the first sequence that was not handed
/// out.
const IN_ORDER_OF_TIME: u8 = 1;

/// The fault of a cursor.
///
/// ```
/// use tapeline_reader::CursorFault;
///
/// fn advice(fault: &CursorFault) -> &'static str {
///     match fault {
///         CursorFault::Expired(_) => "start from the earliest event",
///         CursorFault::Foreign(_) => "ask the log that gave it",
///         _ => "start anew",
///     }
/// }
/// assert_eq!(advice(&CursorFault::Expired(0)), "start from the earliest event");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CursorFault {
    /// It is no cursor, or not as it was written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It was written by a version of this crate that this one does not know.
    #[error("of version {0}, this build reads {VERSION}")]
    Version(u8),
    /// It is of another log.
    #[error("of log {0}, another one")]
    Foreign(LogId),
    /// The log no longer holds anything of the part of a shard that the cursor is in, and does not know what lies
    /// between.
    #[error("expired: the part of shard {0} that it stands in is gone")]
    Expired(u16),
    /// It belongs to pages in order of time, and cannot go on in another order.
    #[error("of pages in order of time: ask for Ordering::InsertionTs")]
    OtherOrdering,
}

/// Position in an order of time: everything up to this event has been handed out. Ties of time go to the lower shard,
/// then to the lower sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontier {
    pub timestamp: u64,
    pub shard: u16,
    pub sequence: Sequence,
}

impl Frontier {
    /// Before every event.
    pub const BEGINNING: Self = Self { timestamp: 0, shard: 0, sequence: Sequence::ZERO };

    pub fn of(event: &StoredEvent) -> Self {
        Self { timestamp: event.insertion_ts, shard: event.shard_id, sequence: event.sequence }
    }
}

/// The position in each shard: after the events that were handed out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    pub positions: BTreeMap<u16, Position>,
    pub sweep: Option<SweepPosition>,
}

/// The part of a cursor that only reading in order of time needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepPosition {
    pub frontier: Frontier,
    /// For each shard the first event that was not handed out: others after it may have been.
    pub unread: BTreeMap<u16, Sequence>,
}

impl Cursor {
    /// The earliest position in these shards.
    pub fn earliest<'a>(views: impl IntoIterator<Item = &'a Arc<LogView>>) -> Self {
        let positions = views.into_iter().map(|view| (view.shard(), view.position(view.trimmed()))).collect();
        Self { positions, sweep: None }
    }

    /// The first event of a shard that was not handed out, if the cursor knows the shard.
    pub fn first_unread(&self, shard: u16) -> Option<Sequence> {
        let next = self.positions.get(&shard)?.next;
        let unread = self.sweep.as_ref().and_then(|sweep| sweep.unread.get(&shard));
        Some(unread.map_or(next, |unread| next.min(*unread)))
    }

    pub fn encode(&self, log: LogId) -> String {
        let mut bytes = vec![VERSION, if self.sweep.is_some() { IN_ORDER_OF_TIME } else { 0 }];
        bytes.extend(log.0);
        if let Some(SweepPosition { frontier: Frontier { timestamp, shard, sequence }, .. }) = self.sweep {
            bytes.extend(timestamp.to_le_bytes());
            bytes.extend(shard.to_le_bytes());
            bytes.extend(sequence.get().to_le_bytes());
        }
        for (shard, position) in &self.positions {
            bytes.extend(shard.to_le_bytes());
            for number in [position.next.get(), position.run.epoch.get(), position.run.base.get()] {
                bytes.extend(number.to_le_bytes());
            }
            if let Some(sweep) = &self.sweep {
                let unread = sweep.unread.get(shard).copied().unwrap_or(position.next);
                bytes.extend(unread.get().to_le_bytes());
            }
        }
        bytes.extend(crc32c(&bytes).to_le_bytes());
        hex(&bytes)
    }

    pub fn decode(text: &str, log: LogId) -> Result<Self, CursorFault> {
        let damaged = |why: &str| CursorFault::Damaged(why.to_owned());
        let bytes = unhex(text).ok_or_else(|| damaged("not hexadecimal digits"))?;
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or_else(|| damaged("too short"))?;
        if crc32c(body).to_le_bytes() != *crc {
            return Err(damaged("its checksum does not match"));
        }
        let mut fields = Fields(body);
        let cut = || damaged("it ends too early");
        let version = fields.u8().ok_or_else(cut)?;
        if version != VERSION {
            return Err(CursorFault::Version(version));
        }
        let flags = fields.u8().ok_or_else(cut)?;
        let found = LogId(fields.take().ok_or_else(cut)?);
        if found != log {
            return Err(CursorFault::Foreign(found));
        }
        let mut cursor = Self::default();
        if flags & IN_ORDER_OF_TIME != 0 {
            let frontier = fields.frontier().ok_or_else(cut)?;
            cursor.sweep = Some(SweepPosition { frontier, unread: BTreeMap::new() });
        }
        while !fields.0.is_empty() {
            let (shard, position) = fields.position().ok_or_else(cut)?;
            cursor.positions.insert(shard, position);
            if let Some(sweep) = &mut cursor.sweep {
                sweep.unread.insert(shard, Sequence::new(fields.u64().ok_or_else(cut)?));
            }
        }
        Ok(cursor)
    }
}

/// The rest of a cursor's bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn frontier(&mut self) -> Option<Frontier> {
        Some(Frontier { timestamp: self.u64()?, shard: self.u16()?, sequence: Sequence::new(self.u64()?) })
    }

    fn position(&mut self) -> Option<(u16, Position)> {
        let (shard, next) = (self.u16()?, Sequence::new(self.u64()?));
        let run = Run { epoch: Epoch::new(self.u64()?), base: Sequence::new(self.u64()?) };
        Some((shard, Position { next, run }))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|four| four as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests;
