//! The environment refuses: the program says what, where and what to do, and never takes it for damage of the log.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::run::{Recording, Scratch, done, errors, expect, json, record, run, tapeline, until};

/// A log of several segments, and the names of these in order.
fn log(scratch: &Scratch) -> (String, Vec<PathBuf>) {
    let log = scratch.arg("log");
    let line = format!("{{\"token\":\"{}\"}}\n", "x".repeat(4000));
    let file = scratch.file("answer", line.repeat(1500));
    record(&[&log, &file, "--format", "jsonl"]);
    let files = fs::read_dir(scratch.path("log/shard-0000")).expect("a directory");
    let mut segments: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    segments.sort();
    assert!(segments.len() >= 3, "{segments:?}");
    (log, segments)
}

/// Each command that reads a log, with an argument to begin with.
const READERS: &[&[&str]] = &[
    &["ls"],
    &["replay"],
    &["export"],
    &["stats"],
    &["latency"],
    &["verify"],
    &["info"],
    &["repair"],
    &["show", "answer"],
    &["cursor", "ls"],
    &["trim", "--max-segments", "1", "--dry-run"],
    &["tail", "--from", "start", "--exit-idle", "50ms"],
    &["tail", "--from", "-3", "--exit-idle", "50ms"],
];

/// The command line of a reader of this log.
fn reader<'a>(log: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    let names = if command[0] == "cursor" { 2 } else { 1 };
    [&command[..names], &[log], &command[names..]].concat()
}

/// Runs the program below a limit of the shell's `ulimit`.
fn limited(limit: &str, args: &[&str]) -> Output {
    let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_tapeline")]).args(args).stdin(Stdio::null());
    command.output().expect("bash runs")
}

/// Makes something that is no file.
fn make(kind: &str, path: &Path) {
    match kind {
        "a named pipe" => assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success()),
        "a socket" => drop(UnixListener::bind(path).expect("bound")),
        "a directory" => fs::create_dir(path).expect("made"),
        _ => symlink("/dev/zero", path).expect("linked"),
    }
}

/// The names in a directory.
fn names(path: PathBuf) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<_> = fs::read_dir(path).expect("a directory").map(|entry| name(entry).expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_lack_of_descriptors_is_no_damage() {
    let scratch = Scratch::new();
    let (log, _) = log(&scratch);
    for command in READERS {
        let args = reader(&log, command);
        let mut refused = 0;
        for limit in 5..=12 {
            let output = limited(&format!("-n {limit}"), &args);
            let message = errors(&output) + &String::from_utf8_lossy(&output.stdout);
            match output.status.code() {
                Some(0) => assert!(!message.contains("damaged"), "{limit}: {args:?}: {message}"),
                Some(1) => {
                    assert!(message.contains("ulimit -n"), "{limit}: {args:?}: {message:.2000}");
                    assert!(!message.contains("damaged:"), "{limit}: {args:?}: {message:.2000}");
                    refused += 1;
                }
                other => panic!("{limit}: {args:?}: status {other:?}: {message:.2000}"),
            }
        }
        assert!(refused > 0, "{args:?} was never refused");
    }
}

#[test]
fn a_segment_that_was_moved_away_is_read_through_its_link() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    let whole = done(&["replay", &log, "--format", "raw"]);
    let elsewhere = scratch.path("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    for segment in [&segments[0], &segments[1]] {
        let moved = elsewhere.join(segment.file_name().expect("a name"));
        fs::rename(segment, &moved).expect("moved");
        symlink(&moved, segment).expect("linked");
    }
    assert_eq!(done(&["replay", &log, "--format", "raw"]), whole);
    done(&["verify", &log]);
    assert!(String::from_utf8_lossy(&done(&["repair", &log])).starts_with("sound"));
    // A writer goes on, and its reader finds both.
    let more = scratch.file("more", "more\n");
    record(&[&log, &more, "--format", "raw"]);
    assert_eq!(done(&["replay", &log, "--format", "raw"]), [&whole[..], b"more\n"].concat());
    // So is a whole shard.
    fs::rename(scratch.path("log/shard-0000"), elsewhere.join("shard")).expect("moved");
    symlink(elsewhere.join("shard"), scratch.path("log/shard-0000")).expect("linked");
    record(&[&log, &more, "--format", "raw"]);
    assert_eq!(done(&["replay", &log, "--format", "raw"]), [&whole[..], b"more\nmore\n"].concat());
    done(&["verify", &log]);
}

