//! Openings of a log: what they leave behind, and what they do not.

use std::collections::BTreeMap;
use std::path::Path;

use futures_lite::future::block_on;
use tapeline::{EventBus, LogFiles, RawEvent};

use crate::scratch::{Scratch, open};

/// Names and lengths of all files below, but for the lock.
fn files(path: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(path).expect("lists") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path().display().to_string(), entry.metadata().expect("looks").len());
        }
    }
    found
}

fn write(bus: EventBus) {
    for session in 0..20u128 {
        bus.ingest_raw(RawEvent::from_str("x").with_session(session)).expect("ingests");
    }
    block_on(bus.shutdown()).expect("ends");
}

fn shards(scratch: &Scratch, shards: u16) -> EventBus {
    open(scratch.config().num_shards(shards))
}

#[test]
fn opening_that_writes_nothing_changes_no_file() {
    let scratch = Scratch::new("idle");
    for _ in 0..2 {
        write(shards(&scratch, 2));
    }
    let before = files(scratch.path());
    for _ in 0..3 {
        block_on(shards(&scratch, 2).shutdown()).expect("ends");
        assert_eq!(files(scratch.path()), before);
    }
    drop(shards(&scratch, 2));
    assert_eq!(files(scratch.path()), before);
}

#[test]
fn era_begins_only_where_sessions_go_another_way() {
    let scratch = Scratch::new("eras");
    let eras = || std::fs::metadata(scratch.path().join("eras")).map_or(0, |file| file.len());
    for _ in 0..3 {
        write(shards(&scratch, 2));
    }
    assert_eq!(eras(), 0, "no session has moved");
    write(shards(&scratch, 1));
    let moved = eras();
    assert!(moved > 0);
    write(shards(&scratch, 1));
    assert_eq!(eras(), moved);
    write(shards(&scratch, 2));
    assert!(eras() > moved);
    let events = LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays");
    assert_eq!(events.inspect(|event| assert!(event.is_ok(), "{event:?}")).count(), 20 * 6);
}

#[test]
fn what_a_crash_left_is_removed_by_the_next_opening() {
    let scratch = Scratch::new("leftovers");
    write(shards(&scratch, 1));
    let before = files(scratch.path());
    for leftover in [
        "meta.tmp",
        "eras.tmp",
        "names.tmp",
        "shard-0000/repair.tmp",
        "shard-0000/restore.tmp",
        "shard-0000/repack.tmp",
    ] {
        std::fs::write(scratch.path().join(leftover), "half").expect("writes");
    }
    block_on(shards(&scratch, 1).shutdown()).expect("ends");
    assert_eq!(files(scratch.path()), before);
}

#[test]
fn directory_with_files_that_are_like_a_logs_is_refused() {
    for name in ["metadata.json", "meta2", "meta.tmp.old", "shard-1", "shard-00000", "shard-x"] {
        let scratch = Scratch::new("foreign");
        std::fs::create_dir_all(scratch.path()).expect("creates");
        if name.starts_with("shard-") {
            std::fs::create_dir(scratch.path().join(name)).expect("creates")
        } else {
            std::fs::write(scratch.path().join(name), "").expect("writes")
        }
        let opened = block_on(EventBus::new(scratch.config().build().expect("configuration")));
        assert!(opened.is_err_and(|error| error.to_string().contains("not a log")), "{name}");
    }
    let scratch = Scratch::new("interrupted");
    std::fs::create_dir_all(scratch.path().join("shard-0000")).expect("creates");
    std::fs::write(scratch.path().join("meta.tmp"), "half").expect("writes");
    block_on(shards(&scratch, 1).shutdown()).expect("goes on where creating it ended");
}
