//! A log that is put back is the log that it was, and a bus goes on in it.

use std::path::Path;

use futures_lite::future::block_on;
use tapeline::consumer::{Gap, GapReason};
use tapeline::error::{DirectoryError, RestoreError};
use tapeline::event::{Kind, Sequence, SessionId};
use tapeline::log::{LogRestore, RestoredEvent, plan_repair, repair_log};
use tapeline::{AdapterError, ConsumerError, EventBus, LogFiles, kinds};

use crate::scratch::{Scratch, open};

fn event(shard: u16, sequence: u64, payload: &[u8]) -> RestoredEvent<'_> {
    RestoredEvent {
        shard_id: shard,
        sequence: Sequence::new(sequence),
        insertion_ts: 1_000_000 + sequence * 10,
        session: SessionId(u128::from(shard) + 1),
        kind: kinds::TOKEN,
        payload,
    }
}

/// The reason for which an event of shard 0 cannot be put back.
fn source(error: AdapterError) -> RestoreError {
    match error {
        AdapterError::Restore { shard_id: 0, source } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_keep_their_sequences_and_times_over_many_segments() {
    let scratch = Scratch::new("restore");
    let mut restore = LogRestore::create(scratch.path(), Some(2 << 20)).expect("creates");
    let payload = vec![7; 10_000];
    for sequence in 0..1000 {
        restore.append(&event((sequence % 2) as u16, sequence / 2, &payload)).expect("appends");
    }
    restore.finish().expect("durable");
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert!(files.segments().len() >= 4 && files.segments().iter().all(|segment| segment.sealed));
    assert_eq!(files.verify(|_| {}).damage, []);
    let events: Vec<_> = files.replay_all().expect("replays").map(|event| event.expect("event")).collect();
    assert_eq!(events.len(), 1000);
    for found in &events {
        let expected = event(found.shard_id, found.sequence.get(), &payload);
        assert_eq!(
            (found.insertion_ts, found.session, found.kind),
            (expected.insertion_ts, expected.session, expected.kind)
        );
        assert_eq!(&found.raw[..], &payload[..]);
    }
    let bus: EventBus = open(scratch.config());
    let timestamp = bus.ingest_raw(tapeline::RawEvent::from_str("more")).expect("ingests").insertion_ts;
    assert!(timestamp > 1_000_000 + 5000);
    block_on(bus.shutdown()).expect("ends");
    assert_eq!(LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays").count(), 1001);
}

#[test]
fn what_is_left_out_is_reported() {
    let scratch = Scratch::new("holes");
    let mut restore = LogRestore::create(scratch.path(), None).expect("creates");
    for sequence in [5, 6, 9, 10, 20] {
        restore.append(&event(0, sequence, b"x")).expect("appends");
    }
    restore.finish().expect("durable");
    let files = LogFiles::open(scratch.path()).expect("opens");
    let mut gaps = Vec::new();
    let mut found = Vec::new();
    for event in files.replay_all().expect("replays") {
        match event {
            Ok(event) => found.push(event.sequence.get()),
            Err(ConsumerError::Gap(Gap { from, to, reason: GapReason::Lost, .. })) => gaps.push((from.get(), to.get())),
            Err(error) => panic!("{error}"),
        }
    }
    // The sequences before the first count as trimmed: a reader from the earliest begins after them.
    assert_eq!((found, gaps), (vec![5, 6, 9, 10, 20], vec![(7, 9), (11, 20)]));
}

#[test]
fn what_cannot_be_put_back_is_refused_and_the_rest_goes_on() {
    let scratch = Scratch::new("refused");
    let mut restore = LogRestore::create(scratch.path(), None).expect("creates");
    restore.append(&event(0, 3, b"x")).expect("appends");
    let refused = restore.append(&event(0, 3, b"x")).expect_err("again");
    assert!(matches!(source(refused), RestoreError::Order { next, found } if (next.get(), found.get()) == (4, 3)));
    let refused = restore.append(&event(0, 4, &vec![0; 65 << 20])).expect_err("too large");
    assert!(matches!(source(refused), RestoreError::TooLarge { bytes, .. } if bytes == 65 << 20));
    let last = RestoredEvent { sequence: Sequence::new(u64::MAX), ..event(0, 4, b"x") };
    let refused = restore.append(&last).expect_err("no sequence after it");
    assert!(matches!(source(refused), RestoreError::Sequence { found, max } if found > max));
    assert!(restore.append(&RestoredEvent { kind: Kind(0xfff0), ..event(0, 4, b"x") }).is_err(), "a note of the bus");
    for hole in 0..252 {
        restore.append(&event(0, 10 + hole * 2, b"x")).expect("a hole before it");
    }
    let refused = restore.append(&event(0, 10_000, b"x")).expect_err("one hole too many");
    assert!(matches!(source(refused), RestoreError::Holes { max: 252 }));
    restore.append(&event(0, 513, b"x")).expect("no hole before it");
    restore.finish().expect("durable");
    let exists = LogRestore::create(scratch.path(), None).expect_err("a log already");
    assert!(matches!(&exists, AdapterError::Directory(DirectoryError::Exists { path }) if path == scratch.path()));
    drop(open(scratch.config()));
}

/// The beginning of a log of 500 events, three shards and some segments each.
fn abandon(path: &Path) {
    let mut restore = LogRestore::create(path, Some(2 << 20)).expect("creates");
    for number in 0..1500 {
        restore.append(&event(number as u16 % 3, number / 3, &[1; 10_000])).expect("appends");
    }
}

#[test]
fn abandoned_halfway_it_is_no_log_and_the_next_restore_begins_anew() {
    let scratch = Scratch::new("abandoned");
    abandon(scratch.path());
    assert!(LogFiles::open(scratch.path()).is_err());
    let config = scratch.config().build().expect("a configuration");
    let refused = block_on(EventBus::new(config)).expect_err("no log");
    assert!(matches!(refused, AdapterError::Directory(DirectoryError::NotALog { .. })), "{refused:?}");
    abandon(scratch.path());
    let mut restore = LogRestore::create(scratch.path(), None).expect("creates");
    restore.append(&event(0, 7, b"x")).expect("appends");
    restore.finish().expect("durable");
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert_eq!(files.num_shards(), 1);
    let events = files.replay_all().expect("replays").map(|event| event.expect("reads").sequence.get());
    assert_eq!(events.collect::<Vec<_>>(), [7]);
    assert!(plan_repair(scratch.path(), |_| ()).expect("a log").is_empty());
    drop(open(scratch.config()));
}

#[test]
fn abandoned_halfway_a_repair_keeps_what_was_sealed() {
    let scratch = Scratch::new("abandoned-repair");
    abandon(scratch.path());
    repair_log(scratch.path(), |_| ()).expect("repaired");
    let files = LogFiles::open(scratch.path()).expect("opens");
    let events = files.replay_all().expect("replays").inspect(|event| assert!(event.is_ok())).count();
    assert!((300..1500).contains(&events), "{events}");
    drop(open(scratch.config()));
    let exists = LogRestore::create(scratch.path(), None).expect_err("a log already");
    assert!(matches!(exists, AdapterError::Directory(DirectoryError::Exists { .. })), "{exists:?}");
}
