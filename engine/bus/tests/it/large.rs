//! Events of any size that people send: one event to every reader, in its place, in bounded memory.

use std::time::Duration;

use futures_lite::future::block_on;
use rkyv::{Archive, Serialize};
use tapeline::bus::ProducerOptions;
use tapeline::config::Durability;
use tapeline::consumer::PayloadReader;
use tapeline::event::{EventId, PAYLOAD_BYTES_MAX, TypedPayload};
use tapeline::log::{FollowStart, LogFollower};
use tapeline::{
    BackpressureMode, ConsumeRequest, EventBus, EventBusConfig, EventBusConfigBuilder, IngestionError, LogFiles,
    ReplayRequest, ScalingPolicy, SubscribeRequest, kinds, rkyv,
};

use crate::scratch::{self, open};

/// The longest payload that shares a block with others.
const SHARED: usize = 1_048_448;

const MIB: usize = 1 << 20;

fn scratch(name: &str) -> scratch::Scratch {
    scratch::Scratch::new(name)
}

/// A bus whose segments have room for the longest event.
fn config(scratch: &scratch::Scratch) -> EventBusConfigBuilder {
    scratch.config().segment_bytes(160 << 20)
}

fn content(number: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![number as u8; bytes];
    for (at, page) in content.chunks_exact_mut(4096).enumerate() {
        page[..8].copy_from_slice(&(number << 32 | at as u64).to_le_bytes());
    }
    content
}

fn blocking() -> BackpressureMode {
    BackpressureMode::Block { deadline: Duration::from_secs(60) }
}

#[test]
fn events_around_every_limit_come_back_in_order_in_every_way_to_read() {
    for durability in [Durability::Durable, Durability::PageCache] {
        let scratch = scratch("large");
        let sizes = [0, 5, SHARED - 1, SHARED, SHARED + 1, 7, MIB, 3 * MIB + 5, 1, 12 * MIB, 0];
        let bus = open(config(&scratch).durability(durability).backpressure_mode(blocking()));
        let mut live = block_on(bus.subscribe(SubscribeRequest::new())).expect("subscribes");
        let mut producer = bus.producer().expect("producer");
        let session = producer.session("sizes");
        for (number, &bytes) in sizes.iter().enumerate() {
            producer.emit(session, kinds::UNSPECIFIED, &content(number as u64, bytes)).expect("emits");
        }
        let check =
            |number: usize, payload: &[u8]| assert!(payload == content(number as u64, sizes[number]), "{number}");
        block_on(async {
            for number in 0..sizes.len() {
                check(number, &live.next().await.expect("an event").expect("reads").raw);
            }
        });
        block_on(bus.flush()).expect("durable");
        let files = LogFiles::open(scratch.path()).expect("opens");
        let beside = files.replay("sizes").expect("replays");
        assert_eq!(beside.enumerate().map(|(at, event)| check(at, &event.expect("event").raw)).count(), sizes.len());
        let mut follower =
            LogFollower::open(scratch.path(), FollowStart::Earliest, &ReplayRequest::new()).expect("follows");
        let mut followed = 0;
        while followed < sizes.len() {
            follower.look();
            while let Some(event) = follower.try_next() {
                check(followed, &event.expect("event").raw);
                followed += 1;
            }
        }
        let (mut request, mut polled) = (ConsumeRequest::new(100), 0);
        while polled < sizes.len() {
            let page = block_on(bus.poll(request)).expect("polls");
            assert!(page.gaps.is_empty() && !page.events.is_empty());
            page.events.iter().zip(polled..).for_each(|(event, number)| check(number, &event.raw));
            polled += page.events.len();
            request = ConsumeRequest::new(100).from(page.next_id.expect("a cursor"));
        }
        block_on(bus.shutdown()).expect("ends");
        let bus = open(config(&scratch).durability(durability));
        let replayed = block_on(bus.replay("sizes")).expect("replays");
        let count = replayed.enumerate().map(|(number, event)| check(number, &event.expect("event").raw)).count();
        assert_eq!(count, sizes.len());
        block_on(bus.shutdown()).expect("ends");
    }
}

