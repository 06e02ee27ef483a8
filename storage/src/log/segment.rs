//! One segment file as its writer and its readers share it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::active::{self, ActiveIndex, ActiveSessions};
use super::files::{SealedFile, SegmentFiles};
use super::names::{base_of, segment_name};
use super::places::{Around, BlockPlace, Places};
use super::sealed::SealedMap;
use crate::device::{Access, SegmentFile};
use crate::format::{
    ArchivedSegmentIndex, BlockHeader, Epoch, Footer, PAGE_BYTES, Records, RunStart, SegmentHeader, Sequence,
    SessionFilter, SessionId,
};
use crate::lock::lock;

/// A segment: a header, and blocks up to an end that grows until the segment is sealed.
///
/// Some hundred bytes once it is sealed: its file is then opened by name when it is read (`SegmentFiles`), and readers
/// hold on to what they have mapped of it.
#[derive(Debug)]
pub struct Segment {
    header: SegmentHeader,
    /// Beginnings of the runs in it after the first.
    later_runs: Box<[RunStart]>,
    files: Arc<SegmentFiles>,
    /// End of the contiguous completed blocks, in bytes.
    data_end: AtomicU64,
    end_sequence: AtomicU64,
    /// `None` once it is sealed.
    open: Mutex<Option<Box<OpenEnd>>>,
    footer: OnceLock<Footer>,
}

/// The blocks of a segment that has no footer.
#[derive(Debug)]
pub(super) struct UnsealedBlocks {
    /// Its file, if it is to stay open.
    pub(super) file: Option<Arc<dyn SegmentFile>>,
    /// The totals that the footer would have.
    pub(super) totals: Footer,
    pub(super) places: Places,
    /// Beginnings of the runs in it after the first.
    pub(super) later_runs: Vec<RunStart>,
}

/// The parts of a segment that end when it is sealed.
#[derive(Debug, Default)]
struct OpenEnd {
    /// Of the segment that blocks come to, or of one that may not have got its name.
    file: Option<Arc<dyn SegmentFile>>,
    places: Places,
    /// Of the segment that blocks come to.
    sessions: Option<ActiveIndex>,
}

impl Segment {
    /// A segment without blocks, in this file; what is known of its sessions takes `index_bytes` at most.
    pub(crate) fn begin(
        header: SegmentHeader,
        files: &Arc<SegmentFiles>,
        file: Arc<dyn SegmentFile>,
        index_bytes: usize,
    ) -> Arc<Self> {
        let sessions = Some(ActiveIndex::new(header.epoch, header.base_sequence, index_bytes));
        let open = OpenEnd { file: Some(file), places: Places::default(), sessions };
        let totals = Footer::of_empty(header.epoch, header.base_sequence, 0);
        Arc::new(Self::with(header, files, &totals, Some(open)))
    }

    /// A segment that was found to have these blocks, and no footer.
    pub(super) fn unsealed(header: SegmentHeader, files: &Arc<SegmentFiles>, blocks: UnsealedBlocks) -> Arc<Self> {
        let UnsealedBlocks { file, totals, places, later_runs } = blocks;
        let open = Some(OpenEnd { file, places, sessions: None });
        Arc::new(Self { later_runs: later_runs.into(), ..Self::with(header, files, &totals, open) })
    }

    /// A sealed segment in which runs begin at `later_runs`.
    pub(crate) fn sealed(
        header: SegmentHeader,
        files: &Arc<SegmentFiles>,
        footer: Footer,
        later_runs: &[RunStart],
    ) -> Arc<Self> {
        let (later_runs, footer_cell) = (later_runs.into(), OnceLock::from(footer));
        Arc::new(Self { later_runs, footer: footer_cell, ..Self::with(header, files, &footer, None) })
    }

    fn with(header: SegmentHeader, files: &Arc<SegmentFiles>, totals: &Footer, open: Option<OpenEnd>) -> Self {
        Self {
            header,
            later_runs: Box::default(),
            files: Arc::clone(files),
            data_end: AtomicU64::new(totals.data_end),
            end_sequence: AtomicU64::new(totals.end_sequence.get()),
            open: Mutex::new(open.map(Box::new)),
            footer: OnceLock::new(),
        }
    }

    /// The same segment with another ending.
    pub(crate) fn sealed_again(&self, footer: Footer, filter: SessionFilter) -> Arc<Self> {
        self.files.keep_filter(&footer, filter);
        Self::sealed(self.header, &self.files, footer, &self.later_runs)
    }

    /// File name of the segment that starts at `base`.
    pub fn file_name(base: Sequence) -> String {
        segment_name(base)
    }

