//! The state that the producers of one bus share: their numbers, the settings of those that have none of their own, and
//! where their timestamps begin.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::core::config::{BackpressureMode, EventBusConfig};
use crate::core::error::IngestionError;
use crate::core::fence;
use crate::core::refusals::{RefusalReason, Refusals};
use crate::lane::{LaneOptions, Overflow};

/// The number of buses that this process has made.
static BUSES: AtomicU32 = AtomicU32::new(0);

/// Shared by the producers of a bus.
#[derive(Debug)]
pub(crate) struct Producers {
    /// The number of the bus in the process, for tickets.
    bus: u32,
    lane_options: LaneOptions,
    backpressure_mode: BackpressureMode,
    payload_bytes_max: usize,
    /// Timestamps go on above this: what is in the log already, unless that was ahead of the clock.
    timestamp_floor: u64,
    made: AtomicU64,
    /// There are several producers: the time of an event has to be later than those that its thread can have seen.
    order_times: AtomicBool,
    /// Every thread has seen that there are.
    all_order_times: AtomicBool,
    /// The number of events handed back for want of a lane, in which they would count.
    refused: [AtomicU64; RefusalReason::COUNT],
}

impl Producers {
    pub(super) fn new(config: &EventBusConfig, timestamp_floor: u64) -> Self {
        Self {
            bus: BUSES.fetch_add(1, Ordering::Relaxed),
            lane_options: LaneOptions {
                capacity_bytes: config.limits.lane_bytes,
                capacity_events: config.limits.ring_buffer_capacity,
                overflow: Overflow::Refuse,
            },
            backpressure_mode: config.backpressure_mode,
            payload_bytes_max: config.payload_bytes_max(),
            timestamp_floor,
            made: AtomicU64::new(0),
            order_times: AtomicBool::new(false),
            all_order_times: AtomicBool::new(false),
            refused: Default::default(),
        }
    }

    /// The number of the bus in the process.
    pub(crate) fn bus(&self) -> u32 {
        self.bus
    }

    /// The number of the next producer. From the second one on, all producers order their times.
    pub(crate) fn next_id(&self) -> u64 {
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        if id > 0 && !self.all_order_times.load(Ordering::Acquire) {
            self.order_times.store(true, Ordering::Relaxed);
            // A call of the first producer that has not seen it began before, and can have seen no other's event.
            fence::all_threads();
            // SYNC: pairs with the Acquire load above: the fence comes before.
            self.all_order_times.store(true, Ordering::Release);
        }
        id
    }

    /// Returns whether the times of events have to be later than those that their threads can have seen. One load, most
    /// often of a line in the cache.
    #[inline(always)]
    pub(crate) fn order_times(&self) -> bool {
        self.order_times.load(Ordering::Relaxed)
    }

    /// The lanes of producers that have no settings of their own.
    pub(crate) fn lane_options(&self) -> LaneOptions {
        self.lane_options
    }

    /// The mode of producers that have no settings of their own.
    pub(crate) fn backpressure_mode(&self) -> BackpressureMode {
        self.backpressure_mode
    }

    /// Longest payload of an event.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.payload_bytes_max
    }

    /// The timestamp above which those of new events begin.
    pub(crate) fn timestamp_floor(&self) -> u64 {
        self.timestamp_floor
    }

    /// Counts events that were handed back for want of a lane.
    pub(crate) fn count_refused(&self, error: &IngestionError, events: u64) {
        if let Some(reason) = RefusalReason::of(error) {
            self.refused[reason.index()].fetch_add(events, Ordering::Relaxed);
        }
    }

    /// The number of events that were handed back for want of a lane.
    pub(crate) fn refused(&self) -> Refusals {
        Refusals::of(self.refused.each_ref().map(|number| number.load(Ordering::Relaxed)))
    }
}
