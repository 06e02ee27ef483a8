//! `tapeline stats`, completions and manual pages.

use std::fs;

use crate::run::{Recording, Scratch, done, expect, json, record, run, run_with, until};

#[test]
fn totals_add_up_by_shard_kind_and_time() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let files: Vec<String> = (0..8).map(|n| scratch.file(&format!("s{n}"), "12345\n".repeat(100))).collect();
    let mut args = vec![log.as_str(), "--format", "jsonl", "--shards", "2"];
    args.extend(files.iter().map(String::as_str));
    record(&args);
    let lines = json(&done(&["stats", &log, "--json"]));
    let of_type = |wanted: &str| lines.iter().filter(|line| line["type"] == wanted).collect::<Vec<_>>();
    let sum = |lines: &[&serde_json::Value], field: &str| -> u64 {
        lines.iter().filter_map(|line| line[field].as_u64()).sum()
    };
    let totals = of_type("log")[0];
    assert_eq!((&totals["events"], &totals["sessions"], &totals["bytes"]), (&800.into(), &8.into(), &4800.into()));
    assert_eq!(totals["shards"], 2);
    // The events that open the sessions are eight more.
    let (shards, kinds, times) = (of_type("shard"), of_type("kind"), of_type("time"));
    assert_eq!((shards.len(), sum(&shards, "events")), (2, 808));
    assert_eq!(kinds.iter().map(|kind| &kind["kind"]).collect::<Vec<_>>(), ["unspecified", "session"]);
    assert_eq!((sum(&kinds, "events"), sum(&times, "events")), (808, 808));
    assert_eq!(sum(&shards, "bytes"), totals["segment_bytes"].as_u64().expect("a number"));
    assert!(shards.iter().all(|shard| shard["padding_bytes"].as_u64() < shard["block_bytes"].as_u64()));
    let hours = json(&done(&["stats", &log, "--json", "--by", "hour"]));
    let hours: Vec<_> = hours.iter().filter(|line| line["type"] == "time").collect();
    assert!(hours.len() <= 2 && sum(&hours, "events") == 808);
    assert!(hours[0]["start"].as_str().is_some_and(|start| start.ends_with(":00:00.000000000Z")), "{hours:?}");

    let text = String::from_utf8(done(&["stats", &log])).expect("text");
    for expected in ["sessions  8\n", "events    800\n", "SHARD", "KIND", "EVENTS IN ", "####"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    expect(run(&["stats", &log, "--by", "year"]), 2);
    expect(run(&["stats", &scratch.arg("none")]), 3);
}

#[test]
fn events_at_both_ends_of_time_are_counted_and_shown() {
    let scratch = Scratch::new();
    let ends = [0, 1, u64::MAX - 1, u64::MAX];
    for (number, times) in [&ends[..], &ends[..1], &ends[3..], &[7, u64::MAX]].into_iter().enumerate() {
        let line = |(sequence, time): (usize, &u64)| {
            format!(
                "{{\"shard\":0,\"sequence\":{sequence},\"timestamp\":{time},\"session_id\":\"{}\",\"session\":\"a\",\
                 \"kind\":\"token\",\"payload\":{{\"model\":\"m\"}}}}\n",
                "0a".repeat(16)
            )
        };
        let log = scratch.arg(&format!("log-{number}"));
        let file = scratch.file("events", times.iter().enumerate().map(line).collect::<String>());
        done(&["import", &log, &file]);
        for by in [&[][..], &["--by", "second"], &["--by", "day"]] {
            let lines = json(&done(&[&["stats", &log, "--json"], by].concat()));
            let bars = lines.iter().filter(|line| line["type"] == "time");
            assert_eq!(bars.filter_map(|bar| bar["events"].as_u64()).sum::<u64>(), times.len() as u64, "{lines:?}");
            assert_eq!(
                (lines[0]["first_timestamp"].as_u64(), lines[0]["last_timestamp"].as_u64()),
                (times.first().copied(), times.last().copied())
            );
            let text = String::from_utf8(done(&[&["stats", &log], by].concat())).expect("text");
            assert!(times[times.len() - 1] == 0 || text.contains("2554-07-21T"), "{text}");
        }
        let commands: &[&[&str]] = &[
            &["ls"],
            &["ls", "--json"],
            &["info"],
            &["verify"],
            &["export"],
            &["replay", "--speed", "max"],
            &["tail", "--from", "start", "--exit-idle", "10ms"],
            &["tail", "--from", "1970-01-01", "--exit-idle", "10ms"],
            &["latency"],
            &["trim", "--max-age", "1d"],
        ];
        for command in commands {
            let output = run(&[&command[..1], &[log.as_str()], &command[1..]].concat());
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code().is_some_and(|code| code != 101), "{command:?}: {text}");
            assert!(output.status.code() != Some(2) && !text.contains("panicked"), "{command:?}: {text}");
        }
        assert!(run(&["show", &log, "a"]).status.code() != Some(101));
    }
}

