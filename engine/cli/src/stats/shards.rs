//! Totals of a log's segments, for each shard.

use serde::Serialize;
use tapeline_reader::{LogFiles, SegmentSummary, ShardSummary};

/// Bytes of a segment's header page.
const HEADER_BYTES: u64 = 4096;

/// A shard as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub(super) struct ShardTotals {
    r#type: &'static str,
    pub(super) shard: u16,
    pub(super) first_sequence: u64,
    pub(super) end_sequence: u64,
    pub(super) events: u64,
    pub(super) segments: usize,
    pub(super) sealed: usize,
    /// Of the segments, up to the end of their blocks.
    pub(super) bytes: u64,
    /// Of the sealed segments' blocks.
    pub(super) block_bytes: u64,
    /// The part of these that is padding.
    pub(super) padding_bytes: u64,
}

impl ShardTotals {
    /// The shards that can be read.
    pub(super) fn of(log: &LogFiles) -> Vec<Self> {
        let segments = log.segments();
        let totals = |shard: ShardSummary| {
            let mut totals = Self {
                r#type: "shard",
                shard: shard.shard_id,
                first_sequence: shard.first.get(),
                end_sequence: shard.end.get(),
                ..Self::default()
            };
            segments
                .iter()
                .filter(|segment| segment.shard_id == shard.shard_id)
                .for_each(|segment| totals.add(segment));
            totals
        };
        log.shards().into_iter().map(totals).collect()
    }

    fn add(&mut self, segment: &SegmentSummary) {
        self.events += segment.end.since(segment.base);
        self.segments += 1;
        self.bytes += segment.bytes;
        if let Some(padding) = segment.padding_bytes {
            self.sealed += 1;
            self.block_bytes += segment.bytes.saturating_sub(HEADER_BYTES);
            self.padding_bytes += padding;
        }
    }

    /// Share of padding in the blocks of sealed segments, in percent.
    pub(super) fn padding(&self) -> String {
        match self.block_bytes {
            0 => "-".to_owned(),
            bytes => format!("{:.1} %", 100.0 * self.padding_bytes as f64 / bytes as f64),
        }
    }
}
