//! The point at which a reader of one session continues after a token, shard by shard.
//!
//! In the token's shard that is after its event, which is looked up and compared: session and time have to be the
//! token's. Within an era a session lies in one shard, and readers read all of an era before the next, so that in every
//! other shard the reader continues where the era of the token's event ends. Of a log that was restored the eras are
//! not known: there, time decides.
//!
//! An event that is not there was lost in a crash, and its sequence may belong to another by now. The reader then
//! continues where the run that had it ended, which is where a later run began: the first of those, up to the sequence,
//! whose first event is later than the token. It gets a gap for the events that the crash took.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapeline_reader::source::first_since;
use tapeline_reader::{ConsumerError, ConsumerResult, Gap, GapReason, Replay, ReplayRequest, ResumeToken, TokenFault};
use tapeline_reader::{SessionChange, kinds};
use tapeline_storage::format::{Eras, Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{GapCause, LogReader, ReadError, Step};

use crate::bus_core::BusCore;
use crate::live::subscription::Beginning;
use crate::routing::shard_of;

/// The start of a reader of a session.
#[derive(Debug, Default)]
pub(super) struct Resume {
    pub(super) beginning: Beginning,
    /// The token's event closed the session.
    pub(super) is_after_close: bool,
    /// The token that it continues after.
    pub(super) after: Option<ResumeToken>,
    /// The eras, read after how far the shards go.
    pub(super) eras: Arc<Eras>,
}

/// The item in the place of the token's event.
enum Found {
    /// The token's event.
    Event { is_close: bool },
    /// Something that cannot be read: a reader that is before it gets an error.
    Unreadable,
    /// The log has trimmed it.
    Trimmed,
    /// Another event, or none.
    Nothing,
}

impl Resume {
    /// # Errors
    /// [`ConsumerError::InvalidToken`]; [`ConsumerError::Read`] where files cannot be read.
    pub(super) fn find(core: &BusCore, session: SessionId, after: Option<ResumeToken>) -> ConsumerResult<Self> {
        let views: Vec<_> = core.shards().views().collect();
        // Read before the eras: what lies below is of an era that they know.
        let ends: BTreeMap<_, _> = views.iter().map(|view| (view.shard(), view.appended())).collect();
        let search = Search { views, ends, eras: core.eras(), session };
        match after {
            None => Ok(search.earliest_of_all()),
            Some(token) => search.after(token).map_err(|fault| match fault {
                Fault::Token(fault) => ConsumerError::InvalidToken { fault, earliest: search.earliest(core) },
                Fault::Read(error) => error.into(),
            }),
        }
    }
}

enum Fault {
    Token(TokenFault),
    Read(ReadError),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

struct Search {
    views: Vec<Arc<LogView>>,
    /// The end of each shard.
    ends: BTreeMap<u16, Sequence>,
    eras: Arc<Eras>,
    session: SessionId,
}

impl Search {
    fn earliest_of_all(self) -> Resume {
        let next = self.views.iter().map(|view| (view.shard(), view.trimmed())).collect();
        Resume { beginning: Beginning { next, lost: None }, eras: self.eras, ..Resume::default() }
    }

    fn after(&self, token: ResumeToken) -> Result<Resume, Fault> {
        if !token.is_of(self.session) {
            return Err(Fault::Token(TokenFault::Foreign));
        }
        let view = self.views.iter().find(|view| view.shard() == token.shard_id());
        let view = view.ok_or(Fault::Token(TokenFault::Unknown))?;
        let at = token.sequence(view.appended());
        match self.look(view, at, token)? {
            Found::Event { is_close } => self.after_event(view, at.plus(1), token, is_close),
            Found::Unreadable => self.after_event(view, at, token, false),
            Found::Trimmed => Err(Fault::Token(TokenFault::Gone)),
            Found::Nothing => self.after_crash(view, at, token),
        }
    }

    fn look(&self, view: &Arc<LogView>, at: Sequence, token: ResumeToken) -> Result<Found, ReadError> {
        if at < view.trimmed() {
            return Ok(Found::Trimmed);
        }
        let block = match LogReader::new(Arc::clone(view), at).step() {
            Ok(Step::Block(block)) => block,
            Ok(Step::Gap(gap)) if gap.cause == GapCause::Trimmed => return Ok(Found::Trimmed),
            Ok(Step::Gap(_)) | Err(ReadError::Corrupt { .. }) => return Ok(Found::Unreadable),
            Ok(Step::End) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let skip = at.since(block.first_sequence()) as usize;
        Ok(match block.records().nth(skip) {
            Some(Ok(record)) if record.session() == self.session && record.timestamp() == token.insertion_ts() => {
                Found::Event { is_close: record.kind() == kinds::SESSION && SessionChange::is_close(record.payload()) }
            }
            Some(Err(_)) => Found::Unreadable,
            _ => Found::Nothing,
        })
    }

    /// In the token's shard at `next`; in the others where its era ends.
    fn after_event(
        &self,
        view: &Arc<LogView>,
        next: Sequence,
        token: ResumeToken,
        is_after_close: bool,
    ) -> Result<Resume, Fault> {
        let era = self.eras.of(view.shard(), token.sequence(view.appended()));
        let mut resume = Resume { is_after_close, ..self.resume(token) };
        for other in &self.views {
            let shard = other.shard();
            let end = self.eras.end_of(era, shard).unwrap_or(self.ends[&shard]);
            let start = match shard == view.shard() {
                true => next,
                false if self.eras.is_by_one_route(era) => {
                    self.check_kept(other, era + 1, end)?;
                    end
                }
                false => {
                    let start = first_since(other, token.insertion_ts())?;
                    self.check_kept_since(other, era, start)?;
                    start.min(end)
                }
            };
            resume.beginning.next.insert(shard, start.max(other.trimmed()));
        }
        Ok(resume)
    }

    /// The token's event is not there.
    fn after_crash(&self, view: &Arc<LogView>, at: Sequence, token: ResumeToken) -> Result<Resume, Fault> {
        let next = run_after(view, at, token.insertion_ts())?.ok_or(Fault::Token(TokenFault::Unknown))?;
        let era = self.eras.of(view.shard(), Sequence::new(next.get().saturating_sub(1)));
        let mut resume = self.resume(token);
        for other in &self.views {
            let start = match other.shard() == view.shard() {
                true if next < view.trimmed() => return Err(Fault::Token(TokenFault::Gone)),
                true => next,
                // A session moves once what is before is durable: the others have lost nothing of it.
                false => {
                    let start = first_since(other, token.insertion_ts().saturating_add(1))?;
                    self.check_kept_since(other, era, start)?;
                    start
                }
            };
            resume.beginning.next.insert(other.shard(), start.max(other.trimmed()));
        }
        let (shard_id, to) = (view.shard(), at.plus(1));
        resume.beginning.lost = Some(Gap { shard_id, from: next, to, reason: GapReason::LostInCrash });
        Ok(resume)
    }

    /// Refuses the token where the first event of a shard that is later than the token may have been trimmed: `start`
    /// is the first such that is left.
    fn check_kept_since(&self, view: &LogView, era: usize, start: Sequence) -> Result<(), Fault> {
        if start > view.trimmed() {
            return Ok(());
        }
        let first = if self.eras.is_by_one_route(era) { era + 1 } else { era };
        self.check_kept(view, first, Sequence::ZERO)
    }

    /// Refuses the token where events of the session, of an era from `first` on, may have been trimmed from `start` on.
    fn check_kept(&self, view: &LogView, first: usize, start: Sequence) -> Result<(), Fault> {
        let (shard, trimmed) = (view.shard(), view.trimmed());
        let is_gone = (first..=self.eras.later()).any(|era| {
            let from = self.eras.start_of(era, shard).max(start);
            let to = self.eras.end_of(era, shard).map_or(trimmed, |end| end.min(trimmed));
            from < to && self.eras.route_of(era).is_none_or(|active| shard_of(self.session, active) == shard)
        });
        if is_gone { Err(Fault::Token(TokenFault::Gone)) } else { Ok(()) }
    }

    fn resume(&self, token: ResumeToken) -> Resume {
        Resume { after: Some(token), eras: Arc::clone(&self.eras), ..Resume::default() }
    }

    /// The token of the earliest event of the session, if it can be read.
    fn earliest(&self, core: &BusCore) -> Option<ResumeToken> {
        let request = ReplayRequest::new().session(self.session);
        let replay = Replay::new(core.log_id(), self.views.clone(), &request).ok()?;
        replay.with_eras(Arc::clone(&self.eras)).find_map(Result::ok).map(|event| event.token())
    }
}

/// The first of the runs that began up to sequence `at` with an event later than `time`; if there is none, the last
/// that began after another. `None`: no crash explains that the event is not there.
fn run_after(view: &Arc<LogView>, at: Sequence, time: u64) -> Result<Option<Sequence>, ReadError> {
    let starts = view.run_starts(at);
    let mut found = starts.last().copied().filter(|last| *last > Sequence::ZERO);
    for start in starts.into_iter().rev() {
        let is_later = match LogReader::new(Arc::clone(view), start).step() {
            Ok(Step::Block(block)) => {
                block.records().next().is_none_or(|record| record.is_ok_and(|record| record.timestamp() > time))
            }
            Ok(Step::Gap(_) | Step::End) | Err(ReadError::Corrupt { .. }) => true,
            Err(error) => return Err(error),
        };
        if !is_later {
            break;
        }
        found = Some(start);
    }
    Ok(found)
}
