//! A log's directory without a bus: while another process writes it, or after its writer was killed. Changes nothing.

mod activity;
pub mod before;
pub mod contents;
pub mod last;
pub mod named_before;
mod names;
pub mod opening;
mod walk;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tapeline_capability::RequiredCapability;
use tapeline_storage::device::advice;
use tapeline_storage::format::{Eras, Footer, LogId, LogShard, PageError, Sequence, SessionId, SessionNames};
use tapeline_storage::log::{
    DamagedPlace, DirectoryError, LogDirectory, LogView, Segment, SegmentSurvey, SurveyedFile, Surveyor, survey_shard,
};
use tapeline_storage::read::{self, PayloadReader};

use before::Stretch;
use contents::Contents;
pub use contents::{KindSummary, SessionSummary};
pub(crate) use named_before::NamedBefore;
use names::Openings;
pub(crate) use names::find_sessions;
pub(crate) use opening::OpeningSearch;
use opening::{learn, retain_meeting};

use crate::error::{AdapterResult, ConsumerError, ConsumerResult, Damage, DamageCause};
use crate::event::{EventId, StoredEvent};
use crate::replay::{Replay, ReplayRequest};
use crate::session::{IntoSession, SessionOpening};
use crate::source::LogViews;

/// A log, open for reading, as it was at the time of the call.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-log-files-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// let log = LogFiles::open(&directory)?;
/// for session in log.sessions()? {
///     println!("{:?}: {} events", session.name, session.events);
/// }
/// assert!(log.verify(|_bytes| ()).is_sound());
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogFiles {
    directory: LogDirectory,
    shards: Vec<Arc<LogView>>,
    damage: Vec<Damage>,
    eras: Arc<Eras>,
    /// Openings that were kept when their events were trimmed. Read when first needed.
    kept_names: OnceLock<Result<SessionNames, NamesFault>>,
}

/// The reason for which the file of names cannot be used.
#[derive(Debug)]
struct NamesFault {
    reason: String,
    cause: DamageCause,
}

/// One shard that could be opened.
///
/// From [`LogFiles::shards`].
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-shard-summary-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// for shard in LogFiles::open(&directory)?.shards() {
///     println!("shard {}: sequences {} to {}", shard.shard_id, shard.first, shard.end);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardSummary {
    /// The shard.
    pub shard_id: u16,
    /// Sequence of its first event that was not trimmed.
    pub first: Sequence,
    /// Sequence after its last event.
    pub end: Sequence,
    /// First sequence of the opening of the log that has not ended in order: its writer is at work, or it was killed
    /// and the log not opened since. `None` if the last writer has ended in order.
    pub open_from: Option<Sequence>,
}

/// One segment file.
///
/// From [`LogFiles::segments`].
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-segment-summary-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// for segment in LogFiles::open(&directory)?.segments() {
///     println!("{} of shard {}: {} bytes, sealed: {}", segment.file, segment.shard_id, segment.bytes, segment.sealed);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentSummary {
    /// The shard.
    pub shard_id: u16,
    /// File name.
    pub file: String,
    /// First sequence.
    pub base: Sequence,
    /// Sequence after the last.
    pub end: Sequence,
    /// End of the blocks in the file, in bytes.
    pub bytes: u64,
    /// True if it has its footer.
    pub sealed: bool,
    /// The part of its bytes that is padding, once it is sealed.
    pub padding_bytes: Option<u64>,
    /// Time of its creation: nanoseconds since the Unix epoch.
    pub created: u64,
    /// Its epoch.
    pub epoch: u64,
}

/// Outcome of looking at every block.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-verification-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// let verification = LogFiles::open(&directory)?.verify(|_bytes| ());
/// for damage in &verification.damage {
///     println!("shard {}, {}: {}", damage.shard_id, damage.segment, damage.reason);
/// }
/// assert!(verification.is_sound());
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Blocks that check.
    pub blocks: u64,
    /// Records that check.
    pub events: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// The places that do not check, and those that could not be read.
    pub damage: Vec<Damage>,
    /// The reason for which the file of names cannot be used, as [`LogFiles::names_damage`] says.
    pub names_damage: Option<String>,
    /// The party at fault where the file of names cannot be used.
    pub names_cause: Option<DamageCause>,
}

