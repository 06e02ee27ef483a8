//! A log of sparse segment files: real headers, indexes and footers, and one real block in some of them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tapeline::event::{Kind, SessionId};
use tapeline::log::LogId;
use tapeline_storage::device::{BlockEnd, BlockWriter};
use tapeline_storage::format::{
    BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, Epoch, Footer, IndexedBlock, IndexedSession, LogShard, Meta, PAGE_BYTES, Part,
    RECORD_ALIGN, Record, SegmentHeader, SegmentIndex, Sequence, SessionFilter, archive_into, archived_bytes,
};

use crate::harness::Outcome;

const LOG: LogId = LogId([0x5e; 16]);
const SEGMENT_BYTES: u64 = 256 << 20;
const BLOCK_BYTES: u64 = BLOCK_BYTES_MAX as u64;
const PAYLOAD_BYTES: usize = 64;

/// Blocks of a segment.
const BLOCKS: u64 = SEGMENT_BYTES / BLOCK_BYTES - 1;

/// Blocks that a session's events are spread over.
const BLOCKS_OF_SESSION: u64 = 8;

/// The number of segments that have a real block, spread over the log.
const TARGETS: u64 = 16;

/// A log on paper.
#[derive(Debug)]
pub(super) struct SparseLog {
    path: PathBuf,
    bytes: u64,
    index_bytes: u64,
    targets: Vec<SessionId>,
}

/// Events of a full block.
fn events_of_block() -> u64 {
    (BLOCK_BYTES - BLOCK_HEADER_BYTES as u64 - PAGE_BYTES as u64 / 2) / (archived_bytes(PAYLOAD_BYTES) as u64 + 2)
}

/// The id of a session by number, as spread as a hash.
fn session(number: u64) -> SessionId {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    SessionId(u128::from(mixed) << 64 | u128::from(mixed.rotate_left(32) ^ number))
}

