//! What happens to events that find no room: each mode does what its name says, and nothing is lost untold.

use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::{
    AdapterError, BackpressureMode, ConsumeRequest, ConsumeResponse, DropReason, EventBus, EventBusConfig, Gap,
    GapReason, IngestionError, Kind, Producer, ProducerOptions, kinds,
};

const PAYLOAD: [u8; 1000] = [7; 1000];

fn open(mode: BackpressureMode) -> EventBus {
    let config = EventBusConfig::builder().backpressure_mode(mode).lane_bytes(64 << 10).ring_buffer_capacity(1024);
    block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus")
}

/// Offers `offered` events that are not published, so that the lane fills whatever the shard does; publishes those that
/// were taken. Returns how many that were, and the errors of the others.
fn fill(producer: &mut Producer, offered: usize) -> (usize, Vec<IngestionError>) {
    let session = producer.session("filled");
    let mut batch = producer.batch(session);
    let outcomes: Vec<_> = (0..offered).map(|_| batch.push(kinds::TOKEN, &PAYLOAD)).collect();
    batch.publish().expect("publishes");
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    (taken, outcomes.into_iter().filter_map(Result::err).collect())
}

fn read(bus: &EventBus) -> ConsumeResponse {
    block_on(bus.poll(ConsumeRequest::new(1_000_000))).expect("a page")
}

fn told(gaps: &[Gap], wanted: DropReason) -> u64 {
    let told = |gap: &Gap| match &gap.reason {
        GapReason::Overflow { events, reason, .. } if *reason == wanted => *events,
        other => panic!("{other}"),
    };
    gaps.iter().map(told).sum()
}

#[test]
fn fail_producer_hands_the_event_back_and_tells_nobody() {
    let bus = open(BackpressureMode::FailProducer);
    let mut producer = bus.producer().expect("a producer");
    let (taken, errors) = fill(&mut producer, 100);
    assert!(taken < 100 && errors.iter().all(|error| matches!(error, IngestionError::Backpressure { shard: 0 })));
    block_on(bus.flush()).expect("flushes");
    let (page, stats) = (read(&bus), bus.stats());
    assert_eq!((page.events.len(), page.gaps.len()), (taken, 0));
    assert_eq!((stats.events_ingested, stats.events_refused), (taken as u64, errors.len() as u64));
    assert!(stats.is_balanced() && stats.drops.total() == 0, "{stats:?}");
}

#[test]
fn drop_newest_lets_the_event_go_and_tells_readers_in_its_place() {
    let bus = open(BackpressureMode::DropNewest);
    let mut producer = bus.producer().expect("a producer");
    let (taken, errors) = fill(&mut producer, 100);
    assert!(taken < 100 && errors.iter().all(|error| matches!(error, IngestionError::Dropped { shard: 0 })));
    assert!(errors.iter().all(IngestionError::is_drop));
    block_on(bus.flush()).expect("flushes");
    let session = producer.session("filled");
    producer.emit(session, kinds::TOKEN, b"after").expect("there is room again");
    let page = read(&bus);
    assert_eq!((page.events.len(), told(&page.gaps, DropReason::Newest)), (taken + 1, errors.len() as u64));
    let last = page.events.last().expect("an event");
    assert_eq!(page.gaps[0].to, last.sequence, "the gap is where they are missing");
    assert!(matches!(page.gaps[0].reason, GapReason::Overflow { producer: id, .. } if id == producer.id()));
    let stats = bus.stats();
    assert_eq!((stats.drops.newest, stats.events_refused, stats.notes), (errors.len() as u64, 0, 1));
    assert!(stats.is_balanced(), "{stats:?}");
}

