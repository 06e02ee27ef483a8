//! A recording that is killed, or read while it goes on.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tapeline_testing::{Random, seeds};

use crate::run::{Recording, Scratch, done, errors, expect, json, listed, record, run, run_with, tapeline, until};

/// Lines that differ, so that a test can recognise a prefix.
fn lines(from: usize, count: usize) -> Vec<u8> {
    (from..from + count)
        .flat_map(|number| format!("{{\"line\":{number},\"text\":\"some text\"}}\n").into_bytes())
        .collect()
}

#[test]
fn a_living_log_can_be_read() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
    let mut sent = Vec::new();
    for round in 1..=5 {
        let more = lines(sent.len(), 100);
        recording.write(&more);
        sent.extend(more);
        until("the events", || Recording::seen(&log, "stdin").filter(|&events| events == 100 * round));
        assert_eq!(done(&["replay", &log, "--session", "stdin", "--format", "raw"]), sent);
        done(&["verify", &log]);
        assert!(!json(&done(&["info", &log, "--json"]))[0]["backend"]["device"].is_null());
    }
    drop(recording.0.stdin.take());
    assert!(recording.0.wait().expect("it ends").success());
    assert_eq!(listed(&log), [("stdin".to_owned(), 500)]);
}

#[test]
fn what_was_acknowledged_or_seen_survives_kill_9() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let first = scratch.file("first", lines(0, 5000));
    let acknowledged = record(&[&log, &first, "--format", "jsonl"])["events"].as_u64().expect("a number");
    assert_eq!(acknowledged, 5000);
    for round in 0..5 {
        let session = format!("killed-{round}");
        let mut recording = Recording::start(&[&log, "--format", "jsonl", "--session", &session]);
        let mut sent = Vec::new();
        let mut count = 0;
        let seen = until("events", || {
            let more = lines(count, 2000);
            count += 2000;
            recording.write(&more);
            sent.extend(more);
            Recording::seen(&log, &session).filter(|&events| events > 0)
        });
        let more = lines(count, 3000);
        recording.write(&more);
        sent.extend(more);
        drop(recording);

        // Readable before any writer has recovered it, and the same after.
        check(&log, &session, seen, &sent);
        let status = run_with(&["record", &log, "--format", "jsonl", "--session", "after"], b"1\n").status;
        assert!(status.success());
        check(&log, &session, seen, &sent);
        assert_eq!(listed(&log)[0], ("first".to_owned(), acknowledged));
        let all = done(&["replay", &log, "--session", "first", "--format", "raw"]);
        assert!(all == lines(0, 5000), "round {round}");
    }
}

/// The log checks, and holds of the session at least what was seen of it: a beginning of what was sent.
fn check(log: &str, session: &str, seen: u64, sent: &[u8]) {
    done(&["verify", log]);
    let events = listed(log).into_iter().find(|(name, _)| name == session).map(|(_, events)| events);
    assert!(events >= Some(seen), "{session}: {events:?} of {seen} seen events");
    let replayed = done(&["replay", log, "--session", session, "--format", "raw"]);
    assert!(sent.starts_with(&replayed), "{session}: {} bytes are no beginning of what was sent", replayed.len());
    assert_eq!(replayed.iter().filter(|&&byte| byte == b'\n').count() as u64, events.unwrap_or(0));
}

/// A log of several segments and sessions.
fn log(scratch: &Scratch) -> String {
    let log = scratch.arg("log");
    let line = |number: usize| format!("{{\"s\":\"s{}\",\"pad\":\"{}\"}}\n", number % 7, "x".repeat(2000));
    let input = scratch.file("input", (0..6000).map(line).collect::<String>());
    record(&[&log, &input, "--format", "jsonl", "--session-field", "s", "--shards", "2"]);
    log
}

/// A program that is killed, if it has not ended by itself.
fn kill(mut program: Child) {
    program.kill().expect("killed");
    program.wait().expect("gone");
}

/// The files of a log and their lengths, in words.
fn files(log: &Path) -> String {
    let Ok(entries) = fs::read_dir(log) else { return String::new() };
    let each = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => files(&entry.path()),
        Ok(found) => format!("{}: {}\n", entry.path().display(), found.len()),
        Err(_) => String::new(),
    };
    entries.flatten().map(each).collect()
}

/// Kills the program after it was seen to change the files of a log so many times, or has ended.
fn kill_after(changes: usize, mut program: Child, log: &Path) {
    let mut seen = files(log);
    for _ in 0..changes {
        let next = until("a change or the end", || {
            let has_ended = program.try_wait().expect("a status").is_some();
            Some(files(log)).filter(|now| has_ended || *now != seen)
        });
        seen = next;
    }
    kill(program);
}

