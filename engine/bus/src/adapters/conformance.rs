//! The suite for adapters: tries the rules of [`Adapter`](crate::adapter::Adapter) on one.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tapeline_reader::{AdapterError, EventId, StoredEvent, kinds};
use tapeline_storage::format::{LogId, Sequence, SessionId};

use super::Adapter;
use crate::live::Batch;

/// Events of each batch.
const EVENTS: u64 = 20;

/// Batches of each shard before the restart.
const BATCHES: u64 = 4;

/// The shards that are written to.
const SHARDS: [u16; 2] = [0, 1];

/// A rule that an adapter breaks.
///
/// ```
/// use tapeline::adapter::{NoopAdapter, conformance};
///
/// // It confirms batches that it does not keep.
/// let violation = futures_lite::future::block_on(conformance::check(|| Box::new(NoopAdapter))).expect_err("a rule");
/// println!("{}: {}", violation.rule, violation.message);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {message}")]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// The finding.
    pub message: String,
}

/// Checks an adapter. `make` makes one each time it is called, and all of them reach one backend, which is empty before
/// the first. It is called twice, the second time as after a restart of the process. The suite writes 200 events or so
/// of a log of its own to shards 0 and 1, and reads them back with [`poll_shard`](crate::adapter::Adapter::poll_shard).
///
/// ```
/// use tapeline::adapter::{MemoryAdapter, conformance};
///
/// # futures_lite::future::block_on(async {
/// let backend = MemoryAdapter::new();
/// conformance::check(|| Box::new(backend.clone())).await?;
/// # Ok::<(), conformance::Violation>(())
/// # }).expect("conforms");
/// ```
///
/// # Errors
/// The first rule that it breaks.
pub async fn check(mut make: impl FnMut() -> Box<dyn Adapter>) -> Result<(), Violation> {
    let log = LogId(tapeline_reader::random::random());
    let mut first = make();
    answered("init succeeds", first.init().await)?;
    for number in 0..BATCHES {
        for shard in SHARDS {
            answered("a batch is stored", first.on_batch(batch(log, shard, number)).await)?;
        }
    }
    is_stored("events come back in order and byte for byte", &*first, log, BATCHES).await?;
    for number in 0..BATCHES {
        answered("a batch that comes again is confirmed", first.on_batch(batch(log, 0, number)).await)?;
    }
    is_stored("an event that comes again is stored once, or recognised", &*first, log, BATCHES).await?;
    abandon(&*first, batch(log, 0, BATCHES)).await;
    answered("flush succeeds", first.flush().await)?;
    answered("shutdown succeeds", first.shutdown().await)?;
    drop(first);

    let mut second = make();
    answered("init succeeds after a restart", second.init().await)?;
    for shard in SHARDS {
        // With another limit than before.
        let whole = batch(log, shard, BATCHES);
        let (begin, end) = whole.events.split_at(whole.len() / 3);
        for part in [begin, end] {
            let part = Arc::new(Batch::new(shard, part.to_vec()));
            answered("a batch comes again in parts after its call was dropped", second.on_batch(part).await)?;
        }
    }
    is_stored("a call that was dropped leaves no hole and no disorder", &*second, log, BATCHES + 1).await?;
    is_listed(&*second, log).await?;
    pages(&*second, log).await?;
    let late = Batch::new(0, vec![event(log, 0, 3)]).redriven();
    answered("events that were refused before may come again later", second.on_batch(Arc::new(late)).await)?;
    let is_well = second.is_healthy().await;
    ensure("it is healthy", is_well, || "is_healthy returned false".to_owned())?;
    answered("shutdown succeeds", second.shutdown().await)
}

/// Polls a call once, and drops it.
async fn abandon(adapter: &dyn Adapter, batch: Arc<Batch>) {
    let mut call = Some(adapter.on_batch(batch));
    poll_fn(|context| {
        if let Some(mut call) = call.take() {
            let _ = call.as_mut().poll(context);
        }
        Poll::Ready(())
    })
    .await;
}

/// Reads both shards, and compares them with so many batches.
async fn is_stored(rule: &'static str, adapter: &dyn Adapter, log: LogId, batches: u64) -> Result<(), Violation> {
    for shard in SHARDS {
        let expected: Vec<_> = (0..batches).flat_map(|number| batch(log, shard, number).events.clone()).collect();
        let mut known = HashSet::new();
        let mut found = read(rule, adapter, shard, 1000).await?;
        found.retain(|event| known.insert(event.dedup_id()));
        let differs = (0..expected.len().max(found.len())).find(|at| expected.get(*at) != found.get(*at));
        ensure(rule, differs.is_none(), || {
            let at = differs.unwrap_or_default();
            format!("shard {shard}, event {at}: expected {:?}, found {:?}", expected.get(at), found.get(at))
        })?;
    }
    Ok(())
}

/// Compares the shards that an adapter lists, where it can, with those that were written to.
async fn is_listed(adapter: &dyn Adapter, log: LogId) -> Result<(), Violation> {
    let rule = "an adapter that lists what is stored lists each shard of a log once";
    let listed = match adapter.stored().await {
        Err(AdapterError::Denied(_)) => return Ok(()),
        listed => answered(rule, listed)?,
    };
    let mut shards: Vec<u16> = listed.iter().filter(|shard| shard.log == log).map(|shard| shard.shard_id).collect();
    shards.sort_unstable();
    ensure(rule, shards == SHARDS, || format!("{listed:?}"))
}

