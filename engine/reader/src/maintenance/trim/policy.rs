//! Limits on what a log keeps.

use std::time::Duration;

use crate::error::ConfigError;

/// Limits beyond which the oldest segments of a log go: as soon as any of them is passed. Only whole sealed segments
/// go, and the oldest of the whole log first. The default has no limit: everything is kept.
///
/// ```
/// use std::time::Duration;
/// use tapeline_reader::RetentionPolicy;
///
/// // A week, at most 100 GiB; what a named cursor has not read stays.
/// let week = Duration::from_secs(7 * 24 * 3600);
/// let policy = RetentionPolicy::new().max_age(week).max_bytes(100 << 30).keep_for_cursors();
/// policy.validate()?;
/// # Ok::<(), tapeline_reader::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionPolicy {
    /// A segment goes when its last event is older than this.
    pub max_age: Option<Duration>,
    /// Segments go until the files of all shards hold at most so many bytes. What is set aside for the segments that
    /// are being written, and not yet used, is not counted.
    pub max_bytes: Option<u64>,
    /// Segments go until all shards together have at most so many, those being written included.
    pub max_segments: Option<usize>,
    /// True if events stay that a named cursor has not passed, whatever the limits say. A reader that never comes back
    /// then fills the disk: `tapeline cursor ls` shows how far each is behind.
    pub keep_for_cursors: bool,
}

impl RetentionPolicy {
    /// Without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`RetentionPolicy::max_age`].
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets [`RetentionPolicy::max_bytes`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Sets [`RetentionPolicy::max_segments`].
    #[must_use]
    pub fn max_segments(mut self, segments: usize) -> Self {
        self.max_segments = Some(segments);
        self
    }

    /// Sets [`RetentionPolicy::keep_for_cursors`].
    #[must_use]
    pub fn keep_for_cursors(mut self) -> Self {
        self.keep_for_cursors = true;
        self
    }

    /// Returns whether there is any limit.
    pub(crate) fn has_limit(&self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some() || self.max_segments.is_some()
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`] with the setting and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let broken = match self {
            Self { max_age: Some(Duration::ZERO), .. } => "max_age is 0; leave it out, or keep something",
            Self { max_segments: Some(0), .. } => "max_segments is 0; at least 1: the one that is written",
            _ if !self.has_limit() => "the retention policy has no limit; leave it out, or set one",
            _ => return Ok(()),
        };
        Err(ConfigError::InvalidValue(broken.into()))
    }
}
