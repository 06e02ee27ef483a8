//! The errors of buses and logs that no other page of tests meets, each brought about from outside.

use std::future::pending;
use std::io;
use std::path::Path;

use futures_lite::future::block_on;
use rkyv::with::AsString;
use rkyv::{Archive, Serialize};
use tapeline::config::{ConfigError, RetentionPolicy};
use tapeline::error::{DirectoryError, FilterError, PageError, RestoreError, TaskError};
use tapeline::event::{Kind, SessionId, SessionOutcome, TypedPayload};
use tapeline::log::{DamageCause, FollowStart, LogFollower, LogRestore, LostLog, RestoredEvent};
use tapeline::seam::{Step, plan};
use tapeline::{
    AdapterError, ConsumerError, Event, EventBus, EventBusConfig, EventBusConfigBuilder, Filter, IngestionError,
    IngestionResult, LogFiles, RawEvent, ReplayRequest, ScalingError, ScalingPolicy, kinds,
};
use tapeline_storage::format::Sequence;

use crate::scratch::{Scratch, open};

fn by_hand(max_shards: u16) -> ScalingPolicy {
    ScalingPolicy { auto_scale: false, max_shards, ..ScalingPolicy::default_for_cpus(max_shards) }
}

/// In memory, with 128 KiB for lanes beside the blocks of two shards.
fn tight() -> EventBusConfigBuilder {
    let config = EventBusConfig::builder().memory_bytes(4 << 20).lane_bytes(64 << 10).ring_buffer_capacity(1024);
    config.memory_budget((8 << 20) + (128 << 10))
}

/// A log of two shards, with an event in the first.
fn two_shards(scratch: &Scratch) {
    let bus = open(scratch.config().num_shards(2));
    bus.ingest_raw(RawEvent::from_str("kept")).expect("taken");
    block_on(bus.shutdown()).expect("ends");
}

fn reopen(scratch: &Scratch) -> AdapterError {
    block_on(EventBus::new(scratch.config().build().expect("a configuration"))).expect_err("cannot be opened")
}

fn shut() -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

#[test]
fn shard_that_the_budget_has_no_memory_for_is_not_started() {
    let bus = open(tight().scaling(by_hand(2)).num_shards(1));
    let mut producers: Vec<_> = (0..64).map(|_| bus.producer().expect("a producer")).collect();
    for producer in &mut producers {
        let session = producer.session(1);
        producer.emit(session, Kind(1), b"x").expect("its lane is made");
    }
    let refused = block_on(bus.manual_scale_up(1));
    let Err(AdapterError::Scaling(ScalingError::ShardCreationFailed(reason))) = refused else { panic!("{refused:?}") };
    assert!(reason.starts_with("the blocks of shard 1 take 4194304 bytes; the bus's memory_budget has"), "{reason}");
    assert_eq!(bus.num_shards(), 1);
}

#[test]
fn shards_do_not_change_while_the_log_of_one_has_failed() {
    let scratch = Scratch::new("shard-blocked");
    let bus = open(scratch.config().scaling(by_hand(2)).num_shards(1));
    plan(bus.log_id(), Step::Turn, || panic!("a shard"));
    while block_on(bus.is_healthy()) {
        std::thread::yield_now();
    }
    let refused = block_on(bus.manual_scale_up(1)).expect_err("the log of a shard has failed");
    assert!(matches!(&refused, AdapterError::Scaling(ScalingError::ShardBlocked(0))), "{refused:?}");
    assert!(refused.is_retryable());
}

#[test]
fn session_is_not_closed_without_memory_for_the_list_of_closed_ones() {
    let bus = open(tight().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("s");
    let ticket = producer.emit(session, kinds::TOKEN, b"1").expect("taken");
    let refused = producer.close_session(session, SessionOutcome::Finished);
    let Err(IngestionError::ClosedBudget { bytes, left }) = refused else { panic!("{refused:?}") };
    assert!(left < bytes && bytes > 128 << 10);
    producer.emit(session, kinds::TOKEN, b"2").expect("the session is open");
    producer.wait_durable(ticket).expect("stored");
}

#[test]
fn lane_that_cannot_be_made_is_refused_and_made_for_the_next_event() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("s");
    plan(bus.log_id(), Step::Lane, || Err(io::ErrorKind::OutOfMemory.into()));
    let refused = producer.emit(session, kinds::TOKEN, b"1");
    assert!(
        matches!(&refused, Err(IngestionError::Lane { source, .. }) if source.kind() == io::ErrorKind::OutOfMemory)
    );
    producer.emit(session, kinds::TOKEN, b"2").expect("there is memory again");
    assert_eq!(bus.stats().refusals.total(), 1);
}

#[test]
fn task_thread_that_cannot_be_made_is_refused_and_made_for_the_next_task() {
    let bus = open(EventBusConfig::builder().num_shards(1));
    plan(bus.log_id(), Step::Companion, shut);
    let refused = bus.run_on_shard(0, |_| async {}).expect_err("no thread");
    assert!(matches!(&refused, AdapterError::NoTaskThread { shard_id: 0, .. }) && refused.is_retryable(), "{refused}");
    bus.run_on_shard(0, |_| async {}).expect("runs").join().expect("ends");
}

