//! Wakers of users run on a shard's thread: what would wait for that thread is refused there, and nothing else is.

use std::pin::{Pin, pin};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::block_on;
use tapeline::bus::TaskError;
use tapeline::{
    AdapterError, AdapterResult, BatchConfig, ConsumeRequest, ConsumerError, Event, EventBus, EventBusConfig,
    ScalingPolicy, SubscribeRequest,
};

use crate::scratch::{Scratch, open};

/// Does some work when it is woken for the first time.
struct Work(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Work {
    fn wake(self: Arc<Self>) {
        let work = self.0.lock().expect("no panic").take();
        work.into_iter().for_each(|work| work());
    }
}

fn waker(work: impl FnOnce() + Send + 'static) -> Waker {
    Waker::from(Arc::new(Work(Mutex::new(Some(Box::new(work))))))
}

/// Has a shard's thread do some work, in the waker of a subscription that waits for an event.
fn on_shard<T: Send + 'static>(bus: &Arc<EventBus>, work: impl FnOnce(&EventBus) -> T + Send + 'static) -> T {
    let mut subscription = block_on(bus.subscribe(SubscribeRequest::live())).expect("subscribes");
    let (report, outcome): (Sender<T>, Receiver<T>) = channel();
    let there = Arc::clone(bus);
    let waker = waker(move || report.send(work(&there)).expect("is awaited"));
    let mut next = pin!(subscription.next());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
    outcome.recv().expect("was done")
}

fn is_refused<T>(outcome: AdapterResult<T>) -> bool {
    matches!(outcome, Err(AdapterError::OnShard { .. }))
}

fn reads_nothing<T>(outcome: Option<Result<T, ConsumerError>>) -> bool {
    matches!(outcome, Some(Err(ConsumerError::Adapter(AdapterError::OnShard { .. }))))
}

/// A request that nothing fulfils.
fn nothing() -> SubscribeRequest {
    SubscribeRequest::new().session("of nobody")
}

fn scaled() -> Arc<EventBus> {
    let policy = ScalingPolicy { auto_scale: false, max_shards: 2, ..ScalingPolicy::default() };
    Arc::new(open(EventBusConfig::builder().num_shards(1).scaling(policy)))
}

fn ingest(bus: &EventBus) {
    bus.ingest(Event::from_str("2").expect("JSON")).expect("taken");
}

type Attempt = fn(&EventBus) -> bool;

#[test]
fn call_that_would_wait_for_its_own_shard_is_refused() {
    let bus = scaled();
    let attempts: [(&str, Attempt); 12] = [
        ("flush", |bus| {
            ingest(bus);
            is_refused(block_on(bus.flush()))
        }),
        ("subscribe", |bus| {
            ingest(bus);
            matches!(block_on(bus.subscribe(nothing())), Err(ConsumerError::Adapter(AdapterError::OnShard { .. })))
        }),
        ("replay", |bus| {
            ingest(bus);
            matches!(block_on(bus.replay("s")), Err(ConsumerError::Adapter(AdapterError::OnShard { .. })))
        }),
        ("durable", |bus| {
            let mut producer = bus.producer().expect("producer");
            let session = producer.session("s");
            let ticket = producer.emit(session, tapeline::kinds::TOKEN, b"2").expect("taken");
            is_refused(block_on(producer.durable(ticket))) && is_refused(block_on(producer.flush()))
        }),
        ("poll", |bus| {
            ingest(bus);
            let request = ConsumeRequest::new(10).session("of nobody").wait(Duration::from_secs(3600));
            matches!(block_on(bus.poll(request)), Err(ConsumerError::Adapter(AdapterError::OnShard { .. })))
        }),
        ("shutdown", |bus| is_refused(block_on(bus.shutdown_via_ref()))),
        ("scale up", |bus| is_refused(block_on(bus.manual_scale_up(1)))),
        ("scale down", |bus| is_refused(block_on(bus.manual_scale_down(1)))),
        ("a task", |bus| {
            let task = bus.run_on_shard(0, |_| std::future::pending::<()>()).expect("begins");
            matches!(block_on(task), Err(TaskError::OnShard))
        }),
        ("long poll", |bus| {
            let request = ConsumeRequest::new(10).session("of nobody").wait(Duration::from_secs(3600));
            matches!(block_on(bus.poll(request)), Err(ConsumerError::Adapter(AdapterError::OnShard { .. })))
        }),
        ("trim", |bus| {
            // Nothing is to go, so there is nothing to wait for.
            block_on(bus.trim(&tapeline::retention::RetentionPolicy::new().max_segments(9))).is_ok()
        }),
        ("ingest", |bus| bus.ingest(Event::from_str("2").expect("JSON")).is_ok()),
    ];
    for (call, attempt) in attempts {
        assert!(on_shard(&bus, attempt), "{call}");
        block_on(bus.flush()).expect("the shard goes on");
    }
}

#[test]
fn subscription_waits_nowhere_on_a_shard_and_can_be_read_elsewhere() {
    let bus = scaled();
    let subscribe = || block_on(bus.subscribe(nothing())).expect("subscribes");
    let mut one = subscribe();
    let (read, mut one) = on_shard(&bus, move |_| {
        let read = [
            reads_nothing(block_on(one.next())),
            reads_nothing(block_on(one.next_batch())),
            reads_nothing(block_on(StreamExt::next(&mut one))),
            one.try_next().is_none(),
        ];
        (read, one)
    });
    assert_eq!(read, [true; 4]);
    bus.ingest(Event::from_str("3").expect("JSON").with_session("of nobody")).expect("taken");
    assert_eq!(block_on(one.next()).expect("one").expect("an event").raw[..], *b"3");
    let mut batches = subscribe().batches(&BatchConfig::default()).expect("batches");
    assert!(block_on(batches.next()).is_some(), "the event");
    let mut blocking = subscribe().blocking();
    assert!(blocking.next().is_some(), "the event");
    assert!(on_shard(&bus, move |_| reads_nothing(batches.blocking_next()) && reads_nothing(blocking.next())));
    block_on(bus.flush()).expect("the shard goes on");
}

/// A flush that waits, in a log on disk: polled once.
fn waiting_flush(bus: &Arc<EventBus>, waker: &Waker) -> Pin<Box<dyn Future<Output = AdapterResult<()>> + Send>> {
    loop {
        let there = Arc::clone(bus);
        let mut flush = Box::pin(async move { there.flush().await });
        bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
        if flush.as_mut().poll(&mut Context::from_waker(waker)).is_pending() {
            return flush;
        }
    }
}

#[test]
fn waker_of_a_flush_may_drop_poll_and_begin_others() {
    let scratch = Scratch::new("wakers");
    let bus = Arc::new(open(scratch.config()));
    let idle = Waker::noop();
    let (mut polled, dropped) = (waiting_flush(&bus, idle), waiting_flush(&bus, idle));
    let (report, outcome) = channel();
    let there = Arc::clone(&bus);
    let waker = waker(move || {
        drop(dropped);
        there.ingest(Event::from_str("2").expect("JSON")).expect("taken");
        let begun = block_on(there.flush());
        let ready = match polled.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome.is_ok() || is_refused(outcome),
            Poll::Pending => false,
        };
        report.send((is_refused(begun), ready)).expect("is awaited");
    });
    let flush = waiting_flush(&bus, &waker);
    assert_eq!(outcome.recv().expect("was done"), (true, true));
    block_on(flush).expect("durable");
    block_on(bus.flush()).expect("the shard goes on");
}
