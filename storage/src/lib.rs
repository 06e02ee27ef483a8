#![doc = include_str!("../README.md")]

#[cfg(not(target_endian = "little"))]
compile_error!("the format is little-endian and read in place; big-endian hosts are not supported");

pub mod device;
pub mod format;
mod lock;
pub mod log;
pub mod read;
