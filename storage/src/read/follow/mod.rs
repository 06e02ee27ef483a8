//! Following: one shard's log that another process writes, looked at again and again, and the view that grows with it.
//!
//! A [`FollowedShard`] owns a [`LogView`] and moves it on at each [`FollowedShard::look`]: over blocks that have landed
//! after the known end, into segments that have begun, past segments that are gone. It promises:
//!
//! * the view holds whole blocks that follow each other; a block that does not check is the present end of the log,
//!   until something after it proves that it was acknowledged;
//! * a block that was durable when a look began is in the view when it ends, unless its segment has not got its name
//!   yet, or the segment before it has been removed: then it is in within [`CLOSE_LOOK`] looks;
//! * after a crash of the writer, what the next one kept is in the view, and what it cut off is not. A view never takes
//!   back what it showed: where that would be needed, or where a new run begins, there is another view
//!   ([`Look::Replaced`]), and readers go on in it by [`LogView::place`] and [`LogView::resume`].
//!
//! A look at a log where nothing happens costs two system calls: a read of the page where the next block would be, and
//! an attempt to open the next segment, whose name is known. Every [`CLOSE_LOOK`]th look lists the directory besides.

mod tail;
mod unindexed;

use std::sync::Arc;

use self::tail::{Suspicion, Tail};
use self::unindexed::Unindexed;
use super::look_through;
use crate::device::Directory;
use crate::format::{LogShard, Sequence};
use crate::log::{
    FoundSegment, LogView, OpenError, Run, SPARE_NAME, Segment, SegmentFiles, begin_segment, read_footer,
};

/// After so many looks at the latest a look is a close one.
pub const CLOSE_LOOK: u32 = 16;

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing new to read.
    Same,
    /// The view goes further.
    Grown,
    /// There is another view, of which readers know nothing.
    Replaced,
}

/// One shard's log, followed from file to file.
#[derive(Debug)]
pub struct FollowedShard {
    files: Arc<SegmentFiles>,
    shard: LogShard,
    view: Arc<LogView>,
    /// The segment to which blocks come; none where the last segment is sealed, or there is none.
    tail: Option<Tail>,
    /// Segments before it that have not got their last form.
    unindexed: Unindexed,
    suspicion: Suspicion,
    /// The files say otherwise than the view.
    is_lost: bool,
    /// Since the last close one.
    looks: u32,
}

impl FollowedShard {
    /// Opens a shard, and shows what is in it. Changes nothing, now or later.
    ///
    /// # Errors
    /// [`OpenError`], as recovery would give it.
    pub fn open(directory: Arc<dyn Directory>, shard: LogShard) -> Result<Self, OpenError> {
        let scan = look_through(&directory, shard)?;
        let (end, files) = (scan.end(), Arc::clone(&scan.files));
        let tail = scan.segments.last().filter(|last| last.segment.footer().is_none()).map(Tail::of);
        // No writer writes to a segment after the range that a repair found lost at its end.
        let tail = tail.filter(|tail| tail.segment().end_sequence() == end);
        let mut unindexed = Unindexed::default();
        let is_tail = |segment: &Arc<Segment>| tail.as_ref().is_some_and(|tail| Arc::ptr_eq(tail.segment(), segment));
        let before = scan.segments.iter().map(|found| &found.segment).filter(|segment| !is_tail(segment));
        before.filter(|segment| Unindexed::concerns(segment)).for_each(|segment| unindexed.add(segment));
        let segments = scan.segments.into_iter().map(|FoundSegment { segment, .. }| segment).collect();
        let view = LogView::new(shard, scan.gaps.trimmed()..end, segments, None);
        let suspicion = Suspicion::default();
        Ok(Self { files, shard, view, tail, unindexed, suspicion, is_lost: false, looks: 0 })
    }