#[test]
fn a_payload_is_read_in_parts_wherever_it_lies() {
    let scratch = scratch("large-parts");
    let sizes = [10, 5 * MIB + 3, SHARED, SHARED + 1, 0, 9 * MIB];
    let bus = open(config(&scratch).backpressure_mode(blocking()));
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("parts");
    let parts_of = |reader: Option<PayloadReader>, number: usize| {
        let mut reader = reader.expect("an event");
        assert_eq!(reader.payload_bytes(), sizes[number]);
        let (mut at, whole) = (0, content(number as u64, sizes[number]));
        while let Some(part) = reader.next_part().expect("reads") {
            assert!(!part.is_empty() && part.len() <= MIB);
            assert!(part == &whole[at..at + part.len()], "event {number}");
            at += part.len();
        }
        assert_eq!(at, whole.len(), "event {number}");
    };
    for (number, &bytes) in sizes.iter().enumerate() {
        let ticket = producer.emit(session, kinds::UNSPECIFIED, &content(number as u64, bytes)).expect("emits");
        block_on(bus.readable(ticket)).expect("readable");
        let id = block_on(bus.event_id(ticket)).expect("looks").expect("an id");
        parts_of(bus.payload(&id).expect("opens"), number);
    }
    block_on(bus.flush()).expect("durable");
    let mut ids = Vec::new();
    for event in block_on(bus.replay("parts")).expect("replays") {
        ids.push(event.expect("event").id);
    }
    let files = LogFiles::open(scratch.path()).expect("opens");
    for (number, id) in ids.iter().enumerate() {
        parts_of(bus.payload(id).expect("opens"), number);
        parts_of(files.payload(id).expect("opens"), number);
    }
    // As any reader, in pieces of the caller's.
    let mut read = Vec::new();
    std::io::copy(&mut files.payload(&ids[5]).expect("opens").expect("an event"), &mut read).expect("reads");
    assert!(read == content(5, sizes[5]));
    block_on(bus.shutdown()).expect("ends");
    let files = LogFiles::open(scratch.path()).expect("opens");
    ids.iter().enumerate().for_each(|(number, id)| parts_of(files.payload(id).expect("opens"), number));
    let after = EventId { sequence: ids[5].sequence.plus(1), ..ids[5] };
    assert!(files.payload(&after).expect("looks").is_none());
}

#[test]
fn what_is_longer_than_the_limit_is_refused_with_the_limit() {
    let scratch = scratch("large-limit");
    let bus = open(config(&scratch).payload_bytes_max(3 * MIB));
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("limit");
    producer.emit(session, kinds::UNSPECIFIED, &vec![1; 3 * MIB]).expect("fits");
    let refused = producer.emit(session, kinds::UNSPECIFIED, &vec![1; 3 * MIB + 1]);
    assert!(matches!(refused, Err(IngestionError::TooLarge { bytes, max }) if (bytes, max) == (3 * MIB + 1, 3 * MIB)));
    let refused = producer.emit(session, kinds::GAP, &vec![1; 2 * MIB]);
    assert!(matches!(refused, Err(IngestionError::ReservedKind { .. })), "{refused:?}");
    // Events that become visible at once have to fit the lane.
    let refused = producer.batch(session).push(kinds::UNSPECIFIED, &vec![1; 2 * MIB]);
    assert!(matches!(refused, Err(IngestionError::TooLarge { max: SHARED, .. })), "{refused:?}");
    assert!(EventBusConfig::builder().payload_bytes_max(PAYLOAD_BYTES_MAX + 1).build().is_err());
    assert!(EventBusConfig::builder().payload_bytes_max(2 * MIB).segment_bytes(2 << 20).build().is_err());
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn an_event_of_64_mib_is_taken_by_default() {
    let scratch = scratch("large-most");
    let bus = open(config(&scratch));
    let payload = content(9, PAYLOAD_BYTES_MAX);
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("most");
    let ticket = producer.emit(session, kinds::UNSPECIFIED, &payload).expect("emits");
    producer.wait_durable(ticket).expect("durable");
    let page = block_on(bus.poll(ConsumeRequest::new(1))).expect("polls");
    assert!(page.events[0].raw == payload.as_slice());
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn two_producers_with_large_and_small_events_keep_each_session_in_order() {
    let scratch = scratch("large-two");
    let bus = open(config(&scratch).num_shards(2).backpressure_mode(blocking()));
    let size = |number: u64| if number.is_multiple_of(7) { SHARED + number as usize * 4096 } else { number as usize };
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let bus = &bus;
            scope.spawn(move || {
                let mut producer = bus.producer().expect("producer");
                // All of them write to one session, too.
                let session = producer.session(&format!("session-{thread}"));
                for number in 0..40 {
                    producer.emit(session, kinds::UNSPECIFIED, &content(number, size(number))).expect("emits");
                }
            });
        }
    });
    for thread in 0..3 {
        let events = block_on(bus.replay(&format!("session-{thread}"))).expect("replays");
        let events: Vec<_> = events.map(|event| event.expect("event")).collect();
        assert_eq!(events.len(), 40);
        for (number, event) in events.iter().enumerate() {
            assert!(event.raw == content(number as u64, size(number as u64)).as_slice(), "event {number}");
        }
    }
    block_on(bus.shutdown()).expect("ends");
}

/// A bus whose budget has room for three events of 4 MiB beside its lanes and blocks.
fn scarce(scratch: &scratch::Scratch) -> EventBus {
    open(config(scratch).lane_bytes(64 << 10).memory_bytes(4 * MIB).memory_budget(20 * MIB))
}

