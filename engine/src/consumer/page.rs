//! Stored events out of blocks. The payloads of one block share one allocation, and hold on to nothing of the log.

use bytes::BytesMut;
use tapeline_storage::format::{LogId, SessionId};
use tapeline_storage::read::Block;

use crate::error::ConsumerError;
use crate::event::{Payload, StoredEvent};

/// Copies up to `limit` events of `block` to the end of `events`, those of `session` alone if one is given. Returns how
/// many records were looked at.
pub(super) fn copy_events(
    log: LogId,
    shard: u16,
    block: &Block,
    session: Option<SessionId>,
    limit: usize,
    events: &mut impl Extend<StoredEvent>,
) -> Result<usize, ConsumerError> {
    let mut payloads = BytesMut::new();
    let mut found = Vec::new();
    let mut looked_at = 0;
    for record in block.records() {
        if found.len() == limit {
            break;
        }
        let sequence = block.first_sequence().plus(looked_at as u64);
        let record = record.map_err(|error| ConsumerError::Record { shard, sequence, message: error.to_string() })?;
        looked_at += 1;
        if session.is_some_and(|session| session != record.session()) {
            continue;
        }
        payloads.extend_from_slice(record.payload());
        found.push((sequence, record.timestamp(), record.session(), record.kind(), record.payload().len()));
    }
    let mut payloads = payloads.freeze();
    events.extend(found.into_iter().map(|(sequence, insertion_ts, session, kind, length)| StoredEvent {
        id: StoredEvent::id_of(log, shard, sequence),
        raw: Payload::from(payloads.split_to(length)),
        insertion_ts,
        shard_id: shard,
        sequence,
        session,
        kind,
    }));
    Ok(looked_at)
}
