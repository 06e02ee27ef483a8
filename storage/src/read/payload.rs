//! The payload of one event, in parts: in the memory of one part, whatever the size of the event.
//!
//! A payload that is in memory, or mapped, is read where it lies. A large block of the segment that is being written is
//! read from its file twice, part by part: once for its checksum, and once for the payload.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::block::Block;
use super::{LogReader, ReadError, Step};
use crate::device::{AlignedBytes, SegmentFile};
use crate::format::{
    BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, BlockError, BlockHeader, Checksum, PAGE_BYTES, RECORD_ROOT_BYTES, Sequence,
    archived_bytes, payload_bytes_of,
};
use crate::log::{LogView, Segment};

/// Bytes that are read at a time.
const PART_BYTES: usize = BLOCK_BYTES_MAX;

/// Reads the payload of one event. Holds on to what has it: the block, the mapping or the file.
#[derive(Debug)]
pub struct PayloadReader {
    source: Source,
    /// Bytes of the payload, and how many of them were handed out.
    length: usize,
    position: usize,
}

#[derive(Debug)]
enum Source {
    /// Of which it is the first record.
    Block(Block),
    File(FileParts),
}

/// A large block in a file, checked.
#[derive(Debug)]
struct FileParts {
    file: Arc<dyn SegmentFile>,
    /// Offset of the block.
    offset: u64,
    memory: AlignedBytes,
    /// The part of the block that the memory has.
    held: Range<usize>,
}

impl PayloadReader {
    /// Of the event at `sequence`; `None` where the log has none there, or not any more. Where the event has a large
    /// block in the segment that is being written, this reads all of the block once.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(view: &Arc<LogView>, sequence: Sequence) -> Result<Option<Self>, ReadError> {
        if !(view.trimmed()..view.appended()).contains(&sequence) {
            return Ok(None);
        }
        if let Some(parts) = Self::in_open_segment(view, sequence)? {
            return Ok(Some(parts));
        }
        let mut reader = LogReader::new(Arc::clone(view), sequence);
        let Step::Block(block) = reader.step()? else { return Ok(None) };
        let length = block.records().next().and_then(Result::ok).map(|record| record.payload().len());
        Ok(length.map(|length| Self { source: Source::Block(block), length, position: 0 }))
    }

    /// Where it has a large block in a segment that is not sealed, and is not in memory.
    fn in_open_segment(view: &Arc<LogView>, sequence: Sequence) -> Result<Option<Self>, ReadError> {
        let is_in_memory = view
            .tail()
            .block(sequence)
            .is_some_and(|block| (sequence.get() - block.first_sequence().get()) < block.visible().0 as u64);
        let segment = view.segment_of(sequence).filter(|segment| !is_in_memory && segment.footer().is_none());
        let Some(segment) = segment else { return Ok(None) };
        let mut offset = segment.walk_start(sequence);
        let name = || Segment::file_name(segment.base());
        let failed = |offset| move |source| ReadError::Io { shard_id: view.shard(), segment: name(), offset, source };
        let damaged = |offset, source| ReadError::Corrupt { shard_id: view.shard(), segment: name(), offset, source };
        let file = segment.file().map_err(failed(offset))?;
        let mut page = AlignedBytes::zeroed(PAGE_BYTES).map_err(failed(offset))?;
        while offset < segment.data_end() {
            file.read_at(page.as_mut_slice(), offset).map_err(failed(offset))?;
            let header = BlockHeader::decode(page.as_slice()).map_err(|error| damaged(offset, error.into()))?;
            if header.end_sequence() > sequence {
                if (header.block_bytes as usize) <= BLOCK_BYTES_MAX {
                    return Ok(None);
                }
                let memory = AlignedBytes::zeroed(PART_BYTES).map_err(failed(offset))?;
                let mut parts = FileParts { file, offset, memory, held: 0..0 };
                return match parts.check(&header).map_err(failed(offset))? {
                    Ok(length) => Ok(Some(Self { source: Source::File(parts), length, position: 0 })),
                    // Sealed meanwhile, its file may be another: the reader of blocks knows.
                    Err(_) if segment.footer().is_some() => Ok(None),
                    Err(error) => Err(damaged(offset, error)),
                };
            }
            offset += u64::from(header.block_bytes);
        }
        Ok(None)
    }

    /// Bytes of the payload.
    pub fn payload_bytes(&self) -> usize {
        self.length
    }

    /// The next part, of at most 1 MiB; `None` after the last.
    ///
    /// # Errors
    /// The kernel's.
    pub fn next_part(&mut self) -> io::Result<Option<&[u8]>> {
        let (from, to) = (self.position, self.length.min(self.position + PART_BYTES));
        if from == to {
            return Ok(None);
        }
        let part = match &mut self.source {
            Source::Block(block) => {
                let record = block.records().next().and_then(Result::ok);
                record.and_then(|record| record.payload().get(from..to)).unwrap_or_default()
            }
            Source::File(parts) => parts.bytes_from(BLOCK_HEADER_BYTES + from, to - from)?,
        };
        self.position += part.len();
        Ok(Some(part))
    }
}

impl io::Read for PayloadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.position;
        let part = self.next_part()?.unwrap_or_default();
        let length = part.len().min(buffer.len());
        buffer[..length].copy_from_slice(&part[..length]);
        self.position = before + length;
        Ok(length)
    }
}

impl FileParts {
    /// Reads the block once. Returns the length of its payload.
    fn check(&mut self, header: &BlockHeader) -> io::Result<Result<usize, BlockError>> {
        let (mut checksum, needed) = (Checksum::default(), header.block_bytes as usize);
        let mut at = BLOCK_HEADER_BYTES;
        while at < needed {
            let part = self.bytes_from(at, needed - at)?;
            if part.is_empty() {
                return Ok(Err(BlockError::Short { needed, found: at }));
            }
            checksum.update(part);
            at += part.len();
        }
        let expected = checksum.finish(header.epoch);
        if expected != header.body_crc {
            return Ok(Err(BlockError::Body { expected, found: header.body_crc }));
        }
        let records = header.records_bytes as usize;
        self.held = 0..0;
        let root =
            self.bytes_from(BLOCK_HEADER_BYTES + records.saturating_sub(RECORD_ROOT_BYTES), RECORD_ROOT_BYTES)?;
        let length = payload_bytes_of(root);
        let column = archived_bytes(length);
        let is_record = column == records;
        Ok(if is_record {
            Ok(length)
        } else {
            Err(BlockError::Column { column: column as u64, records: records as u32 })
        })
    }

    /// So many bytes of the block from here on, or as many of them as one part has.
    fn bytes_from(&mut self, at: usize, most: usize) -> io::Result<&[u8]> {
        if !self.held.contains(&at) {
            let start = at / PAGE_BYTES * PAGE_BYTES;
            self.held = 0..0;
            let read = self.file.read_at(self.memory.as_mut_slice(), self.offset + start as u64)?;
            self.held = start..start + read;
        }
        let bytes = self.memory.as_slice().get(at - self.held.start..self.held.len()).unwrap_or_default();
        Ok(&bytes[..bytes.len().min(most)])
    }
}
