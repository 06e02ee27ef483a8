//! A log whose last event is ahead of the clock: an import, or a clock that was wrong for a while.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_lite::future::block_on;
use tapeline::consumer::Start;
use tapeline::event::{Sequence, SessionId};
use tapeline::log::{LogRestore, RestoredEvent};
use tapeline::retention::RetentionPolicy;
use tapeline::{ConsumeRequest, EventBus, LogFiles, Ordering, RawEvent, SubscribeRequest, kinds};

use crate::scratch::{Scratch, open};

const YEAR_2100: u64 = 4_102_444_800_000_000_000;

fn wall() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos()).expect("before 2554")
}

/// A log of two shards with one event in each, at these times.
fn restored(scratch: &Scratch, times: [u64; 2]) {
    let mut restore = LogRestore::create(scratch.path(), Some(2 << 20)).expect("creates");
    for (shard, timestamp) in (0..).zip(times) {
        let (sequence, session) = (Sequence::ZERO, SessionId(1));
        let kind = kinds::TOKEN;
        restore
            .append(&RestoredEvent {
                shard_id: shard,
                sequence,
                insertion_ts: timestamp,
                session,
                kind,
                payload: b"restored",
            })
            .expect("appends");
    }
    restore.finish().expect("durable");
}

fn ingest(bus: &EventBus, count: u32) -> Vec<u64> {
    let mut producers = [bus.producer().expect("a producer"), bus.producer().expect("a producer")];
    let emit = |number: u32| {
        let producer = &mut producers[number as usize % 2];
        let session = producer.session(u128::from(number) + 10);
        producer.emit(session, kinds::TOKEN, &number.to_le_bytes()).expect("taken").insertion_ts
    };
    (0..count).map(emit).collect()
}

/// Pages of one event in order of time, from a cursor on. Returns their times, and the cursor after them.
fn sweep(bus: &EventBus, mut from: Option<String>, count: usize) -> (Vec<u64>, Option<String>) {
    let mut times = Vec::new();
    while times.len() < count {
        let mut request = ConsumeRequest::new(1).ordering(Ordering::InsertionTs).wait(Duration::from_secs(3600));
        request.from_id = from;
        let page = block_on(bus.poll(request)).expect("a page");
        assert!(page.failed_shards.is_empty() && page.gaps.is_empty());
        times.extend(page.events.iter().map(|event| event.insertion_ts));
        from = page.next_id;
    }
    (times, from)
}

#[test]
fn new_events_have_own_times_and_none_is_passed_over_in_order_of_time() {
    for last in [YEAR_2100, u64::MAX] {
        let scratch = Scratch::new("ahead");
        restored(&scratch, [last, 1_000]);
        let bus = open(scratch.config().num_shards(2));
        assert!(bus.log_ahead().is_some());
        let notes = bus.shard_stats().remove(0).host.notes;
        assert!(notes.iter().any(|note| note.contains("ahead of the clock")), "{notes:?}");
        let before = wall();
        let times = ingest(&bus, 20);
        assert!(times.iter().all(|time| time.abs_diff(before) < 60_000_000_000), "{times:?}");
        // What was there comes first, then the new events in their order.
        let (read, cursor) = sweep(&bus, None, 22);
        assert_eq!(read, [&[1_000, last], &times[..]].concat());
        block_on(bus.shutdown()).expect("ends");

        // The same after another opening, from a cursor of this one.
        let bus = open(scratch.config().num_shards(2));
        let more = ingest(&bus, 20);
        assert!(more[0] > times[19]);
        assert_eq!(sweep(&bus, cursor, 20).0, more);
        // From the beginning every event comes once.
        let (mut read, _) = sweep(&bus, None, 42);
        read.sort_unstable();
        let mut all = [&[1_000, last], &times[..], &more[..]].concat();
        all.sort_unstable();
        assert_eq!(read, all);
        block_on(bus.shutdown()).expect("ends");
    }
}

#[test]
fn subscriptions_from_a_time_find_what_came_after_it() {
    let scratch = Scratch::new("ahead");
    restored(&scratch, [YEAR_2100, 1_000]);
    let bus = open(scratch.config().num_shards(2));
    let since = wall() - 3_600_000_000_000;
    let times = ingest(&bus, 20);
    block_on(bus.flush()).expect("durable");
    let mut events = block_on(bus.subscribe(SubscribeRequest::new().start(Start::Time(since)))).expect("subscribes");
    let mut found: Vec<_> =
        std::iter::from_fn(|| events.try_next()).map(|event| event.expect("event").insertion_ts).collect();
    found.sort_unstable();
    assert_eq!(found, [&times[..], &[YEAR_2100]].concat());
}

#[test]
fn a_segment_ahead_of_the_clock_ages_by_what_came_after_it() {
    let scratch = Scratch::new("ahead");
    restored(&scratch, [YEAR_2100, YEAR_2100]);
    let bus = open(scratch.config().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    for number in 0..20u128 {
        let session = producer.session(number + 1);
        producer.emit(session, kinds::TOKEN, b"x").expect("taken");
    }
    block_on(bus.shutdown()).expect("ends");
    let files = LogFiles::open(scratch.path()).expect("opens");
    let plan = |age| files.plan_trim(&RetentionPolicy::new().max_age(age)).expect("a plan").removed.len();
    assert_eq!(plan(Duration::from_secs(3600)), 0, "it is younger than what came behind it");
    assert_eq!(plan(Duration::from_nanos(1)), 4, "all are older than this");
}

#[test]
fn log_a_moment_ahead_is_followed() {
    let scratch = Scratch::new("ahead");
    let last = wall() + 300_000_000;
    restored(&scratch, [last, 1_000]);
    let bus = open(scratch.config().num_shards(2));
    assert_eq!(bus.log_ahead(), None);
    let timestamp = bus.ingest_raw(RawEvent::from_str("x")).expect("taken").insertion_ts;
    assert!(timestamp > last);
}
