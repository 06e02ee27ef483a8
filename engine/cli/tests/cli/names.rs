//! Sessions keep their names under every selection, after a trim, and through export and import.

use serde_json::Value;

use crate::run::{Scratch, done, errors, expect, json, listed, record, run};

/// A log of three segments and more of session `chat`, and one event of session `short` in the first.
fn long(scratch: &Scratch) -> String {
    let log = scratch.arg("log");
    let line = |number| format!("{{\"n\":{number},\"p\":\"{}\"}}\n", "x".repeat(3000));
    record(&[&log, &scratch.file("short", "{\"s\":1}\n"), "--format", "jsonl"]);
    let lines: String = (0..3000).map(line).collect();
    record(&[&log, &scratch.file("long", lines), "--format", "jsonl", "--session", "chat"]);
    log
}

fn named(lines: &[u8]) -> Vec<Value> {
    let mut names: Vec<_> = json(lines).iter().map(|line| line["session"].clone()).collect();
    names.dedup();
    names
}

#[test]
fn every_selection_and_command_knows_the_names() {
    let scratch = Scratch::new();
    let log = long(&scratch);
    let times: Vec<_> = json(&done(&["replay", &log, "--session", "chat", "--format", "jsonl"]));
    let middle = times[1500]["time"].as_str().expect("a time").to_owned();
    for command in ["replay", "export", "tail"] {
        for selection in [
            vec!["--kind", "unspecified", "--session", "chat"],
            vec!["--since", &middle],
            vec!["--filter", r#"{"path":"n","value":2999}"#],
            vec!["--session", &tapeline_id("chat"), "--kind", "unspecified"],
        ] {
            let mut args = [&[command, &log, "--format", "jsonl"], &selection[..]].concat();
            if command == "tail" {
                args.extend(["--from", "start", "--exit-idle", "1ms"]);
            }
            assert_eq!(named(&done(&args)), ["chat"], "{args:?}");
        }
    }
    let text = String::from_utf8(done(&["replay", &log, "--since", &middle])).expect("text");
    assert!(text.lines().all(|line| line.contains("  chat  ")));
}

/// The id of a session by its name.
fn tapeline_id(name: &str) -> String {
    tapeline::event::session_id(name).to_string()
}

#[test]
fn names_survive_trim_export_and_import() {
    let scratch = Scratch::new();
    let log = long(&scratch);
    done(&["trim", &log, "--max-segments", "1"]);
    let copy = scratch.arg("copy");
    let export = scratch.arg("export.jsonl");
    let exported = done(&["export", &log, "--out", &export]);
    assert!(exported.is_empty());
    done(&["import", &copy, &export]);
    for log in [&log, &copy] {
        assert_eq!(listed(log).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["chat"]);
        for command in ["replay", "export", "tail"] {
            let tail = ["--from", "start", "--exit-idle", "1ms"];
            let more: &[&str] = if command == "tail" { &tail } else { &[] };
            assert_eq!(named(&done(&[&[command, log, "--format", "jsonl"], more].concat())), ["chat"], "{command}");
        }
        assert_eq!(json(&done(&["show", log, "chat", "--json"]))[0]["session"], "chat");
        let by_session = done(&["latency", log, "--by", "session", "--json"]);
        assert!(json(&by_session).iter().all(|line| line["slice"].is_null() || line["slice"] == "chat"));
    }
    assert_eq!(done(&["export", &copy]), std::fs::read(&export).expect("written"));
}

/// A stream of three segments and more, of which a client gets all frames; one has a field that the standard does not
/// name, so that no payload says by itself what it is.
fn long_stream() -> String {
    let chunk = |number: u32| {
        let text = "x".repeat(3000);
        format!("x: y\ndata: {{\"choices\":[{{\"delta\":{{\"content\":\"{number}{text}\"}}}}]}}\n\n")
    };
    (0..3000).map(chunk).collect::<String>() + "data: [DONE]\n\n"
}

#[test]
fn formats_survive_trim_export_and_import() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s.sse", long_stream()), "--format", "sse"]);
    record(&[&log, &scratch.file("l", "Traceback\n{\"text\":\"a\"}\n"), "--format", "jsonl"]);
    done(&["trim", &log, "--max-segments", "3"]);
    done(&["trim", &log, "--max-segments", "2"]);
    let export = scratch.file("export.jsonl", done(&["export", &log]));
    let part = scratch.file("part.jsonl", done(&["export", &log, "--kind", "unspecified"]));
    let (copy, half, again) = (scratch.arg("copy"), scratch.arg("half"), scratch.arg("again"));
    done(&["import", &copy, &export]);
    done(&["import", &half, &part, "--renumber"]);
    done(&["import", &again, &scratch.file("second.jsonl", done(&["export", &copy]))]);
    assert_eq!(done(&["export", &copy]), done(&["export", &log]));
    let frames = done(&["replay", &log, "--session", "s", "--format", "raw"]);
    assert!(frames.len() > 1000 && frames.len() < long_stream().len() && frames.starts_with(b"x: y"));
    for log in [&log, &copy, &half, &again] {
        assert_eq!(done(&["replay", log, "--session", "s", "--format", "sse"]), frames, "{log}");
        let output = expect(run(&["export", log, "--format", "openai-chunks", "--session", "s"]), 4);
        assert!(errors(&output).contains("its beginning is not there"), "{log}: {}", errors(&output));
        let chunks = String::from_utf8(output.stdout).expect("text");
        assert_eq!(chunks.matches("x: y").count(), 0, "{log}");
        assert!(chunks.ends_with("data: [DONE]\n\n"), "{log}");
        let lines = String::from_utf8(run(&["export", log, "--format", "openai-chunks", "--session", "l"]).stdout)
            .expect("text");
        assert!(!lines.contains("Traceback") && lines.contains("\"a\""), "{log}: {lines}");
    }
}

