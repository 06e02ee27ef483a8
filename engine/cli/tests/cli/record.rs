//! `tapeline record`: what comes in comes back, byte for byte.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::frames::events;
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

/// The smallest segments: an event has half of one at most.
const SMALL_SEGMENTS: [&str; 2] = ["--segment-bytes", "2M"];

/// [`SMALL_SEGMENTS`] take so many bytes.
const LONGEST: usize = 1 << 20;

/// Lines of which four are not as they should be, and one that is too long.
fn odd_lines() -> Vec<u8> {
    let long = format!("{{\"id\":\"a\",\"image\":\"{}\"}}\n", "x".repeat(2 << 20));
    let lines = [
        "\u{feff}{\"id\":\"a\",\"loss\":NaN}\n",
        "\n",
        "Traceback (most recent call last):\n",
        &long,
        "{\"id\":20000000000000000001}\n",
        "{\"id\":20000000000000000002}\n",
        "{\"text\":\"no session\"}\n",
        "{\"id\":\"a\",\"last\":true}\n",
    ];
    lines.concat().into_bytes()
}

#[test]
fn a_stream_is_recorded_whatever_stands_in_it() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("odd.jsonl", odd_lines());
    let args = ["record", &log, &file, "--format", "jsonl", "--session-field", "id", "--json"];
    let output = expect(run(&[&args[..], &SMALL_SEGMENTS].concat()), 0);
    let summary = &json(&output.stdout)[0];
    assert_eq!((&summary["kept_in_parts"], &summary["kept_without_session"]), (&1.into(), &2.into()));
    assert_eq!((&summary["skipped"], &summary["blank_lines"]), (&0.into(), &1.into()));
    let said = errors(&output);
    assert!(said.contains(&format!("the first at {file}:3: not a JSON object")), "{said}");
    assert!(said.contains(&format!("the first at {file}:4: longer than {LONGEST} bytes")), "{said}");
    let sessions: Vec<String> = listed(&log).into_iter().map(|(name, _)| name).collect();
    assert_eq!(sessions, ["a", "odd", "20000000000000000001", "20000000000000000002"]);
    let all = String::from_utf8(odd_lines()).expect("text").replacen("\n\n", "\n", 1).into_bytes();
    assert!(done(&["replay", &log, "--format", "raw"]) == all, "all but the blank line comes back");
    let of_a = done(&["replay", &log, "--session", "a", "--format", "raw"]);
    assert!(of_a.len() > 2 << 20 && of_a.ends_with(b"{\"id\":\"a\",\"last\":true}\n"), "parts stay together");
}

#[test]
fn what_is_bad_is_skipped_and_counted_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("odd.jsonl", odd_lines());
    let args = ["record", &log, &file, "--format", "jsonl", "--session-field", "id", "--on-bad", "skip", "--json"];
    let output = expect(run(&[&args[..], &SMALL_SEGMENTS].concat()), 0);
    let summary = &json(&output.stdout)[0];
    assert_eq!((&summary["events"], &summary["skipped"], &summary["kept_in_parts"]), (&4.into(), &3.into(), &0.into()));
    assert!(errors(&output).contains(&format!("3 events: skipped; the first at {file}:3: ")), "{}", errors(&output));
}

#[test]
fn a_recording_stops_before_what_is_bad_where_that_is_asked_for() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("in.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":}\n{\"id\":\"c\"}\n");
    let args = ["record", &log, &file, "--format", "jsonl", "--session-field", "id", "--json", "--on-bad", "stop"];
    let output = expect(run(&args), 1);
    assert!(errors(&output).contains(&format!("{file}:3: not a JSON object")), "{}", errors(&output));
    assert!(errors(&output).contains("--on-bad"), "{}", errors(&output));
    assert_eq!(json(&output.stdout)[0]["events"], 2);
    assert_eq!(listed(&log), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
}

