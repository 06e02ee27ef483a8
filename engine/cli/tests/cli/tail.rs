//! `tapeline tail`: what is there, then what comes, whatever becomes of the writer.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus};

use serde_json::Value;

use crate::run::{Recording, Scratch, damaged_log, done, errors, expect, json, record, run, run_with, tapeline, until};

/// A tail that goes on. Killed when dropped.
struct Tail {
    child: Child,
    /// Its output, for as long as the test reads it.
    out: Option<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(log: &str, options: &[&str]) -> Self {
        let mut child = tapeline(&[&["tail", log], options].concat()).spawn().expect("the program starts");
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out }
    }

    /// The next line.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.as_mut().expect("open").read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "the tail has ended: {line:?}");
        line
    }

    fn lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    fn ended(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.as_mut().expect("open").read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it ends"), rest)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{{\"n\":{number}}}\n")).collect()
}

#[test]
fn what_is_there_comes_first_and_then_what_comes() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
    recording.write(numbered(0..100).concat().as_bytes());
    until("the events", || Recording::seen(&log, "stdin").filter(|&events| events == 100));
    let mut tail = Tail::start(&log, &["--from", "start", "--format", "raw"]);
    let mut last = Tail::start(&log, &["--from", "-3", "--format", "raw", "-n", "53"]);
    assert_eq!(tail.lines(100), numbered(0..100));
    assert_eq!(last.lines(3), numbered(97..100));
    for at in (100..150).step_by(10) {
        recording.write(numbered(at..at + 10).concat().as_bytes());
        assert_eq!(tail.lines(10), numbered(at..at + 10));
    }
    assert_eq!(last.lines(50), numbered(100..150));
    let (status, rest) = last.ended();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""), "after 53 events");
    let mut other = Tail::start(&log, &["--from", "-1", "--format", "raw"]);
    other.line();
    for (tail, signal) in [(tail, "-INT"), (other, "-TERM")] {
        tail.signal(signal);
        assert_eq!(tail.ended().0.code(), Some(130), "{signal}");
    }
}

#[test]
fn without_a_start_it_begins_now() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
    recording.write(b"\"before\"\n");
    until("the event", || Recording::seen(&log, "stdin").filter(|&events| events == 1));
    let mut tail = Tail::start(&log, &["--format", "text", "-n", "1"]);
    // Until it has begun, what comes is not for it.
    let mut number = 0;
    let ended = until("the end", || {
        recording.write(format!("\"live {number}\"\n").as_bytes());
        number += 1;
        tail.child.try_wait().expect("asks")
    });
    assert_eq!(ended.code(), Some(0));
    let line = tail.line();
    let words: Vec<&str> = line.trim_end().split("  ").collect();
    assert_eq!((words[1], words[2]), ("stdin", "unspecified"), "the name is from before");
    assert!(words[3].starts_with("\"live "), "{line}");
}

#[test]
fn it_goes_on_where_a_killed_writer_is_followed_by_another() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("first", numbered(0..1).concat()), "--format", "jsonl"]);
    let mut tail = Tail::start(&log, &["--from", "start", "--format", "raw"]);
    assert_eq!(tail.line(), numbered(0..1).concat());
    let padding = "x".repeat(3000);
    for round in 0..4 {
        let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
        let mut sent = 0;
        // Some MiB: the segments have 2.
        for burst in 0..5 {
            let lines = (sent..sent + 400).map(|number| format!("[{round},{number},\"{padding}\"]\n"));
            recording.write(lines.collect::<String>().as_bytes());
            sent += 400;
            if burst == 4 {
                break;
            }
            for number in sent - 400..sent {
                assert!(tail.line().starts_with(&format!("[{round},{number},")), "round {round}, {number}");
            }
        }
        // Some of the last burst may be durable.
        drop(recording);
        record(&[&log, &scratch.file("mark", format!("\"end of {round}\"\n")), "--format", "jsonl"]);
        let mut number = sent - 400;
        loop {
            let line = tail.line();
            if line.starts_with("\"end of") {
                break;
            }
            assert!(line.starts_with(&format!("[{round},{number},")), "round {round}, {number}: {line:.40}");
            number += 1;
        }
    }
    tail.signal("-INT");
    let (status, rest) = tail.ended();
    assert_eq!((status.code(), rest.as_str()), (Some(130), ""));
    let all = done(&["replay", &log, "--format", "raw"]);
    assert!(done(&["tail", &log, "--from", "start", "--exit-idle", "300ms", "--format", "raw"]) == all);
}

