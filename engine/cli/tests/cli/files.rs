//! Commands that write several files: their names, a second run, and one that cannot be written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::run::{Scratch, done, errors, expect, json, record, run, run_with, tapeline};

/// The files of a directory.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|file| (file.file_name().into_string().expect("UTF-8"), fs::read(file.path()).expect("a file"))).collect()
}

/// A log with a session of each name, whose answer is the name.
fn named(scratch: &Scratch, names: &[&str]) -> String {
    let log = scratch.arg("log");
    let lines: String =
        names.iter().map(|name| format!("{}\n", serde_json::json!({"s": name, "text": name}))).collect();
    expect(run_with(&["record", &log, "--format", "jsonl", "--session-field", "s"], lines.as_bytes()), 0);
    log
}

#[test]
fn a_session_has_the_same_file_whatever_else_is_exported() {
    let long = "l".repeat(300);
    let (longer, id) = (format!("{long}x"), tapeline::event::session_id("a/b").to_string());
    let twin = format!("a_b-{id}");
    let names = ["a/b", "a_b", "A_b", "a b", "x.y", &long, &longer, &id, &twin, ".a"];
    let scratch = Scratch::new();
    let (log, out) = (named(&scratch, &names), scratch.arg("out"));
    let export = |args: &[&str]| done(&[&["export", &log, "--format", "openai-chunks", "--out", &out], args].concat());
    export(&[]);
    let all = files(&scratch.path("out"));
    assert_eq!(all.len(), names.len(), "{:?}", all.keys());
    let lower: std::collections::BTreeSet<_> = all.keys().map(|name| name.to_lowercase()).collect();
    assert_eq!(lower.len(), names.len(), "{lower:?}");
    for name in names {
        export(&["--session", name]);
        assert!(files(&scratch.path("out")) == all, "{name}");
    }
    export(&["--session", "a_b", "--session", "a/b"]);
    assert!(files(&scratch.path("out")) == all);
    assert!(all.contains_key("a_b.sse") && all.contains_key("x.y.sse") && all.contains_key(&format!("a_b-{id}.sse")));
}

#[test]
fn one_file_that_cannot_be_written_does_not_end_the_others() {
    let names: Vec<String> = (0..35).map(|number| format!("s{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scratch = Scratch::new();
    let log = named(&scratch, &names);
    fs::create_dir_all(scratch.path("out/s7.sse")).expect("a directory");
    fs::create_dir_all(scratch.path("out/s20.sse/full")).expect("a directory");
    let output = expect(run(&["export", &log, "--format", "openai-chunks", "--out", &scratch.arg("out")]), 1);
    let said = errors(&output);
    assert!(said.contains("s7.sse") && said.contains("s20.sse"), "{said}");
    assert!(said.contains("2 of 35 files could not be written"), "{said}");
    let written = files(&scratch.path("out"));
    assert_eq!(written.len(), 33);
    assert!(written.values().all(|stream| stream.ends_with(b"data: [DONE]\n\n")));
}

#[test]
fn a_parquet_file_goes_into_a_pipe_or_a_file() {
    let scratch = Scratch::new();
    let log = named(&scratch, &["a"]);
    let piped = done(&["export", &log, "--format", "parquet"]);
    assert!(piped.starts_with(b"PAR1") && piped.ends_with(b"PAR1"));
    let file = fs::File::create(scratch.path("f")).expect("a file");
    let status = tapeline(&["export", &log, "--format", "parquet"]).stdout(file).status().expect("it runs");
    assert!(status.success() && fs::read(scratch.path("f")).expect("a file") == piped);
}

#[test]
fn a_second_report_has_no_files_of_the_first() {
    let scratch = Scratch::new();
    let (log, out) = (named(&scratch, &["a", "b"]), scratch.arg("report"));
    fs::create_dir(scratch.path("report")).expect("a directory");
    fs::write(scratch.path("report/mine.groups.hlog"), "mine").expect("a file");
    let said = |args: &[&str]| errors(&expect(run(&[&["latency", &log, "--out", &out], args].concat()), 0));
    said(&["--by", "session"]);
    let second = said(&[]);
    assert!(second.contains("26 files"), "{second}");
    assert_eq!(files(&scratch.path("report")).len(), 26 + 1);
    assert_eq!(fs::read(scratch.path("report/mine.groups.hlog")).expect("a file"), b"mine");
}

#[test]
fn several_files_do_not_go_to_standard_output() {
    let scratch = Scratch::new();
    let log = named(&scratch, &["a"]);
    for args in [vec!["latency", &log, "--out", "-"], vec!["man", "--out", "-"]] {
        let output = tapeline(&args).current_dir(scratch.path("")).output().expect("it runs");
        assert!(errors(&expect(output, 2)).contains("name a directory"), "{args:?}");
        assert!(!scratch.path("-").exists(), "{args:?}");
    }
}

#[test]
fn json_has_the_names_as_they_are() {
    let names = ["new\nline", "\u{202e}abc", "tab\t", "plain", "\u{1b}[31m", "quote\""];
    let scratch = Scratch::new();
    let (log, out) = (named(&scratch, &names), scratch.arg("report"));
    let lines = json(&done(&["latency", &log, "--by", "session", "--json", "--out", &out]));
    let slices: Vec<&str> = lines.iter().filter_map(|line| line["slice"].as_str()).step_by(5).collect();
    assert_eq!(slices, names);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(scratch.path("report/histograms.json")).expect("a file")).expect("JSON");
    let groups = report["series"][0]["groups"].as_array().expect("a list").iter();
    assert_eq!(groups.map(|group| group["label"].as_str().expect("text")).collect::<Vec<_>>(), names);
    let text = String::from_utf8(done(&["latency", &log, "--by", "session"])).expect("text");
    assert!(text.contains("new\\nline") && text.contains("\\u{202e}abc") && !text.contains('\u{202e}'), "{text}");
    let page = fs::read_to_string(scratch.path("report/index.html")).expect("a page");
    assert!(page.contains("<td>plain</td>") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
    // Models and kinds, too.
    let log = scratch.arg("models");
    record(&[&log, &scratch.file("m", "data: {\"model\":\"m\\n1\",\"type\":\"t\\t\",\"x\":1}\n\n"), "--format", "sse"]);
    for (by, slice) in [("model", "m\n1"), ("kind", "t\t")] {
        let lines = json(&done(&["latency", &log, "--by", by, "--json"]));
        assert!(lines.iter().any(|line| line["slice"] == slice), "{by}: {lines:?}");
    }
}
