//! Another process on the log of a live bus: it cannot have the log, and reads it as it grows.

use std::path::Path;
use std::process::{Command, Stdio};

use futures_lite::future::block_on;
use tapeline::log::{FollowStart, LogFollower};
use tapeline::{EventBus, EventBusConfig, LogFiles, ReplayRequest};

use super::ledger::{Ledger, Reader};
use crate::runner::step;

/// The directory.
const ORDERS: &str = "TAPELINE_NEIGHBOUR";
/// Looks that a follower takes.
const LOOKS: u32 = 20;

#[test]
fn run() {
    let Some(directory) = std::env::var_os(ORDERS) else { return };
    let path = Path::new(&directory);
    let config = EventBusConfig::builder().directory(path).build().expect("a configuration");
    match block_on(EventBus::new(config)) {
        Ok(_) => panic!("two processes have the log open"),
        Err(error) => assert!(error.is_retryable(), "another process gets: {error}"),
    }
    // Begins a line of its own.
    println!();
    let files = LogFiles::open(path).expect("opens");
    let mut reader = Reader::default();
    for event in files.replay_all().expect("replays") {
        reader.take(&event.expect("an event")).expect("in order");
    }
    reader.counts().for_each(|(session, events)| println!("found {session} {events}"));
    let mut reader = Reader::default();
    let mut follower = LogFollower::open(path, FollowStart::Earliest, &ReplayRequest::new()).expect("follows");
    for _ in 0..LOOKS {
        follower.look();
        while let Some(event) = follower.try_next() {
            reader.take(&event.expect("an event")).expect("in order");
        }
    }
    println!("over");
}

/// Has a process try to open the log, and read it. It finds what was acknowledged before.
pub(crate) fn visit(path: &Path, ledger: &Ledger) -> Result<(), String> {
    step("another process");
    let acknowledged = ledger.acknowledged();
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", "life::neighbour::run", "--nocapture", "--test-threads=1"]).env(ORDERS, path);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("starts");
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.lines().any(|line| line == "over") {
        return Err(format!("another process on the log fails: {said}"));
    }
    let found = |session: u128| {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("found {session} ")));
        line.map_or(0, |events| events.parse::<u64>().expect("a number"))
    };
    for (name, events) in acknowledged {
        let there = found(tapeline::event::session_id(&name).0);
        if there < events {
            return Err(format!("another process finds {there} of {events} acknowledged events of {name}"));
        }
    }
    Ok(())
}
