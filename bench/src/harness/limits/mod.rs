//! Limits of this machine, measured beside the bus: memory, the distance of its cores, the device written, the device
//! read.

mod device_read;
mod device_write;
mod memory;
mod round_trip;

pub(crate) use device_read::read_rate;
pub(crate) use device_write::{WriteLimit, write_rate};
pub(crate) use memory::{copy_rate, scan_rate};
pub(crate) use round_trip::{NEAR_NS, round_trip_ns};

/// Bytes of one transfer, as in the log.
const BLOCK_BYTES: usize = tapeline_storage::format::BLOCK_BYTES_MAX;

/// Transfers in flight, as in the log's io_uring driver.
const DEPTH: usize = 6;
