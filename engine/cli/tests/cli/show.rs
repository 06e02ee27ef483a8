//! `tapeline show`: one session.

use crate::run::{Scratch, damaged_log, done, expect, json, record, run, run_with};

#[test]
fn session_is_shown_with_kinds_stalls_and_events() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let other = scratch.file("other", "1\n2\n");
    record(&[&log, &other, "--format", "jsonl"]);
    // Two recordings of one session: the longest stall is between them.
    for line in ["{\"n\":1}\n{\"n\":2}\n", "{\"n\":3}\n\x1b[31m\n"] {
        expect(run_with(&["record", &log, "--format", "jsonl", "--session", "talk"], line.as_bytes()), 0);
    }
    let lines = json(&done(&["show", &log, "talk", "--json", "--events"]));
    let (session, events) = lines.split_first().expect("a session");
    assert_eq!((&session["type"], &session["session"]), (&"session".into(), &"talk".into()));
    assert_eq!((&session["events"], &session["bytes"]), (&4.into(), &30.into()));
    assert_eq!(session["shards"], serde_json::json!([0]));
    let kinds: Vec<_> = session["kinds"].as_array().expect("a list").iter().collect();
    assert_eq!(kinds.iter().map(|kind| &kind["kind"]).collect::<Vec<_>>(), ["unspecified", "session"]);
    assert_eq!(kinds.iter().map(|kind| &kind["events"]).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(session["gaps"], serde_json::json!([]));
    // Six events: an opening, two, an opening, two.
    assert_eq!(events.len(), 6);
    let number = |event: &serde_json::Value, field: &str| event[field].as_u64().expect("a number");
    for pair in events.windows(2) {
        assert_eq!(
            number(&pair[1], "since_previous_ns"),
            number(&pair[1], "timestamp") - number(&pair[0], "timestamp")
        );
    }
    assert_eq!((number(&events[0], "offset_ns"), &events[0]["kind"]), (0, &"session".into()));
    assert_eq!(number(&events[5], "offset_ns"), number(session, "duration_ns"));
    let stalls = session["stalls"].as_array().expect("a list");
    assert_eq!(stalls.len(), 5);
    assert!(stalls.is_sorted_by_key(|stall| std::cmp::Reverse(number(stall, "duration_ns"))));
    assert_eq!(number(&stalls[0], "duration_ns"), number(&events[3], "since_previous_ns"));
    assert_eq!(stalls[0]["after"]["sequence"], events[2]["sequence"]);
    assert_eq!(stalls[0]["before"]["sequence"], events[3]["sequence"]);

    let id = session["session_id"].as_str().expect("text");
    let text = String::from_utf8(done(&["show", &log, id, "--events", "--stalls", "1"])).expect("text");
    assert!(text.starts_with("session   talk\n") && text.contains("\nevents    4\n"), "{text}");
    assert_eq!(text.matches("0-3 and 0-").count() + text.matches("0-5 and 0-6").count(), 1, "{text}");
    assert!(text.contains("\\u{1b}[31m") && !text.contains('\x1b'), "{text}");
    assert!(text.contains("+0.000 s"), "{text}");
    let short = String::from_utf8(done(&["show", &log, "talk", "--limit", "2"])).expect("text");
    assert_eq!(short.lines().skip_while(|line| !line.contains("PAYLOAD")).count(), 3, "{short}");
    assert_eq!(json(&done(&["show", &log, "talk", "--json", "--stalls", "0"]))[0]["stalls"], serde_json::json!([]));
    expect(run(&["show", &log, "nobody"]), 3);
    expect(run(&["show", &log]), 2);
    expect(run(&["show", &scratch.arg("none"), "talk"]), 3);
}

#[test]
fn what_cannot_be_read_is_said() {
    let scratch = Scratch::new();
    let log = damaged_log(&scratch);
    let shown = json(&expect(run(&["show", &log, "a", "--json"]), 5).stdout).remove(0);
    assert_eq!(shown["gaps"].as_array().map(Vec::len), Some(1));
    assert!(shown["events"].as_u64() > Some(0), "what follows the damage");
    let text = String::from_utf8(expect(run(&["show", &log, "a"]), 5).stdout).expect("text");
    assert!(text.contains("missing: gap: shard 0: sequences 0 to "), "{text}");
}
