//! Processes that are killed between the confirmation of a batch and the storing of its cursor, and anywhere else.

use std::fs::OpenOptions;
use std::future::ready;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tapeline::adapter::{Adapter, AdapterFuture, Batch, RelayEnd, RelayOptions};
use tapeline::{AdapterError, BatchConfig, EventBusConfig, LogFiles, RawEvent, ReplayRequest};
use tapeline_testing::asked;

use crate::scratch::{Scratch, open};

const DIRECTORY: &str = "TAPELINE_RELAY_DIRECTORY";

/// Events of a batch, at most.
const BATCH: usize = 50;

/// A backend that outlives the process: a file of lines, each written whole.
struct Lines(std::path::PathBuf);

impl Adapter for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        let lines: String = batch.events.iter().map(|event| format!("{}\n", event.dedup_id())).collect();
        let file = OpenOptions::new().append(true).create(true).open(&self.0);
        let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
        Box::pin(ready(written.map_err(|error| AdapterError::Transient(error.to_string()))))
    }
}

fn options() -> RelayOptions {
    let batch =
        BatchConfig { min_size: 1, max_size: BATCH, max_delay: Duration::from_millis(1), ..BatchConfig::default() };
    RelayOptions::new("lines").batch(batch)
}

/// The process that is killed: ingests and relays.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let bus = open(EventBusConfig::builder().directory(directory.join("log")).segment_bytes(2 << 20));
    let lines = Box::new(Lines(directory.join("lines")));
    let _relay = bus.start_relay(lines, options()).expect("starts");
    for number in 0u64.. {
        let _ = bus.ingest_raw(RawEvent::from_str(&number.to_string()).with_session("s"));
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn start(directory: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", "adapters::kill::child", "--nocapture", "--test-threads=1"]).env(DIRECTORY, directory);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

fn lines(directory: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(directory.join("lines")).unwrap_or_default();
    text.lines().map(|line| line.rsplit('-').next().expect("a sequence").parse().expect("a number")).collect()
}

#[test]
fn killed_process_repeats_two_batches_at_most_and_leaves_nothing_out() {
    let scratch = Scratch::new("relay-kill");
    let mut before = 0;
    for round in 0..asked("TAPELINE_KILLS").unwrap_or(6) {
        let mut child = start(scratch.path());
        while lines(scratch.path()).len() <= before {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(round * 7919 % 40));
        child.kill().expect("kills");
        child.wait().expect("ends");
        let found = lines(scratch.path());
        let mut expected = 0;
        let mut repeats = Vec::new();
        for (at, sequence) in found.iter().enumerate() {
            assert!(*sequence <= expected, "round {round}: line {at} is {sequence}, and {expected} was due");
            if *sequence < expected && at >= before {
                repeats.push(*sequence);
            }
            expected = expected.max(sequence + 1);
        }
        assert!(repeats.len() <= 2 * BATCH, "round {round}: {repeats:?}");
        before = found.len();
    }
    let log = scratch.path().join("log");
    let bus = open(EventBusConfig::builder().directory(&log).segment_bytes(2 << 20));
    let relay = bus.start_relay(Box::new(Lines(scratch.path().join("lines"))), options()).expect("starts");
    relay.drain(Duration::from_secs(60));
    assert_eq!(relay.join(), RelayEnd::Drained);
    drop(bus);
    let stored = LogFiles::open(&log).expect("opens").replay_with(&ReplayRequest::new()).expect("replays");
    let found: std::collections::BTreeSet<u64> = lines(scratch.path()).into_iter().collect();
    let stored: std::collections::BTreeSet<u64> = stored.map(|event| event.expect("event").sequence.get()).collect();
    assert_eq!(found, stored);
}