    /// The view. It moves at each look, and another takes its place where a look says so.
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// Looks for what has changed; every [`CLOSE_LOOK`]th time closely.
    ///
    /// # Errors
    /// [`OpenError`]: the view stays as it is, and so do the reasons for the error. The next look may have another
    /// answer; acknowledged data that is damaged is reported once, and reading ends before it until the segment is
    /// sealed.
    pub fn look(&mut self) -> Result<Look, OpenError> {
        self.looks += 1;
        if self.looks >= CLOSE_LOOK { self.look_closely() } else { self.go_on() }
    }

    /// Looks for what has changed, also at what changes seldom: names, footers, what lies after the end. What was
    /// durable when the look began is in the view when it ends.
    ///
    /// Costs a listing of the directory, some system calls, and more where something is amiss.
    ///
    /// # Errors
    /// As [`FollowedShard::look`].
    pub fn look_closely(&mut self) -> Result<Look, OpenError> {
        self.looks = 0;
        // Listed first: what is before a segment that has its name has landed.
        let directory = self.files.directory();
        let names = directory.list().map_err(OpenError::io("list", directory.path()))?;
        let mut bases: Vec<_> = names.iter().filter_map(|name| Segment::base_of_name(name)).collect();
        bases.sort_unstable();
        let mut look = self.go_on()?;
        if names.iter().any(|name| name == SPARE_NAME) && self.needs_spare() {
            look = look.max(self.enter(SPARE_NAME)?).max(self.go_on()?);
        }
        self.forget_removed(&bases);
        self.unindexed.look(&self.view, |name| begin_segment(&self.files, self.shard, name));
        if self.is_lost || self.is_elsewhere(&bases)? {
            return Ok(look.max(self.look_again()?));
        }
        Ok(look.max(self.examine_stray()?))
    }

    /// Takes in blocks and segments for as long as there are any.
    fn go_on(&mut self) -> Result<Look, OpenError> {
        let mut look = Look::Same;
        loop {
            let next = self.advance()?.max(self.enter_next()?);
            look = look.max(next);
            if next == Look::Same {
                return Ok(look);
            }
        }
    }

    /// Takes in the blocks that have landed in the last segment, and its end.
    fn advance(&mut self) -> Result<Look, OpenError> {
        let Some(tail) = &mut self.tail else { return Ok(Look::Same) };
        let failed = OpenError::io("read", path_of(&**self.files.directory(), tail.segment()));
        let advance = |tail: &mut Tail| {
            let mut grown = tail.advance(&self.view)?;
            let mut footer = None;
            if tail.may_be_sealed() {
                let segment = tail.segment();
                let file = segment.file()?;
                footer = read_footer(&file, segment.header(), file.length()?)?;
                // All blocks had landed before the footer was written.
                grown |= footer.is_some() && tail.advance(&self.view)?;
            }
            Ok((grown, footer))
        };
        let (grown, footer) = advance(tail).map_err(failed)?;
        let look = if grown { Look::Grown } else { Look::Same };
        match footer {
            None => Ok(look),
            Some((footer, filter)) if tail.ends_as(&footer) => {
                tail.segment().seal(footer, filter);
                self.unindexed.add(tail.segment());
                self.tail = None;
                Ok(look)
            }
            Some(_) => {
                // Blocks were cut off that had been seen, or there are some that do not check.
                self.is_lost = true;
                Ok(look)
            }
        }
    }

    /// Goes on in the segment that begins at the end of the last, if it is there.
    fn enter_next(&mut self) -> Result<Look, OpenError> {
        let end = self.view.appended();
        // An empty segment's own name is the next one's.
        if self.tail.as_ref().is_some_and(|tail| tail.segment().base() == end) {
            return Ok(Look::Same);
        }
        self.enter(&Segment::file_name(end))
    }

