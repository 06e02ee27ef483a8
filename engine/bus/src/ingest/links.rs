//! The lanes of a producer.
//!
//! 1. There is at most one lane to each shard, made when the producer first writes to the shard.
//! 2. A payload that is larger than `payload_max` fits into no lane: a record takes half of one at most.

use std::sync::Arc;

use tapeline_storage::format::{RECORD_ROOT_BYTES, SHARED_PAYLOAD_BYTES_MAX};

use super::link::Link;
use super::refusal;
use crate::bus_core::BusCore;
use crate::core::error::{IngestionError, IngestionResult};
use crate::core::seam::{self, Step};
use crate::lane::{LaneMemory, LaneOptions, lane};
use crate::routing::Route;

/// One lane to each shard that has had an event.
#[derive(Debug)]
pub(super) struct Links {
    by_shard: Vec<Option<Link>>,
    options: LaneOptions,
    payload_max: usize,
}

impl Links {
    /// None so far; they will be as `options` says, for payloads of `payload_bytes_max` at most.
    pub(super) fn new(options: LaneOptions, payload_bytes_max: usize) -> Self {
        let half_lane = options.capacity_bytes / 2 - RECORD_ROOT_BYTES;
        let payload_max = SHARED_PAYLOAD_BYTES_MAX.min(half_lane).min(payload_bytes_max);
        Self { by_shard: Vec::new(), options, payload_max }
    }

    /// The largest payload that a lane takes, in bytes.
    #[inline(always)]
    pub(super) fn payload_max(&self) -> usize {
        self.payload_max
    }

    pub(super) fn get(&self, shard: u16) -> Option<&Link> {
        self.by_shard.get(usize::from(shard))?.as_ref()
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, shard: u16) -> Option<&mut Link> {
        self.by_shard.get_mut(usize::from(shard))?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_shard.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.by_shard.iter_mut().flatten()
    }

    /// Makes the lane to a shard.
    ///
    /// # Errors
    /// [`IngestionError`]: the bus or the shard takes no events, or there is no memory for a lane.
    #[cold]
    pub(super) fn connect(
        &mut self,
        core: &BusCore,
        shard: u16,
        route: Route,
        producer: u64,
    ) -> IngestionResult<&mut Link> {
        core.check_open()?;
        // A session of another bus may name a shard that this one does not have.
        let Some(control) = core.shards().get(shard) else { return Err(IngestionError::NoShard { shard_id: shard }) };
        if control.is_closing() || control.view().poison().is_some() {
            return Err(refusal(&control));
        }
        let bytes = self.options.first().memory_bytes();
        let budget = core.memory();
        let first = budget.take(bytes).map_err(|left| IngestionError::Budget {
            shard_id: shard,
            bytes,
            left,
            budget: budget.bytes(),
        })?;
        let memory = LaneMemory { first, budget: Arc::clone(budget) };
        let (mut writer, reader) = seam::pass(core.log_id(), Step::Lane)
            .and_then(|()| lane(self.options, producer, memory))
            .map_err(|source| IngestionError::Lane { shard_id: shard, source })?;
        writer.set_route(route.number());
        if control.connect(reader).is_err() {
            return Err(refusal(&control));
        }
        let at = usize::from(shard);
        if self.by_shard.len() <= at {
            self.by_shard.resize_with(at + 1, || None);
        }
        Ok(self.by_shard[at].insert(Link::new(control, writer)))
    }
}
