//! The files of a shard's sealed segments: opened by name when they are wanted, mapped, and closed.
//!
//! A sealed segment holds no descriptor. The most recently used [`MAPS_MAX`] mappings are kept, and the filters of the
//! first [`FILTERS_MAX`] segments that were looked at; all that is known of another segment is its header and its
//! footer. A name can stand for another file than before: a dense copy, or the same file while its ending is written
//! anew. What is opened is therefore checked to be the segment, and read by what the file itself says.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::ending::read_footer;
use super::names::{base_of, segment_name};
use super::sealed::SealedMap;
use crate::device::{Access, Directory, SegmentFile};
use crate::format::{Footer, PAGE_BYTES, SegmentHeader, Sequence, SessionFilter};
use crate::lock::lock;

/// Most mappings that are kept: with as many shards as a log has cores, far below the 65,530 that Linux gives a
/// process.
const MAPS_MAX: usize = 128;

/// Most memory of what is kept with the mappings: bits of checked blocks and places of blocks.
const MAPS_BYTES_MAX: usize = 16 << 20;

/// Most filters that are kept, 4 KiB each.
const FILTERS_MAX: usize = 1024;

/// The files of one shard's segments, for all that read them.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    directory: Arc<dyn Directory>,
    maps: Mutex<Maps>,
    /// Never evicted: of more segments than fit, those that are looked at in turn would evict each other.
    filters: Mutex<HashMap<Sequence, SessionFilter>>,
}

/// The mappings that are kept, the least recently used first.
#[derive(Debug, Default)]
struct Maps {
    kept: Vec<Arc<SealedMap>>,
    /// Number of times that segments got other files: a mapping that was made meanwhile is not kept.
    changes: u64,
}

/// A sealed segment's file, opened.
#[derive(Debug)]
pub(crate) struct SealedFile {
    pub(crate) file: Arc<dyn SegmentFile>,
    /// The footer in the file.
    pub(crate) footer: Footer,
}

impl SegmentFiles {
    pub(crate) fn new(directory: Arc<dyn Directory>) -> Arc<Self> {
        Arc::new(Self { directory, maps: Mutex::default(), filters: Mutex::default() })
    }

    pub(crate) fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    /// Opens the file that has the segment's name, and checks that it is the segment's. The descriptor is the caller's.
    ///
    /// # Errors
    /// The kernel's; `InvalidData` for a file of another segment.
    pub(crate) fn open(&self, header: &SegmentHeader, access: Access) -> io::Result<Arc<dyn SegmentFile>> {
        let (file, found) = self.open_any(header, access)?;
        if found == *header { Ok(file) } else { Err(invalid("the file of this name is another segment's")) }
    }