#[test]
fn a_link_that_leads_nowhere_is_named_and_no_repair_gives_its_events_up() {
    for part in ["shard-0000/00000000000000000000.seg", "shard-0000/gaps", "shard-0000", "meta"] {
        let scratch = Scratch::new();
        let (log, _) = log(&scratch);
        let whole = done(&["replay", &log, "--format", "raw"]);
        let (here, away) = (scratch.path("log").join(part), scratch.path("away"));
        fs::rename(&here, &away).expect("moved");
        symlink(scratch.path("not mounted"), &here).expect("linked");
        let before = names(scratch.path("log"));
        let repairs: [&[&str]; 3] = [&["repair", "--apply"], &["trim", "--max-segments", "1"], &["cursor", "set"]];
        for command in READERS.iter().copied().chain(repairs) {
            let mut args = reader(&log, command);
            if command == repairs[2] {
                args.extend(["reader", "latest"]);
            }
            let output = expect(run(&args), 1);
            let message = errors(&output) + &String::from_utf8_lossy(&output.stdout);
            assert!(message.contains("not mounted") && !message.contains("damaged:"), "{part}: {args:?}: {message}");
        }
        let file = scratch.file("more", "more\n");
        let output = expect(run(&["record", &log, &file, "--format", "raw"]), 1);
        assert!(errors(&output).contains("not mounted"), "{part}: {}", errors(&output));
        let after = names(scratch.path("log")).into_iter().filter(|name| name != "lock").collect::<Vec<_>>();
        assert_eq!(after, before.into_iter().filter(|name| name != "lock").collect::<Vec<_>>(), "{part}");
        // Its disk is there again.
        fs::rename(&away, scratch.path("not mounted")).expect("moved");
        assert_eq!(done(&["replay", &log, "--format", "raw"]), whole, "{part}");
        assert!(String::from_utf8_lossy(&done(&["repair", &log])).starts_with("sound"), "{part}");
    }
}

#[test]
fn what_is_no_file_in_place_of_a_segment_is_named_and_set_aside() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    let listed = json(&done(&["info", &log, "--json"])).remove(0)["segments"].clone();
    let first = listed[1]["first_sequence"].as_u64().expect("a number");
    let (segment, away) = (&segments[0], scratch.path("away"));
    fs::rename(segment, &away).expect("moved");
    for kind in ["a named pipe", "a socket", "a directory", "a device"] {
        make(kind, segment);
        for command in READERS.iter().filter(|command| command[0] != "repair") {
            let args = reader(&log, command);
            let output = expect(run(&args), 5);
            let message = errors(&output) + &String::from_utf8_lossy(&output.stdout);
            assert!(message.contains(kind), "{args:?}: {message}");
        }
        let plan = expect(run(&["repair", &log]), 5);
        assert!(String::from_utf8_lossy(&plan.stdout).contains(kind));
        done(&["repair", &log, "--apply"]);
        assert!(segments[1].exists());
        let lost = expect(run(&["replay", &log, "--format", "raw"]), 4);
        assert!(errors(&lost).contains(&format!("sequences 0 to {} ({first} events)", first - 1)), "{}", errors(&lost));
    }
    assert_eq!(names(scratch.path("log/shard-0000")).iter().filter(|name| name.contains(".aside")).count(), 4);
}

