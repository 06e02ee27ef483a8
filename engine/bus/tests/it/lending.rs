//! The memory that readers hold is within the memory of the bus, however slow they are and however many.

use std::process::Command;

use futures_lite::future::block_on;
use tapeline::{EventBusConfig, EventBusConfigBuilder, Producer, SubscribeRequest, kinds};

use crate::scratch::{Scratch, open};

/// Set for the child: `memory`, or a directory.
const LOG: &str = "TAPELINE_LENDING";

/// Bytes of a payload: ten events a block.
const PAYLOAD: usize = 100_000;

/// Events that pass, 1 GiB, beside one for each reader.
const EVENTS: u64 = 10_737;

/// Readers, each of which stops at another position.
const READERS: u64 = 100;

/// Most MiB that the process may grow by: 16 of blocks, the lane, and what a hundred subscriptions, threads and an
/// allocator need. Every reader that held its blocks, or a copy of each, would have it grow by 900.
const GROWTH_MIB_MAX: u64 = 150;

/// Anonymous memory of this process, in MiB.
fn anonymous_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

fn config(log: &str) -> EventBusConfigBuilder {
    let config = EventBusConfig::builder().memory_bytes(16 << 20).memory_budget(128 << 20);
    if log == "memory" { config } else { config.directory(log) }
}

/// Emits an event of a hundred thousand bytes, and waits for it now and then.
fn emit(producer: &mut Producer, number: u64) {
    let session = producer.session("s");
    let ticket = producer.emit(session, kinds::TOKEN, &[7; PAYLOAD]).expect("emits");
    if number.is_multiple_of(20) {
        producer.wait_durable(ticket).expect("arrives");
    }
}

/// Has a gigabyte pass readers that hold on to what they have. Runs in a process of its own.
#[test]
fn child() {
    let Ok(log) = std::env::var(LOG) else { return };
    let bus = open(config(&log));
    let mut producer = bus.producer().expect("a producer");
    (0..200).for_each(|number| emit(&mut producer, number));
    let before = anonymous_mib();
    let (mut readers, mut most, mut most_lent) = (Vec::new(), 0, 0);
    for number in 0..EVENTS {
        if number % (EVENTS / READERS) == 0 {
            let mut subscription = block_on(bus.subscribe(SubscribeRequest::live())).expect("subscribes");
            emit(&mut producer, 0);
            let view = subscription.try_next_batch().expect("an event").expect("a batch");
            assert!(view.events().all(|event| event.is_ok_and(|event| event.payload() == [7; PAYLOAD])));
            // It stops for good. Its feed fills up.
            readers.push((subscription, view));
            let stats = bus.stats();
            assert!(stats.memory.lent_bytes <= 8 << 20 && stats.memory.bytes <= stats.memory.budget, "{stats:?}");
            (most, most_lent) = (most.max(anonymous_mib()), most_lent.max(stats.memory.lent_bytes));
        }
        emit(&mut producer, number);
    }
    let growth = most.saturating_sub(before);
    println!("{} readers hold {most_lent} bytes, {growth} MiB more", readers.len());
    assert!(growth <= GROWTH_MIB_MAX, "{growth} MiB more than the {before} before");
    assert!(most_lent > 0);
    assert!(
        readers.iter().all(|(_, view)| view.events().all(|event| event.is_ok_and(|event| event.payload()[0] == 7)))
    );
    drop(readers);
    // The shard forgets feeds of readers that are gone when it next wakes others, or sleeps.
    let mut number = 0;
    while bus.stats().memory.lent_bytes > 0 && number < 100_000 {
        emit(&mut producer, number);
        number += 1;
    }
    assert_eq!(bus.stats().memory.lent_bytes, 0);
}

fn run_child(log: &str) {
    let mut child = Command::new(std::env::current_exe().expect("own path"));
    child.args(["--exact", "lending::child", "--nocapture", "--test-threads=1"]);
    let status = child.env(LOG, log).status().expect("starts");
    assert!(status.success(), "{log}: {status}");
}

#[test]
fn forgotten_readers_of_a_bus_in_memory_stay_within_its_memory() {
    run_child("memory");
}

#[test]
fn forgotten_readers_of_a_durable_bus_stay_within_its_memory() {
    let scratch = Scratch::new("lending");
    run_child(scratch.path().to_str().expect("UTF-8"));
}
