//! The events of a log before those that a command meets, for what a selection cuts off.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tapeline_reader::before::Stretch;
use tapeline_reader::{LogFiles, Sequence, SessionId, StoredEvent};

/// Blocks that are read for one event.
const BLOCKS_MAX: u32 = 64;

/// Finds the event before another one. Remembers a block of events: those that are asked about come in their order.
#[derive(Debug)]
pub(crate) struct Past {
    directory: PathBuf,
    /// The log as it was at a time, in nanoseconds since 1970.
    log: Option<(u64, LogFiles)>,
    known: Option<Known>,
}

/// Events of a session that were found.
#[derive(Debug)]
struct Known {
    session: SessionId,
    shard: u16,
    stretch: Stretch,
}

impl Known {
    /// The session's last event before a sequence, if this has what comes before that.
    fn before(&self, event: &StoredEvent, end: Sequence) -> Option<Option<&StoredEvent>> {
        let Self { session, shard, stretch } = self;
        let has = stretch.range.start < end && end <= stretch.range.end;
        let is_it = has && *session == event.session && *shard == event.shard_id;
        let count = stretch.events.partition_point(|known| known.sequence < end);
        is_it.then(|| count.checked_sub(1).map(|last| &stretch.events[last]))
    }
}

impl Past {
    /// That of the log in a directory, which is opened where it is needed.
    pub(crate) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), log: None, known: None }
    }

    /// The event of the same session before this one in its shard. `None` where it or anything between the two is gone,
    /// or where it is far away.
    pub(crate) fn before(&mut self, event: &StoredEvent) -> Option<StoredEvent> {
        let mut end = event.sequence;
        for _ in 0..BLOCKS_MAX {
            if self.known.as_ref().is_none_or(|known| known.before(event, end).is_none()) {
                let stretch = self.log_with(event)?.stretch_before(event, end)?;
                self.known = Some(Known { session: event.session, shard: event.shard_id, stretch });
            }
            let known = self.known.as_ref()?;
            match known.before(event, end)? {
                Some(last) => return Some(last.clone()),
                None => end = known.stretch.range.start,
            }
        }
        None
    }

    /// The log at a time when it had this event.
    fn log_with(&mut self, event: &StoredEvent) -> Option<&LogFiles> {
        if self.log.as_ref().is_none_or(|(opened, _)| *opened < event.insertion_ts) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let opened = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(event.insertion_ts);
            // A log that cannot be opened has reported it elsewhere.
            self.log = LogFiles::open(&self.directory).ok().map(|log| (opened, log));
        }
        self.log.as_ref().map(|(_, log)| log)
    }
}
