//! The adapter that stores nothing.

use std::future::ready;
use std::sync::Arc;

use super::{Adapter, AdapterFuture, ShardPollResult};
use crate::live::Batch;

/// Confirms every batch and keeps none: for measuring a relay.
///
/// ```
/// use tapeline::adapter::{Adapter, NoopAdapter};
///
/// assert_eq!(NoopAdapter::new().name(), "noop");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopAdapter;

impl NoopAdapter {
    /// It has no settings.
    pub fn new() -> Self {
        Self
    }
}

impl Adapter for NoopAdapter {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn on_batch(&self, _batch: Arc<Batch>) -> AdapterFuture<'_> {
        Box::pin(ready(Ok(())))
    }

    fn poll_shard<'a>(
        &'a self,
        _shard_id: u16,
        from_id: Option<&'a str>,
        _limit: usize,
    ) -> AdapterFuture<'a, ShardPollResult> {
        let nothing = ShardPollResult { next_id: from_id.map(str::to_owned), ..ShardPollResult::default() };
        Box::pin(ready(Ok(nothing)))
    }
}
