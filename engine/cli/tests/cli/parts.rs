//! Events of which a part is missing: a selection, a trim or damage cuts frames and lines anywhere.

use std::fs;

use crate::frames::events;
use crate::run::{Scratch, done, errors, expect, json, record, run, run_with};

/// The beginning of the message that something was left out.
const LEFT_OUT: &str = "left out 1 event of which a part is not selected";

/// A stream with a frame of three parts, each of other letters, between two small ones.
fn stream_with_parts() -> String {
    let letters = |letter: &str| letter.repeat(1_000_000);
    format!("data: one\n\ndata: {}{}{}\n\ndata: after\n\n", letters("a"), letters("b"), letters("c"))
}

/// A log of a stream, in small segments.
fn recorded(scratch: &Scratch, stream: &str, format: &str) -> String {
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s", stream), "--format", format]);
    log
}

/// Changes a bit in a log where these bytes are first.
fn damage(scratch: &Scratch, bytes: &[u8]) {
    for entry in fs::read_dir(scratch.path("log/shard-0000")).expect("a shard") {
        let path = entry.expect("an entry").path();
        let mut segment = fs::read(&path).expect("a segment");
        if let Some(at) = segment.windows(bytes.len()).position(|window| window == bytes) {
            segment[at] ^= 1;
            fs::write(&path, segment).expect("a segment");
            return;
        }
    }
    panic!("nowhere in the log");
}

/// The data of the events in a stream.
fn data(stream: &[u8]) -> Vec<String> {
    events(stream).into_iter().map(|(_, data)| data).collect()
}

#[test]
fn a_frame_that_lost_a_part_is_left_out() {
    for (letter, format) in [("a", "sse"), ("b", "sse"), ("c", "sse"), ("b", "jsonl")] {
        let scratch = Scratch::new();
        let log = recorded(&scratch, &stream_with_parts(), format);
        damage(&scratch, letter.repeat(1000).as_bytes());
        for command in ["replay", "export"] {
            let played = expect(run(&[command, &log, "--format", "sse"]), 5);
            assert_eq!(data(&played.stdout).last().map(String::as_str), Some("after"), "{letter}, {format}, {command}");
            assert!(played.stdout.len() < 1000, "{letter}, {format}, {command}");
            assert!(errors(&played).contains(LEFT_OUT), "{letter}, {format}, {command}: {}", errors(&played));
        }
        // A repair leaves the hole where it is, and an import keeps it.
        done(&["repair", &log, "--apply"]);
        let copy = scratch.arg("copy");
        done(&["import", &copy, &scratch.file("lines", run(&["export", &log]).stdout)]);
        for log in [&log, &copy] {
            let played = expect(run(&["replay", log, "--format", "sse"]), 4);
            assert!(played.stdout.len() < 1000 && errors(&played).contains(LEFT_OUT), "{letter}, {format}");
        }
    }
}

