//! kill -9 of a real process: what it had acknowledged is there, in order, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_lite::future::block_on;
use tapeline::config::Durability;
use tapeline::{LogFiles, kinds};
use tapeline_testing::asked;

use crate::scratch::{Scratch, open};

const DIRECTORY: &str = "TAPELINE_KILL_DIRECTORY";
const ROUND: &str = "TAPELINE_KILL_ROUND";
const LEVEL: &str = "TAPELINE_KILL_LEVEL";

/// Bytes of an event beside its number: of the first 3,000, one in 53 is too long to share a block with others. The
/// kill comes before there are more, or soon after.
fn filling(number: u64) -> usize {
    if number < 3000 && number % 53 == 52 { 1_048_500 } else { number as usize * 37 % 900 }
}

/// The process that is killed: ingests into two sessions of its round, and prints what is durable.
#[test]
fn child() {
    let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) else { return };
    let level = if std::env::var(LEVEL).is_ok() { Durability::PageCache } else { Durability::Durable };
    let config = tapeline::EventBusConfig::builder().directory(directory).durability(level).segment_bytes(2 << 20);
    let bus = open(config.num_shards(2));
    let mut producer = bus.producer().expect("producer");
    let sessions = [producer.session(&format!("{round}-a")), producer.session(&format!("{round}-b"))];
    for number in 0u64.. {
        let payload = [number.to_le_bytes().as_slice(), &vec![7; filling(number)]].concat();
        while producer.emit(sessions[number as usize % 2], kinds::TOKEN, &payload).is_err() {
            std::thread::yield_now();
        }
        if number % 101 == 100 {
            block_on(producer.flush()).expect("durable");
            println!("durable {}", number + 1);
            std::io::stdout().flush().expect("prints");
        }
    }
}

/// Starts [`child`], which says on its standard output what is durable.
pub(crate) fn start(directory: &Path, round: u64, page_cache: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", "kill::child", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).env(ROUND, round.to_string());
    if page_cache {
        command.env(LEVEL, "page-cache");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts")
}

fn kill_round(scratch: &Scratch, round: u64, page_cache: bool) {
    let mut child = start(scratch.path(), round, page_cache);
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    let mut acknowledged = 0;
    // The kill comes after a number of acknowledgements that depends on the round, at whatever point the child is then.
    let mut reports = lines.filter_map(|line| line.strip_prefix("durable ").and_then(|text| text.parse::<u64>().ok()));
    for durable in reports.by_ref().take(1 + (round * 7919 % 23) as usize) {
        acknowledged = durable;
    }
    child.kill().expect("kills");
    acknowledged = reports.last().unwrap_or(acknowledged);
    child.wait().expect("ends");
    assert!(acknowledged > 0, "round {round}: the child got nothing done");
    // As it lies, then after recovery.
    for recovered in [false, true] {
        if recovered {
            drop(open(scratch.config().num_shards(2)));
        }
        let files = LogFiles::open(scratch.path()).expect("opens");
        let found: Vec<u64> = ["a", "b"]
            .into_iter()
            .enumerate()
            .map(|(at, name)| {
                let mut next = at as u64;
                for event in files.replay(&format!("{round}-{name}")).expect("replays") {
                    let event = event.expect("event");
                    assert_eq!(event.raw[..8], next.to_le_bytes(), "round {round}: lost, invented or out of order");
                    assert_eq!(event.raw.len(), 8 + filling(next));
                    next += 2;
                }
                next
            })
            .collect();
        assert!(
            found.iter().all(|&next| next >= acknowledged),
            "round {round}: {acknowledged} acknowledged, {found:?}"
        );
    }
}

#[test]
fn killed_process_loses_nothing_acknowledged() {
    let rounds = asked("TAPELINE_KILLS").unwrap_or(6);
    let scratch = Scratch::new("kill");
    (0..rounds).for_each(|round| kill_round(&scratch, round, false));
    let cached = Scratch::new("kill-cached");
    (0..rounds / 3).for_each(|round| kill_round(&cached, round, true));
}
