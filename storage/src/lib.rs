//! The log of one shard on disk: format, devices, append and recovery, reading.
//!
//! No clock or randomness of its own: the host passes them in. No threads but those with which a survey reads ahead
//! while it runs.

#[cfg(not(target_endian = "little"))]
compile_error!("the format is little-endian and read in place; big-endian hosts are not supported");

pub mod device;
pub mod format;
pub mod log;
pub mod read;