#[test]
fn a_chunk_that_lost_a_part_is_no_shorter_chunk() {
    let chunk = |text: &str, reason: &str| {
        let choice = format!("{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{reason}}}");
        format!("{{\"object\":\"chat.completion.chunk\",\"choices\":[{choice}]}}")
    };
    let letters = |letter: &str| letter.repeat(1_000_000);
    let long = letters("a") + &letters("b") + &letters("c");
    let lines = [chunk("first", "null"), chunk(&long, "null"), chunk("last", "\"stop\"")];
    for (format, stream) in [
        ("sse", lines.iter().map(|line| format!("data: {line}\n\n")).collect::<String>()),
        ("jsonl", lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
    ] {
        let scratch = Scratch::new();
        let log = recorded(&scratch, &stream, format);
        let export = ["export", &log, "--format", "openai-chunks", "--session", "s"];
        let whole = expect(run(&export), 0);
        assert!(data(&whole.stdout).starts_with(&lines), "{format}: the chunk in parts is one");
        assert!(!errors(&whole).contains("left out"), "{format}: {}", errors(&whole));
        damage(&scratch, &[b'b'; 1000]);
        let cut = expect(run(&export), 5);
        // Its answer is not whole, and does not stop.
        let sent = data(&cut.stdout);
        assert!(sent[0] == lines[0] && sent[1].contains("\"last\"") && !sent[1].contains("stop"), "{format}: {sent:?}");
        assert!(errors(&cut).contains(LEFT_OUT), "{format}: {}", errors(&cut));
    }
}

#[test]
fn a_line_in_parts_is_one_event() {
    let scratch = Scratch::new();
    let lines =
        format!("{{\"n\":1}}\n{{\"text\":\"{}\"}}\n{{\"n\":2}}\n{}", "x".repeat(3 << 20), "y".repeat(600 << 10));
    let log = recorded(&scratch, &lines, "jsonl");
    let played = expect(run(&["replay", &log, "--format", "sse"]), 0);
    let events: Vec<_> = data(&played.stdout).into_iter().map(|data| data.trim_end().to_owned()).collect();
    assert!(events.iter().eq(lines.lines()), "{} events", events.len());
    assert_eq!(done(&["replay", &log, "--format", "raw"]), lines.as_bytes());
    // The parts are of no kind of their own to a selection.
    let played = done(&["replay", &log, "--format", "sse", "--kind", "unspecified"]);
    assert_eq!(data(&played).len(), 4);
}

#[test]
fn the_rest_of_a_frame_is_no_event_where_its_beginning_is_not_selected() {
    let scratch = Scratch::new();
    let lines: String = (0..200_000).map(|number| format!("data: line {number}\n")).collect();
    let log = recorded(&scratch, &format!("{lines}\ndata: after\n\n"), "sse");
    let events_of = json(&done(&["replay", &log, "--format", "jsonl", "--kind", "unspecified"]));
    let second = events_of[1]["timestamp"].to_string();
    let replay = |more: &[&str]| expect(run(&[&["replay", &log, "--format", "sse"], more].concat()), 0);
    let since = replay(&["--since", &second]);
    let tail = expect(run(&["tail", &log, "--from", "-3", "--format", "sse", "--exit-idle", "1ms"]), 0);
    done(&["trim", &log, "--max-segments", "1"]);
    let trimmed = replay(&[]);
    for output in [since, tail, trimmed] {
        assert_eq!(data(&output.stdout), ["after"]);
        assert!(errors(&output).contains(LEFT_OUT), "{}", errors(&output));
    }
}

#[test]
fn lines_of_a_frame_are_no_event_where_its_beginning_is_not_selected() {
    for (stream, last, expected) in [
        ("event: error\ndata: boom\n\n", "-2", &[][..]),
        ("event: error\ndata: boom\n\ndata: b\n\n", "-4", &["b"]),
        ("data: a\n\nevent: error\ndata: boom\n\n", "-3", &["boom"]),
        ("data: {}\n\ndata: {\"a\":\ndata: 1}\n\ndata: []\n\n", "-4", &["[]"]),
        (": wait\nid: 1\nevent: error\ndata: {}\n\n{\"n\":1}\n", "-3", &["{\"n\":1}\n"]),
        ("event: error\ndata: {\"n\":1}\ndata: {\"n\":2}\n", "-1", &["{\"n\":2}"]),
        ("data: {\"n\":1}\ndata: {\"n\":2}\n\n", "-2", &["{\"n\":2}"]),
        ("data: x\n\ndata: {\"n\":1}\ndata: {\"n\":2}\n\n", "-2", &[]),
    ] {
        let scratch = Scratch::new();
        let log = recorded(&scratch, stream, "jsonl");
        let tail = expect(run(&["tail", &log, "--from", last, "--format", "sse", "--exit-idle", "1ms"]), 0);
        let played = data(&tail.stdout);
        assert_eq!(played, expected, "{stream:?} from {last}");
    }
    // The same in a filter, and for the chunks of an answer.
    let scratch = Scratch::new();
    let chunk = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    let log = recorded(&scratch, &format!("data: {chunk}\n\nevent: error\ndata: {chunk}\n\n"), "jsonl");
    let choices = ["--filter", r#"{"$exists":{"path":"choices"}}"#];
    let played = expect(run(&[&["replay", &log, "--format", "sse"], &choices[..]].concat()), 0);
    assert_eq!(data(&played.stdout), [chunk]);
    assert!(errors(&played).contains(LEFT_OUT), "{}", errors(&played));
    let export = ["export", &log, "--format", "openai-chunks", "--session", "s"];
    let exported = expect(run(&[&export, &choices[..]].concat()), 4);
    assert_eq!(data(&exported.stdout)[0], chunk);
}

#[test]
fn a_frame_that_breaks_off_does_not_swallow_the_next() {
    for (first, format) in
        [("data: cut", "sse"), ("event: error\ndata: cut\n", "sse"), (": wait", "sse"), ("id: 1\n", "sse")]
    {
        let scratch = Scratch::new();
        let log = scratch.arg("log");
        let (first_file, second) = (scratch.file("a", first), scratch.file("b", "data: b\n\n"));
        record(&[&log, &first_file, &second, "--format", format, "--session", "s"]);
        let lines = done(&["export", &log, "--kind", "unspecified"]);
        let copy = scratch.arg("copy");
        expect(run_with(&["import", &copy], &lines), 0);
        let renumbered = scratch.arg("renumbered");
        expect(run_with(&["import", &renumbered, "--renumber"], &lines), 0);
        for log in [&log, &copy, &renumbered] {
            assert_eq!(events(&run(&["replay", log, "--format", "sse"]).stdout), events(b"data: b\n\n"), "{first:?}");
        }
    }
}
