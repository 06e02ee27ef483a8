//! Support that the tests of all packages share: numbers of a seed, directories that go away, and the tables of the
//! pages in docs/. It depends on no other package, so that each may use it; packages that are published leave it out.

#![allow(clippy::expect_used, clippy::panic, reason = "a test has no better answer to a broken environment")]

mod random;
mod scratch;
mod seeds;
pub mod server;
pub mod tables;

pub use random::Random;
pub use scratch::Scratch;
pub use seeds::{Seeds, asked, seed, seeds};