#[test]
fn without_memory_an_event_is_refused_dropped_or_waits_as_asked() {
    let scratch = scratch("large-budget");
    let bus = scarce(&scratch);
    let event = vec![3; 19 * MIB];
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("budget");
    let refused = producer.emit(session, kinds::UNSPECIFIED, &event);
    assert!(matches!(refused, Err(IngestionError::EventBudget { bytes, .. }) if bytes > event.len()), "{refused:?}");
    assert_eq!(bus.stats().refusals.memory, 1);
    let options = |mode| ProducerOptions::new().backpressure_mode(mode);
    let mut dropping = bus.producer_with(options(BackpressureMode::DropNewest)).expect("producer");
    let dropped = dropping.emit(session, kinds::UNSPECIFIED, &event);
    assert!(matches!(dropped, Err(IngestionError::Dropped { .. })), "{dropped:?}");
    let mut reporting = bus.producer_with(options(BackpressureMode::FailAndReport)).expect("producer");
    let refused = reporting.emit(session, kinds::UNSPECIFIED, &event);
    assert!(matches!(refused, Err(IngestionError::EventBudget { .. })), "{refused:?}");
    // One that waits gets the memory of those that are written meanwhile.
    let mut waiting = bus.producer_with(options(blocking())).expect("producer");
    for number in 0..20 {
        waiting.emit(session, kinds::UNSPECIFIED, &content(number, 4 * MIB)).expect("waits");
    }
    // The losses are reported to readers.
    dropping.emit(session, kinds::UNSPECIFIED, b"after").expect("emits");
    reporting.emit(session, kinds::UNSPECIFIED, b"after").expect("emits");
    block_on(bus.flush()).expect("durable");
    let mut request = ConsumeRequest::new(4);
    let (mut events, mut lost) = (0, 0);
    loop {
        let page = block_on(bus.poll(request)).expect("polls");
        events += page.events.len();
        lost += page.gaps.len();
        if !page.has_more {
            break;
        }
        request = ConsumeRequest::new(4).from(page.next_id.expect("a cursor"));
    }
    assert_eq!((events, lost), (22, 2));
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn an_evicting_producer_gives_the_memory_of_large_events_back_with_them() {
    let scratch = scratch("large-evict");
    let bus = scarce(&scratch);
    let options = ProducerOptions::new().backpressure_mode(BackpressureMode::DropOldest);
    let mut producer = bus.producer_with(options).expect("producer");
    let session = producer.session("evict");
    let mut taken = 0;
    for number in 0..4000 {
        let bytes = if number % 100 == 0 { 2 * MIB } else { 900 };
        match producer.emit(session, kinds::UNSPECIFIED, &content(number, bytes)) {
            Ok(_) => taken += 1,
            Err(error) => assert!(error.is_drop(), "{error}"),
        }
    }
    assert!(taken > 0);
    drop(producer);
    block_on(bus.flush()).expect("durable");
    let page = block_on(bus.poll(ConsumeRequest::new(10_000))).expect("polls");
    let last: Vec<_> = page.events.iter().map(|event| event.raw.len()).collect();
    assert!(last.iter().all(|&bytes| bytes == 900 || bytes == 2 * MIB));
    block_on(bus.shutdown()).expect("ends");
}

#[derive(Archive, Serialize)]
#[rkyv(crate = tapeline::rkyv)]
struct Tensor {
    values: Vec<u32>,
}

impl TypedPayload for Tensor {
    const TYPE_NAME: &'static str = "test.Tensor.1";
}

#[test]
fn a_typed_value_of_any_size_is_read_where_it_lies() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("tensor");
    let tensor = Tensor { values: (0..1_000_000).collect() };
    producer.emit_archived(session, kinds::UNSPECIFIED, &tensor).expect("emits");
    let page = block_on(bus.poll(ConsumeRequest::new(1))).expect("polls");
    let found = page.events[0].access::<Tensor>().expect("typed");
    assert!(found.values.iter().enumerate().all(|(at, value)| value.to_native() == at as u32));
}

#[test]
fn sessions_with_large_events_keep_their_order_while_shards_come_and_go() {
    let scratch = scratch("large-moves");
    let policy = ScalingPolicy {
        auto_scale: false,
        cooldown: Duration::from_millis(1),
        max_shards: 4,
        ..ScalingPolicy::default_for_cpus(4)
    };
    let bus = open(config(&scratch).scaling(policy).backpressure_mode(blocking()));
    let mut producer = bus.producer().expect("producer");
    let sessions: Vec<_> = (0..4).map(|number| producer.session(&format!("moving-{number}"))).collect();
    for round in 0..6u64 {
        for &session in &sessions {
            producer.emit(session, kinds::UNSPECIFIED, &content(round, 2 * MIB)).expect("emits");
            producer.emit(session, kinds::UNSPECIFIED, &round.to_le_bytes()).expect("emits");
        }
        // Large events are on their way while the sessions move. A change may be refused; the next is another.
        let _ = match round % 3 {
            2 => block_on(bus.manual_scale_down(2)),
            _ => block_on(bus.manual_scale_up(1)),
        };
    }
    for number in 0..4 {
        let events = block_on(bus.replay(&format!("moving-{number}"))).expect("replays");
        let lengths: Vec<_> = events.map(|event| event.expect("event").raw.len()).collect();
        assert_eq!(lengths, [2 * MIB, 8].repeat(6));
    }
    block_on(bus.shutdown()).expect("ends");
}