#[test]
fn bus_whose_thread_panics_at_its_end_says_so_and_keeps_everything() {
    let scratch = Scratch::new("panics-at-its-end");
    let bus = open(scratch.config().num_shards(1));
    bus.ingest_raw(RawEvent::from_str("kept")).expect("taken");
    plan(bus.log_id(), Step::ShardEnd, || panic!("on purpose"));
    let ended = block_on(bus.shutdown_via_ref()).expect_err("a thread panicked");
    assert!(matches!(&ended, AdapterError::Panicked { message } if message == "on purpose"), "{ended:?}");
    assert!(ended.is_fatal());
    drop(bus);
    assert_eq!(LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays").count(), 1);
}

#[test]
fn opening_without_a_descriptor_for_its_doorbell_may_be_tried_again() {
    let scratch = Scratch::new("no-doorbell");
    let bus = open(scratch.config().num_shards(1));
    let log = bus.log_id();
    block_on(bus.shutdown()).expect("ends");
    plan(log, Step::Doorbell, || Err(io::Error::from_raw_os_error(libc::EMFILE)));
    let config = || scratch.config().num_shards(1).build().expect("a configuration");
    let refused = block_on(EventBus::new(config())).expect_err("no descriptor");
    assert!(matches!(refused, AdapterError::NoDescriptor { shard_id: 0, .. }), "{refused:?}");
    assert!(refused.is_retryable() && !refused.is_fatal(), "{refused}");
    block_on(block_on(EventBus::new(config())).expect("opens").shutdown()).expect("ends");
}

#[test]
fn threads_that_a_bus_needs_and_the_kernel_refuses_are_named() {
    let scratch = Scratch::new("no-threads");
    let bus = open(scratch.config().num_shards(1));
    let log = bus.log_id();
    block_on(bus.shutdown()).expect("ends");
    let config =
        || scratch.config().num_shards(1).scaling(by_hand(2)).retention(RetentionPolicy::new().max_segments(9));
    let refused = |step| {
        plan(log, step, shut);
        block_on(EventBus::new(config().build().expect("a configuration"))).expect_err("a thread is refused")
    };
    for (step, thread) in [(Step::Spawn(0), "a shard"), (Step::Scaling, "scaling"), (Step::Keeper, "retention")] {
        let error = refused(step);
        assert!(matches!(error, AdapterError::NoThread { purpose, .. } if purpose == thread), "{error:?}");
        assert!(error.is_retryable());
    }
}

#[test]
#[allow(unsafe_code, reason = "fork")]
fn task_that_a_forked_child_waits_for_is_the_parents() {
    let bus = open(EventBusConfig::builder().num_shards(1));
    let mut task = bus.run_on_shard(0, |_| pending::<()>()).expect("runs");
    // SAFETY: the child calls nothing but what is tested and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_forked = block_on(&mut task) == Err(TaskError::Forked);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!is_forked)) };
    }
    let mut status = 0;
    // SAFETY: a live integer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status}");
}

#[derive(Archive, Serialize)]
struct Located {
    #[rkyv(with = AsString)]
    path: std::path::PathBuf,
}

impl TypedPayload for Located {
    const TYPE_NAME: &'static str = "test.Located.1";
}

#[test]
fn value_that_has_no_archive_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("s");
    let located = |path: &[u8]| Located { path: Path::new(std::ffi::OsStr::from_bytes(path)).to_owned() };
    let refused = producer.emit_archived(session, kinds::TOKEN, &located(b"/no/text/\xff"));
    assert!(matches!(refused, Err(IngestionError::Archive(_))), "{refused:?}");
    producer.emit_archived(session, kinds::TOKEN, &located(b"/text")).expect("taken");
}

#[test]
fn text_that_is_not_json_is_an_error_of_the_function_that_ingests_it() {
    let bus = open(EventBusConfig::builder());
    let ingest = |text: &str| -> IngestionResult<()> {
        bus.ingest(Event::from_str(text)?)?;
        Ok(())
    };
    assert!(matches!(ingest("{"), Err(IngestionError::Serialization(_))));
    ingest("{}").expect("taken");
}

#[test]
fn second_opener_and_a_missing_shard_are_named() {
    let scratch = Scratch::new("directory-errors");
    two_shards(&scratch);
    let bus = open(scratch.config().num_shards(2));
    let path = scratch.path();
    assert!(matches!(reopen(&scratch), AdapterError::Directory(DirectoryError::Locked { path: of }) if of == path));
    block_on(bus.shutdown()).expect("ends");
    let shard = path.join("shard-0001");
    std::fs::remove_dir_all(&shard).expect("removed");
    assert!(matches!(reopen(&scratch), AdapterError::Directory(DirectoryError::NoShard { path: of }) if of == shard));
}

