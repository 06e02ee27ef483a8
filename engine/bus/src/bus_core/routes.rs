//! The route in force, and the eras that earlier routes have left in the log.

use std::sync::{Arc, PoisonError, RwLock};

use tapeline_storage::format::{Eras, Sequence, SessionId};

use crate::routing::{Route, RouteInForce, shard_of};

/// Says to which shards events go, and to which they went.
#[derive(Debug)]
pub(super) struct Routes {
    in_force: RouteInForce,
    eras: RwLock<Arc<Eras>>,
}

impl Routes {
    pub(super) fn new(route: Route, eras: Eras) -> Self {
        Self { in_force: RouteInForce::new(route), eras: RwLock::new(Arc::new(eras)) }
    }

    #[inline(always)]
    pub(super) fn in_force(&self) -> &RouteInForce {
        &self.in_force
    }

    pub(super) fn eras(&self) -> Arc<Eras> {
        Arc::clone(&self.eras.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_eras(&self, eras: Eras) {
        *self.eras.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(eras);
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
