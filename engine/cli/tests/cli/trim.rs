//! Trimming: says what goes and why, and removes nothing else.

use super::run::{Scratch, done, errors, expect, json, record, run};

/// A log of several segments: its directory.
fn log(scratch: &Scratch) -> String {
    let (log, file) = (scratch.arg("log"), scratch.file("big", "{\"text\":\"0123456789\"}\n".repeat(200_000)));
    record(&[&log, &file, "--format", "jsonl"]);
    log
}

fn events(log: &str) -> u64 {
    json(&done(&["verify", log, "--json"])).last().expect("summary")["events"].as_u64().expect("number")
}

#[test]
fn dry_run_says_what_goes_and_the_run_removes_that() {
    let scratch = Scratch::new();
    let log = log(&scratch);
    let before = events(&log);
    let args = ["trim", &log, "--max-segments", "2", "--json"];
    let planned = json(&done(&[&args[..], &["--dry-run"]].concat()));
    assert_eq!(events(&log), before, "nothing has changed");
    let trimmed = json(&done(&args));
    let (planned, trimmed) = (planned.split_last().expect("lines"), trimmed.split_last().expect("lines"));
    assert_eq!(planned.1, trimmed.1);
    assert!(
        !planned.1.is_empty() && planned.1.iter().all(|line| line["type"] == "removed" && line["reason"] == "segments")
    );
    assert_eq!((&planned.0["dry_run"], &trimmed.0["dry_run"]), (&true.into(), &false.into()));
    assert_eq!((&trimmed.0["type"], &trimmed.0["segments_left"]), (&"summary".into(), &2.into()));
    let end = planned.1.last().expect("removed")["end_sequence"].as_u64().expect("number");
    assert_eq!(events(&log), before - end);
    let text = String::from_utf8(done(&["trim", &log, "--max-bytes", "0", "--dry-run"])).expect("text");
    assert!(text.contains("WHY") && text.contains("bytes\nwould remove 2 segments"), "{text}");
}

#[test]
fn age_keeps_what_is_young() {
    let scratch = Scratch::new();
    let log = log(&scratch);
    let summary = json(&done(&["trim", &log, "--max-age", "1d", "--json"])).pop().expect("summary");
    assert_eq!(summary["removed"], 0);
}

#[test]
fn trim_without_a_limit_or_a_log_is_refused() {
    let scratch = Scratch::new();
    let log = log(&scratch);
    let refused = expect(run(&["trim", &log]), 2);
    assert!(errors(&refused).contains("--max-age"), "{}", errors(&refused));
    expect(run(&["trim", &log, "--max-bytes", "much"]), 2);
    expect(run(&["trim", &scratch.arg("none"), "--max-bytes", "1G"]), 3);
    assert!(!scratch.path("none").exists());
}
