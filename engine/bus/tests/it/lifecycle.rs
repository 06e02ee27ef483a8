//! Opening, ending, dropping, forking, panicking: nothing that was taken is lost, nothing hangs.

use futures_lite::future::{block_on, poll_once};
use tapeline::config::Durability;
use tapeline::{
    AdapterError, BatchConfig, ConsumeRequest, ConsumerError, EventBus, EventBusConfig, IngestionError, LogFiles,
    RawEvent, ReplayRequest, SubscribeRequest, kinds,
};

use crate::scratch::{Scratch, open};

fn count(scratch: &Scratch) -> usize {
    let events = LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays");
    events.inspect(|event| assert!(event.is_ok(), "{event:?}")).count()
}

#[test]
fn drop_without_shutdown_keeps_everything_that_was_taken() {
    let scratch = Scratch::new("drop");
    let bus = open(scratch.config());
    for number in 0..1000u32 {
        bus.ingest_raw(RawEvent::from_bytes(number.to_le_bytes().to_vec())).expect("ingests");
    }
    drop(bus);
    assert_eq!(count(&scratch), 1000);
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert!(files.segments().iter().all(|segment| segment.sealed));
}

#[test]
fn producer_that_panics_publishes_nothing_else_and_loses_nothing() {
    let scratch = Scratch::new("panic");
    let bus = open(scratch.config());
    std::thread::scope(|scope| {
        let mut producer = bus.producer().expect("producer");
        let panicked = scope.spawn(move || {
            let session = producer.session("s");
            producer.emit(session, kinds::TOKEN, b"published").expect("emits");
            let mut batch = producer.batch(session);
            batch.push(kinds::TOKEN, b"pushed, not published").expect("pushes");
            std::panic::panic_any("on purpose");
        });
        assert!(panicked.join().is_err());
    });
    block_on(bus.flush()).expect("durable");
    block_on(bus.shutdown()).expect("ends");
    assert_eq!(count(&scratch), 1);
}

#[test]
fn after_shutdown_every_call_says_so_and_reading_goes_on() {
    let scratch = Scratch::new("ended");
    let bus = open(scratch.config());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    let ticket = producer.emit(session, kinds::TOKEN, b"x").expect("emits");
    block_on(bus.shutdown_via_ref()).expect("ends");
    block_on(bus.shutdown_via_ref()).expect("ends again");
    assert!(bus.is_shutdown() && bus.is_shutdown_completed());
    assert!(producer.is_durable(ticket));
    assert!(matches!(producer.emit(session, kinds::TOKEN, b"late"), Err(IngestionError::ShuttingDown)));
    assert!(matches!(bus.ingest_raw(RawEvent::from_str("late")), Err(IngestionError::ShuttingDown)));
    assert!(matches!(bus.producer(), Err(IngestionError::ShuttingDown)));
    assert_eq!(bus.ingest_raw_batch(vec![RawEvent::from_str("late")]), 0);
    block_on(bus.flush()).expect("nothing is left to wait for");
    assert_eq!(block_on(bus.poll(ConsumeRequest::default())).expect("polls").events.len(), 1);
}

#[test]
fn ingest_that_races_the_end_is_stored_or_refused() {
    for _ in 0..20 {
        let scratch = Scratch::new("race");
        let bus = open(scratch.config());
        let taken: usize = std::thread::scope(|scope| {
            let producers: Vec<_> = (0..2)
                .map(|_| {
                    let mut producer = bus.producer().expect("producer");
                    scope.spawn(move || {
                        let session = producer.session("s");
                        let mut taken = 0;
                        loop {
                            match producer.emit(session, kinds::TOKEN, b"event") {
                                Ok(_) => taken += 1,
                                Err(IngestionError::Backpressure { .. }) => std::thread::yield_now(),
                                Err(_) => return taken,
                            }
                        }
                    })
                })
                .collect();
            // The race needs no head start: whatever was taken by then counts.
            block_on(bus.shutdown_via_ref()).expect("ends");
            producers.into_iter().map(|producer| producer.join().expect("joins")).sum()
        });
        assert_eq!(count(&scratch), taken);
    }
}

