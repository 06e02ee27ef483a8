//! The subjects of a filter: an event in a block, an event of a page, or a document that was never ingested.

use tapeline_storage::format::{Kind, SessionId};

use crate::{EventView, StoredEvent, kinds};

/// The facts that terms test.
pub(super) trait Subject {
    fn session(&self) -> SessionId;
    fn kind(&self) -> Kind;
    fn insertion_ts(&self) -> u64;
    fn payload(&self) -> &[u8];
}

impl Subject for EventView<'_> {
    #[inline]
    fn session(&self) -> SessionId {
        EventView::session(self)
    }

    #[inline]
    fn kind(&self) -> Kind {
        EventView::kind(self)
    }

    #[inline]
    fn insertion_ts(&self) -> u64 {
        EventView::insertion_ts(self)
    }

    #[inline]
    fn payload(&self) -> &[u8] {
        EventView::payload(self)
    }
}

impl Subject for StoredEvent {
    fn session(&self) -> SessionId {
        self.session
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn insertion_ts(&self) -> u64 {
        self.insertion_ts
    }

    fn payload(&self) -> &[u8] {
        &self.raw
    }
}

/// A JSON document by itself: in no session, of no kind, of time 0.
pub(super) struct Document(pub(super) String);

impl Subject for Document {
    fn session(&self) -> SessionId {
        SessionId::NONE
    }

    fn kind(&self) -> Kind {
        kinds::UNSPECIFIED
    }

    fn insertion_ts(&self) -> u64 {
        0
    }

    fn payload(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
