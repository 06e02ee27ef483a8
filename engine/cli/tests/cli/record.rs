//! `tapeline record`: what comes in comes back, byte for byte.

use std::process::Stdio;

use crate::run::{Recording, Scratch, done, errors, expect, json, listed, record, run, run_with, tapeline, until};

/// Files that a careless reader would change.
fn odd_files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("plain", b"{\"a\":1}\n{\"a\":2}\n".to_vec()),
        ("no-final-newline", b"data: a\n\ndata: b".to_vec()),
        ("crlf", b"event: x\r\ndata: a\r\n\r\n: ping\r\n\r\n".to_vec()),
        ("cr", b"data: a\r\rdata: b\r\r".to_vec()),
        ("mixed", b"data: a\n\r\ndata: b\r\n\rdata: c\r".to_vec()),
        ("blank", b"\n\n\n\ndata: a\n\n\n\n\n".to_vec()),
        ("bom", b"\xef\xbb\xbf{}\n\n".to_vec()),
        ("empty", Vec::new()),
        ("binary", (0..=255).cycle().take(300_000).collect()),
        ("frame-without-end", b"data: a\n\nevent: x\ndata: b\n".to_vec()),
        ("long", [vec![b'x'; 900_000], b"\n\n".to_vec(), vec![b'y'; 900_000]].concat()),
    ]
}

#[test]
fn files_come_back_as_they_were_in_every_format() {
    let scratch = Scratch::new();
    for format in ["jsonl", "sse", "raw"] {
        let log = scratch.arg(format);
        let files: Vec<String> = odd_files().iter().map(|(name, bytes)| scratch.file(name, bytes)).collect();
        let mut args = vec![log.as_str(), "--format", format];
        args.extend(files.iter().map(String::as_str));
        let summary = record(&args);
        let bytes: usize = odd_files().iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(summary["bytes"], bytes);
        assert_eq!(summary["sessions"], odd_files().len());
        for (name, bytes) in odd_files() {
            let replayed = done(&["replay", &log, "--session", name, "--format", "raw"]);
            assert!(replayed == bytes, "{name} as {format}: {} bytes for {}", replayed.len(), bytes.len());
        }
        let all: Vec<u8> = odd_files().into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert!(done(&["replay", &log, "--format", "raw"]) == all, "all of {format}");
    }
}

#[test]
fn lines_go_to_the_sessions_they_name() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let lines = "{\"id\":\"a\",\"n\":1}\n{\"id\":7,\"n\":2}\r\n{\"n\":3,\"id\":\"a\"}";
    let file = scratch.file("in.jsonl", lines);
    let summary = record(&[&log, &file, "--format", "jsonl", "--session-field", "id"]);
    assert_eq!((&summary["events"], &summary["sessions"]), (&3.into(), &2.into()));
    assert_eq!(listed(&log), [("a".to_owned(), 2), ("7".to_owned(), 1)]);
    let replayed = done(&["replay", &log, "--session", "a", "--format", "raw"]);
    assert_eq!(replayed, b"{\"id\":\"a\",\"n\":1}\n{\"n\":3,\"id\":\"a\"}");
}

#[test]
fn what_came_before_a_bad_line_is_recorded_and_acknowledged() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("in.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":}\n{\"id\":\"c\"}\n");
    let args = ["record", &log, &file, "--format", "jsonl", "--session-field", "id", "--json"];
    let output = expect(run(&args), 1);
    assert!(errors(&output).contains(&format!("{file}:3: not a JSON object")), "{}", errors(&output));
    assert_eq!(json(&output.stdout)[0]["events"], 2);
    assert_eq!(listed(&log), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
}

#[test]
fn an_event_that_is_too_long_is_named_by_its_place() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    for length in [(1 << 20) - 1, 1 << 20, 3 << 20] {
        let line = [b"short\n".to_vec(), vec![b'x'; length], b"\nshort\n".to_vec()].concat();
        let file = scratch.file("in", line);
        let output = expect(run(&["record", &log, &file, "--format", "jsonl"]), 1);
        assert!(errors(&output).contains(&format!("{file}:2: ")), "{}", errors(&output));
    }
}

