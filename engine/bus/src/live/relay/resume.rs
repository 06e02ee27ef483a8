//! The point at which a reader of one session continues after a token, shard by shard.
//!
//! In the token's shard that is after its event, which is looked up and compared: session and time have to be the
//! token's. Within an era a session lies in one shard, and readers read all of an era before the next, so that in every
//! other shard the reader continues where the era of the token's event ends. Of a log that was restored the eras are
//! not known: there, a merge by time decides (see [`Merged`]).
//!
//! An event that is not there was lost in a crash, or was never there: see [`lost`](super::lost).
//!
//! A token whose own event is trimmed is refused. Later events that the log has trimmed are a gap of the reader that
//! continues.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tapeline_reader::source::first_since;
use tapeline_reader::{Gap, GapReason, ResumeToken, SessionChange, TokenFault, kinds};
use tapeline_storage::format::{Eras, RecordView, Sequence, SessionId};
use tapeline_storage::log::{Grain, LogView, Span};
use tapeline_storage::read::{GapCause, Loading, LogReader, ReadError, Step};

use super::lost::{self, unreadable};
use crate::bus_core::{BusCore, LogLifetime};
use crate::feed::Bell;
use crate::live::subscription::Beginning;

/// The start of a reader of a session.
#[derive(Debug, Default)]
pub(super) struct Resume {
    pub(super) beginning: Beginning,
    /// The token's event closed the session.
    pub(super) is_after_close: bool,
    /// The place in a merge by time, where it begins in one.
    pub(super) merged: Option<Merged>,
    /// The eras, read after how far the shards go.
    pub(super) eras: Arc<Eras>,
}

/// A place in a merge of shards by time, each shard in its own order: an event waits for the earlier ones of its shard,
/// also where these have later times. So of every other shard, all came before an event that is before the first one
/// later than the latest of the event's shard up to it; of equal times, those of lower shards came first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merged {
    pub(super) shard_id: u16,
    /// The latest time up to there.
    time: u64,
    is_after_gap: bool,
}

impl Merged {
    pub(super) fn time(self) -> u64 {
        self.time
    }

    /// The time of the first event of another shard that comes after.
    pub(super) fn next_time(self, other: u16) -> u64 {
        if other > self.shard_id && !self.is_after_gap { self.time } else { self.time.saturating_add(1) }
    }
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

/// The reader's next event in the token's shard, and the era that it is in.
#[derive(Clone, Copy)]
struct Place {
    next: Sequence,
    era: usize,
}

/// The reason for which there is no way after a token.
pub(super) enum Fault {
    Token(TokenFault),
    Read(ReadError),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl Resume {
    /// At the earliest event that the log holds.
    pub(super) fn at_earliest(core: &BusCore) -> Self {
        let next = core.shards().views().map(|view| (view.shard(), view.trimmed())).collect();
        Self { beginning: Beginning { next, lost: None }, eras: core.eras(), ..Self::default() }
    }

    /// After a token.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) async fn after(core: &BusCore, session: SessionId, token: ResumeToken) -> Result<Self, Fault> {
        if !token.is_of(session) {
            return Err(Fault::Token(TokenFault::Foreign));
        }
        let views: Vec<_> = core.shards().views().collect();
        // Read before the eras: what lies below is of an era that they know.
        let ends = views.iter().map(|view| (view.shard(), view.appended())).collect();
        let (eras, blocks, lifetime) = (core.eras(), Blocks::new(core), core.log_lifetime());
        let search = Search { views, ends, eras, session, blocks, lifetime };
        search.after(token).await
    }
}

struct Search {
    views: Vec<Arc<LogView>>,
    /// The end of each shard.
    ends: BTreeMap<u16, Sequence>,
    eras: Arc<Eras>,
    session: SessionId,
    blocks: Blocks,
    lifetime: LogLifetime,
}

impl Search {
    async fn after(&self, token: ResumeToken) -> Result<Resume, Fault> {
        let view = self.views.iter().find(|view| view.shard() == token.shard_id());
        let view = view.ok_or(Fault::Token(TokenFault::Unknown))?;
        let at = token.sequence(view.appended());
        let era_of = |sequence| self.eras.of(view.shard(), sequence);
        if token.is_after_gap() {
            let era = era_of(Sequence::new(at.get().saturating_sub(1)));
            return match at {
                at if at < view.trimmed() => Err(Fault::Token(TokenFault::Gone)),
                at if at <= view.appended() => self.go_on(view, Place { next: at, era }, token).await,
                at => self.after_crash(view, at, token),
            };
        }
        match self.look(view, at, token).await? {
            Found::Event { is_close } => {
                let place = Place { next: at.plus(1), era: era_of(at) };
                Ok(Resume { is_after_close: is_close, ..self.go_on(view, place, token).await? })
            }
            Found::Unreadable => self.go_on(view, Place { next: at, era: era_of(at) }, token).await,
            Found::Trimmed => Err(Fault::Token(TokenFault::Gone)),
            Found::Nothing => self.after_crash(view, at, token),
        }
    }

