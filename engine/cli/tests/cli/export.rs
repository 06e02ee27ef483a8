//! Exports are read by the programs they are meant for, and an import of one is the same log.

use std::fs;
use std::path::Path;
use std::process::Command;

use tapeline_testing::{Random, seed};

use crate::run::{Scratch, done, errors, expect, json, record, run, run_with};

/// The findings of scripts/check-exports in a file, where the environment for it is there.
pub(crate) fn checked(args: &[&str]) -> Option<serde_json::Value> {
    let Some(python) = std::env::var_os("TAPELINE_PYTHON") else {
        eprintln!("not checked: TAPELINE_PYTHON is not set; scripts/python-env prints what it is to be");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check-exports");
    let output = Command::new(python).arg(script).args(args).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("one JSON object"))
}

/// Text, JSON, almost JSON, any bytes; sometimes nothing, sometimes a lot.
fn payload(random: &mut Random) -> Vec<u8> {
    let pieces: &[&[u8]] = &[
        b"{\"a\": 1.50}",
        b"[1,\n2]",
        b" null",
        b"\"\\ud800\"",
        b"\r\n",
        b"\n",
        b"data: x\n\n",
        b"\xff\xfe",
        b"\0",
        "grün".as_bytes(),
        b"\"",
        b"{",
        b"}",
        b"12",
        b"-0",
        b"\t",
        b"\\",
        b"true",
    ];
    let mut payload = Vec::new();
    for _ in 0..random.below(5) {
        payload.extend_from_slice(pieces[random.below(pieces.len())]);
    }
    if random.below(40) == 0 {
        payload.resize(random.below(1_000_000), b'"');
    }
    payload
}

#[test]
fn import_of_an_export_is_the_same_log() {
    let mut random = Random::new(seed());
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    for number in 0..80 {
        let file = scratch.file("payload", payload(&mut random));
        let session = format!("session {}", random.below(5));
        record(&[&log, &file, "--format", "raw", "--session", &session, "--shards", "2"]);
        if number == 40 {
            // Some of it in segments that are sealed, each recording being an opening of its own.
            done(&["verify", &log]);
        }
    }
    let (first, again, copy) = (scratch.arg("first.jsonl"), scratch.arg("again.jsonl"), scratch.arg("copy"));
    done(&["export", &log, "--out", &first]);
    let imported = json(&done(&["import", &copy, &first, "--json"])).remove(0);
    done(&["export", &copy, "--out", &again]);
    let (before, after) = (fs::read(&first).expect("file"), fs::read(&again).expect("file"));
    assert!(before == after, "the copy is exported to other bytes");
    let lines = before.iter().filter(|&&byte| byte == b'\n').count() as u64;
    assert_eq!(imported["events"], lines);
    done(&["verify", &copy]);
    for session in 0..5 {
        let name = format!("session {session}");
        let raw = |log: &str| done(&["replay", log, "--session", &name, "--format", "raw"]);
        assert!(raw(&log) == raw(&copy), "{name}");
    }
    // A bus goes on in the copy where the export ended.
    expect(run_with(&["record", &copy, "--format", "jsonl", "--session", "more"], b"1\n"), 0);
    done(&["verify", &copy]);
    checked(&["jsonl", &first]);
}

#[test]
fn no_output_replaces_a_part_of_the_log() {
    let scratch = Scratch::new();
    let (log, file) = (scratch.arg("log"), scratch.file("line", "{\"n\":1}\n"));
    record(&[&log, &file, "--format", "jsonl"]);
    for out in ["log/meta", "log/shard-0000/x", "log/new/deep/file", "log"] {
        let out = scratch.arg(out);
        for args in
            [["export", &log, "--format", "jsonl", "--out", &out], ["latency", &log, "--by", "kind", "--out", &out]]
        {
            let refused = expect(run(&args), 2);
            assert!(errors(&refused).contains("choose a place outside of it"), "{}", errors(&refused));
        }
    }
    done(&["verify", &log]);
    done(&["export", &log, "--format", "jsonl", "--out", &scratch.arg("logs")]);
}

#[test]
fn refused_export_leaves_what_its_output_names() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s", "data: a\n\n"), "--format", "sse"]);
    let kept = scratch.file("kept", "precious");
    for format in ["jsonl", "sse", "parquet"] {
        expect(run(&["export", &log, "--session", "nope", "--format", format, "--out", &kept]), 3);
        assert_eq!(fs::read_to_string(&kept).expect("kept"), "precious", "{format}");
    }
    let streams = scratch.path("streams");
    let out = ["--format", "openai-chunks", "--out", streams.to_str().expect("UTF-8")];
    expect(run(&[&["export", &log, "--session", "nope"], &out[..]].concat()), 3);
    assert!(!streams.exists());
    done(&["export", &log, "--out", &kept]);
    assert!(fs::read_to_string(&kept).expect("an export").starts_with('{'), "one that is done replaces it");
    done(&["export", &log, "--kind", "token", "--out", &kept]);
    assert_eq!(fs::read_to_string(&kept).expect("an export"), "", "also with nothing");
}

