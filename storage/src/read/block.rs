//! A block in a reader's hands.

use std::ops::Range;
use std::sync::Arc;

use rkyv::util::AlignedVec;

use crate::device::{AlignedBytes, BlockMemory};
use crate::format::{BlockHeader, BlockView, Epoch, RECORD_ALIGN, RECORD_ROOT_BYTES, Records, Sequence};
use crate::log::{LentBlock, SealedMap, Window};

/// Records in order, and what keeps their bytes alive. Cheap to move and to clone; holding on to blocks holds on to
/// their memory: of the log's own, what its lending allows.
#[derive(Debug, Clone)]
pub struct Block {
    first_sequence: Sequence,
    count: usize,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Memory {
        memory: LentBlock,
        from: usize,
        offset: usize,
        end: usize,
    },
    /// Records of a block that was not lent, and their length column after them.
    Copied {
        bytes: Arc<AlignedVec<RECORD_ALIGN>>,
        records_bytes: usize,
    },
    /// Checked, and populated when it was handed out.
    Mapped {
        map: Arc<SealedMap>,
        at: usize,
        skip: usize,
    },
    /// Checked, at an offset of the file.
    Window {
        window: Arc<Window>,
        offset: u64,
        skip: usize,
    },
    /// Checked. The memory is aligned for records.
    Read {
        bytes: Arc<AlignedBytes>,
        epoch: Epoch,
        skip: usize,
    },
}

impl Block {
    /// Records of a block in memory, which lie in these of its bytes.
    pub(super) fn in_memory(memory: LentBlock, records: Range<usize>, bytes: Range<usize>) -> Self {
        let first_sequence = memory.first_sequence().plus(records.start as u64);
        let source = Source::Memory { memory, from: records.start, offset: bytes.start, end: bytes.end };
        Self { first_sequence, count: records.len(), source }
    }

    /// A copy of records of a block in memory, which lie in these of its bytes.
    pub(super) fn copied(memory: &BlockMemory, records: Range<usize>, bytes: Range<usize>) -> Self {
        let (archives, column) = memory.records(records.start, records.end, bytes.start, bytes.end).into_parts();
        let mut copy = AlignedVec::<RECORD_ALIGN>::with_capacity(archives.len() + column.len());
        copy.extend_from_slice(archives);
        copy.extend_from_slice(column);
        let source = Source::Copied { bytes: Arc::new(copy), records_bytes: archives.len() };
        Self { first_sequence: memory.first_sequence().plus(records.start as u64), count: records.len(), source }
    }

    pub(super) fn mapped(map: Arc<SealedMap>, at: usize, view: &BlockView<'_>, skip: usize) -> Self {
        Self {
            first_sequence: view.header().first_sequence.plus(skip as u64),
            count: view.header().count as usize - skip,
            source: Source::Mapped { map, at, skip },
        }
    }

    pub(super) fn in_window(window: Arc<Window>, offset: u64, header: &BlockHeader, skip: usize) -> Self {
        Self {
            first_sequence: header.first_sequence.plus(skip as u64),
            count: header.count as usize - skip,
            source: Source::Window { window, offset, skip },
        }
    }

    /// The same, holding on to nothing that readers share in bounded memory beyond what the log lends: for a reader
    /// that keeps it.
    #[must_use]
    pub fn detached(self) -> Self {
        // The window of a large block is its readers' alone.
        let Source::Window { window, .. } = &self.source else { return self };
        if window.is_of_large_block() {
            return self;
        }
        let (records, column) = self.records().into_parts();
        let mut bytes = AlignedVec::<RECORD_ALIGN>::with_capacity(records.len() + column.len());
        bytes.extend_from_slice(records);
        bytes.extend_from_slice(column);
        let source = Source::Copied { bytes: Arc::new(bytes), records_bytes: records.len() };
        Self { source, ..self }
    }

    pub(super) fn read(bytes: Arc<AlignedBytes>, header: &BlockHeader, skip: usize) -> Self {
        Self {
            first_sequence: header.first_sequence.plus(skip as u64),
            count: header.count as usize - skip,
            source: Source::Read { bytes, epoch: header.epoch, skip },
        }
    }

    /// Leaves out the records from `end` on, which is after the first.
    pub fn end_at(&mut self, end: Sequence) {
        self.count = self.count.min(end.since(self.first_sequence) as usize);
    }

    /// Sequence of the first record.
    pub fn first_sequence(&self) -> Sequence {
        self.first_sequence
    }

    /// Sequence after the last record.
    pub fn end_sequence(&self) -> Sequence {
        self.first_sequence.plus(self.count as u64)
    }

    /// Records in the block.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the payloads of the records have at most, each with what pads it to 16.
    pub fn payload_bytes_max(&self) -> usize {
        self.records().bytes().saturating_sub(self.count * RECORD_ROOT_BYTES)
    }

    /// The records. Costs about 3 ns each.
    pub fn records(&self) -> Records<'_> {
        match &self.source {
            Source::Memory { memory, from, offset, end } => memory.records(*from, *from + self.count, *offset, *end),
            Source::Copied { bytes, records_bytes } => {
                let (records, column) = bytes.split_at(*records_bytes);
                let mut records = Records::new(records, column);
                records.take_records(self.count);
                records
            }
            Source::Mapped { map, at, skip } => {
                let bytes = map.mapping().bytes().get(*at..).unwrap_or_default();
                Self::records_of(bytes, map.epoch(), *skip, self.count)
            }
            Source::Window { window, offset, skip } => {
                Self::records_of(window.bytes_from(*offset), window.epoch(), *skip, self.count)
            }
            Source::Read { bytes, epoch, skip } => Self::records_of(bytes.as_slice(), *epoch, *skip, self.count),
        }
    }

    /// The block was checked when it was made: this finds `count` of its records again, after `skip`.
    fn records_of(bytes: &[u8], epoch: Epoch, skip: usize, count: usize) -> Records<'_> {
        let mut records = match BlockView::of_checked(bytes, epoch) {
            Ok(view) => view.records(),
            Err(_) => Records::new(&[], &[]),
        };
        records.skip_records(skip);
        records.take_records(count);
        records
    }
}