#[test]
fn meta_file_of_another_form_is_refused_by_its_fault() {
    let scratch = Scratch::new("meta-errors");
    two_shards(&scratch);
    let meta = scratch.path().join("meta");
    let whole = std::fs::read(&meta).expect("reads");
    let fault = |bytes: &[u8]| {
        std::fs::write(&meta, bytes).expect("writes");
        match reopen(&scratch) {
            AdapterError::Directory(DirectoryError::Meta { source, .. }) => source,
            refused => panic!("{refused:?}"),
        }
    };
    assert!(matches!(fault(&whole[..10]), PageError::Short { found: 10, .. }));
    assert!(matches!(fault(&vec![b'x'; whole.len()]), PageError::Magic { .. }));
    assert!(matches!(fault(&[0; 1 << 16]), PageError::Long { .. }));
    std::fs::write(&meta, whole).expect("writes");
    drop(open(scratch.config()));
}

#[test]
fn shard_that_is_damaged_is_reported_and_the_others_are_read() {
    let scratch = Scratch::new("damaged-shard");
    two_shards(&scratch);
    std::fs::remove_dir_all(scratch.path().join("shard-0001")).expect("removed");
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert_eq!(files.damage()[0].cause, DamageCause::Log);
    let events: Vec<_> = files.replay_all().expect("replays").collect();
    assert_eq!(events.iter().filter(|event| event.is_ok()).count(), 1);
    let damage = events.into_iter().find_map(Result::err).expect("the damage");
    assert!(matches!(&damage, ConsumerError::Damaged(damage) if damage.shard_id == 1), "{damage}");
    // A link that leads nowhere is mended by mounting the disk that it leads to.
    std::os::unix::fs::symlink("/no/such/disk", scratch.path().join("shard-0001")).expect("linked");
    assert_eq!(LogFiles::open(scratch.path()).expect("opens").damage()[0].cause, DamageCause::Environment);
}

#[test]
fn policy_without_limits_and_filter_with_a_long_path_are_refused() {
    let scratch = Scratch::new("bad-requests");
    two_shards(&scratch);
    let files = LogFiles::open(scratch.path()).expect("opens");
    let refused = files.plan_trim(&RetentionPolicy::new()).expect_err("no limit");
    assert!(matches!(refused, ConsumerError::Adapter(AdapterError::Config(ConfigError::InvalidValue(_)))));
    let long = Filter::exists(vec!["a"; 1000].join("."));
    let refused = files.replay_with(&ReplayRequest::new().filter(long)).expect_err("a path too long");
    assert!(matches!(refused, ConsumerError::InvalidFilter(FilterError::PathTooLong { segments: 1000, .. })));
}

#[test]
fn cursors_that_cannot_be_kept_name_the_call_and_the_cursor() {
    let scratch = Scratch::new("no-cursors");
    two_shards(&scratch);
    let files = LogFiles::open(scratch.path()).expect("opens");
    let cursor = files.cursor_at(&tapeline::consumer::Start::Earliest).expect("a cursor");
    std::fs::write(scratch.path().join("cursors"), "a file").expect("writes");
    let refused = files.save_cursor("indexer", &cursor).expect_err("no directory");
    assert!(matches!(&refused, ConsumerError::CursorStore { name, .. } if name == "indexer"), "{refused}");
    assert!(matches!(files.cursors(), Err(ConsumerError::CursorStore { operation: "list", .. })));
}

#[test]
fn restore_refuses_kinds_of_the_bus_and_reports_a_lost_directory() {
    let scratch = Scratch::new("restore-errors");
    let event = |sequence, kind| RestoredEvent {
        shard_id: 0,
        sequence: Sequence::new(sequence),
        insertion_ts: 1,
        session: SessionId(1),
        kind,
        payload: b"x",
    };
    let mut restore = LogRestore::create(scratch.path(), Some(2 << 20)).expect("vacant");
    let refused = restore.append(&event(0, Kind(0xfff0)));
    assert!(matches!(refused, Err(AdapterError::ReservedKind { kind: 0xfff0 })), "{refused:?}");
    restore.append(&event(0, kinds::TOKEN)).expect("taken");
    // A hole ends the segment: it is sealed, and cannot be named where its directory has gone.
    std::fs::remove_dir_all(scratch.path().join("shard-0000")).expect("removed");
    let refused = restore.append(&event(2, kinds::TOKEN));
    assert!(
        matches!(refused, Err(AdapterError::Restore { shard_id: 0, source: RestoreError::Open(_) })),
        "{refused:?}"
    );
}

#[test]
fn follower_says_whether_its_log_was_removed_or_replaced() {
    let scratch = Scratch::new("lost-log");
    let path = scratch.path().join("log");
    let restore = || LogRestore::create(&path, None).and_then(LogRestore::finish).expect("a log");
    restore();
    let mut follower = LogFollower::open(&path, FollowStart::Earliest, &ReplayRequest::new()).expect("follows");
    let mut look_until = |lost| {
        while follower.lost() != lost {
            follower.look();
            while let Some(event) = follower.try_next() {
                assert!(
                    event.is_ok() || follower.lost() == lost,
                    "a report came before its reason was known: {event:?}"
                );
            }
        }
    };
    std::fs::remove_dir_all(&path).expect("removed");
    look_until(Some(LostLog::Removed));
    restore();
    look_until(Some(LostLog::Replaced));
}