#[test]
fn a_log_that_is_no_directory_is_refused_without_a_wait() {
    let scratch = Scratch::new();
    let (pipe, socket, dangling) = (scratch.arg("pipe"), scratch.arg("socket"), scratch.arg("dangling"));
    make("a named pipe", Path::new(&pipe));
    make("a socket", Path::new(&socket));
    symlink("not mounted", &dangling).expect("linked");
    let input = scratch.file("input", "one\n");
    for (log, words) in [(&pipe, "a named pipe"), (&socket, "a socket"), (&dangling, "not mounted")] {
        for command in READERS {
            let output = tapeline(&reader(log, command)).output().expect("runs");
            let message = errors(&output);
            assert!(matches!(output.status.code(), Some(1 | 3)), "{command:?}: {message}");
            assert!(message.contains(words), "{command:?}: {message}");
        }
        for args in [&["record", log, &input, "--format", "raw"][..], &["import", log, &input]] {
            let output = run(args);
            assert!(matches!(output.status.code(), Some(1 | 3)), "{args:?}");
            assert!(errors(&output).contains(words), "{args:?}: {}", errors(&output));
        }
    }
}

#[test]
fn a_limit_of_file_sizes_is_reported_and_ends_nothing_by_a_signal() {
    let scratch = Scratch::new();
    let (log, _) = log(&scratch);
    let whole = done(&["replay", &log, "--format", "raw"]);
    let (more, copy) = (scratch.file("more", "more\n".repeat(1000)), scratch.arg("copy"));
    // In units of 1 KiB: less than a segment, and less than the output.
    let cases: [&[&str]; 3] = [
        &["record", &log, &more, "--format", "raw", "--segment-bytes", "4M"],
        &["export", &log, "--out", &copy],
        &["export", &log, "--format", "parquet", "--out", &copy],
    ];
    for args in cases {
        let limit = if args.contains(&"parquet") { "-f 8" } else { "-f 1024" };
        let output = expect(limited(limit, args), 1);
        assert!(errors(&output).contains("ulimit -f"), "{args:?}: {}", errors(&output));
    }
    assert_eq!(done(&["replay", &log, "--format", "raw"]), whole);
    record(&[&log, &more, "--format", "raw"]);
    done(&["verify", &log]);
}

#[test]
fn sizes_counts_and_times_are_understood_or_refused_in_plain_words() {
    let scratch = Scratch::new();
    let (log, input) = (scratch.arg("log"), scratch.file("input", "one\n"));
    done(&["record", &log, &input, "--format", "raw", "--segment-bytes", "4MiB"]);
    let cases: &[(&[&str], &str)] = &[
        (&["record", &log, &input, "--format", "raw", "--segment-bytes", "2MX"], "512M"),
        (&["record", &log, &input, "--format", "raw", "--segment-bytes", "1k"], "2M to 1T"),
        (&["record", &log, &input, "--format", "raw", "--segment-bytes", "-4M"], "512M"),
        (&["record", &log, &input, "--format", "raw", "--shards", "two"], "whole number"),
        (&["import", &log, &input, "--segment-bytes", "many"], "512M"),
        (&["trim", &log, "--max-bytes", "1.5G"], "512M"),
        (&["trim", &log, "--max-bytes", "-5"], "512M"),
        (&["trim", &log, "--max-age", "-5d"], "not negative"),
        (&["trim", &log, "--max-segments", "1k"], "whole number"),
        (&["trim", &log, "--max-segments", "0"], "1 at least"),
        (&["record", &log, &input, "--format", "raw", "--shards", "5000"], "4096 shards at most"),
        (&["replay", &log, "--kind", "tokens"], "one of unspecified, token,"),
        (&["ls", &log, "--limit", "1k"], "whole number"),
        (&["ls", &log, "--since", "+1h"], "write -1h"),
        (&["ls", &log, "--since", "-99999999999y"], "longer ago"),
        (&["tail", &log, "-n", "-5"], "whole number"),
        (&["tail", &log, "--from", "5"], "-5"),
        (&["tail", &log, "--exit-idle", "99999999999y"], "too long"),
        (&["replay", &log, "--limit-idle", "-5s"], "not negative"),
        (&["replay", &log, "--speed", "-1"], "positive number"),
        (&["latency", &log, "--window", "-5s"], "not negative"),
        (&["show", &log, "input", "--stalls", "-1"], "whole number"),
        (&["cursor", "set", &log, "reader", "+1h"], "write -1h"),
    ];
    for (args, words) in cases {
        let output = expect(run(args), 2);
        let message = errors(&output);
        assert!(message.contains(words) && !message.contains("digit"), "{args:?}: {message}");
    }
}

