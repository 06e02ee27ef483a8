//! The end of a subscription before that of its bus.
//!
//! 1. A subscription that ends with its sessions hands out the close of the last one, and no event after it.
//! 2. Where all of them are closed and a close was not met, since it was lost or trimmed, the subscription ends where
//!    the shards ended once everything from before was readable, unless a session is opened again until then.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tapeline_reader::{ConsumerError, ConsumerResult, SessionChange, kinds};
use tapeline_storage::format::{Sequence, SessionId};
use tapeline_storage::read::Block;

use crate::bus_core::{BusCore, ClosedSessions};
use crate::live::request::SubscribeRequest;

/// The end of a subscription.
#[derive(Debug)]
pub(super) struct Until {
    end: End,
    /// The wait for what was ingested before its sessions were closed, once they are.
    closing: Option<Wait>,
}

#[derive(Debug)]
enum End {
    /// The end of the bus.
    Bus,
    /// The close of the last of its sessions.
    Close(Open),
    /// The same, and at the latest where each shard ended when it was asked, if the sessions are closed then.
    Present(Present),
}

/// The sessions of a subscription that were not closed yet.
#[derive(Debug, Default)]
struct Open {
    sessions: Vec<SessionId>,
    /// Those that the last block has closed, each with the sequence of the event that did.
    last: Vec<(Sequence, SessionId)>,
    /// Those that the log had closed when the subscription began, perhaps before its start.
    closed_before: Vec<SessionId>,
}

#[derive(Debug)]
struct Present {
    open: Open,
    /// The ends of the shards that were not read so far.
    ends: BTreeMap<u16, Sequence>,
    /// The subscription began after the close of its session, of which it has handed out nothing so far.
    is_after_close: bool,
}

impl Until {
    /// # Errors
    /// [`ConsumerError::NoSession`]: a request without a session that could be closed.
    pub(super) fn of(request: &SubscribeRequest) -> ConsumerResult<Self> {
        if !request.until_close {
            return Ok(Self { end: End::Bus, closing: None });
        }
        let sessions = request.sessions.clone().unwrap_or_default();
        if sessions.is_empty() || sessions.contains(&SessionId::NONE) {
            Err(ConsumerError::NoSession)
        } else {
            Ok(Self { end: End::Close(Open { sessions, ..Open::default() }), closing: None })
        }
    }

    /// These of its sessions are closed in the log: their closes may not be met.
    pub(super) fn know_closed(&mut self, sessions: Vec<SessionId>) {
        if let End::Close(open) | End::Present(Present { open, .. }) = &mut self.end {
            open.closed_before = sessions;
        }
    }

    /// Has a subscription of sessions end where the shards end now, if it does not end before, and the sessions are
    /// closed then.
    pub(super) fn end_at_present(&mut self, core: &BusCore) {
        if let End::Close(open) | End::Present(Present { open, .. }) = &mut self.end {
            let ends = core.shards().views().map(|view| (view.shard(), view.appended())).collect();
            self.end = End::Present(Present { open: std::mem::take(open), ends, is_after_close: false });
        }
    }

    /// The same for one that begins after a close: it also ends there if it has handed out nothing.
    pub(super) fn end_after_close(&mut self, core: &BusCore) {
        self.end_at_present(core);
        if let End::Present(present) = &mut self.end {
            present.is_after_close = true;
        }
    }

    /// Returns whether it has come.
    pub(super) fn is_reached(&self, closed: &ClosedSessions) -> bool {
        match &self.end {
            End::Bus => false,
            End::Close(open) => open.sessions.is_empty(),
            End::Present(present) => {
                let Present { open, ends, is_after_close } = present;
                open.sessions.is_empty() || (ends.is_empty() && (*is_after_close || open.are_closed(closed)))
            }
        }
    }

    /// Looks how far the shards have been read. A session that was opened again meanwhile has another end.
    pub(super) fn look_at_ends(&mut self, read: impl Iterator<Item = (u16, Sequence)>, closed: &ClosedSessions) {
        let End::Present(Present { open, ends, is_after_close }) = &mut self.end else { return };
        read.for_each(|(shard, next)| {
            if ends.get(&shard).is_some_and(|end| *end <= next) {
                ends.remove(&shard);
            }
        });
        if ends.is_empty() && !*is_after_close && !open.are_closed(closed) {
            self.end = End::Close(std::mem::take(open));
        }
    }

    /// Notes that an event was handed out.
    pub(super) fn hand_out(&mut self) {
        if let End::Present(present) = &mut self.end {
            present.is_after_close = false;
        }
    }

    /// Has it end at the present once its sessions are closed, should it not meet their closes. Returns whether it has
    /// another end now.
    pub(super) fn poll_missed_closes(&mut self, core: &Arc<BusCore>, context: &mut Context<'_>) -> bool {
        if self.closing.is_none() && self.has_missed_closes(core.closed()) {
            let core = Arc::clone(core);
            self.closing = Some(Wait::new(async move { core.wait_readable().await.is_ok() }));
        }
        let Some(Poll::Ready(is_readable)) = self.closing.as_mut().map(|wait| wait.poll(context)) else {
            return false;
        };
        self.closing = None;
        if is_readable {
            self.end_at_present(core);
        }
        is_readable
    }

    /// Returns whether the sessions are closed, and their closes were not met: they may have been lost, or trimmed.
    fn has_missed_closes(&self, closed: &ClosedSessions) -> bool {
        match &self.end {
            End::Close(open) => !open.sessions.is_empty() && open.are_closed(closed),
            End::Bus | End::Present(_) => false,
        }
    }

    /// Looks for closes in a block. Returns the sequence after the last one that was waited for, if it is there. A
    /// comparison for each record.
    pub(super) fn look(&mut self, block: &Block) -> Option<Sequence> {
        let open = match &mut self.end {
            End::Bus => return None,
            End::Close(open) | End::Present(Present { open, .. }) => open,
        };
        open.last.clear();
        for (at, record) in block.records().enumerate() {
            let Ok(record) = record else { continue };
            let session = record.session();
            if record.kind() != kinds::SESSION || !open.sessions.contains(&session) {
                continue;
            }
            match SessionChange::parse(record.payload()) {
                Some(SessionChange::Closed { .. }) => {}
                Some(SessionChange::Opened { .. }) => {
                    open.closed_before.retain(|other| *other != session);
                    continue;
                }
                _ => continue,
            }
            let sequence = block.first_sequence().plus(at as u64);
            open.sessions.retain(|other| *other != session);
            open.last.push((sequence, session));
            if open.sessions.is_empty() {
                return Some(sequence.plus(1));
            }
        }
        None
    }

    /// The last block is read again from `next` on.
    pub(super) fn return_to(&mut self, next: Sequence) {
        if let End::Close(open) | End::Present(Present { open, .. }) = &mut self.end {
            let Open { sessions, last, .. } = open;
            sessions.extend(last.iter().filter(|(at, _)| *at >= next).map(|(_, session)| *session));
            last.retain(|(at, _)| *at < next);
        }
    }
}

impl Open {
    fn are_closed(&self, closed: &ClosedSessions) -> bool {
        let is_closed = |session| closed.may_be(session) && closed.is_closed(session);
        self.sessions.iter().all(|session| self.closed_before.contains(session) || is_closed(*session))
    }
}

/// The wait until everything is readable that was ingested before a moment: `false` where that cannot be.
struct Wait(Pin<Box<dyn Future<Output = bool> + Send>>);

impl Wait {
    fn new(readable: impl Future<Output = bool> + Send + 'static) -> Self {
        Self(Box::pin(readable))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        self.0.as_mut().poll(context)
    }
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}
