//! A recording that is killed, or read while it goes on.

use crate::run::{Recording, Scratch, done, json, listed, record, run_with, until};

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
