//! Pages in order of time, and pages at all: the faults that such readers are known for.

use std::collections::{BTreeMap, BTreeSet};

use futures_lite::future::block_on;
use tapeline::consumer::CursorFault;
use tapeline::{
    ConsumeRequest, ConsumeResponse, ConsumerError, EventBus, EventBusConfig, Filter, Ordering, RawEvent, StoredEvent,
    kinds,
};

use crate::scratch::{Scratch, open};

fn page(bus: &EventBus, request: ConsumeRequest) -> ConsumeResponse {
    block_on(bus.poll(request)).expect("polls")
}

/// Reads pages until nothing more is there.
fn pages(bus: &EventBus, first: ConsumeRequest) -> Vec<StoredEvent> {
    let (mut events, mut request) = (Vec::new(), first.clone());
    loop {
        let page = page(bus, request);
        assert!(page.gaps.is_empty() && page.failed_shards.is_empty(), "{page:?}");
        events.extend(page.events);
        if !page.has_more {
            return events;
        }
        request = first.clone().from(page.next_id.expect("a cursor"));
    }
}

fn key(event: &StoredEvent) -> (u64, u16, u64) {
    (event.insertion_ts, event.shard_id, event.sequence.get())
}

fn assert_in_order(events: &[StoredEvent]) {
    for pair in events.windows(2) {
        assert!(key(&pair[0]) < key(&pair[1]), "{:?} before {:?}", key(&pair[0]), key(&pair[1]));
    }
}

fn emit(bus: &EventBus, session: &str, count: u64) {
    let mut producer = bus.producer().expect("producer");
    let token = producer.session(session);
    for number in 0..count {
        while producer.emit(token, kinds::TOKEN, &number.to_le_bytes()).is_err() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn pages_in_order_of_time_never_go_back_while_events_come_in() {
    let scratch = Scratch::new("time-order");
    let bus = open(scratch.config().num_shards(3).segment_bytes(2 << 20).memory_bytes(4 << 20));
    const EACH: u64 = 30_000;
    let by_time = ConsumeRequest::new(777).ordering(Ordering::InsertionTs);
    let events = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..4)
            .map(|producer| {
                let bus = &bus;
                scope.spawn(move || emit(bus, &format!("session {producer}"), EACH))
            })
            .collect();
        let (mut events, mut request) = (Vec::new(), by_time.clone());
        loop {
            let is_last = producers.iter().all(|producer| producer.is_finished());
            let page = page(&bus, request);
            events.extend(page.events);
            if is_last && !page.has_more {
                return events;
            }
            request = by_time.clone().from(page.next_id.expect("a cursor"));
        }
    });
    assert_eq!(events.len() as u64, 4 * EACH);
    assert_in_order(&events);
    let mut sessions: BTreeMap<_, u64> = BTreeMap::new();
    for event in &events {
        let next = sessions.entry(event.session).or_default();
        assert_eq!(event.raw[..], next.to_le_bytes(), "a session's own order holds");
        *next += 1;
    }
    assert_eq!(pages(&bus, by_time), events, "the same again, from the log");
}

#[test]
fn order_of_time_holds_across_restarts_and_changes_of_shards() {
    let scratch = Scratch::new("time-restart");
    let by_time = ConsumeRequest::new(100).ordering(Ordering::InsertionTs);
    let (mut events, mut request) = (Vec::new(), by_time.clone());
    for shards in [2, 4, 1] {
        let bus = open(scratch.config().num_shards(shards));
        for session in 0..20 {
            emit(&bus, &format!("session {session}"), 10);
        }
        let mut half = 0;
        while half < 150 {
            let page = page(&bus, request);
            half += page.events.len();
            events.extend(page.events);
            request = by_time.clone().from(page.next_id.expect("a cursor"));
        }
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config().num_shards(1));
    loop {
        let page = page(&bus, request);
        events.extend(page.events);
        if !page.has_more {
            break;
        }
        request = by_time.clone().from(page.next_id.expect("a cursor"));
    }
    assert_eq!(events.len(), 600);
    assert_in_order(&events);
}

#[test]
fn open_batch_holds_back_what_would_come_after_it() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    let by_time = || ConsumeRequest::default().ordering(Ordering::InsertionTs);
    let mut slow = bus.producer().expect("producer");
    let session = slow.session("slow");
    let mut batch = slow.batch(session);
    batch.push(kinds::TOKEN, b"first").expect("pushes");
    emit(&bus, "fast", 10);
    let before = page(&bus, by_time());
    assert!(before.events.is_empty() && before.has_more, "the first event is not published yet");
    assert_eq!(page(&bus, ConsumeRequest::default()).events.len(), 10, "without order nobody waits");
    batch.publish().expect("publishes");
    drop(batch);
    let after = page(&bus, by_time().from(before.next_id.expect("a cursor")));
    assert_eq!((after.events.len(), &after.events[0].raw[..]), (11, &b"first"[..]));
}

