//! Tasks beside a shard: they read its events there, ingest anywhere, and cannot harm it.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_lite::future::block_on;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use tapeline::bus::ShardTask;
use tapeline::error::TaskError;
use tapeline::event::Kind;
use tapeline::glommio::{self, channels::local_channel, io::BufferedFile, net::UnixStream, timer};
use tapeline::{AdapterError, BackpressureMode, Event, EventBus, EventBusConfig, LogFiles, SubscribeRequest};

use crate::scratch::Scratch;

const ASKED: Kind = Kind(1);
const ANSWERED: Kind = Kind(2);

fn open() -> EventBus {
    let config = EventBusConfig::builder().num_shards(2);
    let config = config.backpressure_mode(BackpressureMode::Block { deadline: Duration::from_secs(20) });
    block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus")
}

#[test]
fn task_reads_its_shard_and_answers_to_sessions_of_others() {
    let bus = open();
    let mut producer = bus.producer().expect("a producer");
    let here = (1..).map(|id: u128| producer.session(id)).find(|session| session.shard_id() == 0).expect("one");
    let there = (1..).map(|id: u128| producer.session(id)).find(|session| session.shard_id() == 1).expect("one");
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
    assert_eq!((thread.as_deref(), answers), (Some("tapeline-t0"), 1000));
    block_on(bus.flush()).expect("flushes");
    let replayed: Vec<_> = block_on(bus.replay(there.id())).expect("a replay").map(Result::unwrap).collect();
    assert!(replayed.iter().map(|event| event.raw[..].to_vec()).eq((0..1000_u64).map(|n| n.to_le_bytes().to_vec())));
}

#[test]
fn tasks_run_on_the_cores_of_their_shard_and_stats_say_on_what() {
    let bus = open();
    assert!(bus.shard_stats().iter().all(|shard| shard.host.task_runtime.is_none()), "before the first task");
    let cores = bus.run_on_shard(1, |context| async move {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("proc");
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
        (cores.trim().to_owned(), context.has_glommio())
    });
    let (cores, has_glommio) = cores.expect("runs").join().expect("ends");
    let stats = bus.shard_stats().remove(1);
    assert!(stats.host.core.is_none_or(|core| core.to_string() == cores), "{cores}: {stats:?}");
    assert_eq!(stats.host.task_runtime, Some(if has_glommio { "glommio" } else { "plain" }));
    assert_eq!(has_glommio, !stats.host.notes.iter().any(|note| note.starts_with("tasks run without glommio:")));
    assert!(bus.shard_stats()[0].host.task_runtime.is_none(), "no task, no runtime");
}

#[test]
fn tasks_use_timers_channels_files_and_sockets_of_glommio() {
    let (bus, scratch) = (open(), Scratch::new("glommio"));
    std::fs::create_dir_all(scratch.path()).expect("a directory");
    let path = scratch.path().join("file");
    let outcome = bus.run_on_shard(0, |context| async move {
        if !context.has_glommio() {
            return None;
        }
        timer::sleep(Duration::from_millis(1)).await;
        let (sender, receiver) = local_channel::new_bounded(1);
        let other = glommio::spawn_local(async move {
            for number in 0..10 {
                sender.send(number).await.expect("is received");
            }
        });
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        other.await;
        let file = BufferedFile::create(&path).await.expect("a file");
        file.write_at(b"written".to_vec(), 0).await.expect("writes");
        file.close().await.expect("closes");
        let (mut here, mut there) = UnixStream::pair().expect("sockets");
        here.write_all(b"sent").await.expect("sends");
        let mut received = [0; 4];
        there.read_exact(&mut received).await.expect("receives");
        Some((sum, std::fs::read(&path).expect("a file"), received))
    });
    match outcome.expect("runs").join().expect("ends") {
        Some(outcome) => assert_eq!(outcome, (45, b"written".to_vec(), *b"sent")),
        None => assert_eq!(bus.shard_stats()[0].host.task_runtime, Some("plain")),
    }
}