#[test]
fn a_part_is_imported_with_its_holes_or_numbered_anew() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let (a, b) = (scratch.file("a", "1\n2\n"), scratch.file("b", "3\n"));
    record(&[&log, &a, &b, &a, "--format", "jsonl", "--session", "x"]);
    record(&[&log, &b, "--format", "jsonl"]);
    record(&[&log, &a, "--format", "jsonl", "--session", "x"]);
    let part = done(&["export", &log, "--session", "x"]);
    let (holes, dense) = (scratch.arg("holes"), scratch.arg("dense"));
    expect(run_with(&["import", &holes], &part), 0);
    let lost = expect(run(&["export", &holes]), 4);
    assert!(errors(&lost).contains("lost"), "{}", errors(&lost));
    assert_eq!(lost.stdout, part);
    expect(run_with(&["import", &dense, "--renumber"], &part), 0);
    let numbered = json(&done(&["export", &dense]));
    assert!(numbered.iter().enumerate().all(|(at, event)| event["sequence"] == at), "{numbered:?}");
}

#[test]
fn imports_that_cannot_be_say_where_and_why() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a", "1\n2\n3\n");
    record(&[&log, &file, "--format", "jsonl"]);
    let lines = String::from_utf8(done(&["export", &log])).expect("text");
    let bad = scratch.file("bad.jsonl", lines.clone() + "{\"text\":\"none of ours\"}\n");
    let copy = scratch.arg("copy");
    let refused = expect(run(&["import", &copy, &bad]), 1);
    assert!(
        errors(&refused).contains("bad.jsonl:5: ") && errors(&refused).contains("4 events"),
        "{}",
        errors(&refused)
    );
    assert_eq!(String::from_utf8(done(&["export", &copy])).expect("text"), lines, "what came before is kept");
    assert!(errors(&expect(run(&["import", &copy, &bad]), 1)).contains("a log already"));
    let backwards: String = lines.lines().rev().map(|line| format!("{line}\n")).collect();
    let backwards = scratch.file("backwards.jsonl", backwards);
    let message = errors(&expect(run(&["import", &scratch.arg("b"), &backwards]), 1));
    assert!(message.contains("backwards.jsonl:2: ") && message.contains("--renumber"), "{message}");
    // One place is named, that in the input.
    for (line, words) in [
        ("[1]", "tapeline record"),
        ("{\"shard\":-1}", "column"),
        ("{\"shard\":0,\"sequence\":0,\"kind\":1}", "column"),
        ("{", "cut off after 1 byte: "),
    ] {
        let message = errors(&expect(run_with(&["import", &scratch.arg("d")], line.as_bytes()), 1));
        assert!(message.contains("standard input:1: ") && message.contains(words), "{message}");
        assert!(!message.contains("at line"), "{message}");
    }
    expect(run(&["import", &scratch.arg("c"), &scratch.arg("none.jsonl")]), 3);
    expect(run(&["export", &log, "--format", "openai-chunks"]), 2);
    expect(run(&["export", &log, "--session", "nobody"]), 3);
}

/// A line as an export has it.
fn line(rest: &str) -> String {
    format!("{{\"shard\":0,\"sequence\":0,\"timestamp\":1,\"session_id\":\"{}\"{rest}}}\n", "0".repeat(32))
}

#[test]
fn import_that_takes_no_event_leaves_nothing() {
    let scratch = Scratch::new();
    let sound = line(",\"kind\":\"token\",\"payload\":1");
    let faults = [
        "no JSON\n".to_owned(),
        line(",\"kind\":\"token\""),
        line(",\"kind\":\"none such\",\"payload\":1"),
        line(",\"kind\":\"65535\",\"payload\":1"),
        sound.replace("\"shard\":0", "\"shard\":512"),
        sound.replace("\"sequence\":0", "\"sequence\":18446744073709551615"),
        line(&format!(",\"kind\":\"token\",\"payload_text\":\"{}\"", "x".repeat(65 << 20))),
        format!("{{\"text\":\"{}", "x".repeat(9 << 20)),
    ];
    fs::create_dir(scratch.path("empty")).expect("made");
    for (number, fault) in faults.iter().enumerate() {
        for directory in ["new/log", "empty"] {
            let file = scratch.file("faulty.jsonl", fault);
            let failed = expect(run(&["import", &scratch.arg(directory), &file]), 1);
            assert!(errors(&failed).contains("faulty.jsonl:1: "), "{number}: {}", errors(&failed));
            assert!(!errors(&failed).contains("imported 0"), "{number}: {}", errors(&failed));
        }
        assert!(!scratch.path("new").exists(), "{number}");
        assert_eq!(fs::read_dir(scratch.path("empty")).expect("there").count(), 0, "{number}");
    }
    // What came before the fault stays; nothing at all is an empty log.
    let file = scratch.file("half.jsonl", [sound.as_str(), "no JSON\n"].concat());
    assert!(errors(&expect(run(&["import", &scratch.arg("half"), &file]), 1)).contains("1 event, "));
    assert_eq!(json(&done(&["stats", &scratch.arg("half"), "--json"]))[0]["events"], 1);
    done(&["import", &scratch.arg("nothing"), &scratch.file("nothing.jsonl", "")]);
    assert_eq!(json(&done(&["stats", &scratch.arg("nothing"), "--json"]))[0]["events"], 0);
}

