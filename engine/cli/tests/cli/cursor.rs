//! `tapeline cursor`: named cursors of a log.

use crate::run::{Recording, Scratch, done, errors, expect, json, record, run, until};

fn lags(log: &str) -> Vec<(String, u64)> {
    let entry = |cursor: &serde_json::Value| {
        (cursor["name"].as_str().expect("text").to_owned(), cursor["lag_events"].as_u64().expect("a number"))
    };
    json(&done(&["cursor", "ls", log, "--json"])).iter().map(entry).collect()
}

#[test]
fn cursors_are_set_listed_and_removed() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a", "1\n2\n3\n");
    record(&[&log, &file, "--format", "jsonl", "--shards", "2"]);
    assert!(lags(&log).is_empty());
    let set = |name: &str, start: &str| expect(run(&["cursor", "set", &log, name, start]), 0);
    set("all", "earliest");
    set("none", "latest");
    set("hour", "-1h");
    set("now", "now");
    // The event that opens the session is one more.
    let expected = [("all", 4), ("hour", 4), ("none", 0), ("now", 0)].map(|(name, lag)| (name.to_owned(), lag));
    assert_eq!(lags(&log), expected);
    let text = json(&done(&["cursor", "ls", &log, "--json"]))[0]["cursor"].as_str().expect("text").to_owned();
    set("copy", &text);
    assert_eq!(lags(&log)[1], ("copy".to_owned(), 4));
    let table = String::from_utf8(done(&["cursor", "ls", &log])).expect("text");
    assert!(table.starts_with("CURSOR  EVENTS BEHIND ") && table.lines().count() == 6, "{table}");
    expect(run(&["cursor", "rm", &log, "all"]), 0);
    expect(run(&["cursor", "rm", &log, "all"]), 3);
    assert_eq!(lags(&log).len(), 4);
    for refused in [["../meta", "latest"], ["a", "soon"], ["a", &text.replace('0', "1")]] {
        expect(run(&["cursor", "set", &log, refused[0], refused[1]]), 2);
    }
    expect(run(&["cursor", "ls", &scratch.arg("none")]), 3);
    expect(run(&["cursor"]), 2);
    let foreign = scratch.arg("foreign");
    record(&[&foreign, &file, "--format", "jsonl"]);
    let output = expect(run(&["cursor", "set", &foreign, "a", &text]), 2);
    assert!(errors(&output).contains("another one"), "{}", errors(&output));
}

#[test]
fn a_log_that_is_being_written_has_cursors_too() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
    recording.write(b"1\n2\n");
    until("the events", || Recording::seen(&log, "stdin").filter(|&events| events == 2));
    done(&["cursor", "set", &log, "reader", "latest"]);
    assert_eq!(lags(&log), [("reader".to_owned(), 0)]);
    recording.write(b"3\n");
    until("the event", || Recording::seen(&log, "stdin").filter(|&events| events == 3));
    assert_eq!(lags(&log), [("reader".to_owned(), 1)]);
}

#[test]
fn what_is_no_cursor_is_shown_as_damaged() {
    let scratch = Scratch::new();
    let (log, other) = (scratch.arg("log"), scratch.arg("other"));
    for log in [&log, &other] {
        record(&[log, &scratch.file("a", "1\n2\n"), "--format", "jsonl"]);
        expect(run(&["cursor", "set", log, "good", "earliest"]), 0);
    }
    let cursors = scratch.path("log/cursors");
    std::fs::write(cursors.join("junk"), "nothing of the kind").expect("writes");
    std::fs::write(cursors.join("bytes"), b"\xff\xfe").expect("writes");
    std::fs::write(cursors.join("empty"), "").expect("writes");
    std::fs::create_dir(cursors.join("directory")).expect("creates");
    std::fs::copy(scratch.path("other/cursors/good"), cursors.join("foreign")).expect("copies");
    let listed = json(&expect(run(&["cursor", "ls", &log, "--json"]), 5).stdout);
    let faults: Vec<_> =
        listed.iter().map(|line| (line["name"].as_str().expect("text"), !line["fault"].is_null())).collect();
    let expected =
        [("bytes", true), ("directory", true), ("empty", true), ("foreign", true), ("good", false), ("junk", true)];
    assert_eq!(faults, expected);
    let table = String::from_utf8(expect(run(&["cursor", "ls", &log]), 5).stdout).expect("text");
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).expect("a row").to_owned();
    assert!(row("junk").contains("damaged") && row("foreign").contains("another"), "{table}");
    assert_eq!(row("good").split_whitespace().nth(1), Some("3"), "{table}");
}

#[test]
fn a_listing_of_cursors_ends_as_what_was_wrong_with_them_says() {
    let scratch = Scratch::new();
    let (log, other) = (scratch.arg("log"), scratch.arg("other"));
    for log in [&log, &other] {
        record(&[log, &scratch.file("a", "1\n"), "--format", "jsonl"]);
        done(&["cursor", "set", log, "good", "earliest"]);
    }
    let cursors = scratch.path("log/cursors");
    let torn = || std::fs::read(cursors.join("good")).expect("there")[..20].to_vec();
    std::fs::copy(scratch.path("other/cursors/good"), cursors.join("foreign")).expect("copies");
    done(&["cursor", "ls", &log]);
    std::os::unix::fs::symlink("not mounted", cursors.join("away")).expect("links");
    let output = expect(run(&["cursor", "ls", &log]), 1);
    assert!(String::from_utf8_lossy(&output.stdout).contains("not mounted"));
    std::fs::write(cursors.join("torn"), torn()).expect("writes");
    expect(run(&["cursor", "ls", &log, "--json"]), 5);
    std::fs::remove_file(cursors.join("away")).expect("removes");
    expect(run(&["cursor", "ls", &log]), 5);
    // One that is set anew is whole again.
    done(&["cursor", "set", &log, "torn", "latest"]);
    done(&["cursor", "ls", &log]);
}