impl SparseLog {
    /// Writes a log of `sessions` sessions, each in one segment, and of `bytes` bytes.
    pub(super) fn write(path: &Path, sessions: u64, bytes: u64) -> Outcome<Self> {
        let shard = path.join("shard-0000");
        DirBuilder::new().recursive(true).mode(0o700).create(&shard)?;
        std::fs::write(path.join("meta"), Meta { log_id: LOG, shards: 1, created: 1 }.encode())?;
        let segments = bytes.div_ceil(SEGMENT_BYTES).max(1);
        let each = sessions.div_ceil(segments);
        let mut log = Self { path: path.to_owned(), bytes: 0, index_bytes: 0, targets: Vec::new() };
        for segment in 0..segments {
            let numbers = segment * each..((segment + 1) * each).min(sessions);
            let is_target = segment % (segments / TARGETS).max(1) == 0 && !numbers.is_empty();
            log.write_segment(&shard, segment, numbers, is_target)?;
        }
        Ok(log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that the files have on paper.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn index_bytes(&self) -> u64 {
        self.index_bytes
    }

    /// A session whose first event is really there, another for each round.
    pub(super) fn target(&self, round: u32) -> SessionId {
        self.targets[(round as usize * 7 + 3) % self.targets.len()]
    }

    fn write_segment(
        &mut self,
        shard: &Path,
        number: u64,
        sessions: std::ops::Range<u64>,
        is_target: bool,
    ) -> Outcome<()> {
        let events = BLOCKS * events_of_block();
        let base = Sequence::new(number * events);
        let epoch = Epoch::new(number + 1);
        let file = create_segment(shard, base, epoch)?;
        let index = index(base, sessions.clone());
        let data_end = PAGE_BYTES as u64 + BLOCKS * BLOCK_BYTES;
        let (bytes, place) = index.encode(epoch).ok_or("the index does not encode")?;
        let footer = Footer {
            end_sequence: base.plus(events),
            data_end,
            blocks: BLOCKS,
            records_bytes: events * archived_bytes(PAYLOAD_BYTES) as u64,
            first_timestamp: base.get(),
            last_timestamp: base.get() + events,
            index: Some(place),
            ..Footer::of_empty(epoch, base, 0)
        };
        let listed: Vec<_> = index.sessions.iter().map(|entry| SessionId(entry.session)).collect();
        file.write_all_at(&bytes, data_end)?;
        file.write_all_at(&footer.encode(&SessionFilter::of(&listed)), footer.offset())?;
        if is_target {
            let target = session(sessions.start);
            let block = index.sessions.iter().find(|entry| entry.session == target.0).map(first_block(&index));
            write_block(&file, epoch, index.blocks[block.ok_or("the target is not listed")?], target)?;
            self.targets.push(target);
        }
        self.bytes += footer.offset() + PAGE_BYTES as u64;
        self.index_bytes += place.length;
        Ok(())
    }
}

/// Creates the file of a segment, with its header.
fn create_segment(shard: &Path, base: Sequence, epoch: Epoch) -> Outcome<File> {
    let header = SegmentHeader { created: 1, ..SegmentHeader::new(LogShard::new(LOG, 0), Epoch::new(1), epoch, base) };
    let name = tapeline_storage::log::Segment::file_name(base);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(shard.join(name))?;
    file.write_all_at(&header.encode().0, 0)?;
    Ok(file)
}

fn first_block(index: &SegmentIndex) -> impl Fn(&IndexedSession) -> usize {
    |entry| index.postings[entry.postings.start as usize] as usize
}

/// The index of a segment with these sessions, each in some blocks one after the other.
fn index(base: Sequence, sessions: std::ops::Range<u64>) -> SegmentIndex {
    let events = events_of_block();
    let mut index = SegmentIndex::default();
    for block in 0..BLOCKS {
        let first = base.get() + block * events;
        index.blocks.push(IndexedBlock {
            offset: PAGE_BYTES as u64 + block * BLOCK_BYTES,
            first_sequence: first,
            first_timestamp: first,
            last_timestamp: first + events - 1,
        });
    }
    let mut numbers: Vec<_> = sessions.collect();
    numbers.sort_unstable_by_key(|number| session(*number));
    for number in numbers {
        let first_block = number % (BLOCKS - BLOCKS_OF_SESSION);
        let (start, opening) = (index.postings.len() as u32, index.openings.len() as u32);
        index.postings.extend((first_block..first_block + BLOCKS_OF_SESSION).map(|block| block as u32));
        let name = format!("{{\"name\":\"session {number}\"}}");
        index.openings.extend_from_slice(name.as_bytes());
        let first = base.get() + first_block * events;
        let last = first + BLOCKS_OF_SESSION * events - 1;
        index.sessions.push(IndexedSession {
            session: session(number).0,
            events: 1000,
            bytes: 1000 * PAYLOAD_BYTES as u64,
            first_sequence: first,
            last_sequence: last,
            first_timestamp: first,
            last_timestamp: last,
            postings: Part { start, count: BLOCKS_OF_SESSION as u32 },
            opening: Part { start: opening, count: name.len() as u32 },
            change: Part::default(),
        });
    }
    index
}

/// Writes a whole block, all of one session.
fn write_block(file: &File, epoch: Epoch, place: IndexedBlock, session: SessionId) -> Outcome<()> {
    let events = events_of_block();
    let mut writer = BlockWriter::new()?;
    writer.start(Sequence::new(place.first_sequence));
    let mut slot = rkyv_slot();
    for number in 0..events {
        let payload = [number as u8; PAYLOAD_BYTES];
        let record = Record { session, timestamp: place.first_timestamp + number, kind: Kind(1), payload: &payload };
        archive_into(&record, slot.as_mut_slice());
        writer.append(slot.as_slice(), &[(slot.as_slice().len() / RECORD_ALIGN) as u16]);
    }
    let times = (place.first_timestamp, place.last_timestamp);
    let header =
        writer.finish(BlockEnd { epoch, previous_crc: 0, times, durable: Sequence::ZERO }, writer.records_sum());
    let (head, block_bytes) = (writer.header_mut().to_vec(), header.block_bytes as usize);
    let bytes = [&head[..], writer.appended(0, writer.records_bytes()), writer.closed_tail(block_bytes)].concat();
    if bytes.len() as u64 != BLOCK_BYTES {
        return Err(format!("a block of {} bytes", bytes.len()).into());
    }
    Ok(file.write_all_at(&bytes, place.offset)?)
}

/// Memory for one record, aligned as records are.
fn rkyv_slot() -> tapeline::rkyv::util::AlignedVec<RECORD_ALIGN> {
    let mut slot = tapeline::rkyv::util::AlignedVec::new();
    slot.resize(archived_bytes(PAYLOAD_BYTES), 0);
    slot
}
