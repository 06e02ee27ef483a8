//! The gate of a bus: whether it takes events, in this process, and of which sessions it takes none.
//!
//! It shuts once, when the bus ends. In a forked child it is shut from the beginning: the shards are threads of the
//! parent, and locks of the parent may be held there for ever.

use std::sync::atomic::{AtomicBool, Ordering};

use tapeline_reader::{AdapterError, AdapterResult, fork};

use super::closed::ClosedSessions;
use crate::core::error::{IngestionError, IngestionResult};

/// Open until the bus ends.
#[derive(Debug)]
pub(super) struct Gate {
    /// Of the process that opened the bus.
    fork_generation: u32,
    is_closed: AtomicBool,
    closed_sessions: ClosedSessions,
}

impl Gate {
    /// The gate of a bus that this process opens.
    pub(super) fn open() -> Self {
        fork::watch();
        Self {
            fork_generation: fork::generation(),
            is_closed: AtomicBool::new(false),
            closed_sessions: ClosedSessions::default(),
        }
    }

    /// The sessions that take no events.
    #[inline(always)]
    pub(super) fn closed_sessions(&self) -> &ClosedSessions {
        &self.closed_sessions
    }

    pub(super) fn fork_generation(&self) -> u32 {
        self.fork_generation
    }

    /// Ends ingestion. Returns whether it was open before.
    pub(super) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn is_forked(&self) -> bool {
        fork::generation() != self.fork_generation
    }

    /// # Errors
    /// [`IngestionError::Forked`], [`IngestionError::ShuttingDown`].
    pub(super) fn check_open(&self) -> IngestionResult<()> {
        match (self.is_forked(), self.is_closed()) {
            (true, _) => Err(IngestionError::Forked),
            (_, true) => Err(IngestionError::ShuttingDown),
            _ => Ok(()),
        }
    }

    /// Refuses a forked child, in which nothing that waits may be called.
    ///
    /// # Errors
    /// [`AdapterError::Forked`].
    pub(super) fn check_fork(&self) -> AdapterResult<()> {
        if self.is_forked() { Err(AdapterError::Forked) } else { Ok(()) }
    }
}
