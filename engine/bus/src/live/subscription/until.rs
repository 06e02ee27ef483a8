//! The end of a subscription before that of its bus.

use std::collections::BTreeMap;

use tapeline_reader::{ConsumerError, ConsumerResult, SessionChange, kinds};
use tapeline_storage::format::{Sequence, SessionId};
use tapeline_storage::read::Block;

use crate::live::request::SubscribeRequest;

/// The end of a subscription.
#[derive(Debug, Default)]
pub(super) enum Until {
    /// The end of the bus.
    #[default]
    Bus,
    /// The close of the last of its sessions.
    Close(Open),
    /// The same, and at the latest where each shard ended when it was asked.
    Present { sessions: Open, ends: BTreeMap<u16, Sequence> },
}

/// The sessions of a subscription that were not closed yet.
#[derive(Debug, Default)]
pub(super) struct Open {
    sessions: Vec<SessionId>,
    /// Those that the last block with a close has closed.
    last: Vec<SessionId>,
}

impl Until {
    /// # Errors
    /// [`ConsumerError::NoSession`]: a request without a session that could be closed.
    pub(super) fn of(request: &SubscribeRequest) -> ConsumerResult<Self> {
        if !request.until_close {
            return Ok(Self::Bus);
        }
        let sessions = request.sessions.clone().unwrap_or_default();
        match sessions.is_empty() || sessions.contains(&SessionId::NONE) {
            true => Err(ConsumerError::NoSession),
            false => Ok(Self::Close(Open { sessions, last: Vec::new() })),
        }
    }

    pub(super) fn into_sessions(self) -> Open {
        match self {
            Self::Bus => Open::default(),
            Self::Close(sessions) | Self::Present { sessions, .. } => sessions,
        }
    }

    /// Returns whether it has come.
    pub(super) fn is_reached(&self) -> bool {
        match self {
            Self::Bus => false,
            Self::Close(open) => open.sessions.is_empty(),
            Self::Present { sessions, ends } => sessions.sessions.is_empty() || ends.is_empty(),
        }
    }

    /// Looks how far the shards have been read.
    pub(super) fn look_at_ends(&mut self, read: impl Iterator<Item = (u16, Sequence)>) {
        if let Self::Present { ends, .. } = self {
            read.for_each(|(shard, next)| {
                if ends.get(&shard).is_some_and(|end| *end <= next) {
                    ends.remove(&shard);
                }
            });
        }
    }

    /// Looks for closes in a block. Returns the sequence after the last one that was waited for, if it is there. A
    /// comparison for each record.
    pub(super) fn look(&mut self, block: &Block) -> Option<Sequence> {
        let open = match self {
            Self::Bus => return None,
            Self::Close(open) | Self::Present { sessions: open, .. } => open,
        };
        let mut closed = Vec::new();
        for (at, record) in block.records().enumerate() {
            let Ok(record) = record else { continue };
            if record.kind() != kinds::SESSION || !SessionChange::is_close(record.payload()) {
                continue;
            }
            let session = record.session();
            if open.sessions.contains(&session) {
                open.sessions.retain(|other| *other != session);
                closed.push(session);
            }
            if open.sessions.is_empty() {
                open.last = closed;
                return Some(block.first_sequence().plus(at as u64 + 1));
            }
        }
        if !closed.is_empty() {
            open.last = closed;
        }
        None
    }

    /// The last block, or a part of it, is read again.
    pub(super) fn forget_last(&mut self) {
        if let Self::Close(open) | Self::Present { sessions: open, .. } = self {
            open.sessions.append(&mut open.last);
        }
    }
}
