//! Tasks on a shard's own thread: they read its events there, ingest anywhere, and cannot harm it.

use futures_lite::future::block_on;
use tapeline::{AdapterError, BackpressureMode, EventBus, EventBusConfig, Host, Kind, SubscribeRequest, TaskError};

const ASKED: Kind = Kind(1);
const ANSWERED: Kind = Kind(2);

fn open(host: Host) -> EventBus {
    let config = EventBusConfig::builder().num_shards(2).host(host);
    let config = config.backpressure_mode(BackpressureMode::Block { deadline: std::time::Duration::from_secs(20) });
    block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus")
}

#[test]
fn task_reads_its_shard_and_answers_to_sessions_of_others() {
    for host in [Host::Auto, Host::Thread] {
        let bus = open(host);
        let mut producer = bus.producer().expect("a producer");
        let here = (1..).map(|id: u128| producer.session(id)).find(|session| session.shard() == 0).expect("one");
        let there = (1..).map(|id: u128| producer.session(id)).find(|session| session.shard() == 1).expect("one");
        let answers = bus.run_on_shard(0, move |mut context| async move {
            let thread = std::thread::current().name().map(str::to_owned);
            let mut events = context.subscribe(SubscribeRequest::new()).expect("a subscription");
            let reply = context.session(there.id());
            let mut answers = 0;
            while answers < 1000 {
                let batch = events.next_batch().await.expect("goes on").expect("events");
                for event in batch.events() {
                    let event = event.expect("an event");
                    assert_eq!(event.shard_id(), context.shard_id());
                    while context.emit(reply, ANSWERED, event.payload()).is_err() {
                        context.yield_now().await;
                    }
                    answers += 1;
                }
            }
            (thread, answers)
        });
        for number in 0..1000_u64 {
            producer.emit(here, ASKED, &number.to_le_bytes()).expect("taken");
        }
        let (thread, answers) = answers.expect("runs").join().expect("ends");
        assert_eq!((thread.as_deref(), answers), (Some("tapeline-0"), 1000));
        block_on(bus.flush()).expect("flushes");
        let replayed: Vec<_> = block_on(bus.replay(there.id())).expect("a replay").map(Result::unwrap).collect();
        assert!(
            replayed.iter().map(|event| event.raw[..].to_vec()).eq((0..1000_u64).map(|n| n.to_le_bytes().to_vec()))
        );
    }
}

#[test]
fn panic_ends_the_task_alone() {
    let bus = open(Host::Auto);
    let early = bus.run_on_shard(0, |_| {
        if bus_is_cursed() {
            panic!("before it began");
        }
        async {}
    });
    assert_eq!(early.expect("runs").join(), Err(TaskError::Panicked("before it began".into())));
    let late = bus.run_on_shard(0, |context| async move {
        context.yield_now().await;
        panic!("number {}", 7);
    });
    assert_eq!(late.expect("runs").join().map(|(): ()| ()), Err(TaskError::Panicked("number 7".into())));
    assert_eq!(bus.run_on_shard(0, |_| async { 5 }).expect("runs").join(), Ok(5), "the shard goes on");
    bus.ingest(tapeline::Event::from_str("1").expect("JSON")).expect("taken");
    block_on(bus.flush()).expect("flushes");
}

fn bus_is_cursed() -> bool {
    true
}

#[test]
fn what_would_block_the_shard_is_an_error_there() {
    let bus = open(Host::Auto);
    let outcome = bus.run_on_shard(1, |mut context| async move {
        let session = context.session(1);
        let ticket = context.emit(session, ASKED, b"x").expect("taken");
        let blocking = context.producer().wait_durable(ticket);
        let refused = matches!(blocking, Err(AdapterError::OnShard { .. }));
        let awaited = context.producer().durable(ticket).await;
        (refused, awaited.is_ok())
    });
    assert_eq!(outcome.expect("runs").join(), Ok((true, true)));
}

#[test]
fn blocking_calls_on_a_shard_fail_and_the_shard_goes_on() {
    let bus = std::sync::Arc::new(open(Host::Auto));
    let inner = std::sync::Arc::clone(&bus);
    let outcome = bus.run_on_shard(0, move |_| async move {
        let other = inner.run_on_shard(0, |_| async { 5 }).expect("runs");
        let joined = other.join();
        let subscription = inner.subscribe(SubscribeRequest::live()).await.expect("a subscription");
        let read = subscription.blocking().next().map(|event| event.is_err());
        let mut batches = inner.batches(SubscribeRequest::live()).await.expect("batches");
        let batch = batches.blocking_next().map(|batch| batch.is_err());
        let ended = inner.shutdown_via_ref().await;
        (joined, read, batch, matches!(ended, Err(AdapterError::OnShard { .. })), inner.is_shutdown())
    });
    let outcome = outcome.expect("runs").join();
    assert_eq!(outcome, Ok((Err(TaskError::OnShard), Some(true), Some(true), true, false)));
    bus.ingest(tapeline::Event::from_str("1").expect("JSON")).expect("taken");
    block_on(bus.flush()).expect("flushes");
}

#[test]
fn a_task_may_leave_anything_behind_that_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let bus = open(Host::Auto);
    let payload = bus.run_on_shard(0, |_| async { std::panic::panic_any(Bomb) });
    assert_eq!(payload.expect("runs").join(), Err::<(), _>(TaskError::Panicked(String::new())));
    let bomb = Bomb;
    let dropped = bus.run_on_shard(0, move |context| async move {
        let _bomb = bomb;
        loop {
            context.yield_now().await;
        }
    });
    let dropped: tapeline::ShardTask<()> = dropped.expect("runs");
    assert_eq!(bus.run_on_shard(0, |_| async { 5 }).expect("runs").join(), Ok(5), "the shard goes on");
    block_on(bus.shutdown_via_ref()).expect("ends");
    assert_eq!(dropped.join(), Err(TaskError::Shutdown));
}

#[test]
fn tasks_end_with_the_bus_and_need_a_shard() {
    let bus = open(Host::Auto);
    let endless = bus.run_on_shard(0, |context| async move {
        loop {
            context.yield_now().await;
        }
    });
    let endless: tapeline::ShardTask<()> = endless.expect("runs");
    let Err(AdapterError::Fatal { shard: 9, message }) = bus.run_on_shard(9, |_| async {}) else {
        panic!("no shard 9")
    };
    assert!(message.contains("there are 2"), "{message}");
    // It takes its share and no more: the shard does its work beside it.
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session(1);
    for _ in 0..100_000 {
        producer.emit(session, ASKED, b"x").expect("taken");
    }
    block_on(bus.flush()).expect("flushes");
    block_on(bus.shutdown_via_ref()).expect("ends");
    assert_eq!(endless.join(), Err(TaskError::Shutdown));
    assert!(matches!(bus.run_on_shard(0, |_| async {}), Err(AdapterError::Shutdown)));
}