#[test]
fn panic_ends_the_task_alone() {
    let bus = open();
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
    assert_eq!(bus.run_on_shard(0, |_| async { 5 }).expect("runs").join(), Ok(5), "the others go on");
    bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
    block_on(bus.flush()).expect("flushes");
}

fn bus_is_cursed() -> bool {
    true
}

/// glommio looks at its timers only where no task is ready, or its own timer of seconds has run out.
#[test]
fn timer_rings_beside_a_task_that_is_always_ready() {
    let bus = open();
    let (is_set, has_rung) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (sees_set, rings) = (Arc::clone(&is_set), Arc::clone(&has_rung));
    let busy = bus.run_on_shard(0, |context| async move {
        let mut turns = 0_u64;
        while !has_rung.load(Ordering::SeqCst) {
            turns += u64::from(sees_set.load(Ordering::SeqCst));
            context.yield_now().await;
        }
        turns
    });
    let waits = bus.run_on_shard(0, |context| async move {
        is_set.store(true, Ordering::SeqCst);
        if context.has_glommio() {
            timer::sleep(Duration::from_millis(5)).await;
        }
        rings.store(true, Ordering::SeqCst);
    });
    waits.expect("runs").join().expect("ends");
    let turns = busy.expect("runs").join().expect("ends");
    // A turn takes a tenth of a microsecond or more.
    assert!(turns < 1_000_000, "{turns} turns while the timer ran");
}

