//! Standard streams: what is lost of the output is an error, and each line that is printed stays one.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use crate::run::{Scratch, done, errors, expect, record, run};

/// The signal that a write to a closed pipe raises.
const SIGPIPE: i32 = 13;

/// Each command that prints on standard output, with arguments after the log's directory.
const PRINTERS: &[&[&str]] = &[
    &["ls"],
    &["ls", "--json"],
    &["replay"],
    &["replay", "--format", "sse"],
    &["replay", "--format", "raw"],
    &["tail", "--from", "start", "-n", "1"],
    &["tail", "--from", "start", "--exit-idle", "1ms"],
    &["export"],
    &["export", "--format", "openai-chunks", "--session", "answer"],
    &["export", "--format", "parquet", "--out", "-"],
    &["stats"],
    &["latency"],
    &["latency", "--json"],
    &["verify"],
    &["info"],
    &["repair"],
    &["show", "answer"],
    &["cursor ls"],
    &["cursor ls", "--json"],
    &["trim", "--max-segments", "9"],
    &["record", "--format", "raw", "--json", "-"],
];

/// Those that need no log.
const OTHERS: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["help", "replay"],
    &["filter"],
    &["filter", r#"{"$kind":1}"#],
    &["completions", "bash"],
    &["completions", "fish"],
];

fn log(scratch: &Scratch, name: &str) -> String {
    let log = scratch.arg(name);
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    record(&[&log, &scratch.file("answer", chunk), "--format", "sse"]);
    done(&["cursor", "set", &log, "reader", "earliest"]);
    log
}

/// The command lines of a command about this log.
fn arguments(log: &str, command: &[&str]) -> Vec<String> {
    let names = command[0].split(' ').chain([log]).chain(command[1..].iter().copied());
    names.map(str::to_owned).collect()
}

/// Runs the program with these redirections of the shell.
fn redirected(args: &[String], redirections: &str) -> Output {
    let script = format!("exec \"$0\" \"$@\" {redirections}");
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_tapeline")]).args(args).stdin(Stdio::null());
    command.output().expect("bash runs")
}

#[test]
fn output_that_is_lost_is_an_error() {
    let scratch = Scratch::new();
    let log = log(&scratch, "log");
    let export = scratch.file("export", done(&["export", &log]));
    let imports = [("a", ">&-"), ("b", ">/dev/full"), ("c", "1</dev/null")];
    let lines = PRINTERS.iter().map(|command| arguments(&log, command));
    let lines = lines.chain(OTHERS.iter().map(|args| args.iter().map(|arg| (*arg).to_owned()).collect()));
    for args in lines {
        for (redirection, words) in
            [(">&-", "Bad file descriptor"), (">/dev/full", "free space"), ("1</dev/null", "Bad file descriptor")]
        {
            let output = expect(redirected(&args, redirection), 1);
            let message = errors(&output);
            assert!(
                message.contains("standard output: ") && message.contains(words),
                "{args:?} {redirection}: {message}"
            );
            assert_eq!(message.matches("standard output").count(), 1, "{args:?} {redirection}: {message}");
        }
        expect(redirected(&args, ">/dev/null"), 0);
        // A message that is lost changes nothing.
        expect(redirected(&args, "2>/dev/full"), 0);
        expect(redirected(&args, "2>&-"), 0);
    }
    for (copy, redirection) in imports {
        let args = ["import", &scratch.arg(copy), &export, "--json"].map(str::to_owned);
        expect(redirected(&args, redirection), 1);
    }
}

#[test]
fn a_closed_pipe_ends_the_program_as_it_ends_others() {
    let scratch = Scratch::new();
    let log = log(&scratch, "log");
    for command in PRINTERS.iter().filter(|command| **command != ["tail", "--from", "start", "-n", "1"]) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let args = arguments(&log, command);
        let mut program = Command::new(env!("CARGO_BIN_EXE_tapeline"));
        let output = program.args(&args).stdin(Stdio::null()).stdout(writer).output().expect("runs");
        assert_eq!(output.status.signal(), Some(SIGPIPE), "{args:?}: {}", errors(&output));
    }
}

#[test]
fn commands_that_print_nothing_need_no_output() {
    let scratch = Scratch::new();
    let log = log(&scratch, "log");
    let out = scratch.arg("out");
    for args in [&["export", &log, "--out", &out][..], &["cursor", "set", &log, "a", "latest"]] {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        expect(redirected(&args, ">&-"), 0);
    }
    // Nothing to read is not the end of the input.
    let args = ["record", &scratch.arg("new"), "--format", "raw"].map(str::to_owned);
    let output = expect(redirected(&args, "<&-"), 1);
    assert!(errors(&output).contains("standard input: closed"), "{}", errors(&output));
}

