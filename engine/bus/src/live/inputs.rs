//! The events that a daemon or a relay reads: those of its bus, or of a log that another process writes.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use tapeline_reader::{
    AdapterError, ConsumerError, ConsumerResult, Filter, FollowStart, LogFollower, ReplayRequest, Start, StoredEvent,
};

use super::{SubscribeRequest, Subscription};
use crate::core::timer::{Timer, Timers};

/// The shortest and the longest time between two looks at a log that another process writes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

/// Events in the order of the log, and the cursor after them.
#[derive(Debug)]
pub(crate) enum Inputs {
    Bus(Box<Subscription>),
    Log(Box<Followed>),
}

impl Inputs {
    /// The next event. `None`: there will be no more.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        match self {
            Self::Bus(subscription) => Pin::new(&mut **subscription).poll_next(context),
            Self::Log(followed) => followed.poll_next(context),
        }
    }

    /// The cursor after what was handed out.
    pub(crate) fn cursor(&self) -> String {
        match self {
            Self::Bus(subscription) => subscription.cursor(),
            Self::Log(followed) => followed.log.cursor(),
        }
    }

    /// Events that it has not handed out, as far as it knows of them; also those of a shard that cannot be read.
    pub(crate) fn lag(&self) -> u64 {
        match self {
            Self::Bus(subscription) => subscription.lag(),
            Self::Log(followed) => followed.log.lag(),
        }
    }

    /// Returns whether it may have something to hand out when it is polled again.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Self::Bus(subscription) => subscription.lag() > 0,
            Self::Log(followed) => followed.log.has_more(),
        }
    }

    /// Keeps a cursor in the log under a name; durable when it returns.
    ///
    /// # Errors
    /// [`ConsumerError::CursorStore`].
    pub(crate) fn save_cursor(&self, name: &str, cursor: &str) -> ConsumerResult<()> {
        match self {
            Self::Bus(subscription) => subscription.save_cursor(name, cursor),
            Self::Log(followed) => followed.log.save_cursor(name, cursor),
        }
    }
}

/// A log that another process writes.
#[derive(Debug)]
pub(crate) struct Followed {
    log: LogFollower,
    timers: Arc<Timers>,
    pause: Duration,
    /// The time of the next look.
    timer: Option<Timer>,
}

impl Followed {
    pub(crate) fn open(path: &Path, request: &SubscribeRequest, timers: &Arc<Timers>) -> ConsumerResult<Self> {
        let SubscribeRequest { kinds, sessions, filter, .. } = request;
        let kinds = kinds.as_ref().map(|kinds| Filter::kinds(kinds.iter().copied()));
        let terms: Vec<_> = [kinds, filter.clone()].into_iter().flatten().collect();
        let mut events = ReplayRequest::new();
        for session in sessions.iter().flatten() {
            events = events.session(*session);
        }
        if !terms.is_empty() {
            events = events.filter(Filter::and(terms));
        }
        let start = match (&request.cursor, &request.start) {
            (Some(cursor), _) => FollowStart::Cursor(cursor.clone()),
            (None, Start::Latest) => FollowStart::Latest,
            (None, Start::Time(time)) => FollowStart::Time(*time),
            (None, _) => FollowStart::Earliest,
        };
        let log = LogFollower::open(path, start, &events)?;
        Ok(Self { log, timers: Arc::clone(timers), pause: PAUSES.0, timer: None })
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        loop {
            if let Some(item) = self.log.try_next() {
                if item.is_err() && self.log.lost().is_some() {
                    // The end of the log says it.
                    continue;
                }
                self.pause = PAUSES.0;
                return Poll::Ready(Some(item));
            }
            if self.log.has_more() {
                // Much that was not asked for: others may run.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.log.lost().is_some() {
                return Poll::Ready(None);
            }
            match self.timer.as_mut().map(|timer| Pin::new(timer).poll(context)) {
                Some(Poll::Pending) => return Poll::Pending,
                Some(Poll::Ready(Err(source))) => {
                    let error = AdapterError::NoThread { purpose: "timers", source };
                    return Poll::Ready(Some(Err(ConsumerError::from(error))));
                }
                Some(Poll::Ready(Ok(()))) | None => {}
            }
            self.timer = None;
            if !self.log.look() {
                self.timer = Some(Timer::new(&self.timers, Instant::now() + self.pause));
                self.pause = (2 * self.pause).min(PAUSES.1);
            }
        }
    }
}
