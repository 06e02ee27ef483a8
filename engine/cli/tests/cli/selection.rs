//! The events that are selected, and the message where there are none.

use serde_json::json;

use crate::run::{Scratch, done, errors, expect, record, run, run_with};

const HOUR: u64 = 3_600_000_000_000;

/// 2026-01-31T00:00:00Z.
const DAY: u64 = 1_769_817_600_000_000_000;

const CHUNKS: &str = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
                      data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"total_tokens\":7}}\n\n\
                      : ping\n\n\
                      data: [DONE]\n\n";

/// A log of an event an hour of a day, whose payload is the hour.
fn day(scratch: &Scratch) -> String {
    let log = scratch.arg("day");
    let line = |hour: u64| {
        let id = "0a".repeat(16);
        json!({"shard": 0, "sequence": hour, "timestamp": DAY + hour * HOUR, "session_id": id, "kind": "token", "payload": hour})
    };
    let lines: String = (0..24).map(|hour| format!("{}\n", line(hour))).collect();
    expect(run_with(&["import", &log], lines.as_bytes()), 0);
    log
}

#[test]
fn times_may_be_numbers_and_have_zones() {
    let scratch = Scratch::new();
    let log = day(&scratch);
    let noon = (DAY + 12 * HOUR) / 1_000_000_000;
    for time in [
        "2026-01-31T12:00:00Z".to_owned(),
        "2026-01-31T14:00:00+02:00".to_owned(),
        "2026-01-31T12:00:00[UTC]".to_owned(),
        format!("{noon}"),
        format!("{noon}000"),
        format!("{noon}.0"),
    ] {
        let since = done(&["replay", &log, "--since", &time, "--format", "raw"]);
        assert_eq!(since, b"121314151617181920212223", "{time}");
    }
    for (time, words) in
        [("5m", "-5m"), ("12:00", "2026-01-31"), ("2026-01-31T12:00:00[Nowhere/At_All]", "Nowhere/At_All")]
    {
        let output = expect(run(&["replay", &log, "--since", time]), 2);
        assert!(errors(&output).contains(words), "{time}: {}", errors(&output));
    }
    let year = done(&["replay", &log, "--until", "-1000y", "--format", "raw"]);
    assert!(year.is_empty());
}

#[test]
fn filters_look_into_server_sent_events() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a.sse", CHUNKS), "--format", "sse"]);
    let found = done(&["replay", &log, "--filter", r#"{"$exists":{"path":"usage"}}"#, "--format", "raw"]);
    assert!(String::from_utf8_lossy(&found).contains("total_tokens") && found.len() < CHUNKS.len() / 2);
    let model = done(&["replay", &log, "--filter", r#"{"path":"model","value":"m"}"#, "--format", "raw"]);
    assert_eq!(String::from_utf8_lossy(&model).matches("data:").count(), 2);
}

#[test]
fn no_reason_is_given_that_was_not_asked_for() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s", "data: a\n\n"), "--format", "sse"]);
    let output = expect(run(&["tail", &log, "--from", "start", "--events", "0"]), 0);
    assert_eq!((errors(&output).as_str(), output.stdout.len()), ("", 0));
}

#[test]
fn an_empty_selection_says_why() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a.sse", CHUNKS), "--format", "sse"]);
    let filter = ["--filter", r#"{"path":"model","value":"other"}"#];
    for (options, words) in [
        (
            vec!["--session", "a", "--kind", "token"],
            vec!["session \"a\" has 4 events", "--kind token", "unspecified (4)"],
        ),
        (vec!["--kind", "tool_call"], vec!["the log has 4 events", "--kind tool_call"]),
        (vec!["--session", "a", "--until", "2020-01-01"], vec!["session \"a\"", "--until 2020-01-01", "they are from"]),
        (vec!["--since", "2500-01-01"], vec!["--since 2500-01-01"]),
        (filter.to_vec(), vec!["--filter lets none of 4 through", "neither: 2 events"]),
    ] {
        for command in ["replay", "export", "latency"] {
            let output = expect(run(&[&[command, &log], &options[..]].concat()), 0);
            let said = errors(&output);
            assert!(words.iter().all(|word| said.contains(word)), "{command} {options:?}: {said}");
            assert!(!said.contains("no session"), "{said}");
        }
    }
    let tail = ["tail", &log, "--from", "start", "--exit-idle", "10ms", "--kind", "token"];
    assert!(errors(&expect(run(&tail), 0)).contains("none of --kind token"));
    let missing = expect(run(&["replay", &log, "--session", "b"]), 3);
    assert!(errors(&missing).contains("no session \"b\"") && errors(&missing).contains("tapeline ls"));
    // Some of several are there.
    let some = expect(run(&["replay", &log, "--session", "b", "--session", "a", "--format", "raw"]), 3);
    assert_eq!(
        (String::from_utf8_lossy(&some.stdout).as_ref(), errors(&some).contains("no session \"b\"")),
        (CHUNKS, true)
    );
}

#[test]
fn a_log_without_events_says_so() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run_with(&["record", &log, "--format", "jsonl", "--session-field", "s"], b""), 0);
    for command in ["replay", "export", "latency"] {
        assert!(errors(&expect(run(&[command, &log]), 0)).contains("the log has no events"), "{command}");
        let missing = expect(run(&[command, &log, "--session", "a"]), 3);
        assert!(errors(&missing).contains("the log has no events"), "{command}");
    }
    record(&[&log, &scratch.file("opened", ""), "--format", "raw"]);
    let opened = expect(run(&["replay", &log, "--session", "opened"]), 0);
    assert!(errors(&opened).contains("no events, only openings"), "{}", errors(&opened));
}

#[test]
fn a_session_is_found_by_the_name_that_its_opening_gives() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let id = "0b".repeat(16);
    let line = |sequence: u64, kind: &str, payload: serde_json::Value| json!({"shard": 0, "sequence": sequence, "timestamp": DAY, "session_id": id, "kind": kind, "payload": payload});
    let lines = format!("{}\n{}\n", line(0, "session", json!({"name": "by another id"})), line(1, "token", json!("x")));
    expect(run_with(&["import", &log], lines.as_bytes()), 0);
    for command in ["replay", "export"] {
        let found = done(&[command, &log, "--session", "by another id", "--format", "jsonl"]);
        assert!(String::from_utf8_lossy(&found).contains("\"x\""), "{command}");
    }
    done(&["show", &log, "by another id"]);
    let tail = ["tail", &log, "--session", "by another id", "--from", "start", "-n", "1", "--format", "raw"];
    assert_eq!(done(&tail), b"\"x\"");
}

#[test]
fn a_missing_meta_file_points_to_the_repair() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a", "{}\n"), "--format", "jsonl"]);
    std::fs::remove_file(scratch.path("log/meta")).expect("removes");
    for args in [vec!["ls", &log], vec!["replay", &log], vec!["tail", &log], vec!["stats", &log]] {
        let output = expect(run(&args), 5);
        assert!(errors(&output).contains("tapeline repair"), "{args:?}: {}", errors(&output));
    }
    done(&["repair", &log, "--apply"]);
    done(&["ls", &log]);
}