#[test]
fn an_import_that_is_killed_leaves_no_log_and_is_done_by_the_next() {
    let scratch = Scratch::new();
    let export = done(&["export", &log(&scratch)]);
    let file = scratch.file("export", &export);
    for seed in seeds(8) {
        let (mut random, copy) = (Random::new(seed), scratch.arg(&format!("copy-{seed}")));
        let args = ["import", &copy, "--segment-bytes", "2M"];
        let mut import = tapeline(&args).stdin(Stdio::piped()).spawn().expect("the program starts");
        let fed = 1 + random.below(export.len() - 1);
        import.stdin.as_mut().expect("a pipe").write_all(&export[..fed]).expect("it reads");
        kill(import);
        // It has not seen the end of its input.
        let refused = expect(run(&["ls", &copy]), 3);
        assert!(errors(&refused).contains("no log"), "seed {seed}: {}", errors(&refused));
        if random.below(2) == 0 && scratch.path(&format!("copy-{seed}/meta.restore")).exists() {
            let refused = expect(run_with(&["record", &copy, "--format", "raw"], b"x"), 3);
            assert!(errors(&refused).contains("import"), "seed {seed}: {}", errors(&refused));
        }
        done(&["import", &copy, &file, "--segment-bytes", "2M"]);
        assert!(done(&["export", &copy]) == export, "seed {seed}");
        expect(run(&["import", &copy, &file]), 1);
    }
}

#[test]
fn an_import_that_a_signal_ends_keeps_what_it_took() {
    let scratch = Scratch::new();
    let export = done(&["export", &log(&scratch)]);
    // More than a pipe holds: some of it was taken when all of it is written.
    let fed = export.len() / 2;
    for signal in ["-INT", "-TERM", "-HUP"] {
        let copy = scratch.arg(signal);
        let args = ["import", &copy, "--segment-bytes", "2M", "--json"];
        let mut import = tapeline(&args).stdin(Stdio::piped()).spawn().expect("the program starts");
        import.stdin.as_mut().expect("a pipe").write_all(&export[..fed]).expect("it reads");
        let sent = Command::new("kill").args([signal, &import.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        // It does not wait for the end of its input.
        let input = import.stdin.take();
        let output = expect(import.wait_with_output().expect("it ends"), 130);
        drop(input);
        let summary = json(&output.stdout).remove(0);
        assert_eq!(summary["interrupted"], true, "{signal}");
        let found = done(&["export", &copy]);
        let lines = found.iter().filter(|&&byte| byte == b'\n').count();
        assert!(lines > 0 && summary["events"] == lines, "{signal}: {summary}, {lines} lines");
        done(&["verify", &copy]);
    }
}

/// Copies a log.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            let _ = fs::copy(entry.path(), to).expect("copied");
        }
    }
}

#[test]
fn a_trim_that_is_killed_leaves_a_log_that_opens_and_is_done_by_the_next() {
    let scratch = Scratch::new();
    let whole = log(&scratch);
    let all: Vec<_> = done(&["replay", &whole, "--format", "raw"]);
    copy(&scratch.path("log"), &scratch.path("trimmed"));
    let trim = ["--max-segments", "2"];
    done(&[&["trim", &scratch.arg("trimmed")][..], &trim].concat());
    let (kept, names) = (done(&["export", &scratch.arg("trimmed")]), done(&["ls", &scratch.arg("trimmed")]));
    for seed in seeds(8) {
        let (changes, name) = (Random::new(seed).below(8), format!("copy-{seed}"));
        let (path, log) = (scratch.path(&name), scratch.arg(&name));
        copy(&scratch.path("log"), &path);
        let args = [&["trim", &log][..], &trim].concat();
        kill_after(changes, tapeline(&args).spawn().expect("the program starts"), &path);
        let left = done(&["replay", &log, "--format", "raw"]);
        assert!(left.len() <= all.len(), "seed {seed}");
        done(&["verify", &log]);
        done(&args);
        assert!(done(&["export", &log]) == kept, "seed {seed}");
        assert!(done(&["ls", &log]) == names, "seed {seed}");
    }
}

#[test]
fn a_repair_that_is_killed_is_done_by_the_next() {
    let scratch = Scratch::new();
    log(&scratch);
    let damaged = scratch.path("log");
    for shard in ["shard-0000", "shard-0001"] {
        let files = fs::read_dir(damaged.join(shard)).expect("a directory");
        let segments = files.map(|entry| entry.expect("an entry").path());
        for segment in segments.filter(|path| path.extension().is_some_and(|end| end == "seg")) {
            let mut bytes = fs::read(&segment).expect("a segment");
            bytes[100_000] ^= 1;
            fs::write(&segment, bytes).expect("written");
        }
    }
    fs::remove_file(damaged.join("meta")).expect("removed");
    copy(&damaged, &scratch.path("whole"));
    done(&["repair", &scratch.arg("whole"), "--apply"]);
    let whole = expect(run(&["replay", &scratch.arg("whole"), "--format", "raw"]), 4).stdout;
    for seed in seeds(8) {
        let (changes, name) = (Random::new(seed).below(24), format!("copy-{seed}"));
        let (path, log) = (scratch.path(&name), scratch.arg(&name));
        copy(&damaged, &path);
        let args = ["repair", &log, "--apply"];
        kill_after(changes, tapeline(&args).spawn().expect("the program starts"), &path);
        done(&args);
        assert!(expect(run(&["replay", &log, "--format", "raw"]), 4).stdout == whole, "seed {seed}");
        done(&["verify", &log]);
        done(&["repair", &log]);
    }
}