#[test]
fn it_selects_as_replay_does_and_prints_the_same() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    for name in ["a", "b", "c"] {
        let file = scratch.file(name, format!("{{\"from\":\"{name}\",\"n\":1}}\n{{\"from\":\"{name}\",\"n\":2}}\n"));
        record(&[&log, &file, "--format", "jsonl", "--shards", "2"]);
    }
    let third = json(&done(&["ls", &log, "--json"]))[2]["first"].as_str().expect("text").to_owned();
    let filter = r#"{"path": "n", "value": 2}"#;
    for options in [
        vec![],
        vec!["--session", "a", "--session", "c"],
        vec!["--since", &third],
        vec!["--until", &third],
        vec!["--kind", "session"],
        vec!["--session", "b", "--filter", filter],
    ] {
        for format in ["text", "jsonl", "raw"] {
            let replay = done(&[&["replay", &log, "--format", format], &options[..]].concat());
            let tail = ["tail", &log, "--format", format, "--from", "start", "--exit-idle", "50ms"];
            let tail = done(&[&tail[..], &options[..]].concat());
            assert_eq!(String::from_utf8_lossy(&tail), String::from_utf8_lossy(&replay), "{format} {options:?}");
        }
    }
    let since = done(&["tail", &log, "--since", &third, "--exit-idle", "50ms", "--format", "raw"]);
    assert_eq!(since, b"{\"from\":\"c\",\"n\":1}\n{\"from\":\"c\",\"n\":2}\n", "--since is where it begins");
    let last = done(&["tail", &log, "--from", "-2", "-n", "2", "--session", "a", "--format", "jsonl"]);
    let last: Vec<Value> = json(&last);
    assert_eq!(last.iter().map(|event| &event["payload"]["n"]).collect::<Vec<_>>(), [1, 2]);
    assert!(last.iter().all(|event| event["session"] == "a"), "{last:?}");
}

#[test]
fn an_event_of_megabytes_counts_as_one() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let frames = ["a", "b", "c"].map(|letter| format!("data: {}\n\n", letter.repeat(3 << 20)));
    let file = scratch.file("stream", frames.concat());
    done(&["record", &log, &file, "--format", "sse"]);
    let last = done(&["tail", &log, "--from", "-2", "-n", "2", "--format", "raw"]);
    assert!(last == frames[1..].concat().as_bytes(), "{} bytes", last.len());
    let first = done(&["tail", &log, "--from", "start", "-n", "1", "--format", "sse"]);
    let is_it = |line: &str| line.strip_prefix("data: ").is_some_and(|data| data == "a".repeat(3 << 20));
    assert_eq!(first.split(|&byte| byte == b'\n').filter(|line| is_it(&String::from_utf8_lossy(line))).count(), 1);
    assert!(!first.windows(2).any(|pair| pair == b"bb"), "the second frame");
}

