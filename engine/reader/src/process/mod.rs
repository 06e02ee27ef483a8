//! The calling process and thread: forks of the process that opened the bus, threads that must not block, random bytes
//! for identities.

pub mod blocking;
pub mod fork;
pub mod random;
