//! The work of a bus while the kernel refuses, and the conditions that must hold then.

use std::path::Path;
use std::sync::Arc;

use futures_lite::future::block_on;
use tapeline::config::{Driver, Durability};
use tapeline::retention::RetentionPolicy;
use tapeline::{ConsumeRequest, EventBus, EventBusConfig, IngestionError, kinds};
use tapeline_storage::device::sim::Random;

use super::kernel::{self, Refusal};
use super::may_be_final;
use crate::life::ledger::{Expect, Ledger, Stream, large_payload, payload};
use crate::life::surroundings::{Belongings, eventually};
use crate::runner::step;
use crate::scratch::Scratch;

/// Openings that may fail one after the other: more than calls are refused.
const TRIES: u64 = 40;
/// Of each thousand events of a stream, the one that has a block for itself.
const LARGE_AT: u64 = 50;

pub(crate) fn run(refusal: Refusal, random: &mut Random) -> Result<(), String> {
    let scratch = Scratch::new("faults");
    let ledger = Ledger::default();
    let config = configuration(scratch.path(), random);
    // A log that is there already has more to be opened.
    if random.below(2) == 0 {
        let bus = block_on(EventBus::new(config.clone())).map_err(|error| format!("the first opening: {error}"))?;
        write(&bus, &ledger.stream("before".into()), 500)?;
        block_on(bus.shutdown()).map_err(|error| format!("the first end: {error}"))?;
    }
    let before = Belongings::now();
    step("install the filter");
    if let Err(error) = kernel::refuse(refusal) {
        println!("calls cannot be refused here: {error}");
        return Ok(());
    }
    let outcome = lives(&config, scratch.path(), &ledger, &refusal);
    if outcome.is_ok() {
        step("nothing is left");
        before.are_all()?;
    }
    outcome
}

fn configuration(path: &Path, random: &mut Random) -> EventBusConfig {
    let config = EventBusConfig::builder()
        .directory(path)
        .num_shards(1 + random.below(2) as u16)
        .durability([Durability::Durable, Durability::Durable, Durability::PageCache][random.below(3) as usize])
        .driver([Driver::Auto, Driver::Blocking][random.below(2) as usize])
        .segment_bytes(2 << 20)
        .memory_bytes(4 << 20);
    config.build().expect("a configuration")
}

/// A life with calls refused, and one after it.
fn lives(config: &EventBusConfig, path: &Path, ledger: &Ledger, refusal: &Refusal) -> Result<(), String> {
    step("open");
    let bus = open(config)?;
    let mut expect = Expect::Acknowledged;
    step("write");
    let failure = use_all(&bus, ledger).err();
    step("go on");
    let again = ledger.stream("again".into());
    let goes_on = write(&bus, &again, 200).and_then(|()| flush(&bus, ledger));
    if let (Err(error), true) = (&goes_on, kernel::is_over(refusal) && !may_be_final(refusal, config.log.durability)) {
        return Err(format!("calls are not refused any more, and the bus is of no use: {error}; before: {failure:?}"));
    }
    step("shut down");
    if block_on(bus.shutdown_via_ref()).is_ok() {
        expect = Expect::Everything;
    }
    drop(bus);
    let was_over = kernel::is_over(refusal);
    step("open again");
    let bus = open(config)?;
    step("compare");
    check(path, ledger, expect)?;
    step("trim");
    let _ = block_on(bus.trim(&RetentionPolicy::new().max_segments(1)));
    let ledger = Ledger::default();
    let last = ledger.stream("last".into());
    let outcome = write(&bus, &last, 100).and_then(|()| flush(&bus, &ledger));
    if was_over || kernel::is_over(refusal) && !may_be_final(refusal, config.log.durability) {
        outcome?;
    }
    drop(bus);
    check(path, &ledger, Expect::Acknowledged)
}

/// Opens the log, as often as it takes.
fn open(config: &EventBusConfig) -> Result<EventBus, String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match block_on(EventBus::new(config.clone())) {
            Ok(bus) => return Ok(bus),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("does not open any more: {last}"))
}

/// Reads as often as it takes.
fn check(path: &Path, ledger: &Ledger, expect: Expect) -> Result<(), String> {
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        outcome = ledger.check(path, expect);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Some segments, pages, and a named cursor.
fn use_all(bus: &EventBus, ledger: &Ledger) -> Result<(), String> {
    for part in 0..3 {
        write(bus, &ledger.stream(format!("part-{part}")), 6_000)?;
        flush(bus, ledger)?;
        let page = block_on(bus.poll(ConsumeRequest::new(100))).map_err(|error| error.to_string())?;
        if let Some(cursor) = page.next_id {
            bus.save_cursor("relay", &cursor).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn write(bus: &EventBus, stream: &Arc<Stream>, events: u64) -> Result<(), String> {
    let mut producer = bus.producer().map_err(|error| error.to_string())?;
    let session = producer.session(stream.name.as_str());
    for number in 0..events {
        let payload = if number % 1000 == LARGE_AT { large_payload(number) } else { payload(number) };
        loop {
            match producer.emit(session, kinds::TOKEN, &payload) {
                Ok(_) => break stream.take(1),
                Err(
                    IngestionError::Backpressure { .. }
                    | IngestionError::EventBudget { .. }
                    | IngestionError::StorageFull { .. },
                ) => std::thread::yield_now(),
                Err(error) => return Err(format!("{}, event {number}: {error}", stream.name)),
            }
        }
    }
    Ok(())
}

/// A shard whose disk was full tries again after a while, and says so meanwhile.
fn flush(bus: &EventBus, ledger: &Ledger) -> Result<(), String> {
    let taken = ledger.taken();
    let mut outcome = Ok(());
    eventually(|| {
        outcome = block_on(bus.flush());
        outcome.as_ref().err().filter(|error| error.is_retryable()).map(ToString::to_string)
    })?;
    outcome.map_err(|error| format!("flush: {error}"))?;
    Ledger::acknowledge(taken);
    Ok(())
}