#[test]
fn it_ends_as_its_options_say() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run(&["tail", &log]), 3);
    expect(run(&["tail", &scratch.arg(".")]), 3);
    record(&[&log, &scratch.file("a", "1\n"), "--format", "jsonl"]);
    for refused in [&["--from", "yesterday"][..], &["--exit-idle", "5"], &["-n", "few"], &["--kind", "unheard"]] {
        expect(run(&[&["tail", &log], refused].concat()), 2);
    }
    assert!(done(&["tail", &log, "--exit-idle", "20ms"]).is_empty());
    for start in ["start", "now"] {
        let none = expect(run(&["tail", &log, "--from", start, "-n", "0"]), 0);
        assert!(none.stdout.is_empty() && none.stderr.is_empty(), "{start}");
    }
    assert!(done(&["tail", &log, "--from", "start", "--until", "-1h"]).is_empty(), "that time is over");
    // The reader has gone, and nothing comes.
    let mut tail = Tail::start(&log, &["--from", "start"]);
    tail.line();
    tail.out = None;
    assert_eq!(tail.child.wait().expect("it ends").signal(), Some(13));
}

#[test]
fn damage_is_reported_in_its_place_and_passed() {
    let scratch = Scratch::new();
    let log = damaged_log(&scratch);
    let output = expect(run(&["tail", &log, "--from", "start", "--format", "raw", "--exit-idle", "50ms"]), 5);
    assert!(errors(&output).contains("offset 4096"), "{}", errors(&output));
    let lines = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
    // The opening of the session is an event, too, and no line.
    let message = errors(&output);
    let range = message.split_once("sequences 0 to ").and_then(|(_, rest)| rest.split_once(" ("));
    let lost = range.and_then(|(_, count)| count.split(' ').next()?.parse().ok());
    assert_eq!(lost.map(|lost: usize| lines + lost), Some(40_001), "{}", errors(&output));
    expect(run_with(&["record", &log, "--format", "jsonl", "--session", "after"], b"1\n"), 0);
    assert_eq!(done(&["tail", &log, "--from", "-1", "-n", "1", "--format", "raw"]), b"1\n");
}

#[test]
fn it_waits_for_a_log_if_asked_and_follows_the_next() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let missing = expect(run(&["tail", &log]), 3);
    assert!(errors(&missing).contains("--wait"), "{}", errors(&missing));
    let mut tail = Tail::start(&log, &["--wait", "--format", "raw"]);
    let mut said = BufReader::new(tail.child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    assert!(line.contains("waiting"), "{line}");
    record(&[&log, &scratch.file("a", "1\n"), "--format", "jsonl"]);
    assert_eq!(tail.line(), "1\n");
    // Another takes its place.
    let other = scratch.arg("other");
    record(&[&other, &scratch.file("b", "2\n"), "--format", "jsonl"]);
    fs::rename(&log, scratch.path("gone")).expect("renames");
    fs::rename(&other, &log).expect("renames");
    assert_eq!(tail.line(), "2\n");
    line.clear();
    said.read_line(&mut line).expect("a line");
    assert!(line.contains("log"), "{line}");
    tail.signal("-INT");
    assert_eq!(tail.ended().0.code(), Some(130));
    // Without a log there is nothing to wait for but the time.
    expect(run(&["tail", &scratch.arg("none"), "--wait", "--exit-idle", "20ms"]), 0);
}

#[test]
fn a_log_that_is_removed_or_replaced_ends_it() {
    let scratch = Scratch::new();
    for (is_replaced, words) in [(false, "removed"), (true, "another log")] {
        let log = scratch.arg(words);
        record(&[&log, &scratch.file("a", "1\n"), "--format", "jsonl"]);
        let mut tail = Tail::start(&log, &["--from", "start", "--format", "raw"]);
        assert_eq!(tail.line(), "1\n");
        let mut said = tail.child.stderr.take().expect("a pipe");
        if is_replaced {
            let other = scratch.arg("other");
            record(&[&other, &scratch.file("a", "2\n"), "--format", "jsonl"]);
            fs::rename(&log, scratch.path("gone")).expect("renames");
            fs::rename(&other, &log).expect("renames");
        } else {
            fs::remove_dir_all(&log).expect("removes");
        }
        assert_eq!(tail.ended().0.code(), Some(3), "{words}");
        let mut text = String::new();
        said.read_to_string(&mut text).expect("text");
        assert!(text.contains(words) && text.contains("--wait"), "{text}");
    }
}
