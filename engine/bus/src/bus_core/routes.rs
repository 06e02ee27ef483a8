//! The route in force, and the eras that earlier routes have left in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tapeline_storage::format::{Eras, Sequence, SessionId};

use crate::routing::{Route, RouteInForce, shard_of};

/// Says to which shards events go, and to which they went.
#[derive(Debug)]
pub(super) struct Routes {
    in_force: RouteInForce,
    eras: RwLock<Arc<Eras>>,
    /// Rises with each change of `eras`, from 1.
    eras_number: AtomicU64,
}

/// The eras as one reader knows them: to ask whether there are others costs one load, also where many readers ask.
#[derive(Debug, Default)]
pub(crate) struct KnownEras {
    /// 0: none are known.
    number: u64,
    eras: Arc<Eras>,
}

impl KnownEras {
    pub(crate) fn get(&self) -> &Eras {
        &self.eras
    }
}

impl Routes {
    pub(super) fn new(route: Route, eras: Eras) -> Self {
        Self { in_force: RouteInForce::new(route), eras: RwLock::new(Arc::new(eras)), eras_number: AtomicU64::new(1) }
    }

    #[inline(always)]
    pub(super) fn in_force(&self) -> &RouteInForce {
        &self.in_force
    }

    pub(super) fn eras(&self) -> Arc<Eras> {
        Arc::clone(&self.eras.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_eras(&self, eras: Eras) {
        let mut present = self.eras.write().unwrap_or_else(PoisonError::into_inner);
        *present = Arc::new(eras);
        // SYNC: pairs with the Acquire load in update(): a reader that sees the number finds these eras.
        self.eras_number.fetch_add(1, Ordering::Release);
    }

    /// Brings what a reader knows up to date.
    pub(super) fn update(&self, known: &mut KnownEras) {
        // SYNC: pairs with the Release in set_eras(). Should they change after this load, the next one says so.
        let number = self.eras_number.load(Ordering::Acquire);
        if known.number != number {
            *known = KnownEras { number, eras: self.eras() };
        }
    }

    /// Returns whether a session's events of the era of this sequence may lie in its shard.
    pub(super) fn may_hold(&self, session: SessionId, shard: u16, at: Sequence) -> bool {
        // Read before the eras: the first one, where there are none.
        let route = self.in_force.get();
        let eras = self.eras();
        let is_first = eras.is_empty() && route.is_first();
        let active = eras.route_of(eras.of(shard, at)).or_else(|| is_first.then(|| route.active()));
        active.is_none_or(|active| shard_of(session, active) == shard)
    }
}
