//! Stored events out of blocks. The payloads of one block share one allocation, and hold on to nothing of the log.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rkyv::util::AlignedVec;
use tapeline_storage::format::{Kind, LogId, LogShard, RecordView, Sequence, SessionId};
use tapeline_storage::read::Block;

use crate::event::{EventId, EventView, Payload, StoredEvent};
use crate::filter::Selection;
use crate::gap::{Gap, note};
use crate::kinds;
use crate::session::naming::NamesInUse;

/// Payloads are aligned as they are in the log.
const PAYLOAD_ALIGN: usize = 16;

/// Most bytes of records that one page looks at: a filter that matches nothing gives the thread back after some
/// milliseconds, with a cursor that goes on.
pub const SCAN_BYTES: usize = 16 << 20;

/// The result of a look at a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Records looked at.
    pub records: usize,
    /// Bytes of their payloads, and of what belongs to each.
    pub bytes: usize,
}

/// An event of a block, or why there is none.
pub type Found = Result<StoredEvent, Gap>;

/// Copies the selected events of a block of this shard to the end of `found`.
pub fn copy_events(shard: LogShard, block: &Block, selection: &Selection, found: &mut impl Extend<Found>) -> Looked {
    let (page, looked) = Page::of(shard.number, block, selection, usize::MAX);
    found.extend(page.found(shard.log_id));
    looked
}

/// The first `limit` selected events of a block of this shard, or all if there are fewer.
pub fn first_events(shard: LogShard, block: &Block, selection: &Selection, limit: usize) -> (Vec<Found>, Looked) {
    let (page, looked) = Page::of(shard.number, block, selection, limit);
    (page.found(shard.log_id).collect(), looked)
}

/// Shows the selected events of `block` where they lie, and the gaps that its records report. Returns the number of
/// records.
pub fn show_events(
    shard: u16,
    block: &Block,
    selection: &Selection,
    mut show: impl FnMut(Result<EventView<'_>, Gap>),
) -> usize {
    let mut names = selection.names().open();
    let mut records = 0;
    for record in block.records() {
        let sequence = block.first_sequence().plus(records as u64);
        records += 1;
        match record {
            Ok(record) => {
                select(EventView::new(shard, sequence, record), selection, &mut names).into_iter().for_each(&mut show)
            }
            Err(error) => show(Err(Gap::of_record(shard, sequence, &error))),
        }
    }
    records
}

/// The event, if it is selected, or the gap that its record reports.
#[inline]
fn select<'r>(
    event: EventView<'r>,
    selection: &Selection,
    names: &mut NamesInUse<'_>,
) -> Option<Result<EventView<'r>, Gap>> {
    if note::is_reserved(event.kind()) {
        return Gap::of_note(event.shard_id(), event.sequence(), event.record(), selection).map(Err);
    }
    if event.kind() == kinds::SESSION {
        names.meet(event.session(), event.payload());
    }
    selection.matches(&event).then_some(Ok(event))
}

/// An event without its payload, which lies in this range of the page's payloads.
struct Head {
    sequence: Sequence,
    insertion_ts: u64,
    session: SessionId,
    kind: Kind,
    name: Option<Arc<str>>,
    payload: Range<usize>,
}

/// The selected events of a block, as they are copied.
struct Page<'s> {
    shard: u16,
    selection: &'s Selection,
    names: NamesInUse<'s>,
    payloads: AlignedVec<PAYLOAD_ALIGN>,
    heads: Vec<Result<Head, Gap>>,
}

impl<'s> Page<'s> {
    /// The first `limit` selected events of a block.
    #[inline]
    fn of(shard: u16, block: &Block, selection: &'s Selection, limit: usize) -> (Self, Looked) {
        const RECORD_BYTES: usize = 32;
        let mut page = Self::new(shard, selection, block, limit);
        let mut looked = Looked::default();
        for record in block.records() {
            if page.heads.len() == limit {
                break;
            }
            let sequence = block.first_sequence().plus(looked.records as u64);
            looked.records += 1;
            match record {
                Ok(record) => {
                    looked.bytes += record.payload().len() + RECORD_BYTES;
                    page.take(sequence, record);
                }
                Err(error) => page.heads.push(Err(Gap::of_record(shard, sequence, &error))),
            }
        }
        (page, looked)
    }

    fn new(shard: u16, selection: &'s Selection, block: &Block, limit: usize) -> Self {
        // A filtered or limited page has no known size, so nothing is reserved.
        let (bytes, events) = if selection.is_partial() || limit < block.count() {
            (0, 0)
        } else {
            (block.payload_bytes_max(), block.count())
        };
        Self {
            shard,
            selection,
            names: selection.names().open(),
            payloads: AlignedVec::with_capacity(bytes),
            heads: Vec::with_capacity(events),
        }
    }

    /// Takes the record in, if it is selected, or the gap that it reports.
    #[inline]
    fn take(&mut self, sequence: Sequence, record: RecordView<'_>) {
        let event = match select(EventView::new(self.shard, sequence, record), self.selection, &mut self.names) {
            Some(Ok(event)) => event,
            Some(Err(gap)) => return self.heads.push(Err(gap)),
            None => return,
        };
        let start = self.payloads.len().next_multiple_of(PAYLOAD_ALIGN);
        self.payloads.resize(start, 0);
        self.payloads.extend_from_slice(event.payload());
        self.heads.push(Ok(Head {
            sequence,
            insertion_ts: event.insertion_ts(),
            session: event.session(),
            kind: event.kind(),
            name: self.names.of(event.session()),
            payload: start..self.payloads.len(),
        }));
    }

    /// The events, with their payloads.
    fn found(self, log: LogId) -> impl Iterator<Item = Found> {
        let Self { shard, payloads, heads, .. } = self;
        let payloads = Bytes::from_owner(payloads);
        heads.into_iter().map(move |head| {
            head.map(|Head { sequence, insertion_ts, session, kind, name, payload }| StoredEvent {
                id: EventId { log, shard_id: shard, sequence },
                raw: Payload::from(payloads.slice(payload)),
                insertion_ts,
                shard_id: shard,
                sequence,
                session,
                kind,
                name,
            })
        })
    }
}
