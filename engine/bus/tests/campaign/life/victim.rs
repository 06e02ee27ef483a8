//! A process that ingests and says what was acknowledged, until it is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures_lite::future::block_on;
use tapeline::{EventBus, kinds};
use tapeline_storage::device::sim::Random;

use super::ledger::{Ledger, Stream, payload};
use super::schedule::{configuration, open};
use crate::runner::step;

/// Directory, seed, and the name of the streams.
const ORDERS: &str = "TAPELINE_VICTIM";
const STREAMS: usize = 2;
/// Events that a stream of a victim may have: what it took besides the acknowledged ones is not known.
const MANY: u64 = 1 << 40;

#[test]
fn run() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let [directory, seed, name] = orders.split('|').collect::<Vec<_>>().try_into().expect("three");
    let mut random = Random::new(seed.parse().expect("a seed"));
    let bus = Arc::new(open(configuration(Path::new(directory), &mut random)).expect("opens"));
    let threads = (0..STREAMS).map(|number| {
        let (bus, name) = (Arc::clone(&bus), format!("{name}-{number}"));
        std::thread::spawn(move || ingest(&bus, &name))
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("never ends"));
}

fn ingest(bus: &EventBus, name: &str) {
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session(name);
    for number in 0u64.. {
        while producer.emit(session, kinds::TOKEN, &payload(number)).is_err() {
            std::thread::yield_now();
        }
        if number % 67 == 0 {
            block_on(producer.flush()).expect("durable");
            println!("{name} {}", number + 1);
        }
    }
}

/// Has a process ingest into the log, kills it after some acknowledgements, and writes those down.
pub(crate) fn kill_one(path: &Path, ledger: &Ledger, name: &str, random: &mut Random) -> Result<(), String> {
    step("a process that is killed");
    let orders = format!("{}|{}|{name}", path.display(), random.below(1 << 32));
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", "life::victim::run", "--nocapture", "--test-threads=1"]).env(ORDERS, orders);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("starts");
    let streams: Vec<Arc<Stream>> = (0..STREAMS).map(|number| ledger.stream(format!("{name}-{number}"))).collect();
    streams.iter().for_each(|stream| stream.take(MANY));
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    let mut reports = 0;
    let most = 1 + random.below(40);
    let mut listen = |lines: &mut dyn Iterator<Item = String>, most: u64| {
        for line in lines.take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let Some((name, durable)) = line.split_once(' ') else { continue };
            let Some(stream) = streams.iter().find(|stream| stream.name == name) else { continue };
            stream.acknowledge(durable.parse().expect("a number"));
            reports += 1;
        }
    };
    listen(&mut lines, 3 + most);
    child.kill().expect("kills");
    // What it said before it was killed counts.
    listen(&mut lines, u64::MAX);
    child.wait().expect("ends");
    if reports == 0 { Err("the process that was to be killed got nothing done".into()) } else { Ok(()) }
}