impl LogFiles {
    /// Opens the log at `path`. Shards that cannot be opened are listed as damage, not an error.
    ///
    /// # Errors
    /// [`AdapterError::Directory`](crate::AdapterError::Directory), where there is no log.
    pub fn open(path: &Path) -> AdapterResult<Self> {
        let directory = LogDirectory::open_read_only(path)?;
        let (mut shards, mut damage) = (Vec::new(), Vec::new());
        for shard in 0..directory.meta().shards {
            match directory
                .shard(shard)
                .map(|files| read::open_shard(&files, LogShard::new(directory.meta().log_id, shard)))
            {
                Ok(Ok((view, _))) => shards.push(view),
                Ok(Err(error)) => damage.push(Damage::of_open(shard, &error)),
                Err(error) => damage.push(Damage::of_directory(shard, &error)),
            }
        }
        // After the shards: what they hold is of no later era.
        let eras = Arc::new(directory.eras()?);
        Ok(Self { directory, shards, damage, eras, kept_names: OnceLock::new() })
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.directory.meta().log_id
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Time of the log's creation: nanoseconds since the Unix epoch.
    pub fn created(&self) -> u64 {
        self.directory.meta().created
    }

    /// The number of the log's shards, those included that could not be opened.
    pub fn num_shards(&self) -> u16 {
        self.directory.meta().shards
    }

    /// The shards that could be opened.
    pub fn shards(&self) -> Vec<ShardSummary> {
        // A writer that ends seals its last segment.
        let is_open = |view: &Arc<LogView>| view.segments().last().is_some_and(|last| last.footer().is_none());
        let open_from =
            |view: &Arc<LogView>| view.run_starts(view.appended()).last().copied().filter(|_| is_open(view));
        let summary = |view: &Arc<LogView>| ShardSummary {
            shard_id: view.shard(),
            first: view.trimmed(),
            end: view.appended(),
            open_from: open_from(view),
        };
        self.shards.iter().map(summary).collect()
    }

    pub(crate) fn views(&self) -> &[Arc<LogView>] {
        &self.shards
    }

    pub(crate) fn log_views(&self) -> LogViews<'_> {
        LogViews::new(self.log_id(), &self.shards)
    }

    /// The shards that could not be opened.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Every event, in order of time.
    ///
    /// # Errors
    /// As [`LogFiles::replay_with`].
    pub fn replay_all(&self) -> ConsumerResult<Replay> {
        self.replay_with(&ReplayRequest::new())
    }

    /// The events of a session, in order.
    ///
    /// # Errors
    /// As [`LogFiles::replay_with`].
    pub fn replay(&self, session: impl IntoSession) -> ConsumerResult<Replay> {
        self.replay_with(&ReplayRequest::new().session(session))
    }

    /// The events that the request asks for, in order.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidFilter`].
    pub fn replay_with(&self, request: &ReplayRequest) -> ConsumerResult<Replay> {
        let broken = self.damage.iter().cloned().map(ConsumerError::Damaged);
        let replay = Replay::new(self.log_id(), self.shards.clone(), request)?;
        let replay = replay.with_openings(|selection, positions| {
            learn(selection, positions, |each| self.kept().for_each(|(session, opening)| each(session, opening)));
        });
        let replay = replay.naming(|positions| NamedBefore::new(self.path(), positions));
        Ok(replay.with_eras(Arc::clone(&self.eras)).with_errors(broken))
    }

    /// The sessions there are, by time of their first event. One look at each index, and at each block that no index
    /// covers.
    ///
    /// # Errors
    /// [`ConsumerError`] at the first block that cannot be read.
    pub fn sessions(&self) -> ConsumerResult<Vec<SessionSummary>> {
        let mut contents = self.contents()?;
        self.kept().for_each(|(session, opening)| contents.opened_before(session, opening));
        Ok(contents.into_sessions())
    }

