//! Doing what a plan says. A repair that is interrupted is begun again: nothing intact has been removed by then.

use std::io;
use std::sync::Arc;

use super::super::ending::{index_of, read_footer, write_ending};
use super::super::names::{GAPS_NAME, REPAIR_NAME};
use super::super::rewrite::{NewSegment, SegmentWriter};
use super::super::run::Epochs;
use super::super::survey::{FirstBlock, Stretch, Surveyor};
use super::super::{OpenError, Segment, blocks, gaps};
use super::header::Shard;
use super::survey::page_of;
use super::{RepairAction, name_aside, set_aside};
use crate::device::{Access, Directory, SegmentFile};
use crate::format::{Footer, Gaps, LogShard, PAGE_BYTES, SegmentHeader};

/// Does what a plan of this directory says. `seed` is for the epochs of new segments.
///
/// # Errors
/// [`OpenError`]: the file system refused; the repair may be begun again.
pub fn repair_shard(
    directory: &dyn Directory,
    shard: LogShard,
    actions: &[RepairAction],
    seed: u64,
) -> Result<(), OpenError> {
    let mut repair = Repair { directory, epochs: Epochs::new(seed) };
    let is_replaced = actions.iter().any(|action| matches!(action, RepairAction::ReplaceGaps { .. }));
    if is_replaced {
        repair.vacate(GAPS_NAME)?;
    }
    // Losses first: what takes the place of a segment may have holes.
    let mut known = gaps::read(directory, shard)?;
    if repair.lose(&mut known, actions)? || is_replaced {
        gaps::write(directory, shard, &mut known).map_err(repair.failed("write", GAPS_NAME))?;
    }
    let shard = Shard { directory, identity: shard };
    // Before other segments go, which may prove what a header said.
    for action in actions {
        if let RepairAction::MendHeader { file, .. } = action {
            repair.mend_header(shard, file)?;
        }
    }
    // Files that go first: their names may be what others are to have.
    for action in actions {
        if let RepairAction::SetAside { file, .. } = action {
            repair.aside(file)?;
        }
    }
    repair.rename(actions)?;
    // A repair that was interrupted has left it.
    repair.remove(REPAIR_NAME)?;
    for action in actions {
        match action {
            RepairAction::Rewrite { file, kept, .. } => repair.rewrite(file, kept)?,
            RepairAction::Reindex { file } => repair.reindex(file)?,
            RepairAction::Reseal { file } => repair.reseal(file)?,
            // Done before, or not a shard's.
            _ => {}
        }
    }
    Ok(())
}

/// A segment's file, its header, and the header's checksum.
type Opened = (Arc<dyn SegmentFile>, SegmentHeader, u32);

struct Repair<'a> {
    directory: &'a dyn Directory,
    epochs: Epochs,
}

