//! Damage: what of a log cannot be read.

use std::{fmt, io};

use tapeline_storage::device::is_of_environment;
use tapeline_storage::format::PageError;
use tapeline_storage::log::{DirectoryError, OpenError};

/// A place that cannot be read, or does not check.
///
/// ```
/// use tapeline_reader::{DamageCause, LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-damage-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// for damage in LogFiles::open(&directory)?.verify(|_bytes| ()).damage {
///     let is_of_log = damage.cause == DamageCause::Log;
///     println!("{} at {}: {} (repair: {is_of_log})", damage.segment, damage.offset, damage.reason);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The shard.
    pub shard_id: u16,
    /// File name of the segment, or the path of what cannot be opened.
    pub segment: String,
    /// Offset in the file.
    pub offset: u64,
    /// The fault.
    pub reason: String,
    /// The party at fault.
    pub cause: DamageCause,
}

/// The party at fault where a log cannot be read.
///
/// ```
/// use tapeline_reader::DamageCause;
///
/// fn advice(cause: DamageCause) -> &'static str {
///     match cause {
///         DamageCause::Environment => "mend the machine, then try again",
///         _ => "tapeline repair",
///     }
/// }
/// assert_eq!(advice(DamageCause::Log), "tapeline repair");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageCause {
    /// The log: a file does not hold what was written to it, or is missing. [`plan_repair`](crate::plan_repair) says
    /// what can be done.
    Log,
    /// The kernel refused: descriptors, memory or permissions are wanting, or a disk or a file server does not answer.
    /// Or a file has a format version that this program does not read. The log may be intact, and the same call
    /// succeeds once that is mended, or in another version of the program.
    Environment,
}

impl DamageCause {
    pub(crate) fn of(error: &io::Error) -> Self {
        if is_of_environment(error) { Self::Environment } else { Self::Log }
    }
}

impl Damage {
    pub(crate) fn of_open(shard: u16, error: &OpenError) -> Self {
        let (segment, offset, cause) = match error {
            OpenError::Io { path, source, .. } => (path.clone(), 0, DamageCause::of(source)),
            OpenError::Header { path, source: PageError::Version { .. } }
            | OpenError::Gaps { path, source: PageError::Version { .. } } => {
                (path.clone(), 0, DamageCause::Environment)
            }
            OpenError::Corrupt { path, offset, .. } => (path.clone(), *offset, DamageCause::Log),
            OpenError::CutShort { path, length, .. } => (path.clone(), *length, DamageCause::Log),
            OpenError::Header { path, .. }
            | OpenError::ForeignName { path }
            | OpenError::ForeignSegment { path, .. }
            | OpenError::Renamed { path, .. }
            | OpenError::Missing { path, .. }
            | OpenError::Overlap { path, .. }
            | OpenError::NoGaps { path }
            | OpenError::Gaps { path, .. } => (path.clone(), 0, DamageCause::Log),
            _ => (String::new(), 0, DamageCause::Log),
        };
        Self { shard_id: shard, segment, offset, reason: error.to_string(), cause }
    }

    pub(crate) fn of_directory(shard: u16, error: &DirectoryError) -> Self {
        let cause = match error {
            // The log has had it.
            DirectoryError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => DamageCause::Log,
            DirectoryError::Io { source, .. } => DamageCause::of(source),
            _ => DamageCause::Log,
        };
        Self { shard_id: shard, segment: format!("shard-{shard:04}"), offset: 0, reason: error.to_string(), cause }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
