//! The C library of [Tapeline](https://docs.rs/tapeline): what a C or C++ inference server needs of a bus, over its
//! public API.
//!
//! `include/tapeline.h` declares the functions; docs/C.md is their guide. Promises to C programs:
//!
//! - A function returns a [`tapeline_code`], and writes its results through pointers only when it returns 0.
//! - A handle that was closed, was made up, or is of another type is an error.
//! - No panic leaves the library, and a call may be made on any thread, also within any runtime.
//! - After a fork, the child gets an error for each handle of its parent. It may open a bus of its own.
//!
//! [`boundary`] has the functions, and all unsafe code. The other modules are what they need: `wait` drives futures on
//! the caller's thread, `reader` is a subscription, a relay or a replay as one stream, `table` keeps what handles
//! stand for, `settings` reads configurations, and `failure` turns errors into codes.

pub mod boundary;
mod code;
mod failure;
mod forks;
mod reader;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod wait;

pub use code::tapeline_code;
