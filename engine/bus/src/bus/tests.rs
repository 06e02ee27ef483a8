//! Openings that fail at each step, and the holders of the log's lock meanwhile.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline_reader::cursor::Cursor;
use tapeline_reader::timestamp::machine::{Machine, MachineEvent};
use tapeline_reader::{ConsumerError, CursorFault, Event, LogFiles, kinds};
use tapeline_storage::device::fs::lock_exclusive;
use tapeline_storage::format::{Epoch, Sequence};
use tapeline_storage::log::{Position, Run};

use super::*;
use crate::core::config::{EventBusConfigBuilder, ScalingPolicy};
use crate::core::error::IngestionError;
use crate::core::seam::{Step, plan};
use crate::live::ConsumeRequest;

struct Scratch(tapeline_testing::Scratch);

impl Scratch {
    fn new() -> Self {
        Self(tapeline_testing::Scratch::new("bus"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self) -> EventBusConfigBuilder {
        EventBusConfig::builder().directory(self.path()).segment_bytes(2 << 20).num_shards(2)
    }

    fn open(&self) -> EventBus {
        block_on(EventBus::new(self.config().build().expect("a configuration"))).expect("opens")
    }
}

fn is_locked(path: &Path) -> bool {
    let lock = lock_exclusive(path, "lock", Duration::ZERO);
    lock.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn count(path: &Path) -> usize {
    let events = LogFiles::open(path).expect("opens").replay_all().expect("replays");
    events.inspect(|event| assert!(event.is_ok(), "{event:?}")).count()
}

#[test]
fn opening_that_fails_at_any_step_leaves_no_thread_and_a_free_lock() {
    let scratch = Scratch::new();
    // Four shards, of which later openings use one and two: there are archived ones, and an era begins each time.
    let wide = scratch.config().num_shards(4).build().expect("a configuration");
    let bus = block_on(EventBus::new(wide)).expect("opens");
    bus.ingest(Event::from_str("0").expect("JSON")).expect("taken");
    let log = bus.log_id();
    drop(bus);
    let steps =
        [Step::Spawn(0), Step::Spawn(1), Step::Archived, Step::ReadEras, Step::SaveEras, Step::Scaling, Step::Keeper];
    for (round, step) in steps.into_iter().enumerate() {
        plan(log, step, || Err(io::Error::from_raw_os_error(libc::EAGAIN)));
        let policy = ScalingPolicy { min_shards: 1, max_shards: 2, ..ScalingPolicy::default() };
        let config =
            scratch.config().num_shards(1).scaling(policy).retention(RetentionPolicy::new().max_segments(1000));
        let failed = block_on(EventBus::new(config.build().expect("a configuration")));
        assert!(failed.is_err_and(|error| error.to_string().contains("os error 11")), "{step:?}");
        assert!(!is_locked(scratch.path()), "{step:?}: the lock is held by a thread that is left");
        let bus = scratch.open();
        bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
        block_on(bus.flush()).expect("durable");
        drop(bus);
        assert_eq!(count(scratch.path()), round + 2, "{step:?}");
    }
}

#[test]
fn lock_is_held_until_the_last_thread_of_a_failed_opening_has_ended() {
    let scratch = Scratch::new();
    let bus = scratch.open();
    bus.ingest(Event::from_str("0").expect("JSON")).expect("taken");
    let log = bus.log_id();
    drop(bus);
    let (arrives, at_the_end) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    plan(log, Step::SaveEras, || Err(io::Error::from_raw_os_error(libc::EMFILE)));
    plan(log, Step::ShardEnd, move || {
        let _ = arrives.send(());
        let _ = may_leave.recv();
        Ok(())
    });
    std::thread::scope(|scope| {
        // Sessions go another way than before.
        let config = scratch.config().num_shards(1).build().expect("valid");
        let opening = scope.spawn(|| block_on(EventBus::new(config)).is_err());
        at_the_end.recv().expect("a shard's thread comes to its end");
        assert!(is_locked(scratch.path()), "a shard's thread is left, and the lock is free");
        drop(leave);
        assert!(opening.join().expect("no panic"), "opens");
    });
    assert!(!is_locked(scratch.path()));
}

#[test]
fn bus_dropped_by_its_own_task_is_ended_by_another_thread() {
    let scratch = Scratch::new();
    let bus = Arc::new(scratch.open());
    let log = bus.log_id();
    let (arrives, at_the_end) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    plan(log, Step::ShardEnd, move || {
        let _ = arrives.send(());
        let _ = may_leave.recv();
        Ok(())
    });
    let (hand_over, last) = mpsc::channel::<Arc<EventBus>>();
    let task = bus.run_on_shard(0, move |context| async move {
        let bus = loop {
            match last.try_recv() {
                Ok(bus) => break bus,
                Err(_) => context.yield_now().await,
            }
        };
        bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
        drop(bus);
    });
    hand_over.send(bus).expect("the task runs");
    assert_eq!(task.expect("runs").join(), Ok(()), "no panic, and no wait for itself");
    at_the_end.recv().expect("the shards were asked to end");
    assert!(is_locked(scratch.path()), "a shard's thread is left, and the lock is free");
    drop(leave);
    // Waits for the lock, as long as threads of the bus before are at their end.
    let again = loop {
        match block_on(EventBus::new(scratch.config().build().expect("valid"))) {
            Err(error) if error.is_retryable() => {}
            opened => break opened.expect("opens"),
        }
    };
    drop(again);
    assert_eq!(count(scratch.path()), 1, "what the task ingested is there");
}

/// A bus whose one shard panics before it takes what is in its lanes.
fn die(scratch: &Scratch) -> (EventBus, Producer, Ticket) {
    let bus = block_on(EventBus::new(scratch.config().num_shards(1).build().expect("valid"))).expect("opens");
    let (arrives, at_the_turn) = mpsc::channel::<()>();
    let (leave, may_leave) = mpsc::channel::<()>();
    plan(bus.log_id(), Step::Turn, move || {
        let _ = arrives.send(());
        let _ = may_leave.recv();
        std::panic::panic_any(NastyPayload)
    });
    at_the_turn.recv().expect("the shard turns");
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("s");
    let tickets: Vec<_> = (0..100).map(|_| producer.emit(session, kinds::TOKEN, b"taken").expect("taken")).collect();
    drop(leave);
    (bus, producer, tickets[99])
}

/// A payload of a panic that panics when it is dropped.
struct NastyPayload;

impl Drop for NastyPayload {
    fn drop(&mut self) {
        panic!("the payload of a panic panics");
    }
}

#[test]
fn death_of_a_shard_is_reported_to_every_waiter_and_acknowledges_nothing() {
    use crate::core::error::IngestionError;
    use crate::live::{ConsumeRequest, SubscribeRequest};
    use tapeline_reader::ConsumerError;
    let scratch = Scratch::new();
    let (bus, mut producer, ticket) = die(&scratch);
    let poisoned = |outcome: AdapterResult<()>| {
        assert!(
            matches!(&outcome, Err(AdapterError::Poisoned(poison)) if poison.message == "it panicked"),
            "{outcome:?}"
        );
    };
    poisoned(block_on(bus.flush()));
    poisoned(block_on(producer.flush()));
    poisoned(block_on(producer.durable(ticket)));
    poisoned(producer.wait_durable(ticket));
    assert!(!producer.is_durable(ticket));
    let session = producer.session("s");
    let refused = producer.emit(session, kinds::TOKEN, b"late");
    assert!(matches!(refused, Err(IngestionError::Poisoned(_))), "{refused:?}");
    let page = block_on(bus.poll(ConsumeRequest::new(10).wait(Duration::from_secs(3600)))).expect("a page");
    assert_eq!((page.events.len(), page.failed_shards.len()), (0, 1));
    let mut events = block_on(bus.subscribe(SubscribeRequest::new())).expect("a subscription");
    let reported = block_on(events.next());
    assert!(matches!(reported, Some(Err(ConsumerError::Adapter(AdapterError::Poisoned(_))))), "{reported:?}");
    assert!(block_on(events.next()).is_none());
    let mut batches = block_on(bus.batches(SubscribeRequest::new())).expect("batches");
    assert!(matches!(batches.blocking_next(), Some(Err(ConsumerError::Adapter(AdapterError::Poisoned(_))))));
    assert!(matches!(bus.run_on_shard(0, |_| async {}), Err(AdapterError::Shutdown)));
    poisoned(block_on(bus.shutdown_via_ref()));
    drop((producer, bus));
    assert_eq!(count(scratch.path()), 0);
    assert!(!is_locked(scratch.path()));
}

#[test]
fn tasks_of_a_shard_that_dies_end_and_report_it() {
    let scratch = Scratch::new();
    let bus = block_on(EventBus::new(scratch.config().num_shards(1).build().expect("valid"))).expect("opens");
    let waits = bus.run_on_shard(0, |_| std::future::pending::<()>()).expect("runs");
    plan(bus.log_id(), Step::Turn, || panic!("a shard"));
    assert_eq!(waits.join(), Err(TaskError::Shutdown));
    assert!(matches!(bus.run_on_shard(0, |_| async {}), Err(AdapterError::Shutdown)));
    assert!(matches!(block_on(bus.shutdown_via_ref()), Err(AdapterError::Poisoned(_))));
}

#[test]
fn waker_of_a_task_outlives_its_runtime() {
    let scratch = Scratch::new();
    let bus = scratch.open();
    let (report, waker) = mpsc::channel();
    let task = bus.run_on_shard(0, move |_| {
        let mut is_first = true;
        std::future::poll_fn(move |context| {
            if !std::mem::replace(&mut is_first, false) {
                return std::task::Poll::Ready(());
            }
            let _ = report.send(context.waker().clone());
            std::task::Poll::Pending
        })
    });
    let waker: std::task::Waker = waker.recv().expect("runs");
    waker.wake_by_ref();
    assert_eq!(task.expect("runs").join(), Ok(()));
    block_on(bus.shutdown_via_ref()).expect("ends");
    // The task is gone, its thread and runtime as well.
    waker.wake_by_ref();
    drop(waker);
}

/// A waker of which one call panics.
fn cursed_waker(which: &'static str) -> std::task::Waker {
    struct Cursed(&'static str);
    impl std::task::Wake for Cursed {
        fn wake(self: Arc<Self>) {
            assert_ne!(self.0, "wake", "a waker panics");
        }
    }
    impl Drop for Cursed {
        fn drop(&mut self) {
            assert_ne!(self.0, "drop", "a waker panics when it is dropped");
        }
    }
    std::task::Waker::from(Arc::new(Cursed(which)))
}

#[test]
fn panicking_wakers_harm_no_other_reader_and_no_shard() {
    use crate::live::SubscribeRequest;
    use std::pin::pin;
    use std::task::{Context, Poll};
    for which in ["wake", "drop"] {
        let scratch = Scratch::new();
        let bus = scratch.open();
        let mut cursed = block_on(bus.subscribe(SubscribeRequest::live())).expect("a subscription");
        let mut blessed = block_on(bus.subscribe(SubscribeRequest::live())).expect("a subscription").blocking();
        let mut next = pin!(cursed.next());
        let mut flush = pin!(bus.flush());
        {
            let waker = cursed_waker(which);
            let mut context = Context::from_waker(&waker);
            assert!(matches!(next.as_mut().poll(&mut context), Poll::Pending));
            bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
            let _ = flush.as_mut().poll(&mut context);
            // The futures hold the last clones, which are dropped where they are woken.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(waker))));
        }
        assert!(blessed.next().expect("goes on").is_ok());
        block_on(bus.flush()).expect("durable");
        assert!(bus.shard_stats().iter().all(|shard| shard.health.poison.is_none()), "{which}");
        block_on(bus.shutdown_via_ref()).expect("ends");
    }
}

#[test]
fn threads_keep_nothing_of_a_bus_that_has_ended() {
    let scratch = Scratch::new();
    let bus = scratch.open();
    let (core, memory) = (Arc::downgrade(&bus.core), Arc::clone(bus.factory.memory()));
    let (end, ended) = mpsc::channel::<()>();
    let (ingested, arrives) = mpsc::channel();
    std::thread::scope(|scope| {
        let bus_of_thread = &bus;
        let idle = scope.spawn(move || {
            bus_of_thread.ingest(Event::from_str("1").expect("JSON")).expect("taken");
            ingested.send(()).expect("is awaited");
            // Ingests no more, and does not end.
            let _ = ended.recv();
        });
        arrives.recv().expect("ingests");
        block_on(bus.shutdown_via_ref()).expect("ends");
        let config = bus.factory.config();
        let of_shard = config.memory_bytes() + config.catch_up_bytes();
        assert_eq!(memory.used(), of_shard * 2, "the shards' own alone is left");
        assert!(matches!(bus.ingest(Event::from_str("1").expect("JSON")), Err(IngestionError::ShuttingDown)));
        drop(end);
        idle.join().expect("no panic");
    });
    drop(bus);
    assert_eq!((core.strong_count(), memory.used()), (0, 0));

    // The same with the thread alive while the bus is dropped, and threads that ingest all the while.
    for _ in 0..20 {
        let scratch = Scratch::new();
        let bus = Arc::new(scratch.open());
        let (core, memory) = (Arc::downgrade(&bus.core), Arc::clone(bus.factory.memory()));
        let (end, ended) = mpsc::channel::<()>();
        let (done, all_done) = mpsc::channel();
        let ended = Arc::new(std::sync::Mutex::new(ended));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (bus, done, ended) = (Arc::clone(&bus), done.clone(), Arc::clone(&ended));
                std::thread::spawn(move || {
                    while !matches!(bus.ingest(Event::from_str("1").expect("JSON")), Err(IngestionError::ShuttingDown))
                    {
                    }
                    drop(bus);
                    done.send(()).expect("is awaited");
                    let _ = ended.lock().map(|ended| ended.recv());
                })
            })
            .collect();
        block_on(bus.shutdown_via_ref()).expect("ends");
        (0..3).for_each(|_| all_done.recv().expect("each"));
        drop(bus);
        assert_eq!((core.strong_count(), memory.used()), (0, 0));
        drop(end);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

/// Set for a process whose clock is that of a machine that the test sets.
const CHILD: &str = "TAPELINE_TEST_MACHINE";

/// Runs in a process of its own, whose clock has a counter that can be set.
#[test]
fn polls_end_in_time_after_the_counter_was_set() {
    if std::env::var_os(CHILD).is_none() {
        let mut own = std::process::Command::new(std::env::current_exe().expect("own path"));
        own.args(["--exact", "bus::tests::polls_end_in_time_after_the_counter_was_set", "--nocapture"]);
        let output = own.env(CHILD, "1").output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let machine = Machine::replace_real();
    let bus = block_on(EventBus::new(EventBusConfig::default())).expect("opens");
    let last = block_on(bus.poll(ConsumeRequest::new(0))).expect("a page").next_id.expect("a cursor");
    for event in MachineEvent::EXAMPLES {
        machine.happen(event);
        let begun = Instant::now();
        let request = ConsumeRequest::new(10).from(last.clone()).wait(Duration::from_millis(20));
        block_on(bus.poll(request)).expect("a page");
        // A clock that crawls or stands takes hours; a machine that is busy, a moment.
        assert!(begun.elapsed() < Duration::from_secs(20), "{event:?}: {:?}", begun.elapsed());
        bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
        block_on(bus.flush()).expect("acknowledged");
    }
    assert_eq!(
        block_on(bus.poll(ConsumeRequest::new(100))).expect("a page").events.len(),
        MachineEvent::EXAMPLES.len()
    );
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn cursor_of_a_run_that_is_gone_is_expired_and_names_the_earliest() {
    let config = EventBusConfig::builder().memory_bytes(4 << 20).build().expect("configuration");
    let bus = block_on(EventBus::new(config)).expect("opens");
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    for _ in 0..200_000 {
        while producer.emit(session, kinds::TOKEN, &[0; 64]).is_err() {
            std::thread::yield_now();
        }
    }
    block_on(bus.flush()).expect("flushes");
    let run = Run { epoch: Epoch::new(99), base: Sequence::ZERO };
    let gone = Cursor { positions: [(0, Position { next: Sequence::new(5), run })].into(), sweep: None };
    let request = ConsumeRequest::default().from(gone.encode(bus.log_id()));
    match block_on(bus.poll(request)) {
        Err(ConsumerError::InvalidCursor { fault: CursorFault::Expired(0), earliest }) => {
            let page = block_on(bus.poll(ConsumeRequest::default().from(earliest))).expect("polls");
            assert!(!page.events.is_empty() && page.gaps.is_empty());
        }
        other => panic!("{other:?}"),
    }
}
