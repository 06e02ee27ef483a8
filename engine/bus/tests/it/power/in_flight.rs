//! A process that is killed while a write of it is in flight: the lock of its log is held until the write has landed.
//!
//! If it were not, the next process could write where that write lands later, and lose what it had acknowledged.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::{EventBus, EventBusConfig, LogFiles, kinds};
use tapeline_storage::device::probe;

use super::PATIENCE;
use super::disk::Disk;
use crate::scratch::open;

const DIRECTORY: &str = "TAPELINE_IN_FLIGHT_DIRECTORY";

/// Segments so long that none is prepared meanwhile: no thread but the shard's waits for the disk.
fn config(directory: &Path) -> tapeline::EventBusConfigBuilder {
    EventBusConfig::builder().directory(directory).segment_bytes(64 << 20)
}

/// The process: one event that is durable, and for each line that it is sent another one.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let bus = open(config(Path::new(&directory)));
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("a");
    producer.emit(session, kinds::TOKEN, b"durable").expect("emits");
    block_on(producer.flush()).expect("durable");
    println!("\ndurable");
    for _ in io::stdin().lines() {
        producer.emit(session, kinds::TOKEN, b"in flight").expect("emits");
    }
}

#[test]
#[ignore = "needs root: mounts a file system"]
fn lock_of_a_killed_process_is_held_until_its_writes_have_landed() {
    if let Err(error) = probe::io_uring_available() {
        return println!("skipped: {error}; a thread that writes holds the lock by itself");
    }
    let under = Disk::new();
    let disk = Disk::on(&under);
    let directory = disk.mount_point().join("log");
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", "power::in_flight::child", "--nocapture", "--test-threads=1"]).env(DIRECTORY, &directory);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "durable"), "the process ended early");

    let frozen = under.freeze();
    child.stdin.take().expect("stdin").write_all(b"\n").expect("sends");
    wait_until(|| disk.writes_in_flight() > 0);
    child.kill().expect("kills");
    child.wait().expect("ends");
    assert!(is_locked(&directory), "the lock is free, and a write is in flight");

    drop(frozen);
    wait_until(|| !is_locked(&directory));
    let bus = open(config(&directory));
    let mut producer = bus.producer().expect("a producer");
    producer.emit(producer.session("a"), kinds::TOKEN, b"after").expect("emits");
    block_on(producer.flush()).expect("durable");
    block_on(EventBus::shutdown(bus)).expect("ends");
    let files = LogFiles::open(&directory).expect("opens");
    let events = files.replay("a").expect("replays").map(|event| event.expect("an event").raw.to_vec());
    assert_eq!(events.collect::<Vec<_>>(), [&b"durable"[..], b"in flight", b"after"]);
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns whether an opener holds the lock of the log.
#[allow(unsafe_code, reason = "flock")]
fn is_locked(directory: &Path) -> bool {
    let lock = File::open(directory.join("lock")).expect("the lock");
    // SAFETY: no pointers. A lock that it gets goes with the file.
    let result = unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    result != 0
}
