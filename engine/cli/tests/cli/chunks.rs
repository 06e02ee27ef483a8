//! `tapeline export --format openai-chunks`: what providers send is passed on or left out, never quoted.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::frames::events;
use crate::run::{Scratch, done, errors, expect, json, record, run, run_with, tapeline};

const START: &str = r#"{"id":"x","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":"Blue"},"finish_reason":null}]}"#;
const END: &str = r#"{"id":"x","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

/// The stream that is exported of a recorded one, and what is said beside it.
fn exported(stream: &[u8]) -> (Vec<String>, String) {
    let scratch = Scratch::new();
    let (log, file) = (scratch.arg("log"), scratch.file("s.sse", stream));
    record(&[&log, &file, "--format", "sse"]);
    let output = expect(run(&["export", &log, "--format", "openai-chunks", "--session", "s"]), 0);
    let data = events(&output.stdout).into_iter().map(|(event, data)| {
        assert_eq!(event, "");
        data
    });
    (data.collect(), errors(&output))
}

#[test]
fn chunks_pass_whatever_stands_around_them() {
    let done = "data: [DONE]\n\n";
    for stream in [
        format!("data: {START}\n\ndata: {END}\n\n{done}"),
        format!(": wait\n\n: wait\n\ndata: {START}\n\n:\ndata: {END}\n\n{done}"),
        format!("event: chunk\ndata: {START}\n\nid: 7\nevent: chunk\ndata: {END}\n\n{done}"),
        format!("retry: 3000\n\ndata: {START}\n\ndata: {END}\n\n{done}"),
        format!("\u{feff}data: {START}\n\ndata: {END}\n\n{done}"),
        format!("data: {START}\n\ndata: {END}\n\n{done}\n\n"),
        format!("data:{START}\r\n\r\ndata:{END}\r\n\r\n{done}"),
        format!("data: {START}\r\rdata: {END}\r\rdata: [DONE]\r\r"),
        format!("data: {}\n\ndata: {END}\n\n{done}", START.replace(",\"created\"", "\ndata: ,\"created\"")),
        format!("data: {START}\n\ndata: {END}\n\n{done}data: cut off"),
    ] {
        let (data, said) = exported(stream.as_bytes());
        let values: Vec<Value> = data[..2].iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
        assert_eq!(values, [START, END].map(|chunk| serde_json::from_str::<Value>(chunk).expect("JSON")), "{stream}");
        assert_eq!((data.len(), &*data[2], &*said), (3, "[DONE]", ""), "{stream}");
    }
}