#[test]
fn one_opener_at_a_time() {
    let scratch = Scratch::new("lock");
    let bus = open(scratch.config());
    let second = block_on(EventBus::new(scratch.config().build().expect("configuration")));
    match second {
        Err(error @ AdapterError::Directory(_)) => {
            assert!(error.is_retryable());
            assert!(error.to_string().contains("open in another process or bus"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    drop(bus);
    drop(open(scratch.config()));
}

#[test]
fn opening_that_is_abandoned_leaves_nothing_running() {
    let scratch = Scratch::new("abandoned");
    for _ in 0..20 {
        let opening = EventBus::new(scratch.config().num_shards(2).build().expect("configuration"));
        block_on(async {
            let _ = poll_once(opening).await;
        });
    }
    // The lock is free, and the log is whole.
    drop(open(scratch.config()));
}

#[test]
fn bus_may_be_shared_by_threads_and_moved_into_tasks() {
    fn check<T: Send + Sync>() {}
    fn check_send<T: Send>(_: T) {}
    check::<EventBus>();
    let bus = open(EventBusConfig::builder());
    check_send(bus.flush());
    check_send(bus.poll(ConsumeRequest::default()));
    check_send(bus.producer().expect("producer"));
    check_send(EventBus::new(EventBusConfig::default()));
}

#[test]
fn stats_add_up_and_lanes_of_ended_threads_go_away() {
    let scratch = Scratch::new("stats");
    let bus = open(scratch.config().num_shards(2));
    std::thread::scope(|scope| {
        for thread in 0..4u128 {
            let bus = &bus;
            scope.spawn(move || {
                for number in 0..250u128 {
                    bus.ingest_raw(RawEvent::from_str("x").with_session(thread * 1000 + number + 1)).expect("ingests");
                }
            });
        }
    });
    block_on(bus.flush()).expect("durable");
    let stats = bus.stats();
    assert_eq!((stats.events_ingested, stats.events_appended, stats.events_durable), (1000, 1000, 1000));
    assert_eq!((stats.lanes.bytes, stats.refusals.total()), (0, 0));
    // An event more makes each shard look at its lanes again.
    while bus.stats().lanes.count > 2 {
        for session in 1..=20u128 {
            bus.ingest_raw(RawEvent::from_str("x").with_session(session)).expect("ingests");
        }
        block_on(bus.flush()).expect("durable");
    }
    assert!(bus.stats().events_ingested >= 1000, "events of lanes that are gone still count");
}

#[test]
#[allow(unsafe_code, reason = "fork")]
fn forked_child_is_refused_and_the_parent_goes_on() {
    let scratch = Scratch::new("fork");
    let bus = open(scratch.config().durability(Durability::PageCache));
    bus.ingest_raw(RawEvent::from_str("before")).expect("ingests");
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    producer.emit(session, kinds::TOKEN, b"before").expect("emits");
    let mut replay = block_on(bus.replay_with(ReplayRequest::new())).expect("a replay");
    let subscription = block_on(bus.subscribe(SubscribeRequest::new())).expect("a subscription");
    let batches = block_on(bus.subscribe(SubscribeRequest::new())).expect("a subscription");
    let batches = batches.batches(&BatchConfig::default()).expect("valid");
    let begun_at = [subscription.cursor(), batches.cursor()];
    // SAFETY: the child calls nothing but what is tested and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = matches!(bus.ingest_raw(RawEvent::from_str("child")), Err(IngestionError::Forked))
            && matches!(producer.emit(session, kinds::TOKEN, b"child"), Err(IngestionError::Forked))
            && matches!(block_on(bus.flush()), Err(AdapterError::Forked))
            && matches!(bus.producer(), Err(IngestionError::Forked))
            && bus.shard_stats().is_empty()
            && bus.lane_stats().is_empty()
            && bus.shard_metrics().is_none()
            && bus.stats() == tapeline::EventBusStats::default()
            && bus.num_shards() == 1
            && matches!(replay.next(), Some(Err(ConsumerError::Adapter(AdapterError::Forked))))
            && replay.next().is_none()
            && [subscription.cursor(), batches.cursor()] == begun_at;
        drop(producer);
        drop(bus);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(if refused { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: a live integer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status}");
    producer.emit(session, kinds::TOKEN, b"after").expect("emits");
    bus.ingest_raw(RawEvent::from_str("after")).expect("ingests");
    block_on(bus.flush()).expect("durable");
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    assert_eq!(count(&scratch), 4);
}
