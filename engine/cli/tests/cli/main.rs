//! The built program, as people and scripts use it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, and so do its helpers")]

mod chunks;
mod crash;
mod cursor;
mod environment;
mod export;
mod files;
mod frames;
mod help;
mod latency;
mod look;
mod messages;
mod names;
mod openings;
mod parts;
mod quoted;
mod real_inputs;
mod record;
#[cfg(feature = "redis")]
mod relay;
mod repair;
mod replay;
mod run;
mod selection;
mod show;
mod silence;
mod standard;
mod stats;
mod tail;
mod trim;
mod volume;
mod whole;