impl Repair<'_> {
    fn failed(&self, operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> OpenError + use<> {
        OpenError::io(operation, format!("{}/{name}", self.directory.path()))
    }

    /// By way of names that no segment has: two may have each other's. An interrupted repair has left such
    /// names; their headers say what they are.
    fn rename(&self, actions: &[RepairAction]) -> Result<(), OpenError> {
        let renamed = || {
            actions.iter().filter_map(|action| match action {
                RepairAction::Rename { file, to } => Some((file, to, format!("renamed-{to}"))),
                _ => None,
            })
        };
        for (file, _, between) in renamed().filter(|(file, _, between)| *file != between) {
            self.directory.rename(file, &between).map_err(self.failed("rename", file))?;
        }
        for (_, to, between) in renamed() {
            self.vacate(to)?;
            self.directory.rename(&between, to).map_err(self.failed("rename", &between))?;
        }
        Ok(())
    }

    /// Sets aside the file of this name, if there is one.
    fn vacate(&self, name: &str) -> Result<(), OpenError> {
        match set_aside(self.directory, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("set aside", name)(error)),
            _ => Ok(()),
        }
    }

    /// Writes down what is lost. Whether there was anything.
    fn lose(&self, gaps: &mut Gaps, actions: &[RepairAction]) -> Result<bool, OpenError> {
        let mut any = false;
        for action in actions {
            if let RepairAction::Lose { from, to } = action {
                let too_many = || io::Error::new(io::ErrorKind::StorageFull, "more lost ranges than a log remembers");
                if !gaps.lose(*from..*to) {
                    return Err(self.failed("write", GAPS_NAME)(too_many()));
                }
                any = true;
            }
        }
        Ok(any)
    }

    /// Keeps the page, and writes the one that the blocks prove in its place.
    fn mend_header(&self, shard: Shard<'_>, name: &str) -> Result<(), OpenError> {
        let file = self.directory.open(name, Access::Write).map_err(self.failed("open", name))?;
        let mend = || {
            let Some(page) = shard.proven_header(name, &file)? else { return Ok(()) };
            let mut before = page_of(&*file)?;
            before.resize(PAGE_BYTES, 0);
            self.directory.create(&name_aside(self.directory, name)?, PAGE_BYTES as u64)?.write_at(&before, 0)?;
            file.write_at(&page, 0)
        };
        mend().map_err(self.failed("write the header of", name))
    }

    fn aside(&self, name: &str) -> Result<(), OpenError> {
        set_aside(self.directory, name).map_err(self.failed("set aside", name))
    }

    /// The later stretches first, and the one that takes the file's own name last: until then the file is there.
    fn rewrite(&mut self, file: &str, kept: &[Stretch]) -> Result<(), OpenError> {
        name_aside(self.directory, file)
            .and_then(|aside| self.directory.link(file, &aside))
            .map_err(self.failed("set aside", file))?;
        let (source, header, _) = self.open(file)?;
        for stretch in kept.iter().rev() {
            let name = Segment::file_name(stretch.first);
            self.write(&*source, &header, stretch).map_err(self.failed("write", &name))?;
            if name != file {
                self.vacate(&name)?;
            }
            self.directory.replace(REPAIR_NAME, &name).map_err(self.failed("name", &name))?;
        }
        if kept.first().is_some_and(|first| Segment::file_name(first.first) == file) {
            Ok(())
        } else {
            self.remove(file)
        }
    }

    fn write(&mut self, source: &dyn SegmentFile, from: &SegmentHeader, stretch: &Stretch) -> io::Result<()> {
        // The run is the one that wrote the events, wherever they lie.
        let mut page = vec![0; PAGE_BYTES];
        source.read_at(&mut page, 0)?;
        let mut later_runs = SegmentHeader::later_runs(&page);
        let run = later_runs.iter().rfind(|start| start.first <= stretch.first).map_or(from.run, |start| start.run);
        later_runs.retain(|start| stretch.first < start.first && start.first < stretch.end);
        let (epoch, base_sequence) = (self.epochs.draw(), stretch.first);
        let header = SegmentHeader { epoch, base_sequence, run, is_merged: false, ..*from };
        let new = NewSegment { header, later_runs, durable: stretch.end, length: PAGE_BYTES as u64 };
        let mut writer = SegmentWriter::create(self.directory, REPAIR_NAME, new)?;
        let part = blocks::Part { offsets: stretch.from..stretch.to, first: stretch.first };
        blocks::for_each_in(source, from.epoch, part, |_, block| writer.append(block))?;
        writer.finish().map(drop)
    }

    fn reindex(&self, file: &str) -> Result<(), OpenError> {
        let (opened, header, _) = self.open(file)?;
        let length = opened.length().map_err(self.failed("look at", file))?;
        let footer = read_footer(&opened, &header, length).map_err(self.failed("read", file))?;
        let Some((footer, _)) = footer else { return Ok(()) };
        self.seal(file, &*opened, Footer { index: None, ..footer })
    }

    /// As the blocks say that an opening takes in.
    fn reseal(&self, file: &str) -> Result<(), OpenError> {
        let (opened, header, header_crc) = self.open(file)?;
        let length = opened.length().map_err(self.failed("look at", file))?;
        let first = FirstBlock { epoch: header.epoch, base: header.base_sequence, link: Some(header_crc) };
        let found = Surveyor::default().blocks(&*opened, first, length, &mut |_| ());
        let Some(totals) = found.map_err(self.failed("read", file))?.walked_totals else { return Ok(()) };
        self.seal(file, &*opened, totals)
    }

    /// Writes an index of the blocks that `totals` count, and the footer.
    fn seal(&self, name: &str, file: &dyn SegmentFile, totals: Footer) -> Result<(), OpenError> {
        let index = index_of(file, &totals, || Ok(()));
        let written = write_ending(file, totals.epoch, totals, index.as_ref());
        written.map(drop).map_err(self.failed("write the index of", name))
    }

    fn open(&self, file: &str) -> Result<Opened, OpenError> {
        let opened = self.directory.open(file, Access::Write).map_err(self.failed("open", file))?;
        let page = page_of(&*opened).map_err(self.failed("read", file))?;
        let path = format!("{}/{file}", self.directory.path());
        let (header, crc) = SegmentHeader::decode(&page).map_err(|source| OpenError::Header { path, source })?;
        Ok((opened, header, crc))
    }

    fn remove(&self, name: &str) -> Result<(), OpenError> {
        gaps::remove(self.directory, name).map_err(self.failed("remove", name))
    }
}