#[test]
fn panic_in_a_task_of_glommios_ends_the_tasks_and_no_shard() {
    let bus = open();
    let bystander: ShardTask<()> = bus.run_on_shard(0, |_| std::future::pending()).expect("runs");
    let culprit = bus.run_on_shard(0, |context| async move {
        if !context.has_glommio() {
            panic!("in a task of the task");
        }
        glommio::spawn_local(async {
            glommio::executor().yield_task_queue_now().await;
            if bus_is_cursed() {
                panic!("in a task of the task");
            }
        })
        .detach();
        std::future::pending::<()>().await;
    });
    let panicked = TaskError::Panicked("in a task of the task".into());
    assert_eq!(culprit.expect("runs").join(), Err(panicked.clone()));
    if bus.shard_stats()[0].host.task_runtime == Some("glommio") {
        assert_eq!(bystander.join(), Err(panicked));
    }
    assert_eq!(bus.run_on_shard(0, |_| async { 5 }).expect("runs").join(), Ok(5), "others run again");
    bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
    block_on(bus.flush()).expect("no shard is harmed");
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn task_may_block_its_thread() {
    let bus = Arc::new(open());
    let inner = Arc::clone(&bus);
    let outcome = bus.run_on_shard(1, move |mut context| async move {
        let mut events = inner.subscribe(SubscribeRequest::new()).await.expect("a subscription").blocking();
        let mut batches = inner.batches(SubscribeRequest::new()).await.expect("batches");
        for id in 0..10_u128 {
            let session = context.session(id);
            let ticket = context.emit(session, ASKED, b"x").expect("taken");
            context.producer().wait_durable(ticket).expect("durable");
        }
        block_on(inner.flush()).expect("an executor of others");
        let other = inner.run_on_shard(0, |_| async { 5 }).expect("runs");
        let read = events.next().expect("goes on").is_ok();
        let batch = batches.blocking_next().expect("goes on").is_ok();
        (other.join(), read, batch)
    });
    assert_eq!(outcome.expect("runs").join(), Ok((Ok(5), true, true)));
}

#[test]
fn task_that_would_wait_for_itself_gets_an_error() {
    let bus = Arc::new(open());
    let inner = Arc::clone(&bus);
    let outcome = bus.run_on_shard(0, move |_| async move {
        let other = inner.run_on_shard(0, |_| async { 5 }).expect("runs");
        let ended = inner.shutdown_via_ref().await;
        (other.join(), matches!(ended, Err(AdapterError::OnShard { .. })), inner.is_shutdown())
    });
    assert_eq!(outcome.expect("runs").join(), Ok((Err(TaskError::OnShard), true, false)));
    // Of another bus it may wait.
    let other = open();
    let ended = bus.run_on_shard(0, move |_| async move { other.shutdown().await.is_ok() });
    assert_eq!(ended.expect("runs").join(), Ok(true));
}

#[test]
fn task_that_spins_stalls_no_shard_and_keeps_the_lock_until_it_ends() {
    let scratch = Scratch::new("spins");
    let open = || block_on(EventBus::new(scratch.config().build().expect("valid")));
    let bus = open().expect("opens");
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (may_stop, begins) = (Arc::clone(&stop), Arc::clone(&begun));
    let task = bus.run_on_shard(0, move |_| async move {
        begins.store(true, Ordering::SeqCst);
        while !may_stop.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    });
    while !begun.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("s");
    for number in 0..100_u64 {
        let ticket = producer.emit(session, ASKED, &number.to_le_bytes()).expect("taken");
        producer.wait_durable(ticket).expect("durable");
    }
    let ended = block_on(bus.shutdown_via_ref());
    assert!(matches!(ended, Err(AdapterError::TaskRuns { shard_id: 0 })), "{ended:?}");
    assert!(!bus.is_shutdown_completed());
    assert_eq!(LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays").count(), 100);
    assert!(open().is_err(), "its thread may touch the directory");
    stop.store(true, Ordering::SeqCst);
    block_on(bus.shutdown_via_ref()).expect("the same call may succeed later");
    assert!(bus.is_shutdown_completed());
    assert_eq!(task.expect("runs").join(), Ok(()));
    drop(bus);
    drop(open().expect("the lock is free"));
}

#[test]
fn a_task_may_leave_anything_behind_that_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let bus = open();
    let payload = bus.run_on_shard(0, |_| async { std::panic::panic_any(Bomb) });
    assert_eq!(payload.expect("runs").join(), Err::<(), _>(TaskError::Panicked(String::new())));
    let bomb = Bomb;
    let dropped = bus.run_on_shard(0, move |context| async move {
        let _bomb = bomb;
        loop {
            context.yield_now().await;
        }
    });
    let dropped: ShardTask<()> = dropped.expect("runs");
    assert_eq!(bus.run_on_shard(0, |_| async { 5 }).expect("runs").join(), Ok(5), "the others go on");
    block_on(bus.shutdown_via_ref()).expect("ends");
    assert_eq!(dropped.join(), Err(TaskError::Shutdown));
}

#[test]
fn tasks_end_with_the_bus_and_need_a_shard() {
    let bus = open();
    let endless = bus.run_on_shard(0, |context| async move {
        loop {
            context.yield_now().await;
        }
    });
    let endless: ShardTask<()> = endless.expect("runs");
    let error = bus.run_on_shard(9, |_| async {}).expect_err("no shard 9");
    assert!(matches!(error, AdapterError::NoShard { shard_id: 9, shards: 2 }) && !error.is_fatal(), "{error}");
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

/// Has [`child`] do its work.
const CHILD: &str = "TAPELINE_TASKS_CHILD";

#[test]
fn child() {
    let Ok(kind) = std::env::var(CHILD) else { return };
    let buses = if kind == "tasks" { 3 } else { 300 };
    drop(open());
    let before = descriptors();
    for _ in 0..buses {
        let bus = open();
        if kind == "tasks" {
            (0..10).for_each(|_| bus.run_on_shard(0, |_| async {}).expect("runs").join().expect("ends"));
        }
        block_on(bus.shutdown()).expect("ends");
    }
    let left = descriptors() - before;
    println!("{left} are left");
    // glommio 0.9 keeps an eventfd of each executor.
    assert!(left <= if kind == "tasks" { buses } else { 0 }, "{left} of {kind}");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

#[test]
fn bus_without_tasks_leaves_no_descriptor_and_one_with_tasks_one_a_shard() {
    for kind in ["none", "tasks"] {
        let mut child = Command::new(std::env::current_exe().expect("own path"));
        child.args(["--exact", "tasks::child", "--nocapture", "--test-threads=1"]).env(CHILD, kind);
        let status = child.status().expect("starts");
        assert!(status.success(), "{kind}: {status}");
    }
}