#[test]
fn an_event_that_is_too_long_is_recorded_in_parts_and_named_by_its_place() {
    let scratch = Scratch::new();
    for (number, length) in [LONGEST - 1, LONGEST, LONGEST + 1, 3 << 20].into_iter().enumerate() {
        let text = [b"short\n".to_vec(), vec![b'x'; length], b"\nshort\n".to_vec()].concat();
        let (log, file) = (scratch.arg(&format!("log{number}")), scratch.file("in", &text));
        let args = [&["record", &log, &file, "--format", "jsonl"][..], &SMALL_SEGMENTS].concat();
        let output = expect(run(&args), 0);
        let is_too_long = length + 1 > LONGEST;
        assert_eq!(
            errors(&output).contains(&format!("{file}:2: longer than {LONGEST}")),
            is_too_long,
            "{}",
            errors(&output)
        );
        assert!(done(&["replay", &log, "--format", "raw"]) == text, "{length}");
        let stopped = run(&[&args[..], &["--on-bad", "stop"]].concat());
        assert_eq!(stopped.status.code(), Some(i32::from(is_too_long)));
    }
}

#[test]
fn lines_and_frames_of_megabytes_are_recorded_as_one_event() {
    let scratch = Scratch::new();
    let image = "x".repeat(20 << 20);
    for (format, text) in
        [("jsonl", format!("{{\"image\":\"{image}\"}}\n{{}}\n")), ("sse", format!("data: {image}\n\ndata: 2\n\n"))]
    {
        let (log, file) = (scratch.arg(format), scratch.file("in", &text));
        let summary = json(&done(&["record", "--json", &log, &file, "--format", format])).remove(0);
        assert_eq!((&summary["events"], &summary["kept_in_parts"]), (&2.into(), &0.into()), "{format}");
        assert!(done(&["replay", &log, "--format", "raw"]) == text.as_bytes(), "{format}");
        let copy = scratch.arg(&format!("{format}-copy"));
        let exported = scratch.file("out", done(&["export", &log]));
        done(&["import", &copy, &exported]);
        assert!(done(&["replay", &copy, "--format", "raw"]) == text.as_bytes(), "{format}, imported");
        done(&["verify", &copy]);
    }
}

#[test]
fn a_frame_that_was_recorded_in_parts_is_one_to_a_client() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let stream = format!("data: one\n\n: note\ndata: {}\r\ndata: end\r\n\r\ndata: after\n\n", "\u{e9}".repeat(1 << 20));
    let file = scratch.file("big.sse", &stream);
    assert_eq!(record(&[&log, &file, "--format", "sse"])["kept_in_parts"], 1);
    assert!(done(&["replay", &log, "--format", "raw"]) == stream.as_bytes());
    assert!(events(&done(&["replay", &log, "--format", "sse"])) == events(stream.as_bytes()));
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

fn signal(recording: &Recording, signal: &str) {
    let pid = recording.0.id().to_string();
    let sent = std::process::Command::new("kill").args([signal, &pid]).status().expect("kill");
    assert!(sent.success());
}

/// A recording of three lines that has been sent a signal, and has said what it does then.
fn interrupted(log: &str, name: &str) -> Recording {
    let mut recording = Recording::start(&[log, "--format", "jsonl"]);
    recording.write(b"1\n2\n3\n");
    until("the events", || Recording::seen(log, "stdin").filter(|&events| events == 3));
    asked_to_end(recording, name)
}

/// The recording, sent a signal, when it has said what it does then.
fn asked_to_end(mut recording: Recording, name: &str) -> Recording {
    signal(&recording, name);
    let mut said = [0; 16];
    recording.0.stderr.as_mut().expect("a pipe").read_exact(&mut said).expect("it says so");
    assert_eq!(&said, b"recording to the");
    recording
}

/// Its status and its summary.
fn ended(mut recording: Recording) -> (Option<i32>, Value) {
    let status = recording.0.wait().expect("it ends");
    let mut summary = String::new();
    recording.0.stdout.take().expect("a pipe").read_to_string(&mut summary).expect("text");
    (status.code(), json(summary.as_bytes()).remove(0))
}

#[test]
fn the_first_signal_lets_the_pipe_come_to_its_end() {
    for name in ["-INT", "-TERM", "-HUP"] {
        let scratch = Scratch::new();
        let log = scratch.arg("log");
        let mut recording = interrupted(&log, name);
        recording.write(b"last words\n");
        drop(recording.0.stdin.take());
        let (status, summary) = ended(recording);
        assert_eq!(status, Some(130), "{name}");
        assert_eq!((&summary["events"], &summary["interrupted"]), (&4.into(), &true.into()));
        assert_eq!(listed(&log), [("stdin".to_owned(), 4)]);
    }
}

