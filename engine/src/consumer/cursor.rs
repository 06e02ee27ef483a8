//! The cursor: a reader's place over all shards, as opaque text.
//!
//! Hexadecimal digits of: version, log id, one `(shard u16, next sequence u64)` for each shard, CRC-32C. Little-endian.

use std::collections::BTreeMap;

use tapeline_storage::format::{LogId, Sequence, crc32c};

use crate::error::ConsumerError;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 16;
const PLACE_BYTES: usize = 2 + 8;
const CRC_BYTES: usize = 4;

/// The next sequence of each shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cursor(pub(super) BTreeMap<u16, Sequence>);

impl Cursor {
    pub(super) fn encode(&self, log: LogId) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(log.0);
        for (shard, next) in &self.0 {
            bytes.extend(shard.to_le_bytes());
            bytes.extend(next.get().to_le_bytes());
        }
        bytes.extend(crc32c(&bytes).to_le_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn decode(text: &str, log: LogId) -> Result<Self, ConsumerError> {
        let invalid = |why: String| ConsumerError::InvalidCursor(why);
        let bytes = unhex(text).ok_or_else(|| invalid("not a cursor".to_owned()))?;
        let body = bytes
            .len()
            .checked_sub(CRC_BYTES)
            .filter(|&body| body >= HEAD_BYTES && (body - HEAD_BYTES).is_multiple_of(PLACE_BYTES));
        let Some((body, crc)) = body.map(|body| bytes.split_at(body)) else {
            return Err(invalid(format!("{} bytes are no cursor", bytes.len())));
        };
        if crc32c(body).to_le_bytes() != *crc {
            return Err(invalid("damaged: its checksum does not match".to_owned()));
        }
        if body[0] != VERSION {
            return Err(invalid(format!("version {}, this build reads {VERSION}", body[0])));
        }
        if body[1..HEAD_BYTES] != log.0 {
            return Err(invalid(format!("of another log than {log}")));
        }
        let places = body[HEAD_BYTES..].chunks_exact(PLACE_BYTES).filter_map(|place| {
            let (shard, next) = place.split_first_chunk()?;
            Some((u16::from_le_bytes(*shard), Sequence::new(u64::from_le_bytes(next.try_into().ok()?))))
        });
        Ok(Self(places.collect()))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}
