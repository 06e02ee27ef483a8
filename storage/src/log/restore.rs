//! Writes a shard's log out of events that have their sequences and times already: a log that comes from elsewhere.

use std::io;
use std::sync::Arc;

use super::names::{GAPS_NAME, RESTORE_NAME};
use super::rewrite::{NewSegment, SegmentWriter};
use super::run::Epochs;
use super::{LogOptions, OpenError, Segment, gaps};
use crate::device::Directory;
use crate::format::{
    Epoch, Gaps, PAGE_BYTES, PAYLOAD_BYTES_MAX, Record, SEQUENCE_MAX, SegmentHeader, Sequence, archive_into,
    archived_bytes,
};
use rkyv::util::AlignedVec;

/// The reason for which an event cannot be restored.
///
/// ```
/// # use tapeline_storage::log::RestoreError;
/// let error = RestoreError::TooLarge { bytes: 70 << 20, max: 64 << 20 };
/// assert_eq!(error.to_string(), "payload of 73400320 bytes; at most 67108864 fit");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Its sequence is not after that of the event before.
    #[error("sequence {found} follows {next} or a later one; events of a shard are restored in order", next = .next.get().saturating_sub(1))]
    Order {
        /// The least that it may be.
        next: Sequence,
        /// Its own sequence.
        found: Sequence,
    },
    /// Its payload fits no block.
    #[error("payload of {bytes} bytes; at most {max} fit")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Most bytes that fit.
        max: usize,
    },
    /// Its sequence is higher than any log's.
    #[error("sequence {found}; the highest of a log is {max}")]
    Sequence {
        /// Its own value.
        found: Sequence,
        /// The highest.
        max: Sequence,
    },
    /// There are more holes in the sequences than a log remembers.
    #[error("more than {max} holes in the sequences; renumber the events")]
    Holes {
        /// The number that it remembers.
        max: usize,
    },
    /// The file system refused.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The log of one shard, while it is restored. Segments that are full are sealed and stay, whatever becomes of the
/// rest.
#[derive(Debug)]
pub struct ShardRestore {
    directory: Arc<dyn Directory>,
    options: LogOptions,
    run: Option<Epoch>,
    epochs: Epochs,
    /// The time of the restoration: nanoseconds since the Unix epoch.
    now: u64,
    writer: Option<SegmentWriter>,
    next: Sequence,
    gaps: Gaps,
    record: AlignedVec<16>,
}

impl ShardRestore {
    /// A log in an empty directory. `now` is nanoseconds since the Unix epoch.
    pub fn new(directory: Arc<dyn Directory>, options: LogOptions, now: u64) -> Self {
        Self {
            directory,
            epochs: Epochs::new(options.seed),
            options,
            run: None,
            now,
            writer: None,
            next: Sequence::ZERO,
            gaps: Gaps::default(),
            record: AlignedVec::new(),
        }
    }

    /// Checks what needs no look at the events before.
    ///
    /// # Errors
    /// [`RestoreError::TooLarge`], [`RestoreError::Sequence`].
    pub fn check(sequence: Sequence, record: &Record<'_>) -> Result<(), RestoreError> {
        let (bytes, max) = (record.payload.len(), PAYLOAD_BYTES_MAX);
        if bytes > max {
            return Err(RestoreError::TooLarge { bytes, max });
        }
        let highest = Sequence::new(SEQUENCE_MAX.get() - 1);
        if sequence > highest {
            return Err(RestoreError::Sequence { found: sequence, max: highest });
        }
        Ok(())
    }

    /// Appends an event. What is between it and the one before counts as lost; before the first of all, as trimmed.
    ///
    /// # Errors
    /// [`RestoreError`]; the event was not taken.
    pub fn append(&mut self, sequence: Sequence, record: &Record<'_>) -> Result<(), RestoreError> {
        Self::check(sequence, record)?;
        if sequence < self.next {
            return Err(RestoreError::Order { next: self.next, found: sequence });
        }
        if sequence > self.next {
            self.skip_to(sequence)?;
        }
        self.record.clear();
        self.record.resize(archived_bytes(record.payload.len()), 0);
        archive_into(record, &mut self.record);
        if self.writer.as_ref().is_some_and(|writer| writer.bytes() + self.record.len() as u64 > self.room()) {
            self.seal()?;
        }
        if self.writer.is_none() {
            self.writer = Some(self.begin()?);
        }
        if let Some(writer) = &mut self.writer {
            let failed = OpenError::io("write", path_of(&*self.directory, RESTORE_NAME));
            writer.append_archive(&self.record).map_err(failed)?;
        }
        self.next = sequence.plus(1);
        Ok(())
    }

    /// Seals what is left. The log is complete when this returns.
    ///
    /// # Errors
    /// The kernel's; what was sealed before stays.
    pub fn finish(mut self) -> Result<(), OpenError> {
        self.seal()?;
        if self.run.is_none() {
            return Ok(());
        }
        self.gaps.seal(self.next);
        self.write_gaps()
    }

    fn write_gaps(&mut self) -> Result<(), OpenError> {
        gaps::write(&*self.directory, self.options.shard, &mut self.gaps)
            .map_err(OpenError::io("write", path_of(&*self.directory, GAPS_NAME)))
    }

    fn room(&self) -> u64 {
        self.options.segment_length() - 2 * PAGE_BYTES as u64
    }

    fn skip_to(&mut self, sequence: Sequence) -> Result<(), RestoreError> {
        self.seal()?;
        if self.run.is_none() {
            self.gaps.trim(sequence);
        } else if !self.gaps.lose(self.next..sequence) {
            return Err(RestoreError::Holes { max: crate::format::LOST_MAX });
        }
        self.write_gaps()?;
        self.next = sequence;
        Ok(())
    }

    fn begin(&mut self) -> Result<SegmentWriter, OpenError> {
        let epoch = self.epochs.draw();
        let run = *self.run.get_or_insert(epoch);
        let (created, length) = (self.now, self.options.segment_length());
        let header = SegmentHeader { created, length, ..SegmentHeader::new(self.options.shard, run, epoch, self.next) };
        gaps::create(&*self.directory).map_err(OpenError::io("create", path_of(&*self.directory, GAPS_NAME)))?;
        // All of it is durable by the time that it can be read.
        let (later_runs, durable, length) = (Vec::new(), Sequence::ZERO, PAGE_BYTES as u64);
        SegmentWriter::create(&*self.directory, RESTORE_NAME, NewSegment { header, later_runs, durable, length })
            .map_err(OpenError::io("create", path_of(&*self.directory, RESTORE_NAME)))
    }

    fn seal(&mut self) -> Result<(), OpenError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let path = path_of(&*self.directory, RESTORE_NAME);
        let (footer, _) = writer.finish().map_err(OpenError::io("seal", path.clone()))?;
        self.directory
            .rename(RESTORE_NAME, &Segment::file_name(footer.base_sequence))
            .map_err(OpenError::io("name", path))
    }
}

impl Drop for ShardRestore {
    fn drop(&mut self) {
        // What was not sealed is no segment.
        if self.writer.take().is_some() {
            let _: io::Result<()> = self.directory.remove(RESTORE_NAME);
        }
    }
}

fn path_of(directory: &dyn Directory, name: &str) -> String {
    format!("{}/{name}", directory.path())
}