#[test]
fn standard_input_is_a_session_of_its_own() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run_with(&["record", &log, "--format", "jsonl"], b"1\n2\n"), 0);
    expect(run_with(&["record", &log, "--format", "jsonl", "--session", "given", "-"], b"3\n"), 0);
    assert_eq!(listed(&log), [("stdin".to_owned(), 2), ("given".to_owned(), 1)]);
    assert_eq!(done(&["replay", &log, "--format", "raw"]), b"1\n2\n3\n");
}

#[test]
fn the_summary_is_text_on_standard_error_unless_asked_for() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let output = expect(run_with(&["record", &log, "--format", "jsonl", "--durability", "page-cache"], b"1\n"), 0);
    assert!(output.stdout.is_empty());
    assert!(errors(&output).starts_with("recorded 1 event, 2 bytes, 1 session in "), "{}", errors(&output));
    assert!(errors(&output).trim_end().ends_with("page-cache"), "{}", errors(&output));
}

#[test]
fn a_log_keeps_its_shards() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let files: Vec<String> = (0..8).map(|n| scratch.file(&format!("s{n}"), format!("{n}\n"))).collect();
    let mut args = vec![log.as_str(), "--format", "jsonl", "--shards", "2"];
    args.extend(files.iter().map(String::as_str));
    record(&args);
    record(&[&log, &files[0], "--format", "jsonl"]);
    assert_eq!(json(&done(&["info", &log, "--json"]))[0]["shards"], 2);
    assert_eq!(listed(&log)[0], ("s0".to_owned(), 2));
    assert_eq!(done(&["replay", &log, "--format", "raw"]), b"0\n1\n2\n3\n4\n5\n6\n7\n0\n");
}

#[test]
fn refusals_have_their_status() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a.sse", "data: a\n\n");
    let twin = scratch.file("a.txt", "data: b\n\n");
    expect(run(&["record", &log, "no-such-file", "--format", "raw"]), 3);
    expect(run(&["record", &log, &scratch.arg("."), "--format", "raw"]), 2);
    expect(run(&["record", &log, &file, &twin, "--format", "sse"]), 2);
    expect(run(&["record", &log, &file, "--format", "sse", "--session-field", "id"]), 2);
    expect(run(&["record", &log, &file, "--format", "jsonl", "--session", "a", "--session-field", "id"]), 2);
    expect(run(&["record", &log, &file, "--format", "sse", "--session", ""]), 2);
    expect(run(&["record", &log, &file, "--format", "sse", "--segment-bytes", "5"]), 2);
    expect(run(&["record", &log, &file]), 2);
    assert!(!scratch.path("log").exists(), "nothing was created");
    expect(run(&["record", &scratch.arg("."), &file, "--format", "sse"]), 1);
}

#[test]
fn a_second_writer_is_refused() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut first = Recording::start(&[&log, "--format", "jsonl"]);
    first.write(b"1\n");
    until("the first event", || Recording::seen(&log, "stdin").filter(|&events| events == 1));
    expect(run_with(&["record", &log, "--format", "jsonl"], b""), 1);
}

#[test]
fn a_signal_ends_the_recording_with_an_acknowledgement() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
    recording.write(b"1\n2\n3\n");
    until("the events", || Recording::seen(&log, "stdin").filter(|&events| events == 3));
    let pid = recording.0.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill");
    assert!(sent.success());
    assert_eq!(recording.0.wait().expect("it ends").code(), Some(130));
    let mut summary = String::new();
    let mut out = recording.0.stdout.take().expect("a pipe");
    std::io::Read::read_to_string(&mut out, &mut summary).expect("text");
    let summary = &json(summary.as_bytes())[0];
    assert_eq!((&summary["events"], &summary["interrupted"]), (&3.into(), &true.into()));
    assert_eq!(listed(&log), [("stdin".to_owned(), 3)]);
}

#[test]
fn help_documents_every_status() {
    let help = String::from_utf8(done(&["--help"])).expect("text");
    for status in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "130 "] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(status)), "{status} in {help}");
    }
    expect(run(&[]), 2);
    expect(run(&["nothing"]), 2);
    expect(tapeline(&["--version"]).stdout(Stdio::piped()).output().expect("it runs"), 0);
}
