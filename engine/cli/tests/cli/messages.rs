//! Messages say what to do about a refusal of the kernel, and count in words that fit.

use std::fs;
use std::process::{Command, Stdio};

use crate::run::{Scratch, done, errors, expect, record, run};

/// A log of one event, in one session, and the file that it was recorded from.
fn log_of_one(scratch: &Scratch) -> (String, String) {
    let (log, file) = (scratch.arg("log"), scratch.file("one", "{\"token\": 1}\n"));
    record(&[&log, &file, "--format", "jsonl"]);
    (log, file)
}

/// Each `1 <word>s` in a text: words of a line with one space between them, which columns of a table have not.
fn false_plurals(text: &str) -> Vec<String> {
    let is_plural = |word: &str| word.trim_end_matches([',', ';', '.', ':', ')']).ends_with('s') && word.len() > 2;
    let of_line = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let of_one =
            words.windows(2).filter(|pair| pair[0].trim_start_matches(['(', '/']) == "1" && is_plural(pair[1]));
        of_one.map(|pair| pair.join(" ")).collect::<Vec<_>>()
    };
    text.lines().flat_map(of_line).collect()
}

#[test]
fn refusals_of_the_kernel_say_what_to_do() {
    let scratch = Scratch::new();
    let (log, file) = log_of_one(&scratch);
    let (directory, below) = (scratch.arg("directory"), format!("{file}/below"));
    fs::create_dir(&directory).expect("made");
    let long = scratch.arg(&"x".repeat(300));
    let cases: &[(&[&str], &str)] = &[
        (&["record", &log, &directory, "--format", "jsonl"], "name the files in it"),
        (&["record", &file, &file, "--format", "jsonl"], "name another place"),
        (&["record", &below, &file, "--format", "jsonl"], "name another place"),
        (&["record", &long, &file, "--format", "jsonl"], "choose a shorter name"),
        (&["import", &scratch.arg("new"), &directory], "name the files in it"),
        (&["import", &file, &file], "name another place"),
        (&["export", &log, "--out", &directory], "name a file"),
        (&["export", &log, "--format", "parquet", "--out", &directory], "name a file"),
        (&["export", &log, "--out", &below], "name another place"),
        (&["latency", &log, "--out", &file], "choose another"),
        (&["ls", &file], "name another place"),
        (&["ls", &below], "name another place"),
    ];
    for (args, advice) in cases {
        let output = run(args);
        assert!(!output.status.success() && errors(&output).contains(advice), "{args:?}: {}", errors(&output));
    }
    // Standard input is a directory.
    let mut command = crate::run::tapeline(&["import", &scratch.arg("new")]);
    let output = command.stdin(fs::File::open(&directory).expect("opens")).output().expect("runs");
    assert!(errors(&expect(output, 1)).contains("name a file"));
    // Without descriptors to spare.
    for args in [&["record", &log, &file, "--format", "jsonl"][..], &["export", &log, "--out", &scratch.arg("out")]] {
        for limit in 4..12 {
            let program = env!("CARGO_BIN_EXE_tapeline");
            let limited = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
            let mut command = Command::new("bash");
            command.args(["-c", &limited, program]).args(args).stdin(Stdio::null());
            let output = command.output().expect("bash runs");
            let message = errors(&output);
            assert!(!message.contains("panicked"), "{limit}: {message}");
            assert!(!message.contains("os error 24") || message.contains("ulimit -n"), "{limit}: {args:?}: {message}");
        }
    }
}

#[test]
fn one_is_never_a_plural() {
    let scratch = Scratch::new();
    let (log, file) = log_of_one(&scratch);
    let keep = |args: &[&str]| {
        let output = run(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output);
        assert!(false_plurals(&text).is_empty(), "{args:?}: {:?} in {text}", false_plurals(&text));
        text
    };
    keep(&["record", &scratch.arg("other"), &file, "--format", "jsonl"]);
    for command in ["ls", "info", "stats", "verify", "repair", "latency", "replay", "export"] {
        keep(&[command, &log]);
    }
    keep(&["show", &log, "one"]);
    keep(&["latency", &log, "--kind", "session"]);
    keep(&["latency", &log, "--out", &scratch.arg("report")]);
    keep(&["replay", &log, "--speed", "1"]);
    keep(&["ls", &log, "--filter", "{\"token\": 2}"]);
    keep(&["replay", &log, "--filter", "{\"token\": 2}"]);
    keep(&["trim", &log, "--max-segments", "1", "--dry-run"]);
    keep(&["trim", &log, "--max-segments", "0", "--dry-run"]);
    let exported = scratch.file("exported", done(&["export", &log]));
    keep(&["import", &scratch.arg("copy"), &exported]);
    // A repair of one step: the file of the shard's segment goes by another name.
    let shard = scratch.path("copy/shard-0000");
    let mut segments = fs::read_dir(&shard).expect("there").map(|entry| entry.expect("entry").path());
    let segment = segments.find(|path| path.extension().is_some_and(|end| end == "seg")).expect("a segment");
    fs::rename(&segment, shard.join("00000000000000000007.seg")).expect("renamed");
    for args in [&["repair", &scratch.arg("copy")][..], &["repair", &scratch.arg("copy"), "--apply"]] {
        let text = keep(args);
        assert!(text.contains(" 1 step, "), "{text}");
    }
}