    /// Opens the file of a sealed segment, of which `own` and `known` were known last, and finds out what it says of
    /// itself.
    ///
    /// # Errors
    /// As [`SegmentFiles::open`]; `UnexpectedEof` where it is shorter than it was.
    pub(crate) fn open_sealed(&self, own: &SegmentHeader, known: &Footer) -> io::Result<SealedFile> {
        let (file, header) = match self.open_any(own, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.open_merged(own.base_sequence, known.end_sequence)?.ok_or(error)?
            }
            opened => opened?,
        };
        let length = file.length()?;
        if let Some((footer, filter)) = read_footer(&file, &header, length)? {
            if footer.end_sequence < known.end_sequence {
                return Err(invalid("the file of this name holds less than the segment"));
            }
            self.keep_filter(&footer, filter);
            return Ok(SealedFile { file, footer });
        }
        // Its ending is being written anew: the blocks stay where they are.
        if header.epoch != own.epoch {
            return Err(invalid("the file of this name is another segment's"));
        }
        if length < known.data_end {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the segment is shorter than its footer says"));
        }
        Ok(SealedFile { file, footer: Footer { index: None, ..*known } })
    }

    /// Opens the file that has the segment's name, if it begins with the same sequence of the same shard.
    fn open_any(&self, own: &SegmentHeader, access: Access) -> io::Result<(Arc<dyn SegmentFile>, SegmentHeader)> {
        let file = self.directory.open(&segment_name(own.base_sequence), access)?;
        let mut page = vec![0; PAGE_BYTES];
        let read = file.read_settled(&mut page, 0)?;
        let (header, _) = SegmentHeader::decode(&page[..read]).map_err(|error| invalid(&error.to_string()))?;
        if (header.log_shard(), header.base_sequence) == (own.log_shard(), own.base_sequence) {
            Ok((file, header))
        } else {
            Err(invalid("the file of this name is another segment's"))
        }
    }

    /// Opens the merged segment that holds the sequences from `base` to `end`, if there is one.
    fn open_merged(&self, base: Sequence, end: Sequence) -> io::Result<Option<(Arc<dyn SegmentFile>, SegmentHeader)>> {
        let names = self.directory.list()?;
        let bases = names.iter().filter_map(|name| base_of(name));
        let Some(before) = bases.filter(|before| *before < base).max() else { return Ok(None) };
        let file = self.directory.open(&segment_name(before), Access::Read)?;
        let mut page = vec![0; PAGE_BYTES];
        let read = file.read_settled(&mut page, 0)?;
        let Ok((header, _)) = SegmentHeader::decode(&page[..read]) else { return Ok(None) };
        let footer = read_footer(&file, &header, file.length()?)?;
        let holds = header.is_merged && footer.is_some_and(|(footer, _)| footer.end_sequence >= end);
        Ok(holds.then_some((file, header)))
    }

    /// The mapping of a sealed segment, made where it is not kept.
    ///
    /// # Errors
    /// As [`SegmentFiles::open_sealed`].
    pub(crate) fn map(&self, own: &SegmentHeader, known: &Footer) -> io::Result<Arc<SealedMap>> {
        let changes = {
            let mut maps = lock(&self.maps);
            if let Some(map) = maps.use_again(own.base_sequence) {
                return Ok(map);
            }
            maps.changes
        };
        let SealedFile { file, footer } = self.open_sealed(own, known)?;
        let mapping = match file.map() {
            // There may be more mappings of this process than the kernel gives: those that no reader uses can go.
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                drop(lock(&self.maps).take_all());
                file.map()?
            }
            mapped => mapped?,
        };
        if (mapping.bytes().len() as u64) < footer.data_end {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the segment is shorter than its footer says"));
        }
        let map = Arc::new(SealedMap::new(footer, mapping));
        // Unmapping takes its time: it is done when the lock is free again.
        let evicted = lock(&self.maps).keep(&map, changes);
        drop(evicted);
        Ok(map)
    }

    /// The segment's name stands for another file from now on, with the same events or more.
    pub(crate) fn forget_map(&self, base: Sequence) {
        let forgotten = lock(&self.maps).forget(base);
        drop(forgotten);
    }

    /// The segment is gone.
    pub(crate) fn forget(&self, base: Sequence) {
        self.forget_map(base);
        lock(&self.filters).remove(&base);
    }

    /// Keeps the filter of a segment with this footer, if there is room, and it says anything.
    pub(crate) fn keep_filter(&self, footer: &Footer, filter: SessionFilter) {
        if footer.index.is_none() {
            return;
        }
        let mut filters = lock(&self.filters);
        if filters.len() < FILTERS_MAX || filters.contains_key(&footer.base_sequence) {
            filters.insert(footer.base_sequence, filter);
        }
    }

    /// Asks the filter of a sealed segment. `None` where it cannot be had.
    pub(crate) fn ask_filter<T>(&self, own: &SegmentHeader, ask: impl Fn(&SessionFilter) -> T) -> Option<T> {
        if let Some(filter) = lock(&self.filters).get(&own.base_sequence) {
            return Some(ask(filter));
        }
        let (file, header) = self.open_any(own, Access::Read).ok()?;
        let (footer, filter) = read_footer(&file, &header, file.length().ok()?).ok().flatten()?;
        let answer = ask(&filter);
        self.keep_filter(&footer, filter);
        Some(answer)
    }
}

impl Maps {
    fn use_again(&mut self, base: Sequence) -> Option<Arc<SealedMap>> {
        let at = self.kept.iter().position(|map| map.base() == base)?;
        let map = self.kept.remove(at);
        self.kept.push(Arc::clone(&map));
        Some(map)
    }

    /// Keeps a mapping that was begun after so many changes. Returns those that make room for it.
    fn keep(&mut self, map: &Arc<SealedMap>, changes: u64) -> Vec<Arc<SealedMap>> {
        if changes != self.changes || self.kept.iter().any(|kept| kept.base() == map.base()) {
            return Vec::new();
        }
        self.kept.push(Arc::clone(map));
        let mut bytes: usize = self.kept.iter().map(|map| map.memory_bytes()).sum();
        let mut gone = 0;
        while gone + 1 < self.kept.len() && (self.kept.len() - gone > MAPS_MAX || bytes > MAPS_BYTES_MAX) {
            bytes -= self.kept[gone].memory_bytes();
            gone += 1;
        }
        self.kept.drain(..gone).collect()
    }

    fn forget(&mut self, base: Sequence) -> Option<Arc<SealedMap>> {
        self.changes += 1;
        let at = self.kept.iter().position(|map| map.base() == base)?;
        Some(self.kept.remove(at))
    }

    fn take_all(&mut self) -> Vec<Arc<SealedMap>> {
        std::mem::take(&mut self.kept)
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
