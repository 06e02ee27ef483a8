//! The batches that an adapter is handed: events of one shard, in order, as many and as soon as the settings say.

use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::event::Kind;
use tapeline::{
    BackpressureMode, Batch, BatchConfig, ConsumerError, EventBus, EventBusConfig, SubscribeRequest, Subscription,
    kinds,
};

const LATER: Duration = Duration::from_secs(3600);

/// Batches of exactly so many events, but for the last.
fn exactly(size: usize) -> BatchConfig {
    BatchConfig { min_size: 1, max_size: size, max_delay: LATER, adaptive: false, ..BatchConfig::default() }
}

fn open(shards: u16) -> EventBus {
    let config = EventBusConfig::builder().num_shards(shards).backpressure_mode(BackpressureMode::DropNewest);
    block_on(EventBus::new(config.batch(exactly(10)).build().expect("a configuration"))).expect("a bus")
}

fn ingest(bus: &EventBus, numbers: std::ops::Range<u64>) {
    let mut producer = bus.producer().expect("a producer");
    for number in numbers {
        let session = producer.session(1 + u128::from(number % 7));
        producer.emit(session, Kind(1), &number.to_le_bytes()).expect("taken");
    }
}

fn subscribe(bus: &EventBus) -> Subscription {
    block_on(bus.subscribe(SubscribeRequest::new())).expect("a subscription")
}

fn check(batch: &Batch) {
    assert!(!batch.is_empty() && batch.sequence_start == batch.events[0].sequence);
    assert!(batch.events.iter().all(|event| event.shard_id == batch.shard_id));
    assert!(batch.events.is_sorted_by_key(|event| event.sequence));
}

#[test]
fn batches_hold_what_they_may_and_the_rest_comes_at_the_end() {
    let bus = open(2);
    ingest(&bus, 0..205);
    let mut batches = block_on(bus.batches(SubscribeRequest::new())).expect("batches");
    block_on(bus.shutdown_via_ref()).expect("ends");
    let mut sizes = Vec::new();
    while let Some(batch) = batches.blocking_next() {
        let batch = batch.expect("a batch");
        check(&batch);
        sizes.push(batch.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 205);
    assert!(sizes.iter().all(|size| *size <= 10) && sizes.iter().filter(|size| **size < 10).count() <= 3, "{sizes:?}");
}

#[test]
fn batch_waits_for_its_delay_and_no_longer() {
    let bus = open(1);
    let soon = BatchConfig { max_delay: Duration::from_millis(30), ..exactly(1000) };
    let mut batches = subscribe(&bus).batches(&soon).expect("batches");
    ingest(&bus, 0..1);
    assert_eq!(batches.blocking_next().expect("a batch").expect("events").len(), 1, "after a pause at once");
    ingest(&bus, 1..6);
    assert_eq!(batches.blocking_next().expect("a batch").expect("events").len(), 5, "when its time is over");
}

#[test]
fn adaptive_batches_have_at_least_the_least() {
    let bus = open(1);
    ingest(&bus, 0..1000);
    let config = BatchConfig { min_size: 25, max_delay: LATER, adaptive: true, ..exactly(100) };
    let mut batches = subscribe(&bus).batches(&config).expect("batches");
    let first = batches.blocking_next().expect("a batch").expect("events");
    assert_eq!(first.len(), 25);
    let fixed = BatchConfig { adaptive: false, ..config };
    let mut batches = subscribe(&bus).batches(&fixed).expect("batches");
    assert_eq!(batches.blocking_next().expect("a batch").expect("events").len(), 100);
}

#[test]
fn cursor_is_after_the_batches_that_were_handed_out() {
    let bus = open(3);
    ingest(&bus, 0..300);
    block_on(bus.shutdown_via_ref()).expect("ends");
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let request = SubscribeRequest { cursor: cursor.take(), ..SubscribeRequest::new() };
        let subscription = block_on(bus.subscribe(request)).expect("a subscription");
        let mut batches = subscription.batches(&exactly(8)).expect("batches");
        let Some(batch) = batches.blocking_next() else { break };
        let batch = batch.expect("events");
        check(&batch);
        seen.extend(batch.events.iter().map(|event| u64::from_le_bytes(event.raw[..].try_into().expect("a number"))));
        cursor = Some(batches.cursor());
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..300), "each event once");
}

#[test]
fn gap_comes_after_what_was_before_it() {
    let bus = open(1);
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("flood");
    let mut batch = producer.batch(session);
    let mut taken = 0;
    while batch.push(kinds::TOKEN, &[0; 60_000]).is_ok() {
        taken += 1;
    }
    batch.publish().expect("published");
    drop(batch);
    block_on(bus.flush()).expect("flushes");
    producer.emit(session, kinds::TOKEN, b"after").expect("taken");
    let mut batches = subscribe(&bus).batches(&exactly(1000)).expect("batches");
    block_on(bus.shutdown_via_ref()).expect("ends");
    let first = batches.blocking_next().expect("a batch").expect("events");
    assert_eq!(first.len(), taken);
    assert!(matches!(batches.blocking_next(), Some(Err(ConsumerError::Gap(_)))));
    assert_eq!(batches.blocking_next().expect("a batch").expect("events").len(), 1);
    assert!(batches.blocking_next().is_none());
}

#[test]
fn settings_out_of_range_are_refused() {
    let bus = open(1);
    assert!(subscribe(&bus).batches(&BatchConfig { min_size: 0, ..exactly(1) }).is_err());
    for preset in [BatchConfig::high_throughput(), BatchConfig::low_latency()] {
        preset.validate().expect("a preset");
    }
}

#[test]
fn cursor_is_before_a_gap_that_was_not_reported() {
    let bus = open(1);
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("flood");
    let mut batch = producer.batch(session);
    while batch.push(kinds::TOKEN, &[0; 60_000]).is_ok() {}
    batch.publish().expect("published");
    drop(batch);
    block_on(bus.flush()).expect("flushes");
    producer.emit(session, kinds::TOKEN, b"after").expect("taken");
    block_on(bus.flush()).expect("flushes");
    let mut batches = subscribe(&bus).batches(&exactly(1000)).expect("batches");
    batches.blocking_next().expect("a batch").expect("events");
    let request = SubscribeRequest::new().from(batches.cursor());
    let again = block_on(bus.subscribe(request)).expect("a subscription").batches(&exactly(1000));
    assert!(matches!(again.expect("batches").blocking_next(), Some(Err(ConsumerError::Gap(_)))));
}

#[test]
fn batches_that_are_dropped_leave_nobody_to_be_woken() {
    let bus = open(1);
    let late = BatchConfig { max_delay: LATER, ..exactly(1000) };
    for _ in 0..100 {
        let mut batches = subscribe(&bus).batches(&late).expect("batches");
        ingest(&bus, 0..1);
        block_on(bus.flush()).expect("flushes");
        assert!(batches.try_next().is_some(), "after a pause at once");
        ingest(&bus, 0..1);
        block_on(bus.flush()).expect("flushes");
        assert!(batches.try_next().is_none() && batches.lag() > 0, "the next one waits");
    }
}
