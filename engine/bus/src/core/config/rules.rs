//! The rules that the settings of a bus keep. An error names the setting, its value and its range.

use tapeline_reader::{ConfigError, RetentionPolicy};
use tapeline_storage::format::{PAYLOAD_BYTES_MAX, SHARDS_MAX};
use tapeline_storage::log::Durability;

use super::{BLOCK_BYTES, EventBusConfig, LONGEST_EVENT_LANE_BYTES, PlacementConfig, ScalingPolicy};

impl EventBusConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`] with the setting, its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.backpressure_mode.validate()?;
        self.adapter.validate()?;
        self.batch.validate()?;
        self.scaling.as_ref().map_or(Ok(()), ScalingPolicy::validate)?;
        self.log.retention.as_ref().map_or(Ok(()), RetentionPolicy::validate)?;
        self.check_shards()?;
        self.check_payload()?;
        self.check_lanes()?;
        self.check_log()?;
        self.check_budget()?;
        check(!self.adapter_timeout.is_zero(), || "adapter_timeout is 0; more than that".to_owned())?;
        self.placement.validate()
    }

    fn check_shards(&self) -> Result<(), ConfigError> {
        let (shards, most) = (self.num_shards, self.max_shards());
        check(shards > 0, || "num_shards is 0; at least 1".to_owned())?;
        check(most <= SHARDS_MAX, || {
            format!("num_shards, or max_shards of the scaling policy, is {most}; at most {SHARDS_MAX}")
        })?;
        let least = self.scaling.as_ref().map_or(1, |policy| policy.min_shards);
        check((least..=most).contains(&shards), || {
            format!("num_shards is {shards}; from min_shards to max_shards of the scaling policy, {least} to {most}")
        })
    }

    fn check_payload(&self) -> Result<(), ConfigError> {
        let (payload, half) = (self.payload_bytes_max(), self.log.segment_bytes / 2);
        check((1..=PAYLOAD_BYTES_MAX).contains(&payload) && payload as u64 <= half, || {
            format!(
                "payload_bytes_max is {payload}; from 1 to {PAYLOAD_BYTES_MAX}, and at most half of segment_bytes, {half}"
            )
        })
    }

    fn check_lanes(&self) -> Result<(), ConfigError> {
        let (lane, events) = (self.limits.lane_bytes, self.limits.ring_buffer_capacity);
        check(lane.is_power_of_two() && (64 << 10..=1 << 40).contains(&lane), || {
            format!("lane_bytes is {lane}; a power of two from 64 KiB to 1 TiB")
        })?;
        check(events.is_power_of_two() && (1024..=lane / 16).contains(&events), || {
            format!("ring_buffer_capacity is {events}; a power of two from 1024 to {}, lane_bytes / 16", lane / 16)
        })
    }

    fn check_log(&self) -> Result<(), ConfigError> {
        let (log, memory) = (&self.log, self.memory_bytes());
        check((2 << 20..=1 << 40).contains(&log.segment_bytes), || {
            format!("segment_bytes is {}; from 2 MiB to 1 TiB", log.segment_bytes)
        })?;
        check((4 * BLOCK_BYTES..=1 << 40).contains(&memory), || {
            format!("memory_bytes is {memory}; from 4 MiB to 1 TiB")
        })?;
        check((log.durability == Durability::Memory) == log.directory.is_none(), || {
            format!("durability is {} but directory is {:?}", log.durability, log.directory)
        })?;
        check(log.retention.is_none() || log.directory.is_some(), || {
            "retention is set, but the log is in memory: memory_bytes bounds it".to_owned()
        })
    }

    fn check_budget(&self) -> Result<(), ConfigError> {
        let lanes = self.limits.lane_bytes.saturating_mul(2).min(LONGEST_EVENT_LANE_BYTES);
        let (budget, least) = (self.memory_budget(), self.blocks_bytes().saturating_add(lanes));
        check(budget >= least, || {
            format!("memory_budget is {budget}; at least {least}: memory_bytes of every shard, and a lane")
        })
    }
}

impl PlacementConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let Some(cores) = &self.cores else { return Ok(()) };
        check(!cores.is_empty(), || "cores is empty; leave it out, or name a core".to_owned())?;
        check(self.pinned, || "cores is set, but pinned is false; leave one of them out".to_owned())?;
        check(!cores.iter().any(|core| self.excluded_cores.contains(core)), || {
            format!("cores is {cores:?}, of which excluded_cores has some: {:?}", self.excluded_cores)
        })
    }
}

/// An error that says what is `broken`, unless the rule holds.
fn check(holds: bool, broken: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::InvalidValue(broken())) }
}