#[test]
fn a_recording_without_memory_loses_nothing_that_it_acknowledged() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let sent: Vec<u8> = (0..20_000).flat_map(|number| format!("{{\"line\":{number}}}\n").into_bytes()).collect();
    let file = scratch.file("answer", &sent);
    let kept = scratch.file("kept", "kept\n");
    record(&[&log, &kept, "--format", "raw"]);
    let args = ["record", &log, &file, "--format", "jsonl", "--json", "--segment-bytes", "2M", "--session"];
    let (mut refused, mut taken) = (0, 0);
    // From too little to begin with, to more than it takes.
    for limit in (30_000..60_000).step_by(2_000).chain((60_000..=150_000).step_by(10_000)) {
        let session = format!("below {limit}");
        let output = limited(&format!("-v {limit}"), &[&args[..], &[&session]].concat());
        let acknowledged = match json_of(&output.stdout) {
            Some(summary) => summary["events"].as_u64().expect("a number"),
            None => 0,
        };
        let message = errors(&output);
        assert_ne!(output.status.signal(), Some(libc::SIGABRT), "{limit}: {message}");
        assert!(output.status.code() != Some(1) || message.contains("memory"), "{limit}: {message}");
        refused += u32::from(!output.status.success());
        taken += u32::from(output.status.success());
        // Whatever ended it, the log is whole and holds the beginning that was acknowledged.
        done(&["verify", &log]);
        let found = run(&["replay", &log, "--session", &session, "--format", "raw"]).stdout;
        assert!(sent.starts_with(&found), "{limit}: {} bytes", found.len());
        let events = found.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert!(events >= acknowledged, "{limit}: {events} of {acknowledged} events");
        assert_eq!(done(&["replay", &log, "--session", "kept", "--format", "raw"]), b"kept\n");
    }
    assert!(refused > 0 && taken > 0, "{refused} refused, {taken} taken");
}

#[test]
fn a_log_within_a_log_is_refused() {
    let scratch = Scratch::new();
    let (log, _) = log(&scratch);
    let input = scratch.file("input", "one\n");
    let export = scratch.file("export", done(&["export", &log]));
    let before = names(scratch.path("log"));
    fs::create_dir(scratch.path("log/shard-0000/empty")).expect("made");
    for place in ["new", "new/deeper", "shard-0000/empty", "cursors/new", "shard-0000/../new"] {
        let place = format!("{log}/{place}");
        for args in [&["record", &place, &input, "--format", "raw"][..], &["import", &place, &export]] {
            let output = expect(run(args), 2);
            assert!(errors(&output).contains("lie in the log"), "{args:?}: {}", errors(&output));
        }
    }
    assert_eq!(names(scratch.path("log")), before);
    // A log beside it, and one that lies in a log already, go on.
    make("a named pipe", &scratch.path("meta"));
    let beside = scratch.arg("log-2");
    record(&[&beside, &input, "--format", "raw"]);
    fs::rename(&beside, scratch.path("log/within")).expect("moved");
    record(&[&format!("{log}/within"), &input, "--format", "raw"]);
    record(&[&log, &input, "--format", "raw"]);
}

#[test]
fn input_that_cannot_be_read_leaves_no_log() {
    let scratch = Scratch::new();
    let here = scratch.arg(".");
    let cases =
        [("<&-", 1, "closed"), ("0>>/dev/null", 1, "not open for reading"), (&format!("<{here}"), 1, "directory")];
    for (redirection, status, words) in cases {
        for command in ["record --format raw", "import"] {
            let (command, options) = command.split_once(' ').unwrap_or((command, ""));
            let script = format!("exec \"$0\" {command} \"$1\" {options} {redirection}");
            let mut bash = Command::new("bash");
            bash.args(["-c", &script, env!("CARGO_BIN_EXE_tapeline"), &scratch.arg("new")]);
            let output = expect(bash.output().expect("bash runs"), status);
            assert!(errors(&output).contains(words), "{command} {redirection}: {}", errors(&output));
            assert!(!scratch.path("new").exists(), "{command} {redirection}");
        }
    }
}

