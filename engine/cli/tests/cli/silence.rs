//! A command that prints nothing says why.

use crate::run::{Scratch, done, errors, expect, record, run, run_with};

#[test]
fn input_that_is_no_stream_is_not_exported_in_silence() {
    for body in ["{\"error\":{\"message\":\"overloaded\"}}", "<html>502 Bad Gateway</html>\n", "data: cut off", "\n"] {
        let scratch = Scratch::new();
        let log = scratch.arg("log");
        expect(run_with(&["record", &log, "--format", "sse"], body.as_bytes()), 0);
        for command in [
            &["replay", &log, "--format", "sse"][..],
            &["export", &log, "--format", "sse"],
            &["tail", &log, "--from", "start", "--exit-idle", "10ms", "--format", "sse"],
        ] {
            let output = expect(run(command), 0);
            let said = errors(&output);
            assert!(output.stdout.is_empty() && said.contains("1 event, and no whole server-sent event"), "{said}");
        }
        let output = expect(run(&["export", &log, "--format", "openai-chunks", "--session", "stdin"]), 0);
        assert!(errors(&output).contains("1 stream without an answer"), "{body}: {}", errors(&output));
    }
}

#[test]
fn selected_events_that_a_form_does_not_print_are_told() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s", "data: a\n\n"), "--format", "sse"]);
    for format in ["text", "raw", "sse"] {
        let output = expect(run(&["replay", &log, "--kind", "session", "--format", format]), 0);
        assert!(errors(&output).contains("--format jsonl alone prints"), "{format}: {}", errors(&output));
        let output = expect(run(&["replay", &log, "--format", format]), 0);
        assert_eq!(errors(&output), "", "{format}");
    }
    assert_eq!(errors(&expect(run(&["replay", &log, "--kind", "session", "--format", "jsonl"]), 0)), "");
}

#[test]
fn a_tail_that_printed_nothing_says_so() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s", "{\"n\":1}\n"), "--format", "jsonl"]);
    let idle = ["--exit-idle", "10ms"];
    for (args, words) in [
        ([&["--from", "now"], &idle[..]].concat(), "no event has come since the start"),
        ([&["--since", "now"], &idle[..]].concat(), "no selected event has come since the start"),
        (vec!["--from", "now", "--until", "-1m"], "no selected event has come before --until"),
        ([&["--session", "none"], &idle[..]].concat(), "no selected event has come"),
    ] {
        let output = expect(run(&[&["tail", &log], &args[..]].concat()), 0);
        assert!(errors(&output).contains(words), "{args:?}: {}", errors(&output));
    }
    let printed = expect(run(&["tail", &log, "--from", "-1", "--exit-idle", "10ms"]), 0);
    assert_eq!(errors(&printed), "");
}

#[test]
fn a_list_without_sessions_names_the_option() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s", "1\n2\n"), "--format", "jsonl"]);
    for (args, words) in [
        (["--limit", "0"], "--limit 0 lists none of 1 session"),
        (["--session", "t"], "none of 1 session has a name or an id that begins with \"t\""),
        (["--since", "2500-01-01"], "none of 1 session has an event from --since 2500-01-01T00:00:00"),
        (["--until", "2020-01-01"], "before --until 2020-01-01T00:00:00.000000000Z: they are from 2"),
        (["--min-events", "3"], "3 events or more, as --min-events asks for: the longest has 2"),
        (["--where", "software.model=m"], "a source that meets --where"),
    ] {
        let output = expect(run(&[&["ls", &log], &args[..]].concat()), 0);
        assert!(errors(&output).contains(words), "{args:?}: {}", errors(&output));
    }
    assert_eq!(errors(&expect(run(&["ls", &log, "--session", "s", "--min-events", "2"]), 0)), "");
    let empty = scratch.arg("empty");
    expect(run_with(&["record", &empty, "--format", "jsonl", "--session-field", "s"], b""), 0);
    assert!(errors(&expect(run(&["ls", &empty, "--limit", "0"]), 0)).contains("the log has no sessions"));
    done(&["ls", &log]);
}
