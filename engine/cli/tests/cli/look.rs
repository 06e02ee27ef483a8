//! `tapeline ls`, `verify` and `info`.

use std::fs;

use tapeline::event::SessionMetadata;
use tapeline::{EventBus, EventBusConfig};

use crate::run::{Scratch, done, errors, expect, json, record, run};

#[test]
fn ls_is_a_table_or_json() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let (long, short) = (scratch.file("a-long-name.txt", "1\n2\n"), scratch.file("b.txt", "3"));
    record(&[&log, &long, &short, "--format", "jsonl"]);
    let table = String::from_utf8(done(&["ls", &log])).expect("text");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SESSION", "EVENTS", "BYTES", "FIRST", "DURATION", "RATE", "END"]);
    assert_eq!(rows[1][..4], ["a-long-name", "2", "4", "B"]);
    assert_eq!(rows[2][..4], ["b", "1", "1", "B"]);
    assert!(!table.contains('\x1b'), "colours are for terminals");
    let sessions = json(&done(&["ls", &log, "--json"]));
    assert_eq!((&sessions[0]["bytes"], &sessions[1]["bytes"]), (&4.into(), &1.into()));
    let first = sessions[0]["first"].as_str().expect("text");
    assert_eq!(first[..23], rows[1][4][..23], "to the millisecond");
    assert!(sessions[0]["duration_ns"].as_u64() > Some(0) && sessions[0]["events_per_second"].as_f64() > Some(0.0));
    assert!(sessions[0]["first_timestamp"].as_u64() < sessions[0]["last_timestamp"].as_u64());
}

#[test]
fn ls_filters_sorts_and_limits() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    for (name, lines) in [("b-1", 3), ("a-2", 1), ("b-3", 5), ("c", 2)] {
        let file = scratch.file(name, "1\n".repeat(lines));
        record(&[&log, &file, "--format", "jsonl"]);
    }
    let ls = |options: &[&str]| -> Vec<String> {
        let sessions = json(&done(&[&["ls", &log, "--json"], options].concat()));
        sessions.iter().map(|session| session["session"].as_str().expect("a name").to_owned()).collect()
    };
    let all = json(&done(&["ls", &log, "--json"]));
    assert_eq!(ls(&[]), ["b-1", "a-2", "b-3", "c"]);
    assert_eq!(ls(&["--sort", "events"]), ["a-2", "c", "b-1", "b-3"]);
    assert_eq!(ls(&["--sort", "bytes", "--reverse", "--limit", "2"]), ["b-3", "b-1"]);
    assert_eq!(ls(&["--sort", "name"]), ["a-2", "b-1", "b-3", "c"]);
    assert_eq!(ls(&["--sort", "last", "--reverse"]), ["c", "b-3", "a-2", "b-1"]);
    assert_eq!(ls(&["--session", "b-"]), ["b-1", "b-3"]);
    assert_eq!(ls(&["--session", all[3]["session_id"].as_str().expect("text")]), ["c"]);
    assert_eq!(ls(&["--min-events", "3"]), ["b-1", "b-3"]);
    let third = all[2]["first"].as_str().expect("text");
    assert_eq!(ls(&["--since", third]), ["b-3", "c"]);
    assert_eq!(ls(&["--until", third]), ["b-1", "a-2"]);
    assert_eq!(ls(&["--since", "-1h", "--limit", "1"]), ["b-1"]);
    assert!(ls(&["--until", "-1h"]).is_empty());
    expect(run(&["ls", &log, "--sort", "size"]), 2);
}

