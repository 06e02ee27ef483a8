//! Feeds: the way of a shard's blocks to its live followers.
//!
//! A feed is an SPSC ring of references to blocks, from one shard to one follower: a stream costs its shard one push a
//! block for each follower, and nothing an event. The follower sees new events of the block it stands in by itself, in
//! the block's own count. A feed that is full is passed over, so a slow follower holds on to [`FEED_BLOCKS`] blocks at
//! most and finds the rest in the log: the feed is a short cut, the log is the truth. All blocks in feeds are lent, so
//! that followers together hold a bounded number.
//!
//! A follower of some sessions is handed no blocks, most of which are none of its business. It is rung for its sessions
//! alone, and learns where the shard has seen them ([`Sightings`]).
//!
//! A [`Bell`] wakes a follower that sleeps.

mod bell;
mod sightings;
mod sync;

use std::ops::Range;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use tapeline_reader::source::NewBlocks;
use tapeline_storage::device::BlockMemory;
use tapeline_storage::format::{Sequence, SessionId};
use tapeline_storage::log::{LentBlock, LogView};
use tapeline_storage::read::Visibility;

pub(crate) use bell::Bell;
use sightings::Sightings;
pub(crate) use sightings::{Survey, Surveys};

/// Blocks that a feed holds. A follower that sleeps for good keeps the shard from filling them again.
const FEED_BLOCKS: usize = 4;

/// The follower's end.
#[derive(Debug)]
pub(crate) struct Feed(Consumer<LentBlock>);

/// The shard's end, and the follower's bell. Its drop reports to the follower that this shard is done.
#[derive(Debug)]
pub(crate) struct Follower {
    blocks: Option<Producer<LentBlock>>,
    bell: Arc<Bell>,
    /// The follower is rung when the watermark of this visibility moves. `None`: never.
    visibility: Option<Visibility>,
    /// It is rung for what these get. `None`: for everything.
    sessions: Option<Sessions>,
    deadline: Option<u64>,
}

/// The sessions of a follower.
#[derive(Debug)]
struct Sessions {
    ids: Box<[SessionId]>,
    seen: Arc<Sightings>,
}

/// The follower's end, where it is rung for sessions.
#[derive(Debug)]
pub(crate) struct SessionFeed(Arc<Sightings>);

impl NewBlocks for SessionFeed {
    fn take(&mut self, _: Sequence) -> Option<LentBlock> {
        None
    }

    fn pass(&self, next: Sequence) -> Sequence {
        self.0.pass(next)
    }
}

/// Makes a follower that is woken for what these sessions get, and now and then. `survey`: that of its visibility.
pub(crate) fn session_feed(
    bell: &Arc<Bell>,
    visibility: Visibility,
    survey: &Arc<Survey>,
    sessions: &[SessionId],
) -> (Follower, SessionFeed) {
    let seen = Arc::new(Sightings::new(survey));
    let mut follower = Follower::new(bell, Some(visibility));
    follower.sessions = Some(Sessions { ids: sessions.into(), seen: Arc::clone(&seen) });
    (follower, SessionFeed(seen))
}

/// Makes a follower with a feed of its own, which sees as much as `visibility` says.
pub(crate) fn feed(bell: &Arc<Bell>, visibility: Visibility) -> (Follower, Feed) {
    let (blocks, feed) = RingBuffer::new(FEED_BLOCKS);
    let mut follower = Follower::new(bell, Some(visibility));
    follower.blocks = Some(blocks);
    (follower, Feed(feed))
}

impl NewBlocks for Feed {
    fn take(&mut self, next: Sequence) -> Option<LentBlock> {
        while let Ok(first) = self.0.peek().map(|block| block.first_sequence()) {
            if first > next {
                return None;
            }
            let block = self.0.pop().ok()?;
            if first == next {
                return Some(block);
            }
        }
        None
    }
}

impl Follower {
    /// A follower without a feed, which is woken at `deadline` (nanoseconds) at the latest.
    pub(crate) fn waiting(bell: &Arc<Bell>, visibility: Visibility, deadline: u64) -> Self {
        let mut follower = Self::new(bell, Some(visibility));
        follower.deadline = Some(deadline);
        follower
    }

    /// A follower without a feed, which is woken for everything.
    pub(crate) fn of_all(bell: &Arc<Bell>, visibility: Visibility) -> Self {
        Self::new(bell, Some(visibility))
    }

    /// A follower that is woken at `deadline` (nanoseconds), and for nothing else.
    pub(crate) fn timer(bell: &Arc<Bell>, deadline: u64) -> Self {
        let mut follower = Self::new(bell, None);
        follower.deadline = Some(deadline);
        follower
    }

    fn new(bell: &Arc<Bell>, visibility: Option<Visibility>) -> Self {
        bell.join();
        Self { blocks: None, bell: Arc::clone(bell), visibility, sessions: None, deadline: None }
    }

    /// The sessions that it is woken for. `None`: it is woken for everything.
    pub(crate) fn sessions(&self) -> Option<&[SessionId]> {
        self.sessions.as_ref().map(|sessions| &*sessions.ids)
    }

    /// The shard sees for it from now on.
    pub(crate) fn begin(&self) {
        if let Some(sessions) = &self.sessions {
            sessions.seen.begin();
        }
    }

    /// Notes that its sessions were seen at `first` in a stretch of the survey. Returns whether it is the first time.
    pub(crate) fn note(&self, first: Sequence, stretch: &Range<Sequence>) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| sessions.seen.note(first, stretch))
    }

    /// The watermark that it waits for, if it does for one.
    pub(crate) fn visibility(&self) -> Option<Visibility> {
        self.visibility
    }

    /// Hands a new block of `view` over, unless the feed is full, or too many blocks are lent. A large block is not: it
    /// would keep its memory for as long as the reader lags.
    pub(crate) fn announce(&mut self, view: &LogView, block: &Arc<BlockMemory>) {
        if block.is_large() {
            return;
        }
        if let Some(blocks) = self.blocks.as_mut().filter(|blocks| !blocks.is_full())
            && let Ok(lent) = view.lend(Arc::clone(block))
        {
            // A follower that finds a block missing looks it up in the log.
            let _ = blocks.push(lent);
        }
    }

    /// Wakes the follower if it sleeps; returns whether it did. What it is to see was published before a `SeqCst`
    /// fence.
    pub(crate) fn ring(&self) -> bool {
        self.bell.ring()
    }

    /// The time at which the follower waits no longer, in nanoseconds: dropped then, it is woken.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Returns whether the other side is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.blocks.as_ref().is_some_and(Producer::is_abandoned) || self.bell.is_silent()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.bell.leave();
    }
}

#[cfg(all(test, tapeline_loom))]
mod loom_tests;

#[cfg(all(test, not(tapeline_loom)))]
mod tests;