#[test]
fn the_second_signal_ends_the_recording_with_an_acknowledgement() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let recording = interrupted(&log, "-INT");
    signal(&recording, "-INT");
    let (status, summary) = ended(recording);
    assert_eq!(status, Some(130));
    assert_eq!((&summary["events"], &summary["interrupted"]), (&3.into(), &true.into()));
    assert_eq!(listed(&log), [("stdin".to_owned(), 3)]);
}

#[test]
fn what_was_read_of_an_event_that_a_signal_cuts_off_is_recorded() {
    for (format, bytes) in [("jsonl", &b"1\n2\n3\nhalf"[..]), ("sse", b"data: 1\n\n:\n\n:\n\ndata: hal")] {
        let scratch = Scratch::new();
        let log = scratch.arg("log");
        let mut recording = Recording::start(&[&log, "--format", format]);
        recording.write(bytes);
        until("the events", || Recording::seen(&log, "stdin").filter(|&events| events == 3));
        let recording = asked_to_end(recording, "-INT");
        signal(&recording, "-INT");
        let (status, summary) = ended(recording);
        assert_eq!((status, &summary["events"]), (Some(130), &4.into()), "{format}");
        assert_eq!(done(&["replay", &log, "--format", "raw"]), bytes, "{format}");
    }
}

#[test]
fn a_named_pipe_is_read_to_its_end_or_given_up_at_signals() {
    let scratch = Scratch::new();
    let (log, pipe) = (scratch.arg("log"), scratch.arg("pipe"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    // No process ever opens it for writing.
    let recording = Recording::start(&[&log, &pipe, "--format", "jsonl"]);
    until("the log", || scratch.path("log/shard-0000").exists().then_some(()));
    let recording = asked_to_end(recording, "-INT");
    signal(&recording, "-INT");
    let (status, summary) = ended(recording);
    assert_eq!((status, &summary["events"]), (Some(130), &0.into()));
    // A writer comes, and goes.
    let recording = Recording::start(&[&log, &pipe, "--format", "jsonl"]);
    std::fs::write(&pipe, "1\n2\n").expect("written");
    let (status, summary) = ended(recording);
    assert_eq!((status, &summary["events"]), (Some(0), &2.into()));
}

#[test]
fn signals_that_were_ignored_stay_ignored() {
    for (ignored, sent) in [("HUP", "-HUP"), ("INT", "-INT"), ("INT TERM HUP", "-TERM")] {
        let scratch = Scratch::new();
        let log = scratch.arg("log");
        let script =
            format!("trap '' {ignored}; exec \"$0\" record \"$1\" --format jsonl --json --segment-bytes 2097152");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_tapeline"), &log]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut recording = Recording(command.spawn().expect("sh"));
        recording.write(b"1\n");
        until("the event", || Recording::seen(&log, "stdin").filter(|&events| events == 1));
        signal(&recording, sent);
        recording.write(b"2\n");
        until("the next event", || Recording::seen(&log, "stdin").filter(|&events| events == 2));
        drop(recording.0.stdin.take());
        let (status, summary) = ended(recording);
        assert_eq!((status, &summary["interrupted"]), (Some(0), &false.into()), "{ignored}");
    }
}

#[test]
fn a_refused_directory_is_left_as_it_was() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("project")).expect("a directory");
    let (project, file) = (scratch.arg("project"), scratch.file("project/README", "text"));
    for args in [["record", &project, &file, "--format", "raw"].as_slice(), &["import", &project, &file]] {
        let refused = expect(run(args), 1);
        assert!(errors(&refused).contains("not a log"), "{}", errors(&refused));
        let there: Vec<_> =
            std::fs::read_dir(&project).expect("readable").map(|entry| entry.expect("entry").file_name()).collect();
        assert_eq!(there, ["README"]);
    }
}

#[test]
fn many_shards_need_no_other_setting() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run_with(&["record", &log, "--format", "jsonl", "--shards", "64", "--segment-bytes", "2097152"], b"1\n"), 0);
    assert_eq!(json(&done(&["info", &log, "--json"]))[0]["shards"], 64);
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