    /// The sessions whose source meets a requirement, as
    /// [`SessionMetadata::capabilities`](crate::SessionMetadata::capabilities) states its capabilities. Cost as
    /// [`LogFiles::sessions`] and [`LogFiles::openings_before`].
    ///
    /// # Errors
    /// As [`LogFiles::sessions`].
    pub fn sessions_where(&self, wanted: impl Into<RequiredCapability>) -> ConsumerResult<Vec<SessionSummary>> {
        let (mut sessions, openings) = (self.sessions()?, self.openings_before(u64::MAX, None));
        retain_meeting(&mut sessions, &openings, &wanted.into());
        Ok(sessions)
    }

    /// The names of all sessions that have one, also of those whose opening event was trimmed. What cannot be read
    /// gives none. Cost as [`LogFiles::sessions`].
    pub fn session_names(&self) -> HashMap<SessionId, String> {
        let mut openings = Openings::new(usize::MAX);
        self.shards.iter().for_each(|view| openings.add(view, view.trimmed()..view.appended()));
        for (session, opening) in self.kept() {
            opening.name.into_iter().for_each(|name| openings.name(session, name));
        }
        openings.into_names()
    }

    /// The last opening of each session before a time; `None`: of all sessions. A reader that starts there, or leaves
    /// out the events that open sessions, learns them here, also those that were trimmed. Events that cannot be read
    /// count as none.
    ///
    /// Costs a look at each index, and the reading of the segment that reaches over the time; of each shard it reads 1
    /// GiB at most, beyond which only the first opening of a session in a segment is known.
    pub fn openings_before(&self, time: u64, sessions: Option<&[SessionId]>) -> HashMap<SessionId, SessionOpening> {
        let mut search = OpeningSearch::new(time, sessions);
        self.shards.iter().for_each(|view| search.add(view));
        self.kept().for_each(|(session, opening)| search.add_kept(session, opening));
        search.into_openings()
    }

    /// The events of this one's session in the stretch of its shard that has the record before `end`. `None` where that
    /// record is gone. Reads a block.
    #[doc(hidden)]
    pub fn stretch_before(&self, event: &StoredEvent, end: Sequence) -> Option<Stretch> {
        let view = self.shards.iter().find(|view| view.shard() == event.shard_id)?;
        before::stretch_before(view, event.session, end)
    }

    /// The reason for which the file cannot be used in which the log keeps the openings of sessions whose opening event
    /// was trimmed; `None` if it can, or there is none. Without it such sessions have no name.
    pub fn names_damage(&self) -> Option<&str> {
        self.read_names().as_ref().err().map(|fault| fault.reason.as_str())
    }

    /// The party at fault where that file cannot be used.
    pub fn names_cause(&self) -> Option<DamageCause> {
        self.read_names().as_ref().err().map(|fault| fault.cause)
    }

    fn read_names(&self) -> &Result<SessionNames, NamesFault> {
        let fault = |error: DirectoryError| {
            let cause = match &error {
                DirectoryError::Io { source, .. } => DamageCause::of(source),
                DirectoryError::Names { source: PageError::Version { .. }, .. } => DamageCause::Environment,
                _ => DamageCause::Log,
            };
            NamesFault { reason: error.to_string(), cause }
        };
        self.kept_names.get_or_init(|| self.directory.names().map_err(fault))
    }

    fn kept(&self) -> impl Iterator<Item = (SessionId, SessionOpening)> {
        let kept = self.read_names().iter().flat_map(SessionNames::iter);
        kept.map(|(session, opening)| (session, SessionOpening::parse(opening.as_bytes())))
    }

    /// The kinds there are, by number. Cost and errors as [`LogFiles::sessions`].
    ///
    /// # Errors
    /// As [`LogFiles::sessions`].
    pub fn kinds(&self) -> ConsumerResult<Vec<KindSummary>> {
        self.contents().map(Contents::into_kinds)
    }

