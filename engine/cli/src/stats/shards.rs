//! Totals of a log's segments, for each shard.

use serde::Serialize;
use tapeline_reader::LogFiles;

/// Bytes of a segment's header page and of its footer page, each.
const PAGE_BYTES: u64 = 4096;

/// Bytes of a block's header, and of each event in its column of lengths. docs/FORMAT.md has both.
const BLOCK_HEADER_BYTES: u64 = 80;
const LENGTH_BYTES: u64 = 2;

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
    /// What of these is padding.
    pub(super) padding_bytes: u64,
}

impl ShardTotals {
    /// The shards that can be read.
    pub(super) fn of(log: &LogFiles) -> Vec<Self> {
        let mut all = Vec::new();
        for view in log.shards() {
            let (first, end) = (view.trimmed().get(), view.appended().get());
            let mut totals = Self {
                r#type: "shard",
                shard: view.shard(),
                first_sequence: first,
                end_sequence: end,
                ..Self::default()
            };
            for segment in view.segments() {
                totals.events += segment.end_sequence().since(segment.base());
                totals.segments += 1;
                totals.bytes += segment.data_end();
                if let Some(footer) = segment.footer() {
                    let events = footer.end_sequence.since(footer.base_sequence);
                    let filled = footer.records_bytes + LENGTH_BYTES * events + BLOCK_HEADER_BYTES * footer.blocks;
                    let blocks = footer.data_end - PAGE_BYTES;
                    totals.sealed += 1;
                    totals.block_bytes += blocks;
                    totals.padding_bytes += blocks.saturating_sub(filled);
                }
            }
            all.push(totals);
        }
        all
    }

    /// Share of padding in the blocks of sealed segments, in percent.
    pub(super) fn padding(&self) -> String {
        match self.block_bytes {
            0 => "-".to_owned(),
            bytes => format!("{:.1} %", 100.0 * self.padding_bytes as f64 / bytes as f64),
        }
    }
}
