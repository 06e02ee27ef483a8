//! All events that go in come out, in order, as they were.

use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::config::Durability;
use tapeline::consumer::CursorFault;
use tapeline::event::{SessionId, session_id};
use tapeline::{
    BackpressureMode, ConsumeRequest, ConsumerError, Event, EventBus, EventBusConfig, IngestionError, LogFiles,
    RawEvent, StoredEvent, kinds,
};

use crate::scratch::{Scratch, open};

fn poll_all(bus: &EventBus, page: usize) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    let mut request = ConsumeRequest::new(page);
    loop {
        let response = block_on(bus.poll(request)).expect("polls");
        assert!(response.events.len() <= page);
        assert!(response.gaps.is_empty());
        events.extend(response.events);
        if !response.has_more {
            return events;
        }
        request = ConsumeRequest::new(page).from(response.next_id.expect("a cursor"));
    }
}

#[test]
fn default_bus_is_readable_under_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("runtime");
    runtime.block_on(async {
        let bus = EventBus::new(EventBusConfig::default()).await.expect("opens");
        let event = Event::from_str(r#"{"token": "hello", "index": 0}"#).expect("JSON");
        let ticket = bus.ingest(event).expect("ingests");
        let response = bus.poll(ConsumeRequest::default()).await.expect("polls");
        assert_eq!(response.events.len(), 1);
        let event = &response.events[0];
        assert_eq!(event.raw.to_string(), r#"{"token": "hello", "index": 0}"#, "the bytes stay as they came");
        assert_eq!((event.shard_id, event.insertion_ts), (ticket.shard_id, ticket.insertion_ts));
        assert_eq!(event.id, format!("{}-0-0", bus.log_id()));
        bus.shutdown().await.expect("ends");
    });
}

#[test]
fn poll_reads_what_was_ingested_before_whatever_the_thread() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let bus = &bus;
            scope.spawn(move || {
                for number in 0..500u32 {
                    let event =
                        RawEvent::from_bytes(number.to_le_bytes().to_vec()).with_session(u128::from(thread) + 1);
                    bus.ingest_raw(event).expect("ingests");
                }
            });
        }
    });
    let events = poll_all(&bus, 64);
    assert_eq!(events.len(), 2000);
    for thread in 0..4u128 {
        let own: Vec<_> = events.iter().filter(|event| event.session == SessionId(thread + 1)).collect();
        assert!(own.iter().enumerate().all(|(at, event)| event.raw == (at as u32).to_le_bytes().as_slice()));
    }
}

#[test]
fn sessions_keep_their_order_over_shards_segments_and_restarts() {
    for driver in [tapeline::config::Driver::Auto, tapeline::config::Driver::Blocking] {
        let scratch = Scratch::new("order");
        let config = || scratch.config().num_shards(2).driver(driver);
        let mut expected = 0u64;
        for boot in 0..3 {
            let bus = open(config().backpressure_mode(BackpressureMode::Block { deadline: Duration::from_secs(30) }));
            let mut producer = bus.producer().expect("producer");
            let sessions = [producer.session("alpha"), producer.session("beta"), producer.session("gamma")];
            for number in expected..expected + 30_000 {
                let payload = [number.to_le_bytes().as_slice(), &[boot; 90]].concat();
                producer.emit(sessions[number as usize % 3], kinds::TOKEN, &payload).expect("emits");
            }
            expected += 30_000;
            block_on(producer.flush()).expect("durable");
            for (at, name) in ["alpha", "beta", "gamma"].into_iter().enumerate() {
                let mut next = at as u64;
                for event in block_on(bus.replay(name)).expect("replays") {
                    let event = event.expect("event");
                    assert_eq!(event.raw[..8], next.to_le_bytes());
                    assert_eq!(event.session, session_id(name));
                    next += 3;
                }
                assert!(next >= expected, "{name} ends at {next} of {expected}");
            }
            drop(producer);
            block_on(bus.shutdown()).expect("ends");
        }
        let files = LogFiles::open(scratch.path()).expect("opens");
        assert!(files.segments().len() > 2, "the log has rolled: {:?}", files.segments());
        assert!(files.verify(|_| {}).damage.is_empty());
        let mut timestamps = files.replay_all().expect("replays").map(|event| event.expect("event").insertion_ts);
        assert!(timestamps.by_ref().is_sorted());
    }
}

#[test]
fn fewer_or_more_shards_after_a_restart_hide_nothing() {
    let scratch = Scratch::new("shards");
    for (boot, shards) in [3u16, 1, 2].into_iter().enumerate() {
        let bus = open(scratch.config().num_shards(shards));
        for session in 0..20u128 {
            let event = RawEvent::from_bytes(vec![boot as u8]).with_session(session + 1);
            bus.ingest_raw(event).expect("ingests");
        }
        let events = poll_all(&bus, 7);
        assert_eq!(events.len(), 20 * (boot + 1));
        for session in 0..20u128 {
            let replayed = block_on(bus.replay(session + 1)).expect("replays");
            let boots: Vec<u8> = replayed.map(|event| event.expect("event").raw[0]).collect();
            assert_eq!(boots, (0..=boot as u8).collect::<Vec<_>>());
        }
        block_on(bus.shutdown()).expect("ends");
    }
}

