//! The calling process and thread: forks of the process that opened the bus, threads that must not block, locks that
//! outlive a panic, random bytes for identities.

pub mod blocking;
pub mod fork;
mod lock;
pub mod random;

pub(crate) use lock::lock;