    /// The base sequence in a file name, if it is one of a segment.
    pub fn base_of_name(name: &str) -> Option<Sequence> {
        base_of(name)
    }

    /// The header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Beginnings of the runs in it after the first, which is that of [`SegmentHeader::run`].
    pub(crate) fn later_runs(&self) -> &[RunStart] {
        &self.later_runs
    }

    /// Beginnings of the runs in it.
    pub(crate) fn run_starts(&self) -> impl DoubleEndedIterator<Item = RunStart> + '_ {
        let first = RunStart { first: self.base(), run: self.header.run };
        std::iter::once(first).chain(self.later_runs.iter().copied())
    }

    /// Sequence of the first record.
    pub fn base(&self) -> Sequence {
        self.header.base_sequence
    }

    /// Sequence after the last record that has reached the file.
    pub fn end_sequence(&self) -> Sequence {
        // SYNC: pairs with the Release store in extend(): data_end and the place are there.
        Sequence::new(self.end_sequence.load(Ordering::Acquire))
    }

    /// End of the blocks that have reached the file, in bytes.
    pub fn data_end(&self) -> u64 {
        self.data_end.load(Ordering::Acquire)
    }

    /// The footer, once the segment is sealed.
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.get()
    }

    /// Bytes of the file that hold something: of a sealed segment its length.
    pub fn file_bytes(&self) -> u64 {
        self.footer().map_or_else(|| self.data_end(), |footer| footer.offset() + PAGE_BYTES as u64)
    }

    /// Returns whether events of any of the sessions may be in the segment: false is certain.
    ///
    /// Costs the opening of the file where its filter is not kept.
    pub fn may_hold_any(&self, sessions: &[SessionId]) -> bool {
        match self.footer() {
            Some(footer) if footer.index.is_some() => {
                let any = |filter: &SessionFilter| sessions.iter().any(|session| filter.may_hold(*session));
                self.files.ask_filter(&self.header, any).unwrap_or(true)
            }
            _ => true,
        }
    }

    /// The files of its shard.
    pub(crate) fn files(&self) -> &Arc<SegmentFiles> {
        &self.files
    }

    /// The open file of a segment that is not sealed, if it has one.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn SegmentFile>> {
        lock(&self.open).as_ref()?.file.clone()
    }

    /// Its file for reading: that of [`Segment::open_file`], or opened by name.
    ///
    /// # Errors
    /// The kernel's; `InvalidData` for a file of another segment.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn SegmentFile>> {
        self.open_file().map_or_else(|| self.files.open(&self.header, Access::Read), Ok)
    }

    /// The file of a sealed segment, and what that says of itself.
    ///
    /// # Errors
    /// As [`SegmentFiles::open_sealed`]; `InvalidInput` while it is not sealed.
    pub(crate) fn sealed_file(&self) -> io::Result<SealedFile> {
        let known = self.footer().ok_or(io::ErrorKind::InvalidInput)?;
        self.files.open_sealed(&self.header, known)
    }

    /// Its file for writing, by a process that has the log open for that.
    ///
    /// # Errors
    /// As [`Segment::file`].
    pub(crate) fn file_to_write(&self) -> io::Result<Arc<dyn SegmentFile>> {
        self.open_file().map_or_else(|| self.files.open(&self.header, Access::Write), Ok)
    }

    /// A block has reached the file after the others.
    pub(crate) fn extend(&self, place: BlockPlace, data_end: u64, end_sequence: Sequence) {
        if let Some(open) = &mut *lock(&self.open) {
            open.places.push(place);
        }
        self.data_end.store(data_end, Ordering::Release);
        // SYNC: pairs with the Acquire load in end_sequence().
        self.end_sequence.store(end_sequence.get(), Ordering::Release);
    }

    /// Lists the sessions of a block that has reached the file. The blocks between it and those listed before stay
    /// unknown.
    pub(super) fn list_sessions(&self, first: Sequence, records: Records<'_>) {
        if let Some(index) = lock(&self.open).as_mut().and_then(|open| open.sessions.as_mut()) {
            index.add(first, records);
        }
    }

    /// The stretches at `from` or later in which events of any of the sessions may be, up to some sequence; `None` if
    /// nothing is known of that, or the segment is sealed.
    pub(super) fn active_places(&self, sessions: &[SessionId], from: Sequence) -> Option<active::Places> {
        let open = lock(&self.open);
        let places = open.as_ref()?.sessions.as_ref()?.places(sessions, from);
        (places.end > from).then_some(places)
    }

    /// The sessions of a segment that is being written, as far as known: from number `from` on, at most `count`.
    /// `None` once it is sealed.
    pub fn active_sessions(&self, from: usize, count: usize) -> Option<ActiveSessions> {
        lock(&self.open).as_ref()?.sessions.as_ref().map(|index| index.sessions(from, count))
    }

    /// The segment has its footer and will not change any more: this closes its descriptor and drops its places.
    pub(crate) fn seal(&self, footer: Footer, filter: SessionFilter) {
        self.files.keep_filter(&footer, filter);
        let _ = self.footer.set(footer);
        let open = lock(&self.open).take();
        drop(open);
    }

    /// Looks into the index. `None` where there is none, one that does not check, or one that leaves out sessions
    /// because there are too many: the blocks have to do.
    ///
    /// Costs the reading of the index and a checksum pass where the segment was not mapped before.
    ///
    /// # Errors
    /// The kernel's; `NotFound` where the segment was trimmed meanwhile.
    pub fn with_index<T>(&self, look: impl FnOnce(&ArchivedSegmentIndex) -> T) -> io::Result<Option<T>> {
        match self.footer().filter(|footer| footer.index.is_some()) {
            Some(footer) => {
                let look = |index: &ArchivedSegmentIndex| (!index.sessions_left_out).then(|| look(index));
                self.files.map(&self.header, footer)?.with_index(look).map(Option::flatten)
            }
            None => Ok(None),
        }
    }

    /// The mapping of a sealed segment. `None` while the segment is not sealed.
    ///
    /// # Errors
    /// The kernel's; `NotFound` where the segment was trimmed meanwhile.
    pub(crate) fn sealed_map(&self) -> io::Result<Option<Arc<SealedMap>>> {
        self.footer().map(|footer| self.files.map(&self.header, footer)).transpose()
    }

    /// The blocks around `sequence`. Cost as [`SealedMap::around`] where the segment was not mapped before.
    ///
    /// # Errors
    /// The kernel's, where headers cannot be read.
    pub(crate) fn around(&self, sequence: Sequence) -> io::Result<Around> {
        loop {
            if let Some(map) = self.sealed_map()? {
                return map.around(sequence);
            }
            // Headers are read without the lock: the shard never waits for a reader.
            let near = lock(&self.open).as_ref().map(|open| open.places.near(sequence));
            if let Some(near) = near {
                return near.walk(sequence, |before| self.open_block_after(before));
            }
            // Sealed between the two looks.
        }
    }

    /// The place of the block that holds `sequence`: the last that starts there or before.
    ///
    /// # Errors
    /// As [`Segment::around`].
    pub(crate) fn place_of(&self, sequence: Sequence) -> io::Result<Option<BlockPlace>> {
        self.around(sequence).map(|around| around.at)
    }

    /// The offset at which the walk to the block of `sequence` begins in a segment that is not sealed, without a
    /// read.
    pub(crate) fn walk_start(&self, sequence: Sequence) -> u64 {
        let place = lock(&self.open).as_ref().and_then(|open| open.places.near(sequence).before());
        place.map_or(PAGE_BYTES as u64, |place| place.offset)
    }

    /// The place of the block after the one that holds `sequence`, if it is known.
    ///
    /// # Errors
    /// As [`Segment::around`].
    pub(crate) fn place_after(&self, sequence: Sequence) -> io::Result<Option<BlockPlace>> {
        self.around(sequence).map(|around| around.after)
    }

    /// Sequence after the last block whose place is known.
    ///
    /// # Errors
    /// As [`Segment::around`].
    pub(crate) fn known_end(&self) -> io::Result<Sequence> {
        let last = match self.sealed_map()? {
            Some(map) => map.last_place()?,
            None => lock(&self.open).as_ref().and_then(|open| open.places.last()),
        };
        Ok(last.map_or(self.base(), |last| last.end_sequence))
    }

    fn open_block_after(&self, before: &BlockPlace) -> io::Result<Option<BlockPlace>> {
        let file = self.file()?;
        let mut page = vec![0; PAGE_BYTES];
        let mut header_at = |offset: u64| -> io::Result<Option<BlockHeader>> {
            if offset >= self.data_end() {
                return Ok(None);
            }
            file.read_at(&mut page, offset)?;
            Ok(BlockHeader::decode(&page).ok().filter(|header| header.epoch == self.epoch()))
        };
        let Some(header) = header_at(before.offset)? else { return Ok(None) };
        let offset = before.offset + u64::from(header.block_bytes);
        Ok(header_at(offset)?.map(|header| BlockPlace::of(&header, offset)))
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.header.epoch
    }
}