#[test]
fn a_failed_answer_is_no_whole_one() {
    let error = r#"{"error":{"message":"upstream went away","code":502}}"#;
    for (stream, end) in [
        (format!("data: {START}\n\ndata: {error}\n\n"), &[error][..]),
        (format!("data: {START}\n\nevent: error\ndata: {error}\n\ndata: [DONE]\n\n"), &[error, "[DONE]"]),
        (format!("data: {START}\n\nevent: error\ndata: oh\n\n"), &[r#"{"error":{"message":"oh"}}"#]),
    ] {
        let (data, said) = exported(stream.as_bytes());
        assert_eq!(data[0], START);
        assert_eq!(data[1..], *end, "{stream}");
        assert!(said.contains("1 stream: the answer failed"), "{said}");
    }
    let (data, said) = exported(format!("data: {START}\n\n").as_bytes());
    assert_eq!(data, [START], "a stream that broke off is given no end");
    assert!(said.contains("no [DONE] was recorded"), "{said}");
}

#[test]
fn other_protocols_are_left_out_and_counted() {
    for stream in [
        "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: content_block_delta\ndata: {\"delta\":{\"text\":\"Blue\"}}\n\n",
        "data: {\"object\":\"text_completion\",\"choices\":[{\"text\":\"Blue\"}]}\n\ndata: not JSON\n\n",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Blue\"}\n\ndata: {\"content\":\"Blue\"}\n\n",
    ] {
        let (data, said) = exported(stream.as_bytes());
        assert!(data.is_empty(), "{data:?}");
        assert!(said.contains("left out 2 events"), "{said}");
    }
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let lines = b"{\"message\":{\"content\":\"Blue\"}}\n{\"type\":\"response.output_text.done\",\"text\":\"Blue\"}\n";
    expect(run_with(&["record", &log, "--format", "jsonl"], lines), 0);
    let output = expect(run(&["export", &log, "--format", "openai-chunks", "--session", "stdin"]), 0);
    assert!(output.stdout.is_empty() && errors(&output).contains("left out 2 events"), "{}", errors(&output));
}

/// The texts of the chunks in each answer of a stream, with the reason to finish, and `[DONE]`, where there is one.
pub(crate) fn answers(data: &[String]) -> Vec<String> {
    let mut answers = vec![String::new()];
    for data in data {
        let answer = answers.last_mut().expect("one");
        if data == "[DONE]" {
            answer.push_str("[DONE]");
            answers.push(String::new());
            continue;
        }
        let chunk: Value = serde_json::from_str(data).expect("JSON");
        let choice = &chunk["choices"][0];
        answer.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        answer.push_str(&choice["finish_reason"].as_str().map(|reason| format!("({reason})")).unwrap_or_default());
        if chunk["choices"].is_null() {
            answer.push_str("(failed)");
        }
    }
    answers.retain(|answer| !answer.is_empty());
    answers
}

/// The answers that are exported of what was recorded in a format, and what is said beside them.
pub(crate) fn recorded_as(format: &str, input: &[u8]) -> (Vec<String>, String) {
    let scratch = Scratch::new();
    let (log, file) = (scratch.arg("log"), scratch.file("s", input));
    record(&[&log, &file, "--format", format]);
    let output = expect(run(&["export", &log, "--format", "openai-chunks", "--session", "s"]), 0);
    let data: Vec<_> = events(&output.stdout).into_iter().map(|(_, data)| data).collect();
    (answers(&data), errors(&output))
}

#[test]
fn lines_that_are_no_json_are_no_words() {
    let lines = |lines: &[&str]| recorded_as("jsonl", lines.join("\n").as_bytes());
    let (a, b) = (r#"{"text":"a"}"#, r#"{"content":"b"}"#);
    for (input, left_out) in [
        (vec![a, b], 0),
        (vec!["\u{feff}", a, "", " \r", b, "", ""], 0),
        (vec![&format!("\u{feff}{a}"), &format!("\u{feff}{b}\r"), ""], 0),
        (vec!["Traceback (most recent call last):", a, "  File \"x\"", "KeyError", b, ""], 3),
        (vec![a, "\"quoted\"", "17", "[\"list\"]", "null", r#"{"text":"cut"#, b], 5),
        (vec![a, r#"{"usage":{"tokens":7}}"#, b, r#"{"done":true}"#], 2),
    ] {
        let (answers, said) = lines(&input);
        assert_eq!(answers, ["ab(stop)[DONE]"], "{input:?}");
        assert_eq!(said.contains(&format!("left out {left_out} event")), left_out > 0, "{said}");
    }
    // An end that is not understood is no end of an answer.
    let (answers, said) = lines(&[a, b, "Killed"]);
    assert_eq!(answers, ["ab"]);
    assert!(said.contains("no [DONE] was recorded"), "{said}");
    let utf16: Vec<u8> = a.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(recorded_as("jsonl", &utf16).0.is_empty() && recorded_as("raw", &utf16).0.is_empty());
    assert!(recorded_as("jsonl", b"\x1f\x8b\x08\0\n\0\xff").0.is_empty());
}

#[test]
fn streams_recorded_as_lines_or_bytes_are_the_streams() {
    let whole = format!("data: {START}\n\ndata: {END}\n\ndata: [DONE]\n\n");
    let split = START.replace(",\"created\"", "\ndata: ,\"created\"");
    for stream in [
        whole.clone(),
        whole.replace('\n', "\r\n"),
        whole.replace("\n\n", "\n"),
        format!("\u{feff}: wait\n\nretry: 3000\n\nid: 7\nevent: chunk\n{whole}\n"),
        format!("event: chunk\ndata: {split}\n\ndata: {END}\n\ndata: [DONE]"),
        whole.replace('\n', "\r"),
    ] {
        for format in ["jsonl", "raw", "sse"] {
            // Frames are cut as the standard has it: without blank lines there is one, which breaks off.
            if format == "jsonl" || !(stream.ends_with("[DONE]") || stream == whole.replace("\n\n", "\n")) {
                assert_eq!(
                    recorded_as(format, stream.as_bytes()),
                    (vec!["Blue(stop)[DONE]".into()], String::new()),
                    "{format}: {stream}"
                );
            }
        }
    }
    let failed = format!("data: {START}\n\nevent: error\ndata: oh\n\n");
    for format in ["jsonl", "raw", "sse"] {
        assert_eq!(recorded_as(format, failed.as_bytes()).0, ["Blue(failed)"], "{format}");
    }
}

#[test]
fn every_failure_is_one() {
    for failure in [
        "event: Error\ndata: {\"message\":\"m\"}",
        "data: {\"errors\":[{\"message\":\"m\"}]}",
        "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"c\"}}}",
        "event: response.error\ndata: {\"code\":\"c\"}",
        "data: {\"type\":\"error\",\"code\":\"c\",\"message\":\"m\"}",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
        "data: {\"detail\":\"m\"}",
    ] {
        let (answers, said) = recorded_as("sse", format!("data: {START}\n\n{failure}\n\ndata: [DONE]\n\n").as_bytes());
        assert_eq!(answers, ["Blue(failed)[DONE]"], "{failure}");
        assert!(said.contains("1 stream: the answer failed"), "{said}");
    }
    for failure in [r#"{"error":"m"}"#, r#"{"errors":["m"]}"#, r#"{"detail":"m"}"#, r#"{"type":"Error"}"#] {
        let (answers, _) = recorded_as("jsonl", format!("{{\"text\":\"a\"}}\n{failure}\n").as_bytes());
        assert_eq!(answers, ["a(failed)"], "{failure}");
    }
    for none in ["false", "null", "\"\"", "{}", "[]", "0"] {
        let lines = format!("{{\"text\":\"a\",\"error\":{none}}}\n{{\"error\":{none},\"usage\":{{}}}}\n");
        assert_eq!(recorded_as("jsonl", lines.as_bytes()).0, ["a(stop)[DONE]"], "{none}");
        let chunk = START.replace("\"id\"", &format!("\"error\":{none},\"id\""));
        let (answers, said) =
            recorded_as("sse", format!("data: {chunk}\n\ndata: {END}\n\ndata: [DONE]\n\n").as_bytes());
        assert_eq!((&answers[..], &*said), (&["Blue(stop)[DONE]".to_owned()][..], ""), "{none}");
    }
}

#[test]
fn a_session_closed_before_its_end_does_not_stop() {
    for (outcome, expected) in
        [("finished", "a(stop)[DONE]"), ("failed", "a(failed)"), ("timed_out", "a(failed)"), ("stopped", "a")]
    {
        let scratch = Scratch::new();
        let closed = format!(r#""payload":{{"type":"session.close","outcome":"{outcome}"}}"#);
        let log = imported(&scratch, &[("token", r#""payload":{"text":"a"}"#), ("session", &closed)]);
        let out = done(&["export", &log, "--format", "openai-chunks", "--session", &"0a".repeat(16)]);
        let data: Vec<_> = events(&out).into_iter().map(|(_, data)| data).collect();
        assert_eq!(answers(&data), [expected], "{outcome}");
    }
}

#[test]
fn each_answer_of_a_stream_is_one() {
    let answer = format!("data: {START}\n\ndata: {END}\n\ndata: [DONE]\n\n");
    let error = "data: {\"error\":{\"code\":1}}\n\n";
    let (whole, failed) = ("Blue(stop)[DONE]", "Blue(failed)[DONE]");
    for (stream, expected) in [
        (answer.repeat(2), vec![whole; 2]),
        (answer.clone() + "data: [DONE]\n\n" + &answer, vec![whole; 2]),
        (format!("data: {START}\n\n{error}data: [DONE]\n\n{answer}"), vec![failed, whole]),
        (format!("{answer}data: {START}\n\n{error}data: [DONE]\n\n"), vec![whole, failed]),
        (format!("{answer}data: {START}\n\n"), vec![whole, "Blue"]),
        ("data: [DONE]\n\ndata: [DONE]\n\n".to_owned(), vec!["[DONE]"]),
    ] {
        assert_eq!(recorded_as("sse", stream.as_bytes()).0, expected, "{stream}");
        assert_eq!(recorded_as("jsonl", stream.as_bytes()).0, expected, "as lines: {stream}");
    }
    let texts = "{\"text\":\"a\"}\n[DONE]\n{\"text\":\"b\"}\n";
    assert_eq!(recorded_as("jsonl", texts.as_bytes()).0, ["a(stop)[DONE]", "b(stop)[DONE]"]);
    // Of chunks without [DONE], ids tell answers apart.
    let chunks = format!("{START}\n{END}\n{}\n{}\n", START.replace("\"x\"", "\"y\""), END.replace("\"x\"", "\"y\""));
    assert_eq!(recorded_as("jsonl", chunks.as_bytes()).0, [whole; 2]);
    // A recording is not the end of the one before.
    let scratch = Scratch::new();
    let (log, cut, file) =
        (scratch.arg("log"), scratch.file("cut", format!("data: {START}\n\n")), scratch.file("s", &answer));
    record(&[&log, &cut, &file, "--format", "sse", "--session", "s"]);
    let output = expect(run(&["export", &log, "--format", "openai-chunks", "--session", "s"]), 0);
    assert!(errors(&output).contains("1 stream: no [DONE]"), "{}", errors(&output));
}

/// Lines for `import`: events of one session at a real time.
pub(crate) fn imported(scratch: &Scratch, payloads: &[(&str, &str)]) -> String {
    let lines: Vec<String> = payloads
        .iter()
        .enumerate()
        .map(|(number, (kind, payload))| {
            format!(
                "{{\"shard\":0,\"sequence\":{number},\"timestamp\":{},\"session_id\":\"{}\",\"kind\":\"{kind}\",{payload}}}\n",
                1_700_000_000_000_000_000 + number as u64,
                "0a".repeat(16)
            )
        })
        .collect();
    let log = scratch.arg("imported");
    expect(run_with(&["import", &log], lines.concat().as_bytes()), 0);
    log
}

#[test]
fn made_streams_are_whole() {
    let scratch = Scratch::new();
    let log = imported(
        &scratch,
        &[
            ("session", r#""payload":{"name":"s","model":"m1"}"#),
            ("token", r#""payload_base64":"ww==""#),
            ("token", r#""payload_base64":"qWI=""#),
            ("tool_call", r#""payload":{"id":"c1","name":"look","arguments":"{\"a\":"}"#),
            ("tool_call", r#""payload":{"id":"c1","arguments":"1}"}"#),
            ("tool_call", r#""payload":{"id":"c2","name":"go","arguments":{}}"#),
            ("session", r#""payload":{"type":"session.close","outcome":"finished"}"#),
        ],
    );
    let out = done(&["export", &log, "--format", "openai-chunks", "--session", &"0a".repeat(16)]);
    let mut chunks: Vec<String> = events(&out).into_iter().map(|(_, data)| data).collect();
    assert_eq!(chunks.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).expect("JSON")).collect();
    assert!(chunks.iter().all(|chunk| chunk["created"] == 1_700_000_000 && chunk["model"] == "m1"), "{chunks:?}");
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "\u{e9}b");
    let calls: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    assert_eq!(calls.len(), 2);
    assert_eq!((&calls[0]["index"], &calls[0]["function"]["arguments"]), (&0.into(), &"{\"a\":1}".into()));
    assert_eq!((&calls[1]["index"], &calls[1]["function"]["name"]), (&1.into(), &"go".into()));
    assert_eq!(chunks.last().expect("an end")["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn each_session_has_a_file_of_its_own_and_few_are_open() {
    let scratch = Scratch::new();
    let (log, out) = (scratch.arg("log"), scratch.arg("streams"));
    let long = "l".repeat(300);
    let names = ["a/b", "a_b", "A_b"].map(|name| format!("{{\"s\":\"{name}\",\"content\":\"1\"}}\n"));
    let mut lines = names.concat();
    for end in ["x", "y"] {
        lines += &format!("{{\"s\":\"{long}{end}\",\"content\":\"4\"}}\n");
    }
    for number in 0..300 {
        lines += &format!("{{\"s\":\"r{}\",\"content\":\"{number}\"}}\n", number % 150);
    }
    expect(run_with(&["record", &log, "--format", "jsonl", "--session-field", "s"], lines.as_bytes()), 0);
    let export = || {
        let script = "ulimit -n 64; exec \"$0\" export \"$1\" --format openai-chunks --out \"$2\"";
        let output =
            std::process::Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_tapeline"), &log, &out]).output();
        expect(output.expect("sh"), 0);
        let files = std::fs::read_dir(&out).expect("readable").map(|entry| entry.expect("entry"));
        files.map(|file| (file.file_name(), std::fs::read(file.path()).expect("readable"))).collect::<BTreeSet<_>>()
    };
    let files = export();
    assert_eq!(files.len(), 155);
    for (name, stream) in &files {
        let ends = events(stream).iter().filter(|(_, data)| data == "[DONE]").count();
        assert_eq!(ends, 1, "{name:?}");
    }
    assert_eq!(export(), files, "a second run replaces what the first wrote");
}

#[test]
fn a_dash_is_standard_output() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run_with(&["record", &log, "--format", "jsonl"], b"{\"text\":\"1\"}\n"), 0);
    for format in ["jsonl", "sse", "parquet", "openai-chunks"] {
        let args = ["export", &log, "--format", format, "--session", "stdin", "--out", "-"];
        let output = tapeline(&args).current_dir(scratch.path("")).output().expect("it runs");
        assert!(!expect(output, 0).stdout.is_empty(), "{format}");
    }
    assert!(!scratch.path("-").exists());
}

#[test]
fn times_that_a_table_cannot_hold_are_refused_in_words() {
    let scratch = Scratch::new();
    let line = format!(
        "{{\"shard\":0,\"sequence\":0,\"timestamp\":{},\"session_id\":\"{}\",\"kind\":\"token\",\"payload\":1}}\n",
        u64::MAX,
        "0a".repeat(16)
    );
    let log = scratch.arg("log");
    expect(run_with(&["import", &log], line.as_bytes()), 0);
    let refused = expect(run(&["export", &log, "--format", "parquet", "--out", &scratch.arg("t.parquet")]), 1);
    assert!(errors(&refused).contains("2262") && errors(&refused).contains("--until"), "{}", errors(&refused));
}

#[test]
fn a_shard_that_no_log_has_is_refused() {
    let scratch = Scratch::new();
    let line = |shard: u16| {
        format!(
            "{{\"shard\":{shard},\"sequence\":0,\"timestamp\":1,\"session_id\":\"{}\",\"kind\":\"token\",\"payload\":1}}\n",
            "0a".repeat(16)
        )
    };
    let log = scratch.arg("log");
    let refused = expect(run_with(&["import", &log], (line(0) + &line(40_000)).as_bytes()), 1);
    assert!(errors(&refused).contains("standard input:2: shard 40000"), "{}", errors(&refused));
    assert_eq!(json(&done(&["info", &log, "--json"]))[0]["shards"], 1);
}

#[test]
fn an_answer_in_lines_is_whole_once_each_of_its_choices_is() {
    let line = |index: u32, reason: &str| {
        format!("{{\"id\":\"x\",\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":{reason}}}]}}\n")
    };
    let (begun, ended) = ([line(0, "null"), line(1, "\"\"")].concat(), [line(0, "\"stop\""), line(1, "\"stop\"")]);
    for (lines, is_whole) in
        [(begun.clone(), false), ([&begun, &*ended[0]].concat(), false), ([begun, ended.concat()].concat(), true)]
    {
        let scratch = Scratch::new();
        let log = scratch.arg("log");
        record(&[&log, &scratch.file("s", &lines), "--format", "jsonl"]);
        let output = expect(run(&["export", &log, "--format", "openai-chunks", "--session", "s"]), 0);
        assert_eq!(String::from_utf8_lossy(&output.stdout).contains("[DONE]"), is_whole, "{lines}");
        assert_eq!(errors(&output).contains("no [DONE]"), !is_whole, "{lines}: {}", errors(&output));
    }
}
