//! The built program, as people and scripts use it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, and so do its helpers")]

mod crash;
mod look;
mod real_inputs;
mod record;
mod replay;
mod run;
