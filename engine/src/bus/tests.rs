//! Openings that fail at each step, and who holds the log's lock meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline_storage::device::fs::lock_exclusive;

use super::*;
use crate::config::EventBusConfigBuilder;
use crate::consumer::LogFiles;
use crate::scaling::ScalingPolicy;
use crate::seam::{Step, plan};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tapeline-bus-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn config(&self) -> EventBusConfigBuilder {
        EventBusConfig::builder().directory(&self.0).segment_bytes(2 << 20).num_shards(2)
    }

    fn open(&self) -> EventBus {
        block_on(EventBus::new(self.config().build().expect("a configuration"))).expect("opens")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
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
    // Four shards, of which later openings use two: there are archived ones, and eras.
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
        let config = scratch.config().scaling(policy).retention(RetentionPolicy::new().max_segments(1000));
        let failed = block_on(EventBus::new(config.build().expect("a configuration")));
        assert!(failed.is_err_and(|error| error.to_string().contains("os error 11")), "{step:?}");
        assert!(!is_locked(&scratch.0), "{step:?}: the lock is held by a thread that is left");
        let bus = scratch.open();
        bus.ingest(Event::from_str("1").expect("JSON")).expect("taken");
        block_on(bus.flush()).expect("durable");
        drop(bus);
        assert_eq!(count(&scratch.0), round + 2, "{step:?}");
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
        let opening = scope.spawn(|| block_on(EventBus::new(scratch.config().build().expect("valid"))).is_err());
        at_the_end.recv().expect("a shard's thread comes to its end");
        assert!(is_locked(&scratch.0), "a shard's thread is left, and the lock is free");
        drop(leave);
        assert!(opening.join().expect("no panic"), "opens");
    });
    assert!(!is_locked(&scratch.0));
}

#[test]
fn bus_dropped_on_a_shards_thread_is_ended_by_another() {
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
    at_the_end.recv().expect("the shards were told to end");
    assert!(is_locked(&scratch.0), "a shard's thread is left, and the lock is free");
    drop(leave);
    // Waits for the lock, as long as threads of the bus before are at their end.
    let again = loop {
        match block_on(EventBus::new(scratch.config().build().expect("valid"))) {
            Err(error) if error.is_retryable() => {}
            opened => break opened.expect("opens"),
        }
    };
    drop(again);
    assert_eq!(count(&scratch.0), 1, "what the task ingested is there");
}
