//! The openings of sessions are known under every selection: their format, their model, their name.

use serde_json::json;

use crate::frames::events;
use crate::run::{Scratch, done, errors, expect, json, record, run, run_with};

/// Frames of which one has a field that the standard does not name, and one breaks off: neither looks like a frame by
/// itself.
const STREAM: &str = "data: one\n\nfoo: bar\ndata: two\n\ndata: three\n\ndata: cut";

/// Options that leave out the opening of session `stream`, and what of the stream they select.
fn selections(log: &str) -> Vec<(Vec<String>, Vec<&'static str>)> {
    let times: Vec<_> = json(&done(&["replay", log, "--session", "stream", "--format", "jsonl"]));
    let time = |at: usize| times[at]["timestamp"].as_u64().expect("a number").to_string();
    let options = |options: &[&str]| options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>();
    vec![
        (options(&["--kind", "unspecified"]), vec!["one", "two", "three"]),
        (options(&["--filter", r#"{"$size":{"gte":12}}"#]), vec!["two", "three"]),
        (options(&["--since", &time(2)]), vec!["two", "three"]),
        (options(&["--since", &time(2), "--until", &time(3)]), vec!["two"]),
        (
            options(&["--since", &time(2), "--kind", "unspecified", "--filter", r#"{"$size":{"lte":30}}"#]),
            vec!["two", "three"],
        ),
    ]
}

/// A log in which the session is opened as text, then as a stream, and other sessions lie around it.
fn log(scratch: &Scratch) -> String {
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("early.jsonl", "{\"n\":1}\n"), "--format", "jsonl", "--session", "other"]);
    record(&[&log, &scratch.file("stream.sse", STREAM), "--format", "sse"]);
    record(&[&log, &scratch.file("late.jsonl", "{\"n\":2}\n"), "--format", "jsonl", "--session", "last"]);
    log
}

#[test]
fn recorded_streams_stay_frames_under_every_selection() {
    let scratch = Scratch::new();
    let log = log(&scratch);
    for (options, expected) in selections(&log) {
        let options: Vec<_> =
            ["--session", "stream", "--format", "sse"].into_iter().chain(options.iter().map(String::as_str)).collect();
        let expected: Vec<_> = expected.iter().map(|data| (String::new(), (*data).to_owned())).collect();
        for command in [&["replay", &log][..], &["export", &log]] {
            let played = done(&[command, &options].concat());
            assert_eq!(events(&played), expected, "{command:?} {options:?}: {}", String::from_utf8_lossy(&played));
        }
        let tail = [&["tail", &log, "--exit-idle", "1ms"][..], &options].concat();
        let tail = if options.contains(&"--since") { tail } else { [&tail[..], &["--from", "start"]].concat() };
        assert_eq!(events(&done(&tail)), expected, "{tail:?}");
    }
    // Without --session, the others are printed beside it.
    let all = done(&["replay", &log, "--format", "sse", "--kind", "unspecified"]);
    let data: Vec<_> = events(&all).into_iter().map(|(_, data)| data.trim_end().to_owned()).collect();
    assert_eq!(data, ["{\"n\":1}", "one", "two", "three", "{\"n\":2}"]);
}

#[test]
fn the_last_opening_before_the_selection_counts() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    // Text that looks like frames, then a stream, then text, all of one session.
    let text = scratch.file("text", "{\"a\":1}\n");
    let stream = scratch.file("stream", "foo: bar\ndata: x\n\n");
    let mut starts = Vec::new();
    for (file, format) in [(&text, "jsonl"), (&stream, "sse"), (&text, "jsonl"), (&stream, "sse")] {
        record(&[&log, file, "--format", format, "--session", "s"]);
        let times = json(&done(&["replay", &log, "--format", "jsonl"]));
        starts.push(times.last().expect("an event")["timestamp"].to_string());
    }
    let kinds = |since: &str| -> Vec<_> {
        let played = done(&["replay", &log, "--format", "sse", "--since", since]);
        events(&played).into_iter().map(|(kind, _)| kind).collect()
    };
    for (start, expected) in starts.iter().zip([
        &["unspecified", "", "unspecified", ""][..],
        &["", "unspecified", ""],
        &["unspecified", ""],
        &[""],
    ]) {
        assert_eq!(kinds(start), expected, "since {start}");
    }
}

#[test]
fn chunks_know_the_stream_and_its_model_under_every_selection() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let id = tapeline::event::session_id("chat").to_string();
    let line = |sequence: u64, kind: &str, payload: serde_json::Value| {
        json!({"shard": 0, "sequence": sequence, "timestamp": 1_000_000_000 * (sequence + 1), "session_id": id,
               "kind": kind, "payload": payload})
        .to_string()
    };
    let lines = [
        line(0, "session", json!({"name": "chat", "model": "small"})),
        line(1, "token", json!({"content": "a"})),
        line(2, "token", json!({"content": "b"})),
        line(3, "session", json!({"type": "session.close"})),
    ];
    expect(run_with(&["import", &log], lines.join("\n").as_bytes()), 0);
    for options in
        [&["--kind", "token"][..], &["--since", "1970-01-01T00:00:03Z"], &["--since", "1970-01-01T00:00:04Z"]]
    {
        let directory = scratch.arg("out");
        let is_empty = options[1].ends_with("04Z");
        let export = [&["export", &log, "--format", "openai-chunks", "--out", &directory], options].concat();
        // Only the selection by time leaves out the beginning.
        expect(run(&export), if options[1].ends_with("03Z") { 4 } else { 0 });
        let stream = std::fs::read_to_string(scratch.path("out/chat.sse")).expect("a file of the session's name");
        assert_eq!(stream.contains(r#""model":"small""#), !is_empty, "{options:?}: {stream}");
        std::fs::remove_dir_all(&directory).expect("removes");
    }
    let by_model = json(&done(&["latency", &log, "--by", "model", "--json", "--since", "1970-01-01T00:00:02Z"]));
    assert!(by_model.iter().any(|line| line["slice"] == "small"), "{by_model:?}");
}

#[test]
fn chunks_of_a_stream_leave_out_what_clients_drop() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"object\":\"chat.completion.chunk\"}\n\n\
                  just text\n\ndata: cut";
    record(&[&log, &scratch.file("s.sse", stream), "--format", "sse"]);
    let exported =
        expect(run(&["export", &log, "--format", "openai-chunks", "--session", "s", "--kind", "unspecified"]), 0);
    let data: Vec<_> = events(&exported.stdout).into_iter().map(|(_, data)| data).collect();
    assert_eq!(data.len(), 1, "{data:?}");
    assert!(data[0].contains("\"a\"") && errors(&exported).contains("no [DONE]"), "{}", errors(&exported));
}
