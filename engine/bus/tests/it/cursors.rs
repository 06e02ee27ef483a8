//! Named cursors: kept by the log, and honest about how far behind they are.

use futures_lite::future::block_on;
use tapeline::consumer::Start;
use tapeline::{
    ConsumeRequest, ConsumerError, EventBus, EventBusConfig, LogFiles, Ordering, RawEvent, SubscribeRequest, kinds,
};

use crate::scratch::{Scratch, open};

fn emit(bus: &EventBus, count: u64) {
    let mut producer = bus.producer().expect("producer");
    for number in 0..count {
        let session = producer.session(u128::from(number % 7) + 1);
        producer.emit(session, kinds::TOKEN, &number.to_le_bytes()).expect("emits");
    }
}

fn read(bus: &EventBus, request: ConsumeRequest) -> (usize, String) {
    let page = block_on(bus.poll(request)).expect("polls");
    (page.events.len(), page.next_id.expect("a cursor"))
}

#[test]
fn names_survive_restarts_and_show_the_lag() {
    let scratch = Scratch::new("named");
    for opening in 0..3 {
        let bus = open(scratch.config().num_shards(2));
        let request = match bus.load_cursor("relay").expect("loads") {
            Some(cursor) => ConsumeRequest::new(60).from(cursor),
            None => ConsumeRequest::new(60),
        };
        emit(&bus, 100);
        let (count, next) = read(&bus, request);
        assert_eq!(count, 60);
        bus.save_cursor("relay", &next).expect("saves");
        let named = bus.cursors().expect("lists");
        assert_eq!((named.len(), &*named[0].name, &*named[0].cursor), (1, "relay", &*next));
        assert_eq!(named[0].lag_events, 40 * (opening + 1));
        assert!(named[0].lag_bytes > 0 && !named[0].lag.is_zero());
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config().num_shards(2));
    let cursor = bus.load_cursor("relay").expect("loads").expect("is there");
    let (count, end) = read(&bus, ConsumeRequest::default().from(cursor));
    assert_eq!(count, 120);
    bus.save_cursor("relay", &end).expect("replaces");
    let named = bus.cursors().expect("lists");
    assert_eq!((named[0].lag_events, named[0].lag_bytes, named[0].lag.as_nanos()), (0, 0, 0));
    assert!(bus.remove_cursor("relay").expect("removes") && !bus.remove_cursor("relay").expect("is gone"));
    assert_eq!((bus.load_cursor("relay").expect("loads"), bus.cursors().expect("lists").len()), (None, 0));
}

#[test]
fn lag_is_that_of_every_kind_of_cursor_and_log() {
    let scratch = Scratch::new("lag");
    for config in [scratch.config(), EventBusConfig::builder()] {
        let bus = open(config.num_shards(2));
        emit(&bus, 1000);
        let mut subscription = block_on(bus.subscribe(SubscribeRequest::new())).expect("subscribes");
        for _ in 0..300 {
            block_on(subscription.next()).expect("goes on").expect("event");
        }
        bus.save_cursor("stream", &subscription.cursor()).expect("saves");
        let (_, next) = read(&bus, ConsumeRequest::new(300).ordering(Ordering::InsertionTs));
        bus.save_cursor("sweep", &next).expect("saves");
        let named = bus.cursors().expect("lists");
        assert_eq!(named.iter().map(|named| &*named.name).collect::<Vec<_>>(), ["stream", "sweep"]);
        assert!(named.iter().all(|named| named.lag_events == 700 && named.lag_bytes >= 700 * 40), "{named:?}");
        let refused = bus.save_cursor("stream", "00");
        assert!(matches!(refused, Err(ConsumerError::InvalidCursor { .. })));
        assert!(matches!(bus.save_cursor("../meta", &next), Err(ConsumerError::CursorName(_))));
    }
}

#[test]
fn file_that_is_no_cursor_is_named_and_behind_everything() {
    let scratch = Scratch::new("broken");
    let bus = open(scratch.config());
    emit(&bus, 10);
    block_on(bus.flush()).expect("flushes");
    let (_, end) = read(&bus, ConsumeRequest::default());
    bus.save_cursor("one", &end).expect("saves");
    std::fs::write(scratch.path().join("cursors/one"), &end[..end.len() - 2]).expect("writes");
    std::fs::write(scratch.path().join("cursors/two.tmp"), "half").expect("writes");
    let named = bus.cursors().expect("lists");
    assert_eq!((named.len(), named[0].lag_events), (1, 10));
    assert!(named[0].fault.as_ref().is_some_and(|fault| fault.contains("damaged")), "{named:?}");
    let broken = bus.load_cursor("one").expect("loads").expect("is there");
    let refused = block_on(bus.poll(ConsumeRequest::default().from(broken)));
    assert!(matches!(refused, Err(ConsumerError::InvalidCursor { .. })));
}

#[test]
fn handles_that_save_one_cursor_at_a_time_never_tear_it() {
    let scratch = Scratch::new("shared-cursor");
    let bus = open(scratch.config());
    bus.ingest_raw(RawEvent::from_bytes(b"x".to_vec())).expect("ingests");
    block_on(bus.flush()).expect("durable");
    let texts = [Start::Earliest, Start::Latest]
        .map(|start| LogFiles::open(scratch.path()).expect("opens").cursor_at(&start).expect("a cursor"));
    bus.save_cursor("relay", &texts[0]).expect("saves");
    std::thread::scope(|scope| {
        let writers: Vec<_> = texts
            .iter()
            .map(|text| {
                // A handle of its own, as another process has.
                let log = LogFiles::open(scratch.path()).expect("opens");
                scope.spawn(move || (0..50).for_each(|_| log.save_cursor("relay", text).expect("saves")))
            })
            .collect();
        let reader = LogFiles::open(scratch.path()).expect("opens");
        while !writers.iter().all(|writer| writer.is_finished()) {
            let read = reader.load_cursor("relay").expect("reads").expect("is there");
            assert!(texts.contains(&read), "torn: {read:?}");
        }
    });
    // What a crash left goes when the log is opened for writing.
    let left = scratch.path().join("cursors").join("relay.1-0.tmp");
    std::fs::write(&left, "torn").expect("writes");
    drop(bus);
    let bus = open(scratch.config());
    assert!(!left.exists());
    assert_eq!(bus.cursors().expect("lists").len(), 1);
}
