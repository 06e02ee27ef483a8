//! Repair: what a damaged directory of a shard needs so that it opens again, and what is intact in it can be read.
//!
//! Nothing that is intact is destroyed: files are set aside under another name, `<name>.aside`, before anything takes
//! their place. Reading order: `survey` (what is there), `header` (that of a segment, where its page does not check),
//! [`RepairAction`] (what follows from it), `apply` (doing that); `directory` (the same for what lies beside the
//! shards).

mod action;
mod apply;
mod directory;
mod header;
mod survey;

pub use action::RepairAction;
pub use apply::repair_shard;

use std::io;

use self::survey::{Content, FileSurvey, ShardSurvey};
use super::{OpenError, SegmentSurvey};
use crate::device::Directory;
use crate::format::{LogShard, Sequence};

/// Plans the repair of a shard's directory: the actions, in order. Changes nothing. Reads every block; `progress` gets
/// the bytes of each step.
///
/// # Errors
/// [`OpenError::Io`], [`OpenError::Gaps`] of a newer format.
pub fn plan_shard_repair(
    directory: &dyn Directory,
    shard: LogShard,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<RepairAction>, OpenError> {
    Ok(action::plan(&survey::survey(directory, shard, progress)?))
}

/// A file of a shard's directory that is like a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedFile {
    /// Its name.
    pub name: String,
    /// The contents, or the reason for which it is no segment of the shard.
    pub found: Result<SegmentSurvey, String>,
    /// It is a segment of a format version that this build does not read.
    pub is_of_another_version: bool,
}

/// Surveys the segment files of a shard, by name: for a shard that does not open. Blank or torn bytes after the last
/// block of a segment that is not sealed are not listed.
///
/// # Errors
/// [`OpenError`].
pub fn survey_shard(
    directory: &dyn Directory,
    shard: LogShard,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<SurveyedFile>, OpenError> {
    let ShardSurvey { gaps, files } = survey::survey(directory, shard, progress)?;
    let sealed = gaps.map_or(Sequence::ZERO, |gaps| gaps.sealed());
    let surveyed = |FileSurvey { name, content }: FileSurvey| {
        let is_of_another_version = matches!(content, Content::OtherVersion(_));
        content.into_segment(sealed).map(|found| SurveyedFile { name, found, is_of_another_version })
    };
    Ok(files.into_iter().filter_map(surveyed).collect())
}

/// Renames a file to `<name>.aside`, or to `<name>.aside-2` and so on where that is taken.
fn set_aside(directory: &dyn Directory, name: &str) -> io::Result<()> {
    directory.rename(name, &name_aside(directory, name)?)
}

/// A name for a file that is set aside, which no file has.
fn name_aside(directory: &dyn Directory, name: &str) -> io::Result<String> {
    let names = directory.list()?;
    let numbered = (2..).map(|number| format!("{name}.aside-{number}"));
    let mut candidates = std::iter::once(format!("{name}.aside")).chain(numbered);
    Ok(candidates.find(|candidate| !names.contains(candidate)).unwrap_or_default())
}
