//! `tapeline replay`: forms, pace, refusals.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::run::{Scratch, done, expect, json, record, run, run_with, tapeline};

#[test]
fn text_is_one_line_an_event() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("talk.sse", b"data: a\r\ndata: \x1b[31m\xff\n\ndata: b\n\n");
    record(&[&log, &file, "--format", "sse"]);
    let text = String::from_utf8(done(&["replay", &log])).expect("text");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split("  ").collect()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0][1..], ["talk", "unspecified", "data: a\\r\\ndata: \\u{1b}[31m\u{fffd}"]);
    assert_eq!(lines[1][1..], ["talk", "unspecified", "data: b"]);
    assert!(lines[0][0].ends_with('Z') && lines[0][0] < lines[1][0], "{text}");
}

#[test]
fn jsonl_holds_all_that_is_known() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run_with(&["record", &log, "--format", "jsonl"], b"{\"n\": 1.50}\n[1,\r2]\nnot json\n\xff\n"), 0);
    let lines = done(&["replay", &log, "--format", "jsonl"]);
    let events = json(&lines);
    assert_eq!(events[0]["kind"], "session");
    assert_eq!(events[0]["payload"]["name"], "stdin");
    assert!(String::from_utf8_lossy(&lines).contains("\"payload\":{\"n\": 1.50},"), "numbers keep their form");
    assert_eq!((&events[1]["payload_end"], &events[2]["payload_text"]), (&"\n".into(), &"[1,\r2]\n".into()));
    assert_eq!(events[3]["payload_text"], "not json\n");
    assert_eq!(events[4]["payload_base64"], "/wo=");
    let id = json(&done(&["info", &log, "--json"]))[0]["log"].as_str().expect("text").to_owned();
    for (sequence, event) in events.iter().enumerate() {
        assert_eq!(event["id"], format!("{id}-0-{sequence}"));
        assert_eq!((&event["shard"], &event["sequence"]), (&0.into(), &sequence.into()));
        assert_eq!(event["session"], "stdin");
        assert!(event["timestamp"].as_u64().is_some() && event["time"].as_str().is_some());
    }
    let by_id = events[0]["session_id"].as_str().expect("text");
    assert_eq!(done(&["replay", &log, "--session", by_id, "--format", "jsonl"]), lines);
}

#[test]
fn unknown_sessions_and_logs_are_not_found() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    for command in ["ls", "replay", "verify", "info"] {
        expect(run(&[command, &log]), 3);
        expect(run(&[command, &scratch.arg(".")]), 3);
    }
    let file = scratch.file("empty", "");
    record(&[&log, &file, "--format", "raw"]);
    expect(run(&["replay", &log, "--session", "nobody"]), 3);
    assert!(done(&["replay", &log, "--session", "empty"]).is_empty());
}

#[test]
fn events_are_not_early() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run_with(&["record", &log, "--format", "jsonl"], b"1\n2\n"), 0);
    let times: Vec<u64> = json(&done(&["replay", &log, "--format", "jsonl"]))
        .iter()
        .map(|event| event["timestamp"].as_u64().expect("a number"))
        .collect();
    // The factor that stretches what was recorded, opening event included, to half a second.
    let factor = (times[2] - times[0]) as f64 / 0.5e9;
    let start = Instant::now();
    assert_eq!(done(&["replay", &log, "--format", "raw", "--speed", &format!("{factor:.20}")]), b"1\n2\n");
    assert!(start.elapsed() >= Duration::from_millis(499), "{:?}", start.elapsed());
    for refused in ["0", "-1", "slow"] {
        expect(run(&["replay", &log, &format!("--speed={refused}")]), 2);
    }
}

#[test]
fn a_closed_pipe_ends_it_without_a_word() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("much", "some line of text\n".repeat(100_000));
    record(&[&log, &file, "--format", "jsonl"]);
    let mut child = tapeline(&["replay", &log]).spawn().expect("the program starts");
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 10]).expect("ten bytes");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(13));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
