//! The events of a daemon: those that it asks for, or those of the sessions that are routed to it.

use std::task::{Context, Poll};

use tapeline_reader::{ConsumerResult, StoredEvent};

use super::worker::WorkerFeed;
use crate::live::Inputs;

#[derive(Debug)]
pub(super) enum Feed {
    Own(Inputs),
    Routed(Box<WorkerFeed>),
}

impl Feed {
    /// The next event. `None`: there will be no more. `ask` has the daemon say how it is.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        ask: &mut dyn FnMut(),
    ) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        match self {
            Self::Own(inputs) => inputs.poll_next(context),
            Self::Routed(worker) => worker.poll_next(context, ask),
        }
    }

    /// The cursor after what was handed out.
    pub(super) fn cursor(&self) -> String {
        match self {
            Self::Own(inputs) => inputs.cursor(),
            Self::Routed(worker) => worker.cursor(),
        }
    }

    /// Events that it has not handed out, as far as it knows of them.
    pub(super) fn lag(&self) -> u64 {
        match self {
            Self::Own(inputs) => inputs.lag(),
            Self::Routed(worker) => worker.lag(),
        }
    }

    /// Returns whether it may have something to hand out when it is polled again.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Self::Own(inputs) => inputs.has_more(),
            Self::Routed(worker) => worker.lag() > 0,
        }
    }

    /// The part that shares work with others, if it does.
    pub(super) fn worker(&mut self) -> Option<&mut WorkerFeed> {
        match self {
            Self::Own(_) => None,
            Self::Routed(worker) => Some(worker),
        }
    }
}