#[test]
fn payloads_of_every_size_come_back_and_larger_ones_are_refused() {
    for durability in [Durability::Durable, Durability::PageCache] {
        let scratch = Scratch::new("sizes");
        let bus = open(scratch.config().durability(durability));
        let mut producer = bus.producer().expect("producer");
        let session = producer.session("sizes");
        // Half of a segment.
        let largest = 2 << 20;
        let sizes = [0, 1, 15, 16, 17, 4095, 4096, 65_536, 1_000_000, 1_048_448, 1_048_449, largest];
        for size in sizes {
            let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let ticket = producer.emit(session, kinds::UNSPECIFIED, &payload).expect("emits");
            producer.wait_durable(ticket).expect("durable");
            assert!(producer.is_durable(ticket));
        }
        match producer.emit(session, kinds::UNSPECIFIED, &vec![0; largest + 1]) {
            Err(IngestionError::TooLarge { bytes, max }) => assert_eq!((bytes, max), (largest + 1, largest)),
            other => panic!("{other:?}"),
        }
        let events = poll_all(&bus, 3);
        assert_eq!(events.iter().map(|event| event.raw.len()).collect::<Vec<_>>(), sizes);
        assert!(events.iter().all(|event| event.raw.iter().enumerate().all(|(at, &byte)| byte == at as u8)));
    }
}

#[test]
fn batch_is_visible_at_once_or_never() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("batch");
    let mut batch = producer.batch(session);
    batch.push(kinds::TOKEN, b"one").expect("pushes");
    batch.push(kinds::TOKEN, b"two").expect("pushes");
    assert!(poll_all(&bus, 10).is_empty());
    batch.publish().expect("publishes");
    assert_eq!(poll_all(&bus, 10).len(), 2);
    batch.push(kinds::TOKEN, b"never").expect("pushes");
    drop(batch);
    producer.emit(session, kinds::TOKEN, b"three").expect("emits");
    let events = poll_all(&bus, 10);
    assert_eq!(events.iter().map(|event| event.raw.to_string()).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert!(events.is_sorted_by(|a, b| a.insertion_ts < b.insertion_ts));
}

#[test]
fn bounded_memory_reports_what_is_gone() {
    let bus = open(EventBusConfig::builder().memory_bytes(4 << 20));
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("long");
    producer.emit(session, kinds::TOKEN, b"first").expect("emits");
    let first = block_on(bus.poll(ConsumeRequest::new(1))).expect("polls").next_id.expect("a cursor");
    for number in 0..200_000u64 {
        while producer.emit(session, kinds::TOKEN, &[number.to_le_bytes(); 8].concat()).is_err() {
            std::thread::yield_now();
        }
    }
    let page = block_on(bus.poll(ConsumeRequest::new(10).from(first))).expect("polls");
    assert_eq!(page.gaps.len(), 1);
    assert_eq!(page.gaps[0].from.get(), 1);
    assert_eq!(page.gaps[0].to, page.events[0].sequence);
    assert!(page.has_more);
    assert_eq!(poll_all(&bus, 5000).last().expect("events").raw[..8], 199_999u64.to_le_bytes());
}

#[test]
fn cursor_of_another_log_or_damaged_is_refused() {
    let (bus, other) = (open(EventBusConfig::builder()), open(EventBusConfig::builder()));
    let cursor = block_on(bus.poll(ConsumeRequest::default())).expect("polls").next_id.expect("a cursor");
    let refused = |bus: &EventBus, cursor: &str| match block_on(bus.poll(ConsumeRequest::default().from(cursor))) {
        Err(ConsumerError::InvalidCursor { fault, earliest }) => {
            block_on(bus.poll(ConsumeRequest::default().from(earliest))).expect("the earliest is valid");
            fault
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&other, &cursor), CursorFault::Foreign(bus.log_id()));
    let damaged = cursor.replacen(&cursor[10..11], if &cursor[10..11] == "0" { "1" } else { "0" }, 1);
    assert!(damaged == cursor || refused(&bus, &damaged).to_string().contains("checksum"));
    for text in ["", "zz", "0", "00", "ä", &cursor[1..], &format!("{cursor}00")] {
        refused(&bus, text);
    }
}

#[test]
fn limits_of_a_page_are_kept_and_shards_share_it() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    for session in 0..1000u128 {
        bus.ingest_raw(RawEvent::from_bytes(vec![1]).with_session(session + 1)).expect("ingests");
    }
    let page = block_on(bus.poll(ConsumeRequest::new(100))).expect("polls");
    assert_eq!(page.events.len(), 100);
    assert_eq!(page.events.iter().filter(|event| event.shard_id == 0).count(), 50);
    assert!(block_on(bus.poll(ConsumeRequest::new(0))).expect("polls").events.is_empty());
    let one = block_on(bus.poll(ConsumeRequest::new(1000).shards(vec![1]))).expect("polls");
    assert!(!one.events.is_empty() && one.events.iter().all(|event| event.shard_id == 1));
}
