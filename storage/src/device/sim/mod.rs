//! The simulated driver: a machine with a disk that fails, loses power and comes back, all from one seed.
//!
//! Reading order: [`SimDisk`] (the machine as a test holds it), [`Faults`] (what goes wrong), `machine` (steps, the
//! power, writes in flight), `change` (blocking calls, and what is left of one when the power goes), `image` and
//! `sparse` (what is on the disk), then the driver's side of the traits: [`SimDevice`], `directory`, [`SimFile`],
//! `mapping`.
//!
//! # What it promises
//! - One seed, and one order of calls, give one history: the simulation knows no clock, thread or address.
//! - Steps are the points where the power can go, counted from 1. A submission and a completion are one each, and so is
//!   a blocking call that only looks. A blocking call that changes the disk is three: before it, in its midst, and when
//!   it is done and no waiter knows of it.
//! - A submitted write is in flight until it is completed, and cannot be read before. Completions come in seeded order,
//!   and now and then not at the first look. Confirmed writes are on the disk, as with O_DSYNC.
//! - When the power goes, each write in flight is on the disk wholly, in part (a beginning, an end, or any of its
//!   512-byte sectors), or not at all. From then on everything of that boot is dead: calls are refused, writes vanish,
//!   nothing completes. [`SimDisk::reboot`] gives the same disk to a new boot.
//! - A block that changes while it is in flight is a broken rule of its owner, and panics.
//!
//! Not simulated: the page cache. What a blocking call has done is durable when it returns, as the traits promise.
//!
//! # Cost
//! About a microsecond per page written, most of it memory for the page. Pages that were never written take none.

mod change;
mod device;
mod directory;
mod disk;
mod faults;
mod file;
mod image;
mod machine;
mod mapping;
mod random;
mod sparse;
mod tamper;
mod tear;
#[cfg(test)]
mod tests;

pub use device::SimDevice;
pub use disk::SimDisk;
pub use faults::{Failure, Faults};
pub use file::SimFile;
pub use random::Random;
