//! The events that were ingested and those that were acknowledged, to be compared with what a log holds.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tapeline::{LogFiles, StoredEvent};
use tapeline_storage::device::sim::Random;

/// The events of one session, numbered from 0, all from one thread.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    /// Events that the bus took.
    taken: AtomicU64,
    /// Events of which it said that they are safe.
    acknowledged: AtomicU64,
}

impl Stream {
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    pub(crate) fn take(&self, events: u64) {
        self.taken.fetch_add(events, Ordering::SeqCst);
    }

    /// The first `events` are safe.
    pub(crate) fn acknowledge(&self, events: u64) {
        self.acknowledged.fetch_max(events, Ordering::SeqCst);
    }
}

/// Payload of event `number`, of a length that the number determines.
pub(crate) fn payload(number: u64) -> Vec<u8> {
    let length = match Random::new(number).below(16) {
        0 => 3000,
        short => 8 * short,
    };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + length as usize, number as u8);
    bytes
}

/// Bytes of an event that is too long to share a block with others.
const LARGE_BYTES: usize = 1_048_500;

/// Payload of event `number`, as a large event.
pub(crate) fn large_payload(number: u64) -> Vec<u8> {
    let mut bytes = vec![number as u8; LARGE_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The one of the two that event `number` has: one in 500 is large.
pub(crate) fn any_payload(number: u64) -> Vec<u8> {
    if number % 500 == 50 { large_payload(number) } else { payload(number) }
}

fn number_of(event: &StoredEvent) -> Option<u64> {
    let number = u64::from_le_bytes(*event.raw.first_chunk()?);
    let sent = if event.raw.len() == LARGE_BYTES { large_payload(number) } else { payload(number) };
    (event.raw[..] == sent[..]).then_some(number)
}

/// All streams of a log.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Vec<Arc<Stream>>>);

/// The part of the taken events that has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Everything: the bus has ended in order.
    Everything,
    /// All acknowledged events, and the first ones of the rest.
    Acknowledged,
}

impl Ledger {
    pub(crate) fn stream(&self, name: String) -> Arc<Stream> {
        let stream = Arc::new(Stream { name, taken: AtomicU64::new(0), acknowledged: AtomicU64::new(0) });
        self.streams().push(Arc::clone(&stream));
        stream
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Stream>>> {
        self.0.lock().expect("no panic while it is held")
    }

    /// The events taken so far.
    pub(crate) fn taken(&self) -> Vec<(Arc<Stream>, u64)> {
        self.streams().iter().map(|stream| (Arc::clone(stream), stream.taken())).collect()
    }

    /// The events taken then are safe.
    pub(crate) fn acknowledge(taken: Vec<(Arc<Stream>, u64)>) {
        taken.into_iter().for_each(|(stream, events)| stream.acknowledge(events));
    }

    /// The number of safe events of each stream.
    pub(crate) fn acknowledged(&self) -> Vec<(String, u64)> {
        let streams = self.streams();
        streams.iter().map(|stream| (stream.name.clone(), stream.acknowledged.load(Ordering::SeqCst))).collect()
    }

    /// Compares with the files of the log. What is there after an orderly end, or was recovered, stays for good.
    pub(crate) fn check(&self, path: &Path, expect: Expect) -> Result<(), String> {
        let files = LogFiles::open(path).map_err(|error| format!("the log does not open: {error}"))?;
        if let Some(damage) = files.damage().first() {
            return Err(format!("damaged: {damage:?}"));
        }
        for stream in self.streams().iter() {
            let found = count(&files, stream)?;
            let (taken, acknowledged) = (stream.taken(), stream.acknowledged.load(Ordering::SeqCst));
            let least = if expect == Expect::Everything { taken } else { acknowledged };
            if found < least || found > taken {
                let name = &stream.name;
                return Err(format!("{name}: {found} found, {acknowledged} acknowledged, {taken} taken ({expect:?})"));
            }
        }
        Ok(())
    }

    /// After a recovery: what is in the log now stays there, and what is not never comes.
    pub(crate) fn adopt(&self, path: &Path) -> Result<(), String> {
        let files = LogFiles::open(path).map_err(|error| format!("the log does not open: {error}"))?;
        for stream in self.streams().iter() {
            let found = count(&files, stream)?;
            stream.taken.store(found, Ordering::SeqCst);
            stream.acknowledged.store(found, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Events of a stream in the log, which must be its first ones, in order.
fn count(files: &LogFiles, stream: &Stream) -> Result<u64, String> {
    let name = &stream.name;
    let events = files.replay(name.as_str()).map_err(|error| format!("{name}: {error}"))?;
    let mut next = 0;
    for event in events {
        let event = event.map_err(|error| format!("{name}, event {next}: {error}"))?;
        if number_of(&event) != Some(next) {
            let (found, bytes, first) = (number_of(&event), event.raw.len(), event.raw.get(..48).unwrap_or(&event.raw));
            let words = format!("{found:?} of {bytes} bytes that begin with {first:?}, kind {:?}", event.kind);
            return Err(format!("{name}: {words}, in the place of event {next}"));
        }
        next += 1;
    }
    Ok(next)
}

/// A reader that follows the streams of a live bus: each in order, from its beginning, and nothing twice.
#[derive(Debug, Default)]
pub(crate) struct Reader(std::collections::HashMap<u128, u64>);

impl Reader {
    /// Events of each stream, by its session.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u128, u64)> {
        self.0.iter().map(|(session, events)| (*session, *events))
    }

    pub(crate) fn take(&mut self, event: &StoredEvent) -> Result<(), String> {
        // A session with such an id is no stream.
        if event.session.0 < 1000 {
            return Ok(());
        }
        let next = self.0.entry(event.session.0).or_default();
        match number_of(event) {
            Some(number) if number == *next => *next += 1,
            other => return Err(format!("a reader got {other:?} in the place of event {next} of {:?}", event.session)),
        }
        Ok(())
    }
}
