//! An adapter of your own: each shard of a log is a file of JSON lines. The conformance suite tries it, then a bus
//! relays into it. One for Kafka has the same parts: a topic's partition for the file, the record's key for `id`, and a
//! thread with the client that the futures wait for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::future::ready;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tapeline::adapter::{Adapter, AdapterFuture, Batch, Delivery, ShardPollResult, conformance};
use tapeline::event::{EventId, Kind, SessionId, StoredEvent};
use tapeline::{AdapterError, AdapterResult, EventBus, EventBusConfig, RawEvent};

/// Keeps the last sequence of each shard, so that an event that comes again is stored once.
struct Lines(PathBuf, Mutex<BTreeMap<u16, u64>>);

fn failed(error: impl std::fmt::Display) -> AdapterError {
    AdapterError::Transient(error.to_string())
}

impl Lines {
    fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into(), Mutex::default())
    }

    fn store(&self, batch: &Batch) -> AdapterResult<()> {
        let mut stored = self.1.lock().map_err(failed)?;
        let last = match stored.get(&batch.shard_id) {
            Some(last) => Some(*last),
            None => self.read(batch.shard_id, 0, usize::MAX)?.iter().map(|event| event.sequence.get()).max(),
        };
        let is_new = |event: &&StoredEvent| {
            batch.delivery == Delivery::Redriven || last.is_none_or(|last| event.sequence.get() > last)
        };
        let lines: String = batch.events.iter().filter(is_new).map(|event| line(event) + "\n").collect();
        let path = self.0.join(batch.shard_id.to_string());
        let mut file = File::options().append(true).create(true).open(path).map_err(failed)?;
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
        let newest = batch.events.iter().map(|event| event.sequence.get()).chain(last).max();
        stored.extend(newest.map(|newest| (batch.shard_id, newest)));
        Ok(())
    }

    fn read(&self, shard: u16, first: usize, limit: usize) -> AdapterResult<Vec<StoredEvent>> {
        let text = match fs::read_to_string(self.0.join(shard.to_string())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(failed)?,
        };
        let lines = text.lines().skip(first).take(limit);
        lines.map(|line| event(line).ok_or_else(|| failed(format!("no event: {line}")))).collect()
    }
}

impl Adapter for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        Box::pin(ready(self.store(&batch)))
    }

    fn poll_shard<'a>(&'a self, shard: u16, from: Option<&'a str>, limit: usize) -> AdapterFuture<'a, ShardPollResult> {
        let first: usize = from.and_then(|from| from.parse().ok()).unwrap_or(0);
        Box::pin(ready(self.read(shard, first, limit + 1).map(|mut events| {
            let has_more = events.len() > limit;
            events.truncate(limit);
            ShardPollResult { next_id: Some((first + events.len()).to_string()), has_more, events }
        })))
    }
}

/// The payload's bytes are the characters of a text: those up to 255.
fn line(event: &StoredEvent) -> String {
    let (id, session) = (event.id.to_string(), event.session.to_string());
    let raw: String = event.raw.iter().copied().map(char::from).collect();
    json!({"id": id, "ts": event.insertion_ts, "session": session, "kind": event.kind.0, "raw": raw}).to_string()
}

fn event(line: &str) -> Option<StoredEvent> {
    let line: Value = serde_json::from_str(line).ok()?;
    let id: EventId = line["id"].as_str()?.parse().ok()?;
    let raw: Option<Vec<u8>> = line["raw"].as_str()?.chars().map(|byte| byte.try_into().ok()).collect();
    let session = SessionId(u128::from_str_radix(line["session"].as_str()?, 16).ok()?);
    let (insertion_ts, kind) = (line["ts"].as_u64()?, Kind(line["kind"].as_u64()?.try_into().ok()?));
    let (raw, shard_id, sequence) = (raw?.into(), id.shard_id, id.sequence);
    Some(StoredEvent { id, raw, insertion_ts, shard_id, sequence, session, kind, name: None })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = std::env::temp_dir().join(format!("tapeline-adapter-{}", std::process::id()));
    let (suite, own) = (scratch.join("suite"), scratch.join("own"));
    [&suite, &own].iter().try_for_each(fs::create_dir_all)?;
    conformance::check(|| Box::new(Lines::new(&suite))).await?;
    let bus = EventBus::new_with_adapter(EventBusConfig::default(), Box::new(Lines::new(&own))).await?;
    bus.ingest_raw(RawEvent::from_str("hello").with_session("chat-42"))?;
    bus.shutdown().await?;
    let stored = Lines::new(&own).read(0, 0, 10)?;
    assert_eq!(stored.last().map(|event| &event.raw[..]), Some(&b"hello"[..]));
    println!("conforms, and has {} events: {:?}", stored.len(), stored.last());
    Ok(fs::remove_dir_all(&scratch)?)
}