#[test]
fn parts_of_a_log_that_are_imported_keep_the_names() {
    let scratch = Scratch::new();
    let log = long(&scratch);
    let part = scratch.file("part", done(&["export", &log, "--kind", "unspecified"]));
    let copy = scratch.arg("copy");
    done(&["import", &copy, &part]);
    assert_eq!(listed(&copy), listed(&log));
}

#[test]
fn longest_name_is_one_cell_of_every_table() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let name = "n".repeat(4096);
    let lines = format!("{{\"s\":\"{name}\",\"text\":\"a\"}}\n{{\"s\":\"b\",\"text\":\"a\"}}\n");
    record(&[&log, &scratch.file("in", lines), "--format", "jsonl", "--session-field", "s"]);
    for args in [vec!["ls", &log], vec!["latency", &log, "--by", "session"], vec!["show", &log, &name]] {
        let printed = String::from_utf8(done(&args)).expect("text");
        assert_eq!(printed.lines().filter(|line| line.len() > 1_000).count(), 1, "{}", args[0]);
    }
}

#[test]
fn a_file_of_names_that_does_not_check_is_reported() {
    let scratch = Scratch::new();
    let log = long(&scratch);
    done(&["trim", &log, "--max-segments", "1"]);
    scratch.file("log/names", "nothing of the kind");
    let tail = vec!["tail", &log, "--from", "start", "--exit-idle", "1ms"];
    let commands = ["ls", "stats", "info", "replay", "export", "latency"].map(|command| vec![command, &log]);
    let more = [vec!["show", &log, "chat"], vec!["cursor", "ls", &log], vec!["replay", &log, "--format", "raw"], tail];
    for args in commands.into_iter().chain(more) {
        let said = errors(&expect(run(&args), 5));
        assert_eq!(said.matches("names").count(), 1, "{args:?}: {said}");
    }
    // These commands do not read the file of names.
    done(&["cursor", "set", &log, "c", "earliest"]);
    done(&["cursor", "rm", &log, "c"]);
}

#[test]
fn a_file_of_names_that_does_not_check_is_damage_and_is_set_aside() {
    let scratch = Scratch::new();
    let log = long(&scratch);
    done(&["trim", &log, "--max-segments", "1"]);
    scratch.file("log/names", "nothing of the kind");
    let verified = json(&expect(run(&["verify", &log, "--json"]), 5).stdout);
    assert_eq!((&verified[0]["type"], &verified[1]["damaged"]), (&"names".into(), &1.into()), "{verified:?}");
    let text = String::from_utf8(expect(run(&["verify", &log]), 5).stdout).expect("text");
    assert!(text.contains("names") && text.contains("damaged in 1 place"), "{text}");
    let plan = json(&expect(run(&["repair", &log, "--json"]), 5).stdout);
    assert_eq!((&plan[0]["action"], &plan[0]["shard"]), (&"set_aside".into(), &Value::Null), "{plan:?}");
    done(&["repair", &log, "--apply"]);
    assert!(scratch.path("log/names.aside").exists() && !scratch.path("log/names").exists());
    done(&["repair", &log]);
    done(&["verify", &log]);
}

#[test]
fn digits_of_an_id_mean_its_session_and_none_that_is_called_so() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let (id, other) = (tapeline_id("one"), "ab".repeat(16));
    for (name, line) in [("one", "of one\n"), (&id, "of its namesake\n"), (&other, "of digits\n")] {
        record(&[&log, &scratch.file("input", line), "--format", "raw", "--session", name]);
    }
    let cases = [
        ("one", "of one\n"),
        (&id, "of one\n"),
        (&tapeline_id(&id), "of its namesake\n"),
        // A name that is no session's id is a name.
        (&other, "of digits\n"),
        (&tapeline_id(&other), "of digits\n"),
    ];
    for (asked, expected) in cases {
        for command in ["replay", "tail"] {
            let mut args = vec![command, &log, "--session", asked, "--format", "raw"];
            if command == "tail" {
                args.extend(["--from", "start", "--exit-idle", "1ms"]);
            }
            assert_eq!(String::from_utf8_lossy(&done(&args)), expected, "{args:?}");
        }
        let shown = json(&done(&["show", &log, asked, "--json"])).remove(0);
        assert_eq!(shown["bytes"], expected.len(), "{asked}: {shown}");
    }
}

#[test]
fn names_of_sessions_are_kept_apart_and_have_one_bound() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    for name in [&b"a\xff.sse"[..], b"a\xfe.sse", "ä.sse".as_bytes(), b"a.sse"] {
        let file = scratch.path("files").join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir_all(scratch.path("files")).expect("made");
        std::fs::write(&file, "data: x\n\n").expect("written");
        let recorded = std::process::Command::new(env!("CARGO_BIN_EXE_tapeline"))
            .args(["record", &log, "--format", "sse"])
            .arg(&file)
            .output();
        assert!(recorded.expect("runs").status.success(), "{file:?}");
    }
    let names: Vec<_> = listed(&log).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [r"a\xff", r"a\xfe", "ä", "a"]);
    let line = |name: &str| format!("{{\"s\":\"{name}\"}}\n");
    for (bytes, status) in [(4096, 0), (4097, 2)] {
        let name = "n".repeat(bytes);
        let args = ["record", &log, "--format", "raw", "--session", &name];
        let fixed = expect(crate::run::run_with(&args, b"x"), status);
        assert!(status == 0 || errors(&fixed).contains("4096 at most"), "{}", errors(&fixed));
        let args = ["record", &log, "--format", "jsonl", "--on-bad", "stop", "--session-field", "s"];
        expect(crate::run::run_with(&args, line(&name).as_bytes()), status.min(1));
    }
}