/// Reads a shard in pages of this size.
async fn read(
    rule: &'static str,
    adapter: &dyn Adapter,
    shard: u16,
    limit: usize,
) -> Result<Vec<StoredEvent>, Violation> {
    let (mut events, mut from) = (Vec::new(), None);
    loop {
        let page = answered(rule, adapter.poll_shard(shard, from.as_deref(), limit).await)?;
        ensure(rule, page.events.len() <= limit, || format!("{} events in a page of {limit}", page.events.len()))?;
        let goes_on = page.has_more;
        ensure(rule, !goes_on || (page.next_id.is_some() && page.next_id != from), || {
            format!("shard {shard}: there is more after {from:?}, and next_id is the same")
        })?;
        events.extend(page.events);
        from = page.next_id;
        if !goes_on {
            return Ok(events);
        }
    }
}

async fn pages(adapter: &dyn Adapter, log: LogId) -> Result<(), Violation> {
    let rule = "pages of any size hold the same events, each once";
    let whole = read(rule, adapter, 1, 1000).await?;
    for limit in [1, 7, whole.len()] {
        let paged = read(rule, adapter, 1, limit).await?;
        ensure(rule, paged == whole, || format!("pages of {limit}: {} events, not {}", paged.len(), whole.len()))?;
    }
    let rule = "a shard without events is an empty page";
    let page = answered(rule, adapter.poll_shard(4095, None, 10).await)?;
    ensure(rule, page.events.is_empty() && !page.has_more, || format!("{page:?}"))?;
    let rule = "reading goes on after the last event with those that came since";
    let last = answered(rule, adapter.poll_shard(1, None, whole.len()).await)?;
    let more = Arc::new(Batch::new(1, vec![event(log, 1, (BATCHES + 1) * EVENTS)]));
    answered(rule, adapter.on_batch(Arc::clone(&more)).await)?;
    let page = answered(rule, adapter.poll_shard(1, last.next_id.as_deref(), 10).await)?;
    ensure(rule, page.events == more.events, || format!("expected {:?}, found {:?}", more.events, page.events))
}

fn answered<T>(rule: &'static str, answer: Result<T, AdapterError>) -> Result<T, Violation> {
    answer.map_err(|error| Violation { rule, message: error.to_string() })
}

fn ensure(rule: &'static str, holds: bool, message: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, message: message() }) }
}

fn batch(log: LogId, shard: u16, number: u64) -> Arc<Batch> {
    let events = (number * EVENTS..(number + 1) * EVENTS).map(|sequence| event(log, shard, sequence));
    Arc::new(Batch::new(shard, events.collect()))
}

/// Payloads of every byte value, of line ends, of none, and of 64 KiB.
fn event(log: LogId, shard_id: u16, sequence: u64) -> StoredEvent {
    let payload: Vec<u8> = match sequence % 5 {
        0 => (0..=u8::MAX).collect(),
        1 => Vec::new(),
        2 => format!("{{\"text\": \"shard {shard_id}\\n\"}}\r\n\0").into_bytes(),
        3 => (0..64 << 10).map(|byte: u32| (byte.wrapping_mul(31) >> 3) as u8).collect(),
        _ => sequence.to_string().into_bytes(),
    };
    let sequence = Sequence::new(sequence);
    StoredEvent {
        id: EventId { log, shard_id, sequence },
        raw: payload.into(),
        insertion_ts: 1_700_000_000_000_000_000 + sequence.get(),
        shard_id,
        sequence,
        session: SessionId(u128::from(sequence.get() % 3) << 64 | u128::from(shard_id)),
        kind: kinds::TOKEN,
        name: None,
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::adapters::{AdapterFuture, MemoryAdapter, NoopAdapter, ShardPollResult, StoredShard};

    /// An adapter that breaks one rule.
    #[derive(Clone)]
    struct Broken {
        memory: MemoryAdapter,
        breaks: &'static str,
    }

    impl Adapter for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }

        fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
            let mut events = batch.events.clone();
            match self.breaks {
                "times" => events.iter_mut().for_each(|event| event.insertion_ts += 1),
                "bytes" => events.iter_mut().for_each(|event| event.raw = event.raw.to_ascii_lowercase().into()),
                "loss" => events.truncate(events.len().max(1) - 1),
                _ => {}
            }
            self.memory.on_batch(Arc::new(Batch::new(batch.shard_id, events)))
        }

        fn stored(&self) -> AdapterFuture<'_, Vec<StoredShard>> {
            match self.breaks {
                "list" => Box::pin(std::future::ready(Ok(Vec::new()))),
                _ => self.memory.stored(),
            }
        }

        fn poll_shard<'a>(
            &'a self,
            shard: u16,
            from: Option<&'a str>,
            limit: usize,
        ) -> AdapterFuture<'a, ShardPollResult> {
            let from = if self.breaks == "paging" { None } else { from };
            self.memory.poll_shard(shard, from, limit)
        }
    }

    #[test]
    fn the_suite_passes_what_conforms_and_finds_what_does_not() {
        let memory = MemoryAdapter::new();
        block_on(check(|| Box::new(memory.clone()))).expect("conforms");
        for breaks in ["times", "bytes", "loss", "paging", "list"] {
            let broken = Broken { memory: MemoryAdapter::new(), breaks };
            block_on(check(|| Box::new(broken.clone()))).expect_err(breaks);
        }
        assert!(block_on(check(|| Box::new(NoopAdapter::new()))).is_err());
    }
}