/// Lines and raw control characters of what a command prints.
fn shape(args: &[String]) -> (Option<i32>, usize, usize, Vec<char>) {
    let output = Command::new(env!("CARGO_BIN_EXE_tapeline")).args(args).stdin(Stdio::null()).output().expect("runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), errors(&output));
    let controls = out.chars().chain(err.chars()).filter(|char| char.is_control() && *char != '\n').collect();
    (output.status.code(), out.lines().count(), err.lines().count(), controls)
}

#[test]
fn names_with_control_characters_end_no_line() {
    let scratch = Scratch::new();
    let odd = |text: &str| format!("{text}\n\r\u{1b}[31m\u{9b}\t\u{2028}x");
    for name in ["plain".to_owned(), odd("odd")] {
        let log = scratch.arg(&name);
        let (session, file) = (name.clone(), scratch.file(&format!("{name}.in"), "data: a\n\nx"));
        record(&[&log, &file, "--format", "sse", "--session", &session]);
        record(&[&log, &file, "--format", "sse", "--session", "answer"]);
        fs::write(scratch.path(&name).join("shard-0000").join(format!("{name}.seg")), "x").expect("writes");
        fs::create_dir(scratch.path(&name).join(format!("shard-{name}"))).expect("made");
    }
    let (plain, other) = ("plain".to_owned(), odd("odd"));
    let of = |name: &str| {
        let (log, file) = (scratch.arg(name), scratch.arg(&format!("{name}.in")));
        // Of a log that cannot be read, no first event comes; a Parquet file has no lines.
        let ends = PRINTERS.iter().filter(|command| !command.contains(&"-n") && !command.contains(&"parquet"));
        let mut lines: Vec<_> = ends.map(|command| arguments(&log, command)).collect();
        let more: &[&[&str]] = &[
            &["ls", name],
            &["ls", &file],
            &["show", &log, name],
            &["show", &log, &file],
            &["replay", &log, "--session", name],
            &["replay", &log, "--session", &file],
            &["replay", &log, "--since", name],
            &["replay", &log, "--kind", name],
            &["replay", &log, "--filter", name],
            &["replay", &log, &format!("--{name}")],
            &["latency", &log, "--by", "session"],
            &["latency", &log, "--by", "session", "--out", &scratch.arg(&format!("{name}.report"))],
            &["cursor", "set", &log, name, "latest"],
            &["cursor", "rm", &log, name],
            &["export", &log, "--out", &scratch.arg(&format!("no/{name}"))],
            &["record", &log, &scratch.arg(&format!("no {name}")), "--format", "raw"],
            &["record", &log, &file, "--format", "jsonl", "--session-field", name],
            &["record", &log, &file, "--format", "jsonl", "--session-field", name, "--on-bad", "stop"],
            &["record", &file, &file, "--format", "raw"],
            &["import", &log, &file],
            &["import", &scratch.arg(&format!("{name}.new")), &file],
            &["trim", &log, "--max-segments", name],
            &[&format!("??? {name}")],
        ];
        lines.extend(more.iter().map(|args| args.iter().map(|arg| (*arg).to_owned()).collect()));
        lines
    };
    for (plain, odd) in of(&plain).iter().zip(of(&other)) {
        let (expected, found) = (shape(plain), shape(&odd));
        // Not every name is one of a cursor.
        let is_cursor = odd[0] == "cursor" && odd[1] != "ls";
        assert!(found.0 == expected.0 || is_cursor, "{odd:?}: {:?}, not {:?}", found.0, expected.0);
        assert_eq!((found.1, found.2), (expected.1, expected.2), "{odd:?}");
        assert!(found.3.is_empty(), "{odd:?}: {:?}", found.3);
    }
    // JSON stays JSON, and has the names as they are.
    for args in [vec!["ls", "--json"], vec!["replay", "--format", "jsonl"]] {
        fs::remove_file(scratch.path(&other).join("shard-0000").join(format!("{other}.seg"))).unwrap_or_default();
        let output = run(&[&[args[0], &scratch.arg(&other)], &args[1..]].concat());
        let objects = crate::run::json(&output.stdout);
        assert!(objects.iter().any(|object| object["session"] == other.as_str()), "{args:?}: {objects:?}");
    }
}