#[test]
fn gap_concerns_the_readers_of_the_session_that_lost_something() {
    let bus = open(BackpressureMode::DropNewest);
    let mut producer = bus.producer().expect("a producer");
    let (_, errors) = fill(&mut producer, 100);
    block_on(bus.flush()).expect("flushes");
    let other = producer.session("other");
    producer.emit(other, kinds::TOKEN, b"x").expect("room");
    let gaps = |session: &str| {
        let page = block_on(bus.poll(ConsumeRequest::new(1000).session(session))).expect("a page");
        page.gaps.len()
    };
    assert_eq!((gaps("filled"), gaps("other"), errors.is_empty()), (1, 0, false));
    let replayed = block_on(bus.replay("filled")).expect("a replay");
    assert_eq!(replayed.filter(Result::is_err).count(), 1);
    let request = tapeline::SubscribeRequest::new().session("filled");
    let mut live = block_on(bus.subscribe(request)).expect("a subscription");
    let mut seen = 0;
    while let Some(event) = live.try_next() {
        seen += usize::from(event.is_err());
    }
    assert_eq!(seen, 1);
}

#[test]
fn sample_keeps_one_in_so_many_above_half_a_lane() {
    let bus = open(BackpressureMode::Sample { rate: 4 });
    let mut producer = bus.producer().expect("a producer");
    let (taken, errors) = fill(&mut producer, 80);
    assert!(errors.iter().all(|error| matches!(error, IngestionError::Sampled { shard: 0 }) && error.is_drop()));
    let below = (0..).take_while(|events| (events + 1) * 1040 <= 32 << 10).count();
    let sampled_from = 80 - below;
    assert!(taken - below <= sampled_from / 4 + 1 && taken - below >= sampled_from / 4 - 1, "{taken} of 80");
    block_on(bus.flush()).expect("flushes");
    let (more, refused) = fill(&mut producer, 5);
    assert_eq!((more, refused.len()), (5, 0), "below half a lane every event is kept");
    let page = read(&bus);
    assert_eq!((page.events.len(), told(&page.gaps, DropReason::Sampled)), (taken + more, errors.len() as u64));
    assert!(bus.stats().is_balanced());
}

