//! Recovery: makes a shard's directory whole again after any stop, and opens it for appending.
//!
//! Every segment that was found is sealed where its intact blocks end: that cuts a torn tail off, which `scan` has told
//! from damage. Appending goes on in a new segment, which is begun with the first block, so no byte that was written is
//! ever written again. Each step leaves a directory that recovery can start over from.

use std::sync::Arc;

use super::ending::write_ending;
use super::files::SegmentFiles;
use super::names::GAPS_NAME;
use super::pipeline::Pipeline;
use super::pool::BlockPool;
use super::run::Epochs;
use super::scan::{FoundSegment, Scan, Torn, scan};
use super::{Log, LogOptions, LogView, OpenError, Run, Segment, gaps};
use crate::device::{Access, Device, Directory};
use crate::format::{Gaps, Sequence};

/// A torn tail that recovery cut off: bytes that were never acknowledged.
///
/// ```
/// # use tapeline_storage::format::Sequence;
/// # use tapeline_storage::log::Cut;
/// # let (segment, reason) = ("00000000000000000000.seg".into(), "block body".into());
/// # let cuts = [Cut { segment, offset: 8192, sequence: Sequence::new(42), reason, large_events: 0 }];
/// for Cut { segment, offset, sequence, reason, large_events } in &cuts {
///     println!("{segment} was cut at byte {offset}, before sequence {sequence}: {reason}");
///     println!("{large_events} large events went with it");
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// File name of the segment.
    pub segment: String,
    /// Offset it was cut at.
    pub offset: u64,
    /// Sequence that the next event got.
    pub sequence: Sequence,
    /// The fault of the bytes after it.
    pub reason: String,
    /// Large events that were cut off, as far as headers of blocks tell: of one whose header never reached the disk
    /// nothing is known.
    pub large_events: u64,
}

/// A log that is ready to be appended to, once it is given its device on the shard's thread.
#[derive(Debug)]
pub struct Recovered {
    options: LogOptions,
    files: Arc<SegmentFiles>,
    view: Arc<LogView>,
    gaps: Gaps,
    cuts: Vec<Cut>,
    last_timestamp: u64,
}

impl Recovered {
    /// The view that readers have.
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// Torn tails that were cut off.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// The largest timestamp in the log, 0 for an empty one.
    pub fn last_timestamp(&self) -> u64 {
        self.last_timestamp
    }

    /// The log, writing through `device`.
    pub fn start(self, device: Box<dyn Device>) -> Log {
        let mut pool = BlockPool::new(self.options.memory.blocks);
        let mut pipeline = Pipeline::new(device, self.files, self.gaps, &self.options);
        pipeline.register(&pool.allocate_all());
        let is_bare = |segment: &Arc<Segment>| segment.footer().is_some_and(|footer| footer.index.is_none());
        self.view.segments().into_iter().filter(is_bare).for_each(|segment| pipeline.tidy(segment));
        Log::with(&self.options, self.view, pool, Some(pipeline))
    }
}

/// Recovers what is in `directory`. Where nothing is to be mended it changes nothing: the first segment is begun when
/// there is something to write.
///
/// # Errors
/// [`OpenError`]; the directory is then as it was, or further on the way to recovery.
pub fn recover(directory: Arc<dyn Directory>, options: LogOptions) -> Result<Recovered, OpenError> {
    let found = scan(&directory, options.shard, Access::Write)?;
    let (end, last_timestamp) = (found.end(), found.last_timestamp());
    let mut gaps = found.gaps.clone();
    let files = Arc::clone(&found.files);
    let (segments, cuts) = seal_all(&directory, found)?;
    if gaps.sealed() < end {
        gaps.seal(end);
        let path = format!("{}/{}", directory.path(), GAPS_NAME);
        gaps::write(&*directory, options.shard, &mut gaps).map_err(OpenError::io("write", path))?;
    }
    let run = Run { epoch: Epochs::new(options.seed).draw(), base: end };
    let view = LogView::new(options.shard, gaps.trimmed()..end, segments, Some(run));
    Ok(Recovered { options, files, view, gaps, cuts, last_timestamp })
}

/// Removes leftovers, gives a used spare its name, seals what is unsealed and so cuts torn tails off, removes segments
/// without events.
fn seal_all(directory: &Arc<dyn Directory>, found: Scan) -> Result<(Vec<Arc<Segment>>, Vec<Cut>), OpenError> {
    let path = |name: &str| format!("{}/{name}", directory.path());
    // Leftovers go first, and the latest first: what is left is always a beginning of what there was.
    for leftover in found.leftovers.iter().rev() {
        leftover.remove(&**directory).map_err(OpenError::io("remove", path(&leftover.name)))?;
    }
    let (mut segments, mut cuts) = (Vec::new(), Vec::new());
    for found in found.segments {
        let name = found.name();
        let FoundSegment { segment, totals, torn, .. } = found;
        if totals.blocks == 0 {
            let removed = segment.file_to_write().and_then(|file| directory.remove_own(&name, &*file));
            removed.map_err(OpenError::io("remove", path(&name)))?;
            continue;
        }
        let own_name = Segment::file_name(segment.base());
        if name != own_name {
            directory.rename(&name, &own_name).map_err(OpenError::io("rename", path(&name)))?;
        }
        if segment.footer().is_none() {
            let file = segment.file_to_write().map_err(OpenError::io("open", path(&own_name)))?;
            let (footer, filter) =
                write_ending(&*file, segment.epoch(), totals, None).map_err(OpenError::io("seal", path(&own_name)))?;
            segment.seal(footer, filter);
            if let Some(Torn { source, large_events }) = torn {
                cuts.push(Cut {
                    segment: own_name,
                    offset: totals.data_end,
                    sequence: totals.end_sequence,
                    reason: source.to_string(),
                    large_events,
                });
            }
        }
        segments.push(segment);
    }
    Ok((segments, cuts))
}
