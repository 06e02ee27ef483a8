//! Writes a whole segment from records that are there already, with full blocks, and seals it.

use std::io;
use std::sync::Arc;

use super::ending::write_ending;
use super::large::LargeBlock;
use super::open_block::OpenBlock;
use crate::device::{BlockWriter, Directory, SegmentFile};
use crate::format::{
    BLOCK_BYTES_MAX, BlockView, Footer, IndexBuilder, LARGE_UNITS, PAYLOAD_BYTES_MAX, RECORD_ALIGN, RunStart,
    SegmentHeader, Sequence, SessionFilter, archived_bytes, block_bytes, units_of,
};

/// The largest archive that a block holds.
const RECORD_BYTES_MAX: usize = archived_bytes(PAYLOAD_BYTES_MAX);

/// Bytes that the segment's blocks would take if they were full.
pub(super) fn dense_bytes(totals: &Footer) -> u64 {
    let records = totals.end_sequence.since(totals.base_sequence);
    block_bytes(records as usize, totals.records_bytes as usize) as u64
}

/// The values that a new segment is written with.
#[derive(Debug)]
pub(super) struct NewSegment {
    pub(super) header: SegmentHeader,
    /// Beginnings of the runs in it after the first.
    pub(super) later_runs: Vec<RunStart>,
    /// All events below are known to be durable.
    pub(super) durable: Sequence,
    /// Bytes to set aside for it.
    pub(super) length: u64,
}

/// A segment that is being written. No other thread knows of it.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    file: Arc<dyn SegmentFile>,
    header: SegmentHeader,
    /// The durable sequence that the blocks state.
    durable: Sequence,
    open: Option<OpenBlock>,
    totals: Footer,
    index: IndexBuilder,
    next: Sequence,
}

impl SegmentWriter {
    /// Creates the file `name` for it.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn create(directory: &dyn Directory, name: &str, new: NewSegment) -> io::Result<Self> {
        let NewSegment { header, later_runs, durable, length } = new;
        let (page, crc) = header.encode_with_runs(&later_runs);
        let file = directory.create(name, length)?;
        file.write_at(&page, 0)?;
        Ok(Self {
            file,
            header,
            durable,
            open: None,
            totals: Footer::of_empty(header.epoch, header.base_sequence, crc),
            index: IndexBuilder::new(header.epoch),
            next: header.base_sequence,
        })
    }

    /// Appends the records of a block, which follow those appended before.
    ///
    /// # Errors
    /// The kernel's; `InvalidData` where lengths and records do not belong together.
    pub(super) fn append(&mut self, block: &BlockView<'_>) -> io::Result<()> {
        let mut records = block.record_bytes();
        for unit in block.column().chunks_exact(size_of::<u16>()) {
            let length = match u16::from_le_bytes([unit[0], unit[1]]) {
                LARGE_UNITS => records.len(),
                units => usize::from(units) * RECORD_ALIGN,
            };
            let Some((record, rest)) = records.split_at_checked(length) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a length column beyond its records"));
            };
            records = rest;
            self.append_record(record)?;
        }
        Ok(())
    }

    /// Appends one archive, which follows those appended before.
    ///
    /// # Errors
    /// The kernel's; `InvalidData` for one that no block holds.
    pub(super) fn append_archive(&mut self, archive: &[u8]) -> io::Result<()> {
        if archive.len() > RECORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record that no block holds"));
        }
        self.append_record(archive)
    }

    /// Bytes of the file so far, those of the open block included.
    pub(super) fn bytes(&self) -> u64 {
        self.totals.data_end + self.open.as_ref().map_or(0, |open| open.block_bytes() as u64)
    }

    fn append_record(&mut self, record: &[u8]) -> io::Result<()> {
        let length = units_of(record.len());
        if length == LARGE_UNITS {
            self.write_open()?;
            self.open = Some(LargeBlock::of_archive(record)?.place_again(self.next));
            self.next = self.next.plus(1);
            return self.write_open();
        }
        let is_full = |open: &OpenBlock| open.writer.fitting(&[length], BLOCK_BYTES_MAX).0 == 0;
        if self.open.as_ref().is_some_and(is_full) {
            self.write_open()?;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => OpenBlock::begin(self.next)?,
        };
        self.open.insert(open).append(record, &[length]);
        self.next = self.next.plus(1);
        Ok(())
    }

    fn write_open(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let header = open.finish(self.header.epoch, self.totals.last_block_crc, self.durable);
        let bytes = open.writer.memory().closed_bytes(header.block_bytes as usize);
        let offset = self.totals.data_end;
        self.file.write_at(bytes, offset)?;
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        let view = BlockView::of_checked(bytes, self.header.epoch).map_err(|error| invalid(error.to_string()))?;
        self.index.add(offset, &view).map_err(|error| invalid(error.to_string()))?;
        self.totals.add(&header);
        Ok(())
    }

    /// Writes what is left, the index and the footer, and returns the footer. The file's name is the caller's.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn finish(mut self) -> io::Result<(Footer, SessionFilter)> {
        self.write_open()?;
        let index = self.index.finish();
        write_ending(&*self.file, self.header.epoch, self.totals, Some(&index))
    }
}

impl OpenBlock {
    /// A block in memory of its own that starts at `first`.
    ///
    /// # Errors
    /// The kernel's, where it has no memory.
    fn begin(first: Sequence) -> io::Result<Self> {
        let mut writer = BlockWriter::new()?;
        writer.start(first);
        Ok(Self::new(writer, 0))
    }
}