#[test]
fn drop_oldest_keeps_the_newest_and_never_calls_a_lost_event_durable() {
    let bus = open(BackpressureMode::DropOldest);
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("flood");
    let mut tickets = Vec::new();
    let mut newest = 0;
    while bus.stats().drops.oldest == 0 || tickets.len() < 1000 {
        for _ in 0..100 {
            match producer.emit(session, Kind(1), &PAYLOAD) {
                Ok(ticket) => tickets.push(ticket),
                Err(IngestionError::Dropped { .. }) => newest += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let last = tickets.last().copied().expect("a ticket");
    block_on(bus.flush()).expect("flushes");
    let stats = bus.stats();
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.drops.newest, stats.events_ingested), (newest, tickets.len() as u64 + newest));
    let lost = tickets.iter().filter(|ticket| !producer.is_durable(**ticket)).count() as u64;
    assert_eq!(lost, stats.drops.oldest);
    assert!(producer.is_durable(last), "the newest is kept");
    let gone = tickets.iter().find(|ticket| !producer.is_durable(**ticket)).expect("one that was let go");
    assert!(matches!(producer.wait_durable(*gone), Err(AdapterError::Dropped { shard: 0 })));
    let page = read(&bus);
    assert_eq!(page.events.last().map(|event| event.insertion_ts), Some(last.timestamp));
}

#[test]
fn block_sleeps_until_there_is_room_or_its_time_is_over() {
    let deadline = Duration::from_millis(200);
    let bus = open(BackpressureMode::Block { deadline });
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("slow");
    let mut batch = producer.batch(session);
    while batch.push(kinds::TOKEN, &PAYLOAD[..900]).is_ok() {}
    let (begun, cpu) = (Instant::now(), thread_cpu());
    assert!(matches!(batch.push(kinds::TOKEN, &PAYLOAD), Err(IngestionError::Backpressure { .. })));
    let (elapsed, busy) = (begun.elapsed(), thread_cpu() - cpu);
    assert!(elapsed >= deadline, "{elapsed:?}");
    assert!(busy < deadline / 2, "it sleeps: {busy:?} of {elapsed:?}");
    batch.publish().expect("publishes");
    for _ in 0..1000 {
        batch.push(kinds::TOKEN, &PAYLOAD).expect("waits for room");
        batch.publish().expect("publishes");
    }
}

#[expect(unsafe_code)]
fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn producer_has_a_mode_and_lanes_of_its_own() {
    let bus = open(BackpressureMode::FailProducer);
    let own = ProducerOptions::new().backpressure_mode(BackpressureMode::DropNewest).lane_bytes(1 << 20);
    let mut producer = bus.producer_with(own).expect("a producer");
    let (taken, errors) = fill(&mut producer, 1100);
    assert!(taken > 900, "its lane holds 1 MiB: {taken}");
    assert!(errors.iter().all(IngestionError::is_drop));
    let lanes = bus.lane_stats();
    assert_eq!((lanes.len(), lanes[0].producer, lanes[0].capacity_bytes), (1, producer.id(), 1 << 20));
    assert_eq!((lanes[0].drops.newest, lanes[0].events_ingested), (errors.len() as u64, 1100));
    let wrong = ProducerOptions::new().lane_bytes(3);
    assert!(matches!(bus.producer_with(wrong), Err(IngestionError::Options(_))));
    let wrong = ProducerOptions::new().backpressure_mode(BackpressureMode::Sample { rate: 0 });
    assert!(matches!(bus.producer_with(wrong), Err(IngestionError::Options(_))));
}

#[test]
fn memory_stays_within_the_budget_and_comes_back() {
    let lane = (64 << 10) + 2 * 1024;
    let config = EventBusConfig::builder().lane_bytes(64 << 10).ring_buffer_capacity(1024).memory_bytes(4 << 20);
    let budget = (5 << 20) + 2 * lane;
    let bus = block_on(EventBus::new(config.memory_budget(budget).build().expect("a configuration"))).expect("a bus");
    let blocks = bus.stats().memory_bytes;
    let mut producers: Vec<_> = (0..3 + (1 << 20) / lane).map(|_| bus.producer().expect("a producer")).collect();
    let mut refused = 0;
    for producer in &mut producers {
        let session = producer.session(1);
        match producer.emit(session, Kind(1), b"x") {
            Err(IngestionError::Budget { shard: 0, bytes, left, budget: all }) => {
                assert!(bytes == lane && left < lane && all == budget);
                refused += 1;
            }
            outcome => drop(outcome.expect("room")),
        }
    }
    let stats = bus.stats();
    assert!(refused > 0 && stats.memory_bytes <= stats.memory_budget, "{stats:?}");
    assert_eq!(stats.memory_bytes - blocks, (producers.len() - refused) as u64 * lane as u64);
    producers.clear();
    while bus.stats().memory_bytes > blocks {
        block_on(bus.flush()).expect("flushes");
        std::thread::yield_now();
    }
    let broken = EventBusConfig::builder().memory_budget(1 << 20).build().expect_err("too little");
    assert!(broken.to_string().contains("memory_budget"), "{broken}");
}

#[test]
fn kinds_of_the_bus_are_refused() {
    let bus = open(BackpressureMode::FailProducer);
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session(1);
    let refused = producer.emit(session, kinds::GAP, b"{}");
    assert!(matches!(refused, Err(IngestionError::ReservedKind { kind: 0xfff0 })), "{refused:?}");
}

#[test]
fn lane_holds_as_many_events_as_it_is_told_however_small() {
    for events in [1024, 2048] {
        let config = EventBusConfig::builder().lane_bytes(1 << 20).ring_buffer_capacity(events);
        let bus = block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus");
        let mut producer = bus.producer().expect("a producer");
        let session = producer.session("small");
        let mut batch = producer.batch(session);
        let taken = (0..).take_while(|_: &usize| batch.push(kinds::TOKEN, b"").is_ok()).count();
        assert_eq!(taken, events);
    }
}