#[test]
fn segments_add_up_as_info_lists_them() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("much", "some line of text\n".repeat(60_000));
    record(&[&log, &file, "--format", "jsonl"]);
    let info = json(&done(&["info", &log, "--json"])).remove(0);
    let shard = json(&done(&["stats", &log, "--json"])).remove(1);
    let segments = info["segments"].as_array().map(Vec::len);
    assert!(segments > Some(1) && shard["segments"].as_u64().map(|count| count as usize) == segments, "{shard}");
    assert_eq!(
        (&shard["events"], &shard["bytes"], &shard["sealed"]),
        (&info["events"], &info["bytes"], &shard["segments"])
    );
}

#[test]
fn a_log_without_events_and_one_that_is_written_have_stats() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut recording = Recording::start(&[&log, "--format", "jsonl", "--session-field", "id"]);
    until("the log", || run(&["stats", &log]).status.success().then_some(()));
    assert_eq!(json(&done(&["stats", &log, "--json"]))[0]["events"], 0);
    recording.write(b"{\"id\":1}\n");
    until("the event", || Recording::seen(&log, "1"));
    let lines = json(&done(&["stats", &log, "--json"]));
    assert_eq!((&lines[0]["events"], &lines[0]["sealed"]), (&1.into(), &0.into()));
}

#[test]
fn bursts_are_shown_when_they_happened_though_one_block_holds_them() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    const SECOND: u64 = 1_000_000_000;
    // Two bursts of 40 events in a second, eight seconds apart. An import packs them densely.
    let times = (0..80).map(|number| 1_700_000_000 * SECOND + number / 40 * 9 * SECOND + number % 40 * (SECOND / 40));
    let line = |(sequence, time): (usize, u64)| {
        let id = "0a".repeat(16);
        format!(
            "{{\"shard\":0,\"sequence\":{sequence},\"timestamp\":{time},\"session_id\":\"{id}\",\"kind\":\"token\",\
             \"payload\":1}}\n"
        )
    };
    let lines: String = times.enumerate().map(line).collect();
    expect(run_with(&["import", &log], lines.as_bytes()), 0);
    let bars = json(&done(&["stats", &log, "--by", "second", "--json"]));
    let bars = bars.iter().filter(|line| line["type"] == "time");
    let bars: Vec<_> = bars.map(|bar| (bar["start_timestamp"].as_u64(), bar["events"].as_u64())).collect();
    assert_eq!(bars, [(Some(1_700_000_000 * SECOND), Some(40)), (Some(1_700_000_009 * SECOND), Some(40))]);
    let days = json(&done(&["stats", &log, "--by", "day", "--json"]));
    assert_eq!(days.iter().filter(|line| line["type"] == "time").map(|bar| &bar["events"]).collect::<Vec<_>>(), [80]);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(done(&["completions", shell])).expect("text");
        for word in ["tail", "show", "exit-idle"] {
            assert!(script.contains(word), "{word} in the script of {shell}");
        }
    }
    expect(run(&["completions", "tcsh"]), 2);
    let out = scratch.arg("man/man1");
    done(&["man", "--out", &out]);
    let page = fs::read_to_string(scratch.path("man/man1/tapeline-tail.1")).expect("a page");
    assert!(page.contains("exit\\-idle") && page.contains("Examples"), "{page}");
    assert!(scratch.path("man/man1/tapeline.1").exists() && scratch.path("man/man1/tapeline-cursor-set.1").exists());
    let file = scratch.file("file", "");
    expect(run(&["man", "--out", &file]), 1);
}
