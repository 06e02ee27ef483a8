//! Threads that must not block: those that step a shard, for they would wait for themselves. Users' code runs there in
//! wakers, and in what these drop.

use std::cell::Cell;

use crate::error::{AdapterError, AdapterResult};

thread_local! {
    static IS_SHARD_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread steps a shard from now on.
pub fn become_shard_thread() {
    IS_SHARD_THREAD.with(|is_shard| is_shard.set(true));
}

/// Returns whether the calling thread steps a shard.
pub fn is_shard_thread() -> bool {
    IS_SHARD_THREAD.with(Cell::get)
}

/// Refuses a call that would block the thread of a shard.
///
/// # Errors
/// [`AdapterError::OnShard`].
pub fn check_may_block(call: &'static str) -> AdapterResult<()> {
    if is_shard_thread() { Err(AdapterError::OnShard { call }) } else { Ok(()) }
}