    fn enter(&mut self, name: &str) -> Result<Look, OpenError> {
        let end = self.view.appended();
        let Some((segment, totals)) = begin_segment(&self.files, self.shard, name)? else {
            return Ok(Look::Same);
        };
        if segment.base() != end {
            return Ok(Look::Same);
        }
        if segment.header().is_merged {
            // It comes from several runs, and has come to rest.
            return self.look_again();
        }
        let mut segments = self.view.segments();
        let before = segments.last().and_then(|last| last.run_starts().next_back()).map(|start| start.run);
        let look = if before == Some(segment.header().run) {
            self.view.segment_list().add(Arc::clone(&segment));
            Look::Grown
        } else {
            // A position names its run by the view that gave it.
            segments.push(Arc::clone(&segment));
            self.view = LogView::new(self.shard, self.view.trimmed()..end, segments, Some(Run::of(&segment)));
            Look::Replaced
        };
        let before = self.tail.replace(Tail::new(segment, totals, name));
        before.iter().for_each(|tail| self.unindexed.add(tail.segment()));
        Ok(look)
    }

    /// Returns whether a spare may hold blocks: the writer may have died before it named it.
    fn needs_spare(&self) -> bool {
        self.tail.as_ref().is_none_or(|tail| !tail.is_spare() && tail.segment().base() < self.view.appended())
    }

    /// Removes segments that are no longer in the directory from the view, and closes their files.
    fn forget_removed(&mut self, bases: &[Sequence]) {
        let Some(&first) = bases.first() else { return };
        let segments = self.view.segments();
        for (gone, next) in segments.iter().zip(segments.iter().skip(1)).take_while(|(gone, _)| gone.base() < first) {
            self.view.set_trimmed(next.base().min(self.view.durable()));
            self.view.segment_list().remove(gone.base());
            self.unindexed.forget(gone);
        }
    }

    /// Returns whether the directory holds something else than what the view shows.
    fn is_elsewhere(&mut self, bases: &[Sequence]) -> Result<bool, OpenError> {
        if bases.iter().any(|base| *base > self.view.appended()) {
            return Ok(true);
        }
        let segments = self.view.segments();
        // Sealed segments whose names are gone, between others, were merged.
        let listed = segments.iter().filter(|segment| bases.last().is_some_and(|last| segment.base() < *last));
        let mut sealed = listed.filter(|segment| segment.footer().is_some());
        if sealed.any(|segment| bases.binary_search(&segment.base()).is_err()) {
            return Ok(true);
        }
        let Some(last) = segments.last() else { return Ok(false) };
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.is_spare()) {
            if bases.binary_search(&last.base()).is_err() {
                return Ok(false);
            }
            tail.set_named();
        }
        // The name may stand for another file by now: an empty segment is removed by the next writer.
        let named = begin_segment(&self.files, self.shard, &Segment::file_name(last.base()))?;
        Ok(named.is_none_or(|(named, _)| named.epoch() != last.epoch()))
    }

    /// Finds out whether what stands at the end for longer than a write takes is damage.
    fn examine_stray(&mut self) -> Result<Look, OpenError> {
        let stray = self.tail.as_ref().and_then(Tail::stray);
        if !self.suspicion.is_confirmed(stray) {
            return Ok(Look::Same);
        }
        let found = look_through(self.files.directory(), self.shard)?;
        if found.end() > self.view.appended() { self.look_again() } else { Ok(Look::Same) }
    }

    /// Begins anew with what is there now.
    fn look_again(&mut self) -> Result<Look, OpenError> {
        let suspicion = std::mem::take(&mut self.suspicion);
        *self = Self { suspicion, ..Self::open(Arc::clone(self.files.directory()), self.shard)? };
        Ok(Look::Replaced)
    }
}

impl Look {
    /// The one that says more.
    fn max(self, other: Self) -> Self {
        if self.weight() >= other.weight() { self } else { other }
    }

    fn weight(self) -> u8 {
        match self {
            Self::Same => 0,
            Self::Grown => 1,
            Self::Replaced => 2,
        }
    }
}

fn path_of(directory: &dyn Directory, segment: &Segment) -> String {
    format!("{}/{}", directory.path(), Segment::file_name(segment.base()))
}
