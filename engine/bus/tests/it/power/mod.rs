//! A power cut under a real file system: what was acknowledged is there, in order, and nothing else.
//!
//! An ext4 file system in a file (`disk`) is stopped while a process (`victim`) opens a log there, ingests, or closes.
//! Mounted again, the log is compared with what the process had said, recovered, compared again, and gone on with.

mod disk;
mod in_flight;
mod victim;

use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_lite::future::block_on;
use tapeline::config::Durability;
use tapeline::{EventBusConfig, EventBusConfigBuilder, LogFiles, kinds};
use tapeline_testing::{Random, asked};

use crate::scratch::open;
use disk::Disk;
use victim::{Orders, Victim};

/// Rounds on one log. The next has a new one, so that the disk does not fill up.
const ROUNDS_PER_LOG: u64 = 10;
/// Longest that anything takes: far more than it ever does.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(directory: &Path, is_cached: bool) -> EventBusConfigBuilder {
    let level = if is_cached { Durability::PageCache } else { Durability::Durable };
    EventBusConfig::builder().directory(directory).durability(level).num_shards(2).segment_bytes(2 << 20)
}

/// One in 301 is too long to share a block with others: 7 MiB of each 301 events, on a disk of 1 GiB for 10 rounds.
fn payload(number: u64) -> Vec<u8> {
    let filling = if number % 301 == 300 { 1_048_500 } else { number as usize * 37 % 9000 };
    [number.to_le_bytes().as_slice(), &vec![7; filling]].concat()
}

#[test]
#[ignore = "needs root: mounts a file system"]
fn power_cuts_lose_nothing_acknowledged() {
    cut_power(false);
}

/// Events acknowledged since the log was opened may be gone; the log is whole all the same.
#[test]
#[ignore = "needs root: mounts a file system"]
fn power_cuts_leave_a_beginning_at_level_page_cache() {
    cut_power(true);
}

fn cut_power(is_cached: bool) {
    let rounds = asked("TAPELINE_POWER_CUTS").unwrap_or(5);
    let now = || SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64;
    let seed = asked("TAPELINE_SEED").unwrap_or_else(now);
    println!("TAPELINE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut disk = Disk::new();
    let mut ledger = Ledger::default();
    for round in 0..rounds {
        let log = round / ROUNDS_PER_LOG;
        let directory = disk.mount_point().join(format!("log-{log}"));
        if log > 0 && round % ROUNDS_PER_LOG == 0 {
            std::fs::remove_dir_all(disk.mount_point().join(format!("log-{}", log - 1))).expect("removes");
            ledger = Ledger::default();
        }
        let orders = Orders::draw(round, is_cached, &mut random);
        let acknowledged = cut_round(&mut disk, &directory, &orders, &mut random);
        disk.restart();
        check_round(&directory, &orders, acknowledged, &mut ledger);
    }
}

/// Starts the process, cuts its power, and returns what it had acknowledged.
fn cut_round(disk: &mut Disk, directory: &Path, orders: &Orders, random: &mut Random) -> [u64; 2] {
    let goal = 1 + random.below(4000);
    let is_early = random.below(4) == 0;
    println!("{orders:?}, cut {}", if is_early { "early" } else { "later" });
    let mut victim = Victim::start(directory, orders);
    victim.listen_until(|victim| match (is_early, orders.closes()) {
        (true, _) => victim.last_words() == "opening",
        (_, true) => victim.last_words() == "closing" || victim.last_words() == "closed",
        _ => victim.acknowledged().iter().all(|&acknowledged| acknowledged >= goal),
    });
    // From that point on, at whatever the process is then.
    std::thread::sleep(Duration::from_micros(random.below(20_000)));
    disk.cut();
    let acknowledged = victim.end();
    println!("    {acknowledged:?} acknowledged");
    acknowledged
}

/// Checks the log as it lies, then after recovery, then with more in it.
fn check_round(directory: &Path, orders: &Orders, acknowledged: [u64; 2], ledger: &mut Ledger) {
    let Orders { round, is_cached, .. } = orders;
    let acknowledged = if *is_cached { [0, 0] } else { acknowledged };
    if directory.join("meta").exists() {
        let files = LogFiles::open(directory).expect("opens");
        for (acknowledged, name, first) in [(acknowledged[0], "a", 0), (acknowledged[1], "b", 1)] {
            let mut entry = Entry { session: format!("{round}-{name}"), first, step: 2, end: 0 };
            entry.end = entry.count(&files);
            assert!(entry.end >= acknowledged, "{acknowledged} acknowledged, {entry:?} found");
            ledger.0.push(entry);
        }
        ledger.check(directory);
    } else {
        // The cut came before there was a log.
        assert!(acknowledged == [0, 0] && ledger.0.is_empty(), "the log is gone");
    }
    let bus = open(config(directory, *is_cached));
    ledger.check(directory);
    let mut producer = bus.producer().expect("producer");
    let more = Entry { session: format!("{round}-more"), first: 0, step: 1, end: 100 };
    let session = producer.session(&more.session);
    for number in more.first..more.end {
        producer.emit(session, kinds::TOKEN, &payload(number)).expect("emits");
    }
    block_on(producer.flush()).expect("durable");
    block_on(bus.shutdown()).expect("ends");
    ledger.0.push(more);
    ledger.check(directory);
}

/// The events that a log must hold, and no others.
#[derive(Default)]
struct Ledger(Vec<Entry>);

/// A session whose events bear the numbers `first..end` in steps.
#[derive(Debug)]
struct Entry {
    session: String,
    first: u64,
    step: u64,
    end: u64,
}

impl Ledger {
    /// Compares every event, and looks at every block.
    fn check(&self, directory: &Path) {
        let files = LogFiles::open(directory).expect("opens");
        let verification = files.verify(|_| {});
        assert!(verification.damage.is_empty(), "{:?}", verification.damage);
        for entry in &self.0 {
            assert_eq!(entry.count(&files), entry.end, "{entry:?}");
        }
        let events: u64 = self.0.iter().map(|entry| (entry.end - entry.first) / entry.step).sum();
        assert_eq!(verification.events, events, "events of nobody");
    }
}

impl Entry {
    /// Reads the session; returns where it ends.
    fn count(&self, files: &LogFiles) -> u64 {
        let mut next = self.first;
        for event in files.replay(&self.session).expect("replays") {
            let event = event.expect("event");
            assert_eq!(*event.raw, *payload(next), "{self:?}: lost, invented or out of order at {next}");
            next += self.step;
        }
        next
    }
}