#[test]
fn ls_finds_sessions_by_the_capabilities_of_their_source() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let config = EventBusConfig::builder().directory(&log).num_shards(2).build().expect("a configuration");
    let bus = pollster::block_on(EventBus::new(config)).expect("a bus");
    let mut producer = bus.producer().expect("a producer");
    let tagged = SessionMetadata::new().tag("software.model:mistral".parse().expect("a tag"));
    for (name, metadata) in [("a", SessionMetadata::new().model("llama-7b")), ("b", tagged), ("c", Default::default())]
    {
        producer.open_session_with(name, &metadata).expect("opens");
    }
    drop(producer);
    pollster::block_on(bus.shutdown()).expect("ends");
    let ls = |wanted: &str| -> Vec<String> {
        let sessions = json(&done(&["ls", &log, "--json", "--where", wanted]));
        sessions.iter().map(|session| session["session"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(ls("software.model=llama-7b"), ["a"]);
    assert_eq!(ls("prefix \"software.model\", \"m\""), ["b"]);
    assert_eq!(ls("any of software.model"), ["a", "b"]);
    assert_eq!(ls("not exists \"software.model\""), ["c"]);
    for wrong in ["hardwre.gpu", "equals \"software.model\"", ""] {
        expect(run(&["ls", &log, "--where", wrong]), 2);
    }
}

#[test]
fn verify_names_the_damaged_place() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a", "some line of text\n".repeat(10_000));
    record(&[&log, &file, "--format", "jsonl"]);
    let sound = json(&done(&["verify", &log, "--json"]));
    // The event that opens the session is one more.
    assert_eq!(
        (&sound[0]["type"], &sound[0]["events"], &sound[0]["damaged"]),
        (&"summary".into(), &10_001.into(), &0.into())
    );
    assert!(String::from_utf8_lossy(&done(&["verify", &log])).starts_with("sound: "));

    let name = json(&done(&["info", &log, "--json"]))[0]["segments"][0]["file"].as_str().expect("text").to_owned();
    let segment = scratch.path("log/shard-0000").join(&name);
    let mut bytes = fs::read(&segment).expect("segment");
    // Within the records of the first block, which follows the header page.
    bytes[4096 + 1000] ^= 1;
    fs::write(&segment, bytes).expect("segment");

    let damaged = json(&expect(run(&["verify", &log, "--json"]), 5).stdout);
    assert_eq!((&damaged[0]["type"], &damaged[0]["shard"]), (&"damage".into(), &0.into()));
    assert!(damaged[0]["segment"].as_str().is_some_and(|segment| segment.ends_with(&name)), "{damaged:?}");
    assert_eq!(damaged[0]["offset"], 4096);
    assert!(damaged.last().is_some_and(|last| last["damaged"].as_u64() > Some(0)));
    let text = String::from_utf8(expect(run(&["verify", &log]), 5).stdout).expect("text");
    assert!(text.starts_with("damaged: shard 0, ") && text.contains("offset 4096"), "{text}");

    let output = expect(run(&["replay", &log]), 5);
    assert!(errors(&output).contains("4096"), "{}", errors(&output));
    // The index lists the session, whatever has become of its blocks.
    expect(run(&["ls", &log]), 0);
}

#[test]
fn a_damaged_meta_file_is_corruption() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a", "1\n");
    record(&[&log, &file, "--format", "jsonl"]);
    let mut meta = fs::read(scratch.path("log/meta")).expect("meta file");
    meta[20] ^= 1;
    fs::write(scratch.path("log/meta"), meta).expect("meta file");
    for command in ["ls", "replay", "verify", "info"] {
        expect(run(&[command, &log]), 5);
    }
}

#[test]
fn info_names_format_segments_and_backend() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a", "1\n2\n");
    record(&[&log, &file, "--format", "jsonl"]);
    let info = json(&done(&["info", &log, "--json"])).remove(0);
    assert_eq!((&info["format_version"], &info["shards"], &info["events"]), (&1.into(), &1.into(), &3.into()));
    assert_eq!(info["log"].as_str().map(str::len), Some(32));
    let backend = &info["backend"];
    assert!(["uring", "blocking"].map(Some).contains(&backend["device"].as_str()), "{backend}");
    let segment = &info["segments"][0];
    assert_eq!((&segment["first_sequence"], &segment["end_sequence"]), (&0.into(), &3.into()));
    let text = String::from_utf8(done(&["info", &log])).expect("text");
    assert!(text.contains("format   version 1") && text.contains(segment["file"].as_str().expect("text")), "{text}");
    let left: Vec<_> =
        fs::read_dir(scratch.path("log")).expect("log").map(|entry| entry.expect("entry").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}
