//! The next segment of a log: a file that is prepared under the name [`SPARE_NAME`] while the active segment fills, and
//! the header that it gets.
//!
//! Its file is absent, requested, ready, or begun: it then has blocks, and the spare's name still.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::active_segment::ActiveSegment;
use super::chore::Chore;
use super::files::SegmentFiles;
use super::names::SPARE_NAME;
use super::outage::Outage;
use super::pool::Shortage;
use super::run::Epochs;
use super::{LogOptions, LogView, Segment};
use crate::device::{BlockWriter, SegmentFile};
use crate::format::{Epoch, LogShard, PAGE_BYTES, SegmentHeader, Sequence};

#[derive(Debug)]
enum Spare {
    Absent,
    Requested,
    /// A file, and its length in bytes.
    Ready(Arc<dyn SegmentFile>, u64),
    /// Rolled into; still under the spare's name.
    Unnamed(Arc<dyn SegmentFile>),
}

/// The fields that all headers of one opening's segments share.
#[derive(Debug)]
struct Headers {
    shard: LogShard,
    /// Epoch of the first segment.
    run: Epoch,
    epochs: Epochs,
}

impl Headers {
    fn new(options: &LogOptions) -> Self {
        let (run, epochs) = (Epochs::new(options.seed).draw(), Epochs::new(options.seed));
        Self { shard: options.shard, run, epochs }
    }

    /// Of the next segment, whose file is of this length.
    fn next(&mut self, base_sequence: Sequence, created: u64, length: u64) -> SegmentHeader {
        let epoch = self.epochs.draw();
        SegmentHeader { created, length, ..SegmentHeader::new(self.shard, self.run, epoch, base_sequence) }
    }
}

/// Prepares the file of the next segment, and begins the segment in it.
#[derive(Debug)]
pub(super) struct NextSegment {
    files: Arc<SegmentFiles>,
    headers: Headers,
    /// Lengths that it may have, in bytes.
    lengths: RangeInclusive<u64>,
    /// The length that the block at the front needs, which does not fit the active segment; 0 for none.
    needed: u64,
    index_bytes: usize,
    spare: Spare,
    /// Of memory for the header.
    shortage: Shortage,
    /// True once there has been anything to write.
    is_wanted: bool,
}

impl NextSegment {
    pub(super) fn new(files: Arc<SegmentFiles>, options: &LogOptions) -> Self {
        Self {
            files,
            headers: Headers::new(options),
            lengths: options.segment_length_min()..=options.segment_length(),
            needed: 0,
            index_bytes: options.memory.index_bytes,
            spare: Spare::Absent,
            shortage: Shortage::default(),
            is_wanted: false,
        }
    }

    /// Something will be written before long.
    pub(super) fn expect(&mut self) {
        self.is_wanted = true;
    }

    /// The chore that prepares the file, once the active segment is running out; of the first segment, once there is
    /// something to write.
    pub(super) fn look_ahead(&mut self, active: Option<&ActiveSegment>) -> Option<Chore> {
        if !self.is_wanted || !matches!(self.spare, Spare::Absent) {
            return None;
        }
        // The shortest segment is a header's page, a block and a footer's page.
        let least = self.needed.max(*self.lengths.start());
        let block_bytes_max = least - 2 * PAGE_BYTES as u64;
        if !active.is_none_or(|active| active.is_running_out(block_bytes_max)) {
            return None;
        }
        self.spare = Spare::Requested;
        Some(Chore::prepare(self.files.directory(), least..=*self.lengths.end()))
    }

    /// The file is prepared, and so long.
    pub(super) fn prepared(&mut self, file: Arc<dyn SegmentFile>, length: u64) {
        self.spare = Spare::Ready(file, length);
    }

    /// A block of so many bytes goes to the next segment. Where the spare is too short for it, because the disk was
    /// nearly full, it is removed, so that a longer one is prepared.
    pub(super) fn need(&mut self, block_bytes: u64) -> Option<Chore> {
        (self.needed, self.is_wanted) = (block_bytes + 2 * PAGE_BYTES as u64, true);
        let Spare::Ready(file, length) = &self.spare else { return None };
        if *length >= self.needed {
            return None;
        }
        let removal = Chore::remove(self.files.directory(), SPARE_NAME.into(), file);
        self.spare = Spare::Absent;
        Some(removal)
    }

    /// Begins the segment at `base`, if its file is ready and there is memory. Returns it, and its header page.
    pub(super) fn begin(&mut self, view: &LogView, base: Sequence, now: u64) -> Option<(ActiveSegment, BlockWriter)> {
        let Spare::Ready(file, length) = &self.spare else { return None };
        let (file, length) = (Arc::clone(file), *length);
        let mut memory = self.shortage.take_memory(view, now)?;
        let header = self.headers.next(base, now, length);
        let (page, crc) = header.encode();
        memory.fill_page(&page);
        let segment = Segment::begin(header, &self.files, Arc::clone(&file), self.index_bytes);
        self.spare = Spare::Unnamed(Arc::clone(&file));
        self.needed = 0;
        Some((ActiveSegment::new(segment, file, crc, length), memory))
    }

    /// The file that a segment was begun in and that has the spare's name still.
    pub(super) fn unnamed(&self) -> Option<&Arc<dyn SegmentFile>> {
        match &self.spare {
            Spare::Unnamed(file) => Some(file),
            Spare::Absent | Spare::Requested | Spare::Ready(..) => None,
        }
    }

    /// The segment that was begun has its name.
    pub(super) fn named(&mut self) {
        self.spare = Spare::Absent;
    }

    /// The chore that removes a file that no segment was begun in.
    pub(super) fn removal(&self) -> Option<Chore> {
        match &self.spare {
            Spare::Ready(file, _) => Some(Chore::remove(self.files.directory(), SPARE_NAME.into(), file)),
            Spare::Absent | Spare::Requested | Spare::Unnamed(_) => None,
        }
    }

    /// The kernel's refusals of memory for the header, if the last request was refused.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.shortage.outage()
    }

    /// The epochs of this opening, for segments that are written otherwise.
    pub(super) fn epochs(&mut self) -> &mut Epochs {
        &mut self.headers.epochs
    }
}