#[test]
fn batch_that_was_dropped_holds_nothing_back() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("dropped");
    producer.batch(session).push(kinds::TOKEN, b"never").expect("pushes");
    emit(&bus, "fast", 10);
    assert_eq!(page(&bus, ConsumeRequest::default().ordering(Ordering::InsertionTs)).events.len(), 10);
}

#[test]
fn pages_of_every_size_filter_and_order_hold_each_event_once() {
    let scratch = Scratch::new("pages");
    let bus = open(scratch.config().num_shards(4));
    for index in 0..400u64 {
        let event = RawEvent::from_bytes(format!(r#"{{"index":{index},"third":{}}}"#, index % 3 == 0));
        bus.ingest_raw(event.with_session(u128::from(index % 37) + 1)).expect("ingests");
    }
    for ordering in [Ordering::None, Ordering::InsertionTs] {
        for (filter, wanted) in [(None, 400), (Some(Filter::eq("third", true)), 134), (Some(Filter::eq("third", 1)), 0)]
        {
            for limit in [1, 2, 3, 7, 64, 133, 400, 1000] {
                let request =
                    ConsumeRequest { filter: filter.clone(), ..ConsumeRequest::new(limit).ordering(ordering) };
                let events = pages(&bus, request);
                let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
                assert_eq!((events.len(), ids.len()), (wanted, wanted), "{ordering:?} {limit}");
                if ordering == Ordering::InsertionTs {
                    assert_in_order(&events);
                }
            }
        }
    }
}

#[test]
fn every_shard_gets_its_share_of_a_page_however_small() {
    let bus = open(EventBusConfig::builder().num_shards(4));
    for session in 0..4000u128 {
        bus.ingest_raw(RawEvent::from_bytes(vec![1]).with_session(session + 1)).expect("ingests");
    }
    // A reader of pages of one event must not be kept on one shard for ever.
    for (limit, pages) in [(1, 200), (3, 100), (4, 50), (10, 50)] {
        let (mut request, mut seen) = (ConsumeRequest::new(limit), BTreeMap::<u16, usize>::new());
        for _ in 0..pages {
            let page = page(&bus, request);
            page.events.iter().for_each(|event| *seen.entry(event.shard_id).or_default() += 1);
            request = ConsumeRequest::new(limit).from(page.next_id.expect("a cursor"));
        }
        let share = limit * pages / 4;
        assert!(seen.len() == 4 && seen.values().all(|seen| seen.abs_diff(share) <= 4), "{limit}: {seen:?}");
    }
}

#[test]
fn filter_that_matches_nothing_advances_and_ends() {
    let scratch = Scratch::new("nothing");
    let bus = open(scratch.config().memory_bytes(4 << 20));
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("large");
    for _ in 0..400 {
        while producer.emit(session, kinds::TOKEN, &[b' '; 100_000]).is_err() {
            std::thread::yield_now();
        }
    }
    for ordering in [Ordering::None, Ordering::InsertionTs] {
        let first = ConsumeRequest::default().filter(Filter::eq("a", 1)).ordering(ordering);
        let (mut count, mut request) = (0, first.clone());
        loop {
            let page = page(&bus, request);
            assert!(page.events.is_empty());
            count += 1;
            if !page.has_more {
                break;
            }
            request = first.clone().from(page.next_id.expect("a cursor"));
        }
        assert!((2..50).contains(&count), "a page looks at some of the log, and the next goes on: {count}");
    }
}

#[test]
fn cursor_in_order_of_time_does_not_go_on_without() {
    let bus = open(EventBusConfig::builder());
    emit(&bus, "s", 10);
    let first = page(&bus, ConsumeRequest::new(3).ordering(Ordering::InsertionTs));
    let refused = block_on(bus.poll(ConsumeRequest::new(3).from(first.next_id.clone().expect("a cursor"))));
    assert!(matches!(refused, Err(ConsumerError::InvalidCursor { fault: CursorFault::OtherOrdering, .. })));
    let twice = |_| {
        page(
            &bus,
            ConsumeRequest::new(3).ordering(Ordering::InsertionTs).from(first.next_id.clone().expect("a cursor")),
        )
    };
    let [one, other] = [(), ()].map(twice);
    assert_eq!(one, other, "a page may be read again");
    // The other way it may: nothing is lost or repeated.
    let first = page(&bus, ConsumeRequest::new(3));
    let rest =
        page(&bus, ConsumeRequest::new(10).ordering(Ordering::InsertionTs).from(first.next_id.expect("a cursor")));
    assert_eq!(rest.events.len(), 7);
}
