//! The fate of events that find no room: each mode does what its name says, and every loss is reported.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::bus::ProducerOptions;
use tapeline::consumer::{DropReason, Gap, GapReason};
use tapeline::event::{Kind, SessionId};
use tapeline::{
    AdapterError, BackpressureMode, ConsumeRequest, ConsumeResponse, Event, EventBus, EventBusConfig, IngestionError,
    Producer, RawEvent, kinds,
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

fn reported(gaps: &[Gap], wanted: DropReason) -> u64 {
    let reported = |gap: &Gap| match &gap.reason {
        GapReason::Overflow { events, reason, .. } if *reason == wanted => *events,
        other => panic!("{other}"),
    };
    gaps.iter().map(reported).sum()
}

#[test]
fn fail_producer_hands_the_event_back_and_reports_no_gap() {
    let bus = open(BackpressureMode::FailProducer);
    let mut producer = bus.producer().expect("a producer");
    let (taken, errors) = fill(&mut producer, 100);
    assert!(taken < 100 && errors.iter().all(|error| matches!(error, IngestionError::Backpressure { shard_id: 0 })));
    block_on(bus.flush()).expect("flushes");
    let (page, stats) = (read(&bus), bus.stats());
    assert_eq!((page.events.len(), page.gaps.len()), (taken, 0));
    assert_eq!((stats.events_ingested, stats.refusals.total()), (taken as u64, errors.len() as u64));
    assert!(stats.is_balanced() && stats.drops.total() == 0, "{stats:?}");
}

#[test]
fn drop_newest_drops_the_event_and_reports_it_in_its_place() {
    let bus = open(BackpressureMode::DropNewest);
    let mut producer = bus.producer().expect("a producer");
    let (taken, errors) = fill(&mut producer, 100);
    assert!(taken < 100 && errors.iter().all(|error| matches!(error, IngestionError::Dropped { shard_id: 0 })));
    assert!(errors.iter().all(IngestionError::is_drop));
    block_on(bus.flush()).expect("flushes");
    let session = producer.session("filled");
    producer.emit(session, kinds::TOKEN, b"after").expect("there is room again");
    let page = read(&bus);
    assert_eq!((page.events.len(), reported(&page.gaps, DropReason::Newest)), (taken + 1, errors.len() as u64));
    let last = page.events.last().expect("an event");
    assert_eq!(page.gaps[0].to, last.sequence, "the gap is where they are missing");
    assert!(matches!(page.gaps[0].reason, GapReason::Overflow { producer: id, .. } if id == producer.id()));
    let stats = bus.stats();
    assert_eq!((stats.drops.newest, stats.refusals.total(), stats.notes), (errors.len() as u64, 0, 1));
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
fn gap_of_several_sessions_names_each_and_spares_the_readers_of_others() {
    let bus = open(BackpressureMode::DropNewest);
    let mut producer = bus.producer().expect("a producer");
    let (a, b, c) = (producer.session("a"), producer.session("b"), producer.session("c"));
    producer.emit(c, kinds::TOKEN, b"before").expect("room");
    fill(&mut producer, 100);
    // Published once the lane is full: none of these is taken.
    let mut lost = [0, 0];
    let mut batch = producer.batch(a);
    while batch.push(kinds::TOKEN, &PAYLOAD).is_ok() {}
    lost[0] += 1;
    lost[0] += (0..4).filter(|_| batch.push(kinds::TOKEN, &PAYLOAD).is_err()).count() as u64;
    batch.publish().expect("publishes");
    drop(batch);
    let mut batch = producer.batch(b);
    while batch.push(kinds::TOKEN, &PAYLOAD).is_ok() {}
    lost[1] += 1;
    drop(batch);
    block_on(bus.flush()).expect("flushes");
    producer.emit(c, kinds::TOKEN, b"after").expect("there is room again");
    let gaps = |session: &str| {
        let page = block_on(bus.poll(ConsumeRequest::new(1000).session(session))).expect("a page");
        reported(&page.gaps, DropReason::Newest)
    };
    assert_eq!((gaps("a"), gaps("b"), gaps("c")), (lost[0], lost[1], 0));
    let all = reported(&read(&bus).gaps, DropReason::Newest);
    assert_eq!(all, bus.stats().drops.newest);
    // Those that the producer leaves when it goes are named as well.
    fill(&mut producer, 100);
    drop(producer);
    block_on(bus.flush()).expect("flushes");
    while reported(&read(&bus).gaps, DropReason::Newest) < bus.stats().drops.newest {
        std::thread::yield_now();
    }
    assert_eq!((gaps("a"), gaps("b"), gaps("c")), (lost[0], lost[1], 0));
}

#[test]
fn gaps_of_a_lane_that_stays_full_name_all_sessions() {
    let bus = open(BackpressureMode::DropNewest);
    let mut producer = bus.producer().expect("a producer");
    let (a, b) = (producer.session("a"), producer.session("b"));
    let mut lost = [0, 0];
    for number in 0..100_000 {
        lost[0] += u64::from(producer.emit(a, kinds::TOKEN, &PAYLOAD[..200]).is_err());
        if number % 1000 == 0 {
            lost[1] += u64::from(producer.emit(b, kinds::TOKEN, b"b").is_err());
        }
    }
    block_on(bus.flush()).expect("flushes");
    producer.emit(b, kinds::TOKEN, b"after").expect("there is room again");
    let page = read(&bus);
    let mut named = [0, 0];
    for gap in page.gaps {
        let GapReason::Overflow { sessions, .. } = gap.reason else { panic!("{gap}") };
        assert_eq!(sessions.others(), 0, "all of them are named");
        for (session, events) in sessions.named() {
            named[usize::from(*session == b.id())] += events;
        }
    }
    assert_eq!(named, lost);
}

#[test]
fn sample_keeps_one_in_so_many_above_half_a_lane() {
    let bus = open(BackpressureMode::Sample { rate: 4 });
    let mut producer = bus.producer().expect("a producer");
    let (taken, errors) = fill(&mut producer, 80);
    assert!(errors.iter().all(|error| matches!(error, IngestionError::Sampled { shard_id: 0 }) && error.is_drop()));
    let below = (0..).take_while(|events| (events + 1) * 1040 <= 32 << 10).count();
    let sampled_from = 80 - below;
    assert!(taken - below <= sampled_from / 4 + 1 && taken - below >= sampled_from / 4 - 1, "{taken} of 80");
    block_on(bus.flush()).expect("flushes");
    let (more, refused) = fill(&mut producer, 5);
    assert_eq!((more, refused.len()), (5, 0), "below half a lane every event is kept");
    let page = read(&bus);
    assert_eq!((page.events.len(), reported(&page.gaps, DropReason::Sampled)), (taken + more, errors.len() as u64));
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
    let gone = tickets.iter().find(|ticket| !producer.is_durable(**ticket)).expect("one that was dropped");
    assert!(matches!(producer.wait_durable(*gone), Err(AdapterError::Dropped { shard_id: 0 })));
    let page = read(&bus);
    assert_eq!(page.events.last().map(|event| event.insertion_ts), Some(last.insertion_ts));
}

#[test]
fn drop_oldest_names_the_sessions_that_lost_events_and_spares_others() {
    let bus = open(BackpressureMode::DropOldest);
    let mut producer = bus.producer().expect("a producer");
    let spared = producer.session("spared");
    producer.emit(spared, kinds::TOKEN, b"before").expect("room");
    block_on(bus.flush()).expect("flushes");
    let flooded: Vec<String> = (0..20).map(|number| format!("flooded {number}")).collect();
    let mut offered = 0;
    while bus.stats().drops.oldest == 0 || offered < 50 {
        offered += 1;
        for name in &flooded {
            match producer.emit(producer.session(name), Kind(1), &PAYLOAD) {
                Ok(_) | Err(IngestionError::Dropped { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    block_on(bus.flush()).expect("flushes");
    // Newest ones that were dropped at the end are reported with what follows them.
    drop(producer);
    let reported_of = |page: &ConsumeResponse| -> u64 {
        let events = |gap: &Gap| match &gap.reason {
            GapReason::Overflow { events, sessions, .. } => {
                assert_eq!(sessions.others(), 0, "all of them are named");
                *events
            }
            other => panic!("{other}"),
        };
        page.gaps.iter().map(events).sum()
    };
    while reported_of(&read(&bus)) < bus.stats().drops.total() {
        std::thread::yield_now();
    }
    for name in &flooded {
        let page = block_on(bus.poll(ConsumeRequest::new(1_000_000).session(name))).expect("a page");
        assert_eq!(page.events.len() as u64 + reported_of(&page), offered, "{name}");
    }
    let page = block_on(bus.poll(ConsumeRequest::new(1_000_000).session("spared"))).expect("a page");
    assert_eq!((page.events.len(), page.gaps.len()), (1, 0));
    assert!(bus.stats().is_balanced());
}

#[test]
fn events_without_a_session_that_are_lost_are_no_gap_of_a_session() {
    let bus = open(BackpressureMode::DropNewest);
    let mut producer = bus.producer().expect("a producer");
    let (chat, none) = (producer.session("chat"), producer.session(SessionId::NONE));
    producer.emit(chat, kinds::TOKEN, b"before").expect("room");
    let mut batch = producer.batch(none);
    while batch.push(kinds::TOKEN, &PAYLOAD).is_ok() {}
    batch.publish().expect("publishes");
    drop(batch);
    block_on(bus.flush()).expect("flushes");
    producer.emit(chat, kinds::TOKEN, b"after").expect("there is room again");
    assert_eq!(reported(&read(&bus).gaps, DropReason::Newest), 1);
    let page = block_on(bus.poll(ConsumeRequest::new(1000).session("chat"))).expect("a page");
    assert_eq!((page.events.len(), page.gaps.len()), (2, 0));
}

#[test]
fn refusals_are_reported_to_readers_of_their_sessions_if_asked_to() {
    let bus = open(BackpressureMode::FailAndReport);
    let mut producer = bus.producer().expect("a producer");
    let (taken, errors) = fill(&mut producer, 100);
    assert!(
        errors.iter().all(|error| matches!(error, IngestionError::Backpressure { shard_id: 0 }) && !error.is_drop())
    );
    block_on(bus.flush()).expect("flushes");
    let other = producer.session("other");
    producer.emit(other, kinds::TOKEN, b"x").expect("there is room again");
    let page = |session: &str| block_on(bus.poll(ConsumeRequest::new(1000).session(session))).expect("a page");
    let filled = page("filled");
    assert_eq!((filled.events.len(), reported(&filled.gaps, DropReason::Refused)), (taken, errors.len() as u64));
    assert!(filled.gaps[0].to_string().contains("refused"), "{}", filled.gaps[0]);
    assert_eq!(page("other").gaps, []);
    let stats = bus.stats();
    assert_eq!((stats.drops.total(), stats.refusals.total(), stats.notes), (0, errors.len() as u64, 1));
    assert!(stats.is_balanced(), "{stats:?}");
    // A producer that goes leaves them to its shard.
    let (_, more) = fill(&mut producer, 100);
    drop(producer);
    block_on(bus.flush()).expect("flushes");
    while reported(&page("filled").gaps, DropReason::Refused) < (errors.len() + more.len()) as u64 {
        std::thread::yield_now();
    }
    assert!(!more.is_empty() && bus.stats().is_balanced());
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
    // The first ring of a lane.
    let lane = (4 << 10) + 2 * 64;
    let config = EventBusConfig::builder().lane_bytes(64 << 10).ring_buffer_capacity(1024).memory_bytes(4 << 20);
    let budget = (5 << 20) + 2 * lane;
    let bus = block_on(EventBus::new(config.memory_budget(budget).build().expect("a configuration"))).expect("a bus");
    let blocks = bus.stats().memory.bytes;
    let mut producers: Vec<_> = (0..3 + (1 << 20) / lane).map(|_| bus.producer().expect("a producer")).collect();
    let mut refused = 0;
    for producer in &mut producers {
        let session = producer.session(1);
        match producer.emit(session, Kind(1), b"x") {
            Err(IngestionError::Budget { shard_id: 0, bytes, left, budget: all }) => {
                assert!(bytes == lane && left < lane && all == budget);
                refused += 1;
            }
            outcome => drop(outcome.expect("room")),
        }
    }
    let stats = bus.stats();
    assert!(refused > 0 && stats.memory.bytes <= stats.memory.budget, "{stats:?}");
    assert_eq!(stats.memory.bytes - blocks, (producers.len() - refused) as u64 * lane as u64);
    producers.clear();
    while bus.stats().memory.bytes > blocks {
        block_on(bus.flush()).expect("flushes");
        std::thread::yield_now();
    }
    let broken = EventBusConfig::builder().memory_budget(1 << 20).build().expect_err("too little");
    assert!(broken.to_string().contains("memory_budget"), "{broken}");
}

/// Ingests from so many threads at the same time, into `sessions` sessions each; all of them keep their lanes
/// meanwhile.
fn ingest_from(bus: &EventBus, threads: usize, sessions: u128) -> usize {
    let (all_are_done, refused) = (&Barrier::new(threads), &AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..threads as u128 {
            let work = move || {
                for session in 0..sessions {
                    let event = RawEvent::from_str("x").with_session(SessionId(thread * sessions + session));
                    refused.fetch_add(usize::from(bus.ingest_raw(&event).is_err()), Ordering::Relaxed);
                }
                let _ = all_are_done.wait();
            };
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    refused.load(Ordering::Relaxed)
}

#[test]
fn any_number_of_threads_ingests_on_the_default_budget() {
    for (shards, threads, sessions) in [(1, 512, 1), (1, 2_000, 1), (8, 512, 32), (64, 512, 4)] {
        let config = EventBusConfig::builder().num_shards(shards).pinned(false);
        let bus = block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus");
        assert_eq!(ingest_from(&bus, threads, sessions), 0, "of {threads} threads, {shards} shards");
        block_on(bus.flush()).expect("flushes");
        let stats = bus.stats();
        assert_eq!(stats.events_durable, threads as u64 * sessions as u64);
        assert!(stats.is_balanced() && stats.memory.bytes <= stats.memory.budget, "{stats:?}");
    }
}

#[test]
fn event_that_needs_a_lane_beyond_the_budget_is_refused_by_name() {
    let config = EventBusConfig::builder().memory_bytes(4 << 20).memory_budget(8 << 20);
    let bus = block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus");
    let big = vec![0; 200_000];
    let mut producers: Vec<_> = (0..40).map(|_| bus.producer().expect("a producer")).collect();
    let refused = producers.iter_mut().find_map(|producer| {
        let session = producer.session(1);
        let refused = producer.emit(session, Kind(1), &big).err()?;
        assert!(producer.emit(session, Kind(1), b"small").is_ok(), "its lane takes what fits");
        Some(refused)
    });
    let Some(IngestionError::Budget { shard_id: 0, bytes, left, budget }) = refused else { panic!("{refused:?}") };
    assert!(bytes > big.len() && left < bytes && budget == 8 << 20);
    assert_eq!(bus.stats().refusals.total(), 1);
}

#[test]
fn batch_hands_back_what_it_did_not_take() {
    let bus = open(BackpressureMode::FailProducer);
    let events =
        || (0..200).map(|n| RawEvent::from_bytes(vec![n; 1000]).with_session(SessionId(1))).collect::<Vec<_>>();
    let rejected = loop {
        if let Err(rejected) = bus.try_ingest_raw_batch(events()) {
            break rejected;
        }
    };
    assert!(matches!(rejected.error, IngestionError::Backpressure { shard_id: 0 }), "{rejected}");
    assert_eq!(rejected.taken + rejected.rest.len(), 200);
    assert_eq!(rejected.rest, events()[rejected.taken..]);
    assert_eq!(bus.stats().refusals.total(), 1, "those after it were not tried");
    block_on(bus.shutdown()).expect("shuts down");
}

#[test]
fn batch_hands_everything_back_after_the_end() {
    let bus = open(BackpressureMode::DropNewest);
    block_on(bus.shutdown_via_ref()).expect("shuts down");
    let events = vec![Event::from_str("1").expect("JSON"), Event::from_str("2").expect("JSON")];
    let rejected = bus.try_ingest_batch(events.clone()).expect_err("shut down");
    assert!(matches!(rejected.error, IngestionError::ShuttingDown), "{rejected}");
    assert_eq!((rejected.taken, rejected.rest), (0, events.clone()));
    assert_eq!(bus.ingest_batch(events), 0);
}

#[test]
fn events_that_find_no_memory_for_a_lane_count_as_refused() {
    let config = EventBusConfig::builder().memory_bytes(4 << 20).lane_bytes(64 << 10).ring_buffer_capacity(1024);
    let bus = block_on(EventBus::new(config.memory_budget((4 << 20) + (128 << 10)).build().expect("a configuration")));
    let bus = bus.expect("a bus");
    let mut producers: Vec<_> = (0..100).map(|_| bus.producer().expect("a producer")).collect();
    let refused = producers.iter_mut().filter_map(|producer| {
        let session = producer.session(1);
        producer.emit(session, Kind(1), b"x").err()
    });
    let refused = refused.filter(|error| matches!(error, IngestionError::Budget { .. })).count();
    let stats = bus.stats();
    assert!(refused > 0 && stats.refusals.total() == refused as u64, "{refused}: {stats:?}");
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
fn lane_holds_as_many_events_as_it_is_set_to_however_small() {
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