    /// The payload of one event, to be read in parts of 1 MiB; `None` where the log has no event of this id, or not any
    /// more.
    ///
    /// # Errors
    /// [`ConsumerError::Read`]: the event's block cannot be read, or is damaged.
    pub fn payload(&self, id: &EventId) -> ConsumerResult<Option<PayloadReader>> {
        let view = self.shards.iter().find(|view| view.shard() == id.shard_id).filter(|_| id.log == self.log_id());
        Ok(view.map(|view| PayloadReader::open(view, id.sequence)).transpose()?.flatten())
    }

    fn contents(&self) -> ConsumerResult<Contents> {
        if let Some(damage) = self.damage.first() {
            return Err(ConsumerError::Damaged(damage.clone()));
        }
        let mut contents = Contents::default();
        self.shards.iter().try_for_each(|view| contents.add_shard(view))?;
        Ok(contents)
    }

    /// The segments of all shards, in order.
    pub fn segments(&self) -> Vec<SegmentSummary> {
        let summary = |view: &Arc<LogView>, segment: &Arc<Segment>| SegmentSummary {
            shard_id: view.shard(),
            file: Segment::file_name(segment.base()),
            base: segment.base(),
            end: segment.end_sequence(),
            bytes: segment.data_end(),
            sealed: segment.footer().is_some(),
            padding_bytes: segment.footer().map(Footer::padding_bytes),
            created: segment.header().created,
            epoch: segment.header().epoch.get(),
        };
        self.shards
            .iter()
            .flat_map(|view| view.segments().into_iter().map(move |segment| summary(view, &segment)))
            .collect()
    }

    /// Reads and checks every block of every shard, the indexes and the file of names, going on after damage at the
    /// next block that checks. `progress` gets the bytes of each step.
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Verification {
        let (mut outcome, mut surveyor) = (Verification::default(), Surveyor::default());
        for view in &self.shards {
            for segment in view.segments() {
                let survey = surveyor.segment(view, &segment, &mut progress);
                let survey = survey.map_err(|error| (format!("{error}{}", advice(&error)), DamageCause::of(&error)));
                outcome.add(view.shard(), &Segment::file_name(segment.base()), survey);
            }
        }
        for damage in &self.damage {
            self.verify_broken(damage, &mut outcome, &mut progress);
        }
        outcome.names_damage = self.names_damage().map(str::to_owned);
        outcome.names_cause = self.names_cause();
        outcome
    }

    /// A shard that could not be opened: its files by themselves.
    fn verify_broken(&self, damage: &Damage, outcome: &mut Verification, progress: &mut impl FnMut(u64)) {
        let known = outcome.damage.len();
        let log_id = self.directory.meta().log_id;
        let files = self.directory.shard(damage.shard_id).map_err(|_| ());
        let files = files
            .and_then(|files| survey_shard(&*files, LogShard::new(log_id, damage.shard_id), progress).map_err(|_| ()));
        for SurveyedFile { name, found, is_of_another_version } in files.unwrap_or_default() {
            let cause = if is_of_another_version { DamageCause::Environment } else { DamageCause::Log };
            outcome.add(damage.shard_id, &name, found.map_err(|reason| (reason, cause)));
        }
        // Why it could not be opened, unless that is one of the places found.
        let is_same = |found: &Damage| found.offset == damage.offset && damage.segment.ends_with(&found.segment);
        if !outcome.damage[known..].iter().any(is_same) {
            outcome.damage.insert(known, damage.clone());
        }
    }
}

impl Verification {
    /// Returns whether everything was read and checks.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.names_damage.is_none()
    }

    fn add(&mut self, shard: u16, segment: &str, survey: Result<SegmentSurvey, (String, DamageCause)>) {
        let damage =
            |offset, reason, cause| Damage { shard_id: shard, segment: segment.to_owned(), offset, reason, cause };
        match survey {
            Ok(SegmentSurvey { damage: places, blocks, events, bytes, .. }) => {
                self.blocks += blocks;
                self.events += events;
                self.bytes += bytes;
                let of_log = |DamagedPlace { offset, reason }| damage(offset, reason, DamageCause::Log);
                self.damage.extend(places.into_iter().map(of_log));
            }
            Err((reason, cause)) => self.damage.push(damage(0, reason, cause)),
        }
    }
}
