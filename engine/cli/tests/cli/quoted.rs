//! `tapeline export --format openai-chunks`: the words of the model, all of them, and no others.

use crate::chunks::{answers, imported, recorded_as};
use crate::frames::events;
use crate::run::{Scratch, done, errors, expect, run};

#[test]
fn words_of_others_are_not_quoted() {
    let (mine, other) = (r#"{"text":"a"}"#, "\n");
    for foreign in [
        r#"{"role":"user","content":"my password is x"}"#,
        r#"{"role":"tool","content":"R"}"#,
        r#"{"role":"system","content":"R"}"#,
        r#"{"type":"log","text":"L"}"#,
        r#"{"type":"reasoning-delta","delta":"think"}"#,
        r#"{"type":"user_message","text":"U"}"#,
        r#"{"kind":"tool_result","content":"R"}"#,
        r#"{"level":"info","text":"server started"}"#,
        r#"{"role":"tool","content":"R","error":"not found"}"#,
        r#"{"sender":"human","content":"R"}"#,
        r#"{"stream":"stderr","text":"R"}"#,
        r#"{"tool_call_id":"c","content":"R"}"#,
    ] {
        let (found, said) = recorded_as("jsonl", format!("{mine}{other}{foreign}\n").as_bytes());
        assert_eq!(found, ["a(stop)[DONE]"], "{foreign}");
        assert!(said.contains("left out 1 event"), "{foreign}: {said}");
    }
    let lines = "{\"role\":\"user\",\"content\":\"q\"}\n{\"role\":\"tool\",\"content\":\"R\"}\n";
    let (found, said) = recorded_as("jsonl", lines.as_bytes());
    assert!(found.is_empty() && said.contains("without an answer"), "{said}");
}

/// The answers that are exported of tokens, in this form of them.
fn of_tokens(payloads: &[&str], args: &[&str]) -> Vec<String> {
    let scratch = Scratch::new();
    let mut payloads: Vec<_> = payloads.iter().map(|payload| ("token", *payload)).collect();
    payloads.push(("session", r#""payload":{"type":"session.close","outcome":"finished"}"#));
    let log = imported(&scratch, &payloads);
    let session = "0a".repeat(16);
    let out = done(&[&["export", &log, "--format", "openai-chunks", "--session", &session], args].concat());
    answers(&events(&out).into_iter().map(|(_, data)| data).collect::<Vec<_>>())
}

#[test]
fn tokens_are_the_text_that_they_are() {
    let text = |texts: &[&str]| texts.iter().map(|text| format!("\"payload_text\":{text:?}")).collect::<Vec<_>>();
    for (texts, expected) in [
        (&["fn f() ", "{}", "[DONE]", "end"][..], "fn f() {}[DONE]end(stop)[DONE]"),
        (&[r#"{"answer": 42}"#], r#"{"answer": 42}(stop)[DONE]"#),
        (&[r#"{"error":"not found"}"#], r#"{"error":"not found"}(stop)[DONE]"#),
        (&[r#"{"error":{"message":"m"}}"#, "null", "[]"], r#"{"error":{"message":"m"}}null[](stop)[DONE]"#),
        (&[r#"{"role":"user","content":"q"}"#], r#"{"role":"user","content":"q"}(stop)[DONE]"#),
        (&["data: ", "x\n", "data: x\n\n"], "data: x\ndata: x\n\n(stop)[DONE]"),
        (&[r#"{"type":"error"}"#, " {\"text\":\"a\"}"], r#"{"type":"error"} {"text":"a"}(stop)[DONE]"#),
    ] {
        let payloads = text(texts);
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        assert_eq!(of_tokens(&payloads, &[]), [expected], "{texts:?}");
        assert_eq!(of_tokens(&payloads, &["--tokens", "text"]), [expected], "{texts:?}");
    }
    // The convention, and how to say that it is none.
    let object = [r#""payload_text":"{\"text\":\"a\"}""#];
    assert_eq!(of_tokens(&object, &[]), ["a(stop)[DONE]"]);
    assert_eq!(of_tokens(&object, &["--tokens", "text"]), ["{\"text\":\"a\"}(stop)[DONE]"]);
    let frame =
        [r#""payload_text":"data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n""#];
    assert_eq!(of_tokens(&frame, &[]), ["a(stop)"]);
    let json = [r#""payload":{"text":"a"}"#, r#""payload_text":"[DONE]""#, r#""payload":{"n":1}"#];
    assert_eq!(of_tokens(&json, &["--tokens", "json"]), ["a(stop)[DONE]"]);
}

#[test]
fn clients_find_the_error_and_no_reason_to_finish() {
    let chunk =
        |rest: &str| format!("data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,{rest}}}]}}\n\n");
    let (begun, stop) = (chunk(r#""delta":{"content":"A"}"#), chunk(r#""delta":{},"finish_reason":"stop""#));
    let error = "data: {\"error\":{\"message\":\"x\"}}\n\n";
    let usage = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{}}\n\n";
    for stream in [
        [&begun, error, &stop].concat(),
        [&begun, &stop, error].concat(),
        [&begun, &*stop, usage, error].concat(),
        [&begun, &*chunk(r#""delta":{},"finish_reason":"error""#)].concat(),
        [&begun, &*chunk(r#""delta":{},"finish_reason":"stop","error":{"code":502}"#)].concat(),
        [&begun, &*stop.replace("\"choices\"", "\"error\":{\"message\":\"x\"},\"choices\"")].concat(),
        [&begun, &*stop.replace("\"choices\"", "\"error\":null,\"errors\":[\"x\"],\"choices\"")].concat(),
    ] {
        let scratch = Scratch::new();
        let log = scratch.arg("log");
        let file = scratch.file("s", format!("{stream}data: [DONE]\n\n"));
        done(&["record", &log, &file, "--format", "sse"]);
        let output = expect(run(&["export", &log, "--format", "openai-chunks", "--session", "s"]), 0);
        let data: Vec<_> = events(&output.stdout).into_iter().map(|(_, data)| data).collect();
        let objects = data.iter().filter(|data| *data != "[DONE]");
        let objects: Vec<serde_json::Value> = objects.map(|data| serde_json::from_str(data).expect("JSON")).collect();
        let has_error = |object: &&serde_json::Value| !object["error"].is_null();
        assert_eq!(objects.iter().filter(has_error).count(), 1, "{stream}: {data:?}");
        let finishes = |object: &serde_json::Value| !object["choices"][0]["finish_reason"].is_null();
        assert!(!objects.iter().any(finishes), "{stream}: {data:?}");
        assert!(errors(&output).contains("1 stream: the answer failed"), "{}", errors(&output));
    }
}
