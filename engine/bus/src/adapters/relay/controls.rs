//! The wishes of the owner of a relay, and its end.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use event_listener::Event;
use tapeline_reader::fork;

use crate::core::lock::lock;

/// The reason why a relay ended. Its cursor stands after all that the backend had confirmed by then.
///
/// ```
/// use tapeline::adapter::RelayEnd;
///
/// assert!(RelayEnd::Drained.is_complete());
/// assert!(!RelayEnd::Failed("its log cannot be read".into()).is_complete());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayEnd {
    /// It was drained, and the backend has confirmed all that there was.
    Drained,
    /// It was drained, and the time was over before all was confirmed. The rest comes after the next start.
    GraceOver,
    /// The bus has ended, and the backend has confirmed all that it had.
    BusEnded,
    /// The log that it followed is not there any more.
    LogGone,
    /// It could not read or write its log any more.
    Failed(String),
    /// This is a fork of the process that it runs in.
    Forked,
}

impl RelayEnd {
    /// Returns whether the backend has confirmed everything.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Drained | Self::BusEnded)
    }
}

/// Shared by a relay and its handles.
#[derive(Debug)]
pub(super) struct Controls {
    wanted: Mutex<Wanted>,
    end: Mutex<Option<RelayEnd>>,
    ended: Event,
    fork_generation: u32,
}

/// The wishes of the owner.
#[derive(Debug, Default)]
struct Wanted {
    is_paused: bool,
    is_redrive: bool,
    /// It is to end, by then at the latest.
    deadline: Option<Deadline>,
    waker: Option<Waker>,
}

/// The latest time of an end; `None`, where no clock reaches it.
pub(super) type Deadline = Option<Instant>;

/// A look at what the owner wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) is_paused: bool,
    pub(super) is_redrive: bool,
    pub(super) deadline: Option<Deadline>,
}

impl Controls {
    pub(super) fn new() -> Arc<Self> {
        fork::watch();
        let fork_generation = fork::generation();
        Arc::new(Self { wanted: Mutex::default(), end: Mutex::default(), ended: Event::new(), fork_generation })
    }

    /// In a forked child a thread of the parent may hold the locks for ever.
    pub(super) fn is_forked(&self) -> bool {
        fork::generation() != self.fork_generation
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        if self.is_forked() {
            return;
        }
        let waker = {
            let mut wanted = lock(&self.wanted);
            change(&mut wanted);
            wanted.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn pause(&self) {
        self.want(|wanted| wanted.is_paused = true);
    }

    pub(super) fn resume(&self) {
        self.want(|wanted| wanted.is_paused = false);
    }

    pub(super) fn redrive(&self) {
        self.want(|wanted| wanted.is_redrive = true);
    }

    /// Has it end within this time; an earlier deadline stays.
    pub(super) fn drain(&self, patience: Duration) {
        let due = Instant::now().checked_add(patience);
        self.want(|wanted| {
            wanted.deadline = Some(match wanted.deadline {
                Some(Some(before)) => Some(due.map_or(before, |due| due.min(before))),
                _ => due,
            });
        });
    }

    /// The present wishes; the context is woken by the next change.
    pub(super) fn look(&self, context: &Context<'_>) -> Look {
        let mut wanted = lock(&self.wanted);
        if !wanted.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            wanted.waker = Some(context.waker().clone());
        }
        Look { is_paused: wanted.is_paused, is_redrive: wanted.is_redrive, deadline: wanted.deadline }
    }

    /// The dead letters are about to be delivered.
    pub(super) fn begin_redrive(&self) {
        lock(&self.wanted).is_redrive = false;
    }

    pub(super) fn end(&self, end: RelayEnd) {
        lock(&self.end).get_or_insert(end);
        self.ended.notify(usize::MAX);
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> RelayEnd {
        loop {
            if self.is_forked() {
                return RelayEnd::Forked;
            }
            let listener = self.ended.listen();
            if let Some(end) = lock(&self.end).clone() {
                return end;
            }
            listener.await;
        }
    }
}