#[test]
fn import_passes_over_a_byte_order_mark_before_each_input() {
    let scratch = Scratch::new();
    let first = line(",\"kind\":\"token\",\"payload\":1");
    let second = first.replace("\"sequence\":0", "\"sequence\":1");
    let files = [("one", first.as_str()), ("two", second.as_str()), ("three", "")];
    let files = files.map(|(name, text)| scratch.file(name, format!("\u{feff}{text}")));
    let log = scratch.arg("log");
    done(&["import", &log, &files[0], &files[1], &files[2]]);
    assert_eq!(json(&done(&["stats", &log, "--json"]))[0]["events"], 2);
    expect(run_with(&["import", &scratch.arg("piped")], format!("\u{feff}{first}").as_bytes()), 0);
    let inside = scratch.file("inside", format!("{first}\u{feff}{second}"));
    assert!(errors(&expect(run(&["import", &scratch.arg("inside-log"), &inside]), 1)).contains("inside:2: "));
}

#[test]
fn parquet_holds_the_same_events() {
    let scratch = Scratch::new();
    let (log, lines, table) = (scratch.arg("log"), scratch.arg("lines"), scratch.arg("table.parquet"));
    let mut random = Random::new(3);
    for number in 0..20 {
        let file = scratch.file("payload", payload(&mut random));
        record(&[&log, &file, "--format", "raw", "--session", &format!("s{}", number % 3)]);
    }
    done(&["export", &log, "--out", &lines]);
    done(&["export", &log, "--format", "parquet", "--out", &table]);
    if let Some(found) = checked(&["parquet", &table, &lines]) {
        assert_eq!(
            found["columns"],
            serde_json::json!(["shard", "sequence", "timestamp", "session_id", "session", "kind", "payload"])
        );
    }
}

#[test]
fn streams_of_chunks_are_openais() {
    let scratch = Scratch::new();
    let (log, out) = (scratch.arg("log"), scratch.arg("streams"));
    let text = scratch.file("text", "{\"text\":\"Hello\\n\"}\n{\"content\":\" world\"}\n");
    record(&[&log, &text, "--format", "jsonl"]);
    let chunk = |content: &str| {
        format!(
            "data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    let recorded = scratch.file("recorded", format!("{}{}data: [DONE]\n\n", chunk("a"), chunk("b")));
    record(&[&log, &recorded, "--format", "sse"]);
    done(&["export", &log, "--format", "openai-chunks", "--out", &out]);
    let stream = |name: &str| fs::read_to_string(format!("{out}/{name}.sse")).expect("a file for each session");
    assert_eq!(stream("recorded"), format!("{}{}data: [DONE]\n\n", chunk("a"), chunk("b")));
    assert!(stream("text").ends_with("data: [DONE]\n\n"));
    assert_eq!(done(&["export", &log, "--format", "openai-chunks", "--session", "text"]), stream("text").into_bytes());
    if let Some(found) = checked(&["openai-chunks", &format!("{out}/text.sse")]) {
        assert_eq!((&found["content"], &found["finish"]), (&"Hello\n world".into(), &serde_json::json!(["stop"])));
    }
    if let Some(found) = checked(&["openai-chunks", &format!("{out}/recorded.sse")]) {
        assert_eq!((&found["content"], &found["chunks"]), (&"ab".into(), &2.into()));
    }
}

#[test]
fn events_are_sent_as_the_standard_has_it() {
    let scratch = Scratch::new();
    let (log, out) = (scratch.arg("log"), scratch.arg("stream.sse"));
    let lines = scratch.file("lines", b"one\n{\"two\": 2}\n\xff\n");
    record(&[&log, &lines, "--format", "jsonl"]);
    done(&["export", &log, "--format", "sse", "--out", &out]);
    let text = fs::read_to_string(&out).expect("text");
    assert_eq!(
        text,
        "id: 0-1\nevent: unspecified\ndata: one\ndata: \n\nid: 0-2\nevent: unspecified\ndata: {\"two\": 2}\ndata: \n\n\
         id: 0-3\nevent: unspecified\n: base64\ndata: /wo=\n\n"
    );
    assert_eq!(done(&["replay", &log, "--format", "sse"]), text.into_bytes());
    if let Some(found) = checked(&["sse", &out]) {
        assert_eq!(found["events"], 3);
    }
}