    async fn look(&self, view: &Arc<LogView>, at: Sequence, token: ResumeToken) -> Result<Found, ReadError> {
        if at < view.trimmed() {
            return Ok(Found::Trimmed);
        }
        let block = match self.blocks.step(&mut LogReader::new(Arc::clone(view), at)).await {
            Ok(Step::Block(block)) => block,
            Ok(Step::Gap(gap)) if gap.cause == GapCause::Trimmed => return Ok(Found::Trimmed),
            Ok(Step::Gap(_)) | Err(ReadError::Corrupt { .. }) => return Ok(Found::Unreadable),
            Ok(Step::End) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let skip = at.since(block.first_sequence()) as usize;
        Ok(match block.records().nth(skip) {
            Some(Ok(record)) if self.is_of(&record, token) => {
                Found::Event { is_close: record.kind() == kinds::SESSION && SessionChange::is_close(record.payload()) }
            }
            Some(Err(_)) => Found::Unreadable,
            _ => Found::Nothing,
        })
    }

    /// Returns whether a token is of this record. Notes, of which readers of any session get gaps, have their own.
    fn is_of(&self, record: &RecordView<'_>, token: ResumeToken) -> bool {
        record.timestamp() == token.insertion_ts() && (record.session() == self.session || record.kind() == kinds::GAP)
    }

    /// In the token's shard at `place`; in the others where its era ends.
    async fn go_on(&self, view: &Arc<LogView>, place: Place, token: ResumeToken) -> Result<Resume, Fault> {
        let Place { next, era } = place;
        let mut resume = Resume { eras: Arc::clone(&self.eras), ..Resume::default() };
        if !self.eras.is_by_one_route(era) {
            resume.merged = Some(self.merged(view, place, token).await?);
        }
        for other in &self.views {
            let shard = other.shard();
            let start = match resume.merged {
                _ if shard == view.shard() => next,
                None => self.end_of(era, shard),
                Some(merged) => self.merged_to(other, era, merged)?,
            };
            resume.beginning.next.insert(shard, start);
        }
        Ok(resume)
    }

    fn end_of(&self, era: usize, shard: u16) -> Sequence {
        self.eras.end_of(era, shard).unwrap_or(self.ends[&shard])
    }

    async fn merged(&self, view: &Arc<LogView>, place: Place, token: ResumeToken) -> Result<Merged, ReadError> {
        let (shard_id, is_after_gap) = (view.shard(), token.is_after_gap());
        let mut time = token.insertion_ts();
        if !is_after_gap {
            let mut next = self.eras.start_of(place.era, shard_id).max(view.trimmed());
            // In a shard in order of time no stretch before has a later event, and nothing is read.
            while next < place.next
                && let Some(span) = span(view, next, place.next, time)?
            {
                if span.last_timestamp > time {
                    time = time.max(self.latest(view, next, span.end).await?);
                }
                next = span.end;
            }
        }
        Ok(Merged { shard_id, time, is_after_gap })
    }

    /// The latest time of the session's events in these sequences, or 0.
    async fn latest(&self, view: &Arc<LogView>, from: Sequence, end: Sequence) -> Result<u64, ReadError> {
        let mut reader = LogReader::new(Arc::clone(view), from);
        let mut latest = 0;
        while reader.next_sequence() < end {
            match self.blocks.step(&mut reader).await {
                Ok(Step::Block(mut block)) => {
                    block.end_at(end);
                    let of_session = block.records().flatten().filter(|record| record.session() == self.session);
                    latest = of_session.map(|record| record.timestamp()).fold(latest, u64::max);
                }
                Ok(Step::Gap(_)) => {}
                Ok(Step::End) => break,
                Err(ReadError::Corrupt { .. }) => drop(reader.pass_damage()),
                Err(error) => return Err(error),
            }
        }
        Ok(latest)
    }

    /// The first event of another shard that a merge has not put before the token, or one before that. What was trimmed
    /// may have been later than the token: then the reader starts before that, and gets a gap for it.
    fn merged_to(&self, other: &Arc<LogView>, era: usize, merged: Merged) -> Result<Sequence, ReadError> {
        let (begin, end) = (self.eras.start_of(era, other.shard()), self.end_of(era, other.shard()));
        let trimmed = other.trimmed().min(end);
        let start = first_since(other, merged.next_time(other.shard()))?.clamp(begin, end.max(begin));
        Ok(if start <= trimmed && merged.time > 0 { begin } else { start })
    }

    /// The token's event is not there.
    fn after_crash(&self, view: &Arc<LogView>, at: Sequence, token: ResumeToken) -> Result<Resume, Fault> {
        let time = token.insertion_ts();
        let loss = lost::explain(view, self.lifetime, at, time)?.ok_or(Fault::Token(TokenFault::Unknown))?;
        if loss.next < view.trimmed() {
            return Err(Fault::Token(TokenFault::Gone));
        }
        let era = self.eras.of(view.shard(), Sequence::new(loss.next.get().saturating_sub(1)));
        let mut resume = Resume { eras: Arc::clone(&self.eras), ..Resume::default() };
        for other in &self.views {
            let is_by_route = self.eras.is_by_one_route(era);
            // A session moves once what is before is durable: the others have lost nothing of it.
            let end = if is_by_route { self.end_of(era, other.shard()) } else { Sequence::ZERO };
            let start = if other.shard() == view.shard() {
                loss.next
            } else if is_by_route && loss.is_clock_ahead {
                // Times say nothing where a clock was ahead.
                end
            } else {
                first_since(other, time.saturating_add(1))?.max(end)
            };
            resume.beginning.next.insert(other.shard(), start);
        }
        let to = at.plus(u64::from(!token.is_after_gap()));
        let reason = GapReason::LostInCrash;
        resume.beginning.lost = Some(Gap { shard_id: view.shard(), from: loss.next, to, reason, token: None });
        Ok(resume)
    }
}

/// The stretch that begins with `next`: a segment, unless that has events later than `time`.
fn span(view: &LogView, next: Sequence, end: Sequence, time: u64) -> Result<Option<Span>, ReadError> {
    let coarse = view.span(next, end, Grain::Segment).map_err(|error| unreadable(view, error))?;
    match coarse {
        Some(span) if span.last_timestamp > time => {
            view.span(next, end, Grain::Block).map_err(|error| unreadable(view, error))
        }
        coarse => Ok(coarse),
    }
}

/// Reads blocks, those of the file that is being written elsewhere, where the bus has threads for that.
struct Blocks(Option<(Arc<Bell>, Loading)>);

impl Blocks {
    fn new(core: &BusCore) -> Self {
        Self(core.loader().map(|loader| {
            let bell = Arc::new(Bell::new());
            let waker = bell.ringer();
            (bell, Loading { loader, waker })
        }))
    }

    async fn step(&self, reader: &mut LogReader) -> Result<Step, ReadError> {
        let Self(Some((bell, loading))) = self else { return reader.step() };
        let step = poll_fn(|context| {
            bell.arm(context.waker());
            match reader.poll_step(loading) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(step)) => Poll::Ready(Ok(step)),
                Err(error) => Poll::Ready(Err(error)),
            }
        });
        step.await
    }
}
