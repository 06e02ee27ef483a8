//! Shards: whether they take events, and what each of them has met.

use std::ffi::c_char;

use serde_json::{Value, json};
use tapeline::log::Cut;
use tapeline::shard::ShardStats;

use super::bus::bus_of;
use super::memory::{Out, put_text};
use super::{call, tapeline_bus};
use crate::code::tapeline_code::{TAPELINE_IO, TAPELINE_POISONED, TAPELINE_SHUTDOWN, TAPELINE_STORAGE_FULL};
use crate::failure::Failure;
use crate::wait::{Deadline, complete};

/// Returns 0 if every shard takes events and can write them, and otherwise the reason: `TAPELINE_SHUTDOWN`,
/// `TAPELINE_POISONED`, `TAPELINE_STORAGE_FULL`, or `TAPELINE_IO` where the kernel refuses something, which is tried
/// again.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_health(bus: tapeline_bus) -> i32 {
    call(|| {
        let bus = bus_of(bus)?;
        if complete(bus.is_healthy(), Deadline::NONE)? {
            return Ok(());
        }
        let shards = if bus.is_shutdown() { Vec::new() } else { bus.shard_stats() };
        Err(reason(&shards))
    })
}

/// The reason for which a bus with these shards takes no events, or cannot write them.
fn reason(shards: &[ShardStats]) -> Failure {
    if let Some(poison) = shards.iter().find_map(|shard| shard.health.poison.as_ref()) {
        return Failure::new(TAPELINE_POISONED, poison);
    }
    if let Some(full) = shards.iter().find(|shard| shard.health.is_full) {
        return Failure::new(TAPELINE_STORAGE_FULL, format_args!("shard {}: the disk is full", full.shard_id));
    }
    match shards.iter().find_map(|shard| shard.health.troubles.last()) {
        Some(trouble) => Failure::new(TAPELINE_IO, trouble),
        None => Failure::new(TAPELINE_SHUTDOWN, "the bus takes no more events"),
    }
}

/// The number of shards that take events.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_num_shards(bus: tapeline_bus, shards: *mut u16) -> i32 {
    call(|| {
        let shards = Out::new("shards", shards)?;
        let count = bus_of(bus)?.num_shards();
        // SAFETY: rule 1.
        unsafe { shards.put(count) };
        Ok(())
    })
}

/// The shards of a bus as a JSON array (docs/C.md): the numbers of each, and what its log met. `length` as with
/// `tapeline_prometheus`.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_shards(
    bus: tapeline_bus,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let shards = bus_of(bus)?.shard_stats();
        let text = Value::Array(shards.iter().map(shard).collect()).to_string();
        // SAFETY: rule 1.
        unsafe { put_text(&text, (buffer, capacity), length) }
    })
}

fn shard(shard: &ShardStats) -> Value {
    json!({
        "shard": shard.shard_id,
        "is_active": shard.is_active,
        "core": shard.host.core,
        "device": shard.host.device,
        "events_appended": shard.events_appended,
        "events_durable": shard.events_durable,
        "is_full": shard.health.is_full,
        "poison": shard.health.poison.as_ref().map(ToString::to_string),
        "troubles": shard.health.troubles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cuts": shard.cuts.iter().map(cut).collect::<Vec<_>>(),
        "notes": shard.host.notes,
    })
}

/// Bytes at the end of a log that were never acknowledged, which its opening has cut off.
fn cut(cut: &Cut) -> Value {
    json!({"segment": cut.segment, "offset": cut.offset, "sequence": cut.sequence.get(), "reason": cut.reason})
}