#[test]
fn a_log_in_use_is_refused_with_the_process_that_has_it() {
    let scratch = Scratch::new();
    let (log, input) = (scratch.arg("log"), scratch.file("input", "one\n"));
    let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
    recording.write(b"{}\n");
    until("an event", || Recording::seen(&log, "stdin").filter(|&events| events == 1));
    let output = expect(run(&["record", &log, &input, "--format", "raw"]), 1);
    let holder = format!("process {} (tapeline) has it", recording.0.id());
    assert!(errors(&output).contains(&holder), "{}", errors(&output));
    assert!(errors(&output).contains("open in another process"), "{}", errors(&output));
}

/// Has the pages of a file say that they are of another version: those after the first may have been there for long.
fn set_version(path: &Path, version: u32, pages: &[usize]) {
    let mut bytes = fs::read(path).expect("a file");
    for page in pages {
        // The checksum of another version may be another one.
        bytes[page + 8] ^= 0x55;
        bytes[page + 12..page + 16].copy_from_slice(&version.to_le_bytes());
    }
    fs::write(path, bytes).expect("written");
}

#[test]
fn another_format_version_is_named_and_is_no_damage() {
    for (part, pages) in
        [("meta", &[0][..]), ("shard-0000/00000000000000000000.seg", &[0]), ("shard-0000/gaps", &[0, 4096])]
    {
        let scratch = Scratch::new();
        let (log, _) = log(&scratch);
        let input = scratch.file("input", "one\n");
        set_version(&scratch.path("log").join(part), 2, pages);
        let before = names(scratch.path("log/shard-0000"));
        let record = ["record", &log, &input, "--format", "raw"];
        let writers: [&[&str]; 2] = [&["repair", "--apply"], &["trim", "--max-segments", "1"]];
        let commands = READERS.iter().copied().chain(writers).map(|command| reader(&log, command));
        for args in commands.chain([record.to_vec()]) {
            let output = expect(run(&args), 1);
            let message = errors(&output) + &String::from_utf8_lossy(&output.stdout);
            assert!(message.contains("version is 2, this build reads 1"), "{part}: {args:?}: {message:.2000}");
            assert!(message.contains("the program that wrote"), "{part}: {args:?}: {message:.2000}");
            assert!(!message.contains("damaged:"), "{part}: {args:?}: {message:.2000}");
        }
        assert_eq!(names(scratch.path("log/shard-0000")), before, "{part}");
    }
}

/// The object that a program printed, if it came to that.
fn json_of(output: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(output).ok()
}

#[test]
fn more_addresses_are_no_reason_to_fail() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let lines: String =
        (0..20_000).map(|number| format!("{{\"n\":{number},\"t\":\"{}\"}}\n", "x".repeat(1000))).collect();
    record(&[&log, &scratch.file("input", lines), "--format", "jsonl"]);
    let mut has_passed = false;
    for limit in (40_000..=400_000).step_by(20_000) {
        let output = limited(&format!("-v {limit}"), &["verify", &log]);
        let said = errors(&output) + &String::from_utf8_lossy(&output.stdout);
        let has_passed_now = output.status.success();
        assert!(has_passed_now || (!has_passed && said.contains("memory")), "{limit}: {said}");
        has_passed |= has_passed_now;
    }
    assert!(has_passed);
}

#[test]
fn a_limit_of_file_sizes_names_the_option_that_helps() {
    let scratch = Scratch::new();
    let (log, input) = (scratch.arg("log"), scratch.file("input", "one\n"));
    let refused = limited("-f 4096", &["record", &log, &input, "--format", "raw"]);
    assert!(errors(&refused).contains("--segment-bytes 2M"), "{}", errors(&refused));
    let taken =
        limited("-f 4096", &["record", &scratch.arg("log-2"), &input, "--format", "raw", "--segment-bytes", "2M"]);
    assert!(taken.status.success(), "{}", errors(&taken));
}
