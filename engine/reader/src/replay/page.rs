//! Stored events out of blocks. The payloads of one block share one allocation, and hold on to nothing of the log.

use bytes::Bytes;
use rkyv::util::AlignedVec;
use tapeline_storage::format::LogId;
use tapeline_storage::read::Block;

use crate::event::{EventId, EventView, Payload, StoredEvent};
use crate::filter::Selection;
use crate::gap::{Gap, note};
use crate::kinds;

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

/// Copies up to `limit` selected events of `block` to the end of `found`.
pub fn copy_events(
    log: LogId,
    shard: u16,
    block: &Block,
    selection: &Selection,
    limit: usize,
    found: &mut impl Extend<Found>,
) -> Looked {
    const RECORD_BYTES: usize = 32;
    // A filtered or limited page has no known size, so nothing is reserved.
    let (bytes, events) = if selection.is_partial() || limit < block.count() {
        (0, 0)
    } else {
        (block.payload_bytes_max(), block.count())
    };
    let mut payloads = AlignedVec::<PAYLOAD_ALIGN>::with_capacity(bytes);
    let mut heads = Vec::with_capacity(events);
    let mut looked = Looked::default();
    let mut names = selection.names().open();
    for record in block.records() {
        if heads.len() == limit {
            break;
        }
        let sequence = block.first_sequence().plus(looked.records as u64);
        looked.records += 1;
        match record {
            Ok(record) => {
                looked.bytes += record.payload().len() + RECORD_BYTES;
                if note::is_reserved(record.kind()) {
                    heads.extend(Gap::of_note(shard, sequence, &record, selection).map(Err));
                    continue;
                }
                if record.kind() == kinds::SESSION {
                    names.meet(record.session(), record.payload());
                }
                let event = EventView::new(shard, sequence, record);
                if selection.matches(&event) {
                    let start = payloads.len().next_multiple_of(PAYLOAD_ALIGN);
                    payloads.resize(start, 0);
                    payloads.extend_from_slice(event.payload());
                    let range = start..payloads.len();
                    let head = (sequence, event.insertion_ts(), event.session(), event.kind());
                    heads.push(Ok((head, names.of(event.session()), range)));
                }
            }
            Err(error) => heads.push(Err(Gap::of_record(shard, sequence, &error))),
        }
    }
    let payloads = Bytes::from_owner(payloads);
    found.extend(heads.into_iter().map(|head| {
        head.map(|((sequence, insertion_ts, session, kind), name, range)| StoredEvent {
            id: EventId { log, shard_id: shard, sequence },
            raw: Payload::from(payloads.slice(range)),
            insertion_ts,
            shard_id: shard,
            sequence,
            session,
            kind,
            name,
        })
    }));
    looked
}
