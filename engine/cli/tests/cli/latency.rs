//! `tapeline latency`: measures, slices, reports, refusals. What it computes is computed again by
//! scripts/check-latency.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tapeline::event::Kind;
use tapeline::{BackpressureMode, EventBus, EventBusConfig, kinds};

use crate::run::{Scratch, done, errors, expect, json, record, run, run_with};

/// A log of sessions with and without tokens, models and names, over two shards.
fn write_log(log: &str, has_tokens: bool) {
    let config = EventBusConfig::builder().directory(log).num_shards(2).segment_bytes(2 << 20).build();
    let bus = pollster::block_on(EventBus::new(config.expect("a configuration"))).expect("a bus");
    let mut producer = bus.producer().expect("a producer");
    let mut emit = |session: &str, kind: Kind, payload: &str| {
        let session = producer.session(session);
        let _ = producer.emit(session, kind, payload.as_bytes()).expect("room");
    };
    let token = if has_tokens { kinds::TOKEN } else { kinds::AGENT_MESSAGE };
    for (session, opening) in [
        ("small", r#"{"type":"session.open","name":"small","model":"gpt-oss-20b"}"#),
        ("large", r#"{"type":"session.open","name":"large","model":"gpt-oss-120b"}"#),
        ("odd", r#"{"type":"session.open","name":"odd","model":["none"]}"#),
        ("quiet", r#"{"type":"session.open","name":"quiet","model":"gpt-oss-20b"}"#),
        ("late", "not JSON"),
    ] {
        emit(session, kinds::SESSION, opening);
    }
    // What would count as tokens if there were none.
    for session in ["odd", "large", "odd", "quiet", "large"] {
        emit(session, kinds::GUARDRAIL, "before the first token");
    }
    for round in 0..400 {
        emit("small", token, "a token");
        if round % 3 == 0 {
            emit("large", token, &"x".repeat(round * 10));
            emit("odd", kinds::TOOL_CALL, r#"{"tool":"search"}"#);
        }
        if round % 7 == 0 {
            emit("odd", token, "o");
            // Without an opening, and a first event that is a token.
            emit("unopened", token, "u");
        }
        if round == 200 {
            emit("late", token, "before its model is known");
            emit("late", kinds::SESSION, r#"{"name":"a late, late name","model":"a, model"}"#);
        }
        if round > 200 && round % 20 == 0 {
            emit("late", token, "after");
        }
    }
    emit("alone", kinds::GUARDRAIL, "one event");
    emit("small", kinds::SESSION, r#"{"type":"session.close","name":"small","model":"another"}"#);
    drop(producer);
    let _ = bus.ingest_raw(tapeline::RawEvent::from_str("of no session").with_kind(kinds::TOKEN)).expect("room");
    pollster::block_on(bus.shutdown()).expect("the end");
}

/// Exports the events and has the report checked against them; without Python, says that it was not.
fn check(scratch: &Scratch, log: &str, report: &str, args: &[&str]) {
    let Some(python) = std::env::var_os("TAPELINE_PYTHON") else {
        eprintln!("not checked: TAPELINE_PYTHON is not set; scripts/python-env prints what it is to be");
        return;
    };
    let times: Vec<&str> = args.chunks(2).filter(|pair| pair[0] != "--kind").flatten().copied().collect();
    let events = scratch.file("events.jsonl", done(&[&["replay", log, "--format", "jsonl"], &times[..]].concat()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check-latency");
    let kinds = args.chunks(2).filter(|pair| pair[0] == "--kind").flatten();
    let output = Command::new(python).arg(script).args([report, &events]).args(kinds).output().expect("Python starts");
    expect(output, 0);
}

/// The lines of `--json` for the whole, by measure.
fn whole(log: &str, args: &[&str]) -> Vec<Value> {
    let lines = json(&done(&[&["latency", log, "--json"], args].concat()));
    lines.into_iter().filter(|line| line["by"].is_null()).collect()
}

fn count(lines: &[Value], measure: &str) -> u64 {
    let line = lines.iter().find(|line| line["measure"] == measure).expect("the measure");
    line["count"].as_u64().expect("a number")
}

#[test]
fn every_slicing_is_what_a_script_computes_from_the_exported_events() {
    let scratch = Scratch::new();
    for (name, has_tokens) in [("with", true), ("without", false)] {
        let log = scratch.arg(name);
        write_log(&log, has_tokens);
        let middle =
            json(&done(&["replay", &log, "--format", "jsonl"]))[700]["time"].as_str().expect("time").to_owned();
        let cases: [&[&str]; 8] = [
            &[],
            &["--by", "session"],
            &["--by", "kind"],
            &["--by", "model"],
            &["--by", "time", "--window", "1ms"],
            &["--window", "3ms"],
            &["--by", "model", "--kind", "tool_call", "--kind", "guardrail"],
            &["--by", "kind", "--since", &middle],
        ];
        for (number, case) in cases.iter().enumerate() {
            let report = scratch.arg(&format!("{name}-{number}"));
            done(&[&["latency", &log, "--out", &report], *case].concat());
            let selection = case.iter().position(|arg| ["--kind", "--since"].contains(arg));
            check(&scratch, &log, &report, selection.map_or(&[], |at| &case[at..]));
        }
    }
}

#[test]
fn the_whole_and_the_models_are_counted() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    write_log(&log, true);
    let lines = whole(&log, &[]);
    let measures: Vec<&str> = lines.iter().filter_map(|line| line["measure"].as_str()).collect();
    let names = ["time-to-first-token", "inter-token", "time-per-output-token", "session-length", "session-rate"];
    assert_eq!(measures, [&names[..], &["throughput"]].concat());
    // small, large, odd and late; the fifth session with tokens begins with one.
    assert_eq!(count(&lines, "time-to-first-token"), 4);
    assert_eq!(count(&lines, "inter-token"), 399 + 133 + 57 + 57 + 9);
    assert_eq!(count(&lines, "time-per-output-token"), 5);
    // All but that of one event.
    assert_eq!(count(&lines, "session-length"), 6);
    let by_model = json(&done(&["latency", &log, "--by", "model", "--json"]));
    let gaps = |model: &str| {
        let found = by_model.iter().find(|line| line["slice"] == model && line["measure"] == "inter-token");
        found.map(|line| line["count"].as_u64().expect("a number"))
    };
    assert_eq!(gaps("gpt-oss-20b"), Some(399));
    assert_eq!(
        (gaps("gpt-oss-120b"), gaps("a, model"), gaps("-"), gaps("another")),
        (Some(133), Some(9), Some(114), None)
    );
    let by_session = json(&done(&["latency", &log, "--by", "session", "--json"]));
    let sessions: Vec<&str> = by_session.iter().filter_map(|line| line["slice"].as_str()).step_by(5).collect();
    assert_eq!(sessions[..5], ["small", "large", "odd", "quiet", "a late, late name"]);
}

#[test]
fn events_of_other_kinds_are_tokens_where_there_are_none() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run_with(&["record", &log, "--format", "jsonl"], b"1\n2\n3\n"), 0);
    let lines = whole(&log, &[]);
    assert_eq!((count(&lines, "time-to-first-token"), count(&lines, "inter-token")), (1, 2));
    let times: Vec<u64> = json(&done(&["replay", &log, "--format", "jsonl"]))
        .iter()
        .map(|event| event["timestamp"].as_u64().expect("a number"))
        .collect();
    // A value is known to a thousandth.
    let near =
        |found: &Value, expected: u64| found.as_u64().expect("a number").abs_diff(expected) <= expected / 1000 + 1;
    assert!(near(&lines[0]["max"], times[1] - times[0]), "{lines:?}");
    assert!(near(&lines[3]["max"], times[3] - times[0]), "{lines:?}");
    let text = String::from_utf8(done(&["latency", &log])).expect("text");
    assert!(text.starts_with("3 tokens (no event is of kind token"), "{text}");
    assert!(text.contains("Inter-token latency\n") && text.contains('█'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn recorded_provider_streams_are_measured() {
    let streams = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sse");
    let Ok(entries) = fs::read_dir(&streams) else {
        eprintln!("skipped: no {}", streams.display());
        return;
    };
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut args = vec![log.as_str(), "--format", "sse"];
    args.extend(files.iter().map(|path| path.to_str().expect("UTF-8 path")));
    record(&args);
    for by in ["session", "kind", "model"] {
        let report = scratch.arg(by);
        done(&["latency", &log, "--by", by, "--out", &report]);
        check(&scratch, &log, &report, &[]);
    }
}

#[test]
fn a_report_is_a_set_of_files_and_a_page() {
    let scratch = Scratch::new();
    let (log, report) = (scratch.arg("log"), scratch.arg("new/report"));
    write_log(&log, true);
    let output = expect(run(&["latency", &log, "--by", "kind", "--out", &report]), 0);
    assert!(errors(&output).contains("index.html"), "{}", errors(&output));
    let mut names: Vec<String> = fs::read_dir(&report)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    // Five files for each of five measures, four for the one without groups, and two for all.
    assert_eq!(names.len(), 5 * 5 + 4 + 2, "{names:?}");
    let page = fs::read_to_string(scratch.path("new/report/index.html")).expect("a page");
    assert!(page.contains("<td>tool_call</td>") && page.contains("1 event without a session"), "{page:.2000}");
    // Sliced by time, a report has the windows that it has anyway, and no groups.
    let again = scratch.arg("time");
    done(&["latency", &log, "--by", "time", "--out", &again]);
    assert!(!scratch.path("time/inter-token.groups.hlog").exists() && scratch.path("time/inter-token.hlog").exists());
}

#[test]
fn windows_of_time_are_whole_and_in_order() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    write_log(&log, true);
    let lines = json(&done(&["latency", &log, "--by", "time", "--window", "1ms", "--json"]));
    let windows: Vec<&Value> =
        lines.iter().filter(|line| line["by"] == "time" && line["measure"] == "throughput").collect();
    assert!(!windows.is_empty());
    for pair in windows.windows(2) {
        assert_eq!(pair[0]["end_ns"], pair[1]["start_ns"]);
    }
    let start = windows[0]["start_ns"].as_u64().expect("a number");
    assert_eq!((start % 1_000_000, windows[0]["count"].as_u64()), (0, Some(1)));
    let gaps = |by: Value| -> u64 {
        let of = lines.iter().filter(|line| line["by"] == by && line["measure"] == "inter-token");
        of.map(|line| line["count"].as_u64().expect("a number")).sum()
    };
    assert_eq!(gaps("time".into()), gaps(Value::Null));
}

#[test]
fn what_cannot_be_done_has_its_status() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    expect(run(&["latency", &log]), 3);
    write_log(&log, true);
    expect(run(&["latency", &log, "--session", "nobody"]), 3);
    for refused in [["--window", "0s"], ["--window", "10"], ["--by", "moon"]] {
        expect(run(&[&["latency", &log], &refused[..]].concat()), 2);
    }
    // A file where the report's directory is to be.
    let file = scratch.file("file", "");
    let output = expect(run(&["latency", &log, "--out", &file]), 1);
    assert!(errors(&output).contains(&file), "{}", errors(&output));
}

#[test]
fn what_is_missing_is_reported_and_the_rest_is_measured() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let config = EventBusConfig::builder().directory(&log).backpressure_mode(BackpressureMode::DropNewest);
    let config = config.lane_bytes(64 << 10).ring_buffer_capacity(1024).segment_bytes(2 << 20).build();
    let bus = pollster::block_on(EventBus::new(config.expect("a configuration"))).expect("a bus");
    let mut producer = bus.producer().expect("a producer");
    let session = producer.open_session("holed").expect("room");
    // Not published, so that the lane fills whatever the shard does.
    let taken = {
        let mut batch = producer.batch(session);
        let taken = (0..100).filter(|_| batch.push(kinds::TOKEN, &[7; 1000]).is_ok()).count() as u64;
        batch.publish().expect("publishes");
        taken
    };
    assert!((1..100).contains(&taken), "{taken}");
    pollster::block_on(bus.flush()).expect("flushes");
    let _ = producer.emit(session, kinds::TOKEN, b"after").expect("room again");
    drop(producer);
    pollster::block_on(bus.shutdown()).expect("the end");
    let report = scratch.arg("report");
    let output = expect(run(&["latency", &log, "--json", "--out", &report]), 4);
    assert!(errors(&output).contains("tapeline: "), "{}", errors(&output));
    assert_eq!(count(&json(&output.stdout), "inter-token"), taken);
    let page = fs::read_to_string(scratch.path("report/index.html")).expect("a page");
    assert!(page.contains("parts of the log are gone or damaged"));
}

#[test]
fn a_session_without_its_beginning_has_no_time_to_the_first_token() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a", "{\"text\":\"a line that fills segments\"}\n".repeat(120_000));
    record(&[&log, &file, "--format", "jsonl"]);
    done(&["trim", &log, "--max-segments", "2"]);
    let lines = whole(&log, &[]);
    assert_eq!(count(&lines, "time-to-first-token"), 0);
    assert!((1..119_999).contains(&count(&lines, "inter-token")), "{lines:?}");
}

#[test]
fn damage_is_reported_and_what_comes_after_it_is_measured() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let file = scratch.file("a", "{\"text\":\"a line that fills segments\"}\n".repeat(60_000));
    record(&[&log, &file, "--format", "jsonl"]);
    let sound = count(&whole(&log, &[]), "inter-token");
    let name = json(&done(&["info", &log, "--json"]))[0]["segments"][0]["file"].as_str().expect("text").to_owned();
    let segment = scratch.path("log/shard-0000").join(&name);
    let mut bytes = fs::read(&segment).expect("segment");
    // Not the first block: the event that opens the session may have that to itself.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).expect("segment");
    let report = scratch.arg("report");
    let output = expect(run(&["latency", &log, "--json", "--out", &report]), 5);
    assert!(errors(&output).contains(&name), "{}", errors(&output));
    let rest = count(&json(&output.stdout), "inter-token");
    assert!(rest < sound, "{rest} of {sound}");
    let page = fs::read_to_string(scratch.path("report/index.html")).expect("a page");
    assert!(page.contains("parts of the log are gone or damaged"));
}

/// A log of one session, opened at 0 as a stream of server-sent events, with these payloads, each at its milliseconds.
fn import_stream(log: &str, events: &[(u64, String)]) {
    import_as("sse", log, events);
}

/// The same, of a session that was recorded in this format.
fn import_as(format: &str, log: &str, events: &[(u64, String)]) {
    let opening = (0, "session", format!("{{\"name\":\"a\",\"format\":\"{format}\"}}"));
    let events = events.iter().map(|(time, text)| (*time, "unspecified", text.clone()));
    let lines: String = std::iter::once(opening)
        .chain(events)
        .enumerate()
        .map(|(sequence, (time, kind, text))| {
            let line = serde_json::json!({
                "shard": 0,
                "sequence": sequence,
                "timestamp": 1_700_000_000_000_000_000 + time * 1_000_000,
                "session_id": tapeline::event::session_id("a").to_string(),
                "kind": kind,
                "payload_text": text,
            });
            format!("{line}\n")
        })
        .collect();
    expect(run_with(&["import", log], lines.as_bytes()), 0);
}

/// A live stream: a comment, whose words follow, ten tokens 20 ms apart, the reason to finish, the usage, the end.
fn live_stream() -> Vec<(u64, String)> {
    let chunk =
        |inner: &str| format!("data: {{\"object\":\"chat.completion.chunk\",\"model\":\"gpt-oss-20b\",{inner}}}\n\n");
    let mut events = vec![
        (500, ": waiting\n\n".to_owned()),
        (800, chunk(r#""choices":[{"delta":{"role":"assistant","content":""}}]"#)),
    ];
    events.extend((0..10).map(|number| (1200 + number * 20, chunk(r#""choices":[{"delta":{"content":"w"}}]"#))));
    events.push((1500, chunk(r#""choices":[{"delta":{},"finish_reason":"stop"}]"#)));
    events.push((1600, chunk(r#""choices":[],"usage":{"completion_tokens":10}"#)));
    events.push((1700, "data: [DONE]\n\n".to_owned()));
    events
}

#[test]
fn only_content_is_a_token() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    import_stream(&log, &live_stream());
    let whole = whole(&log, &[]);
    let near = |measure: &str, field: &str, milliseconds: u64| {
        let line = whole.iter().find(|line| line["measure"] == measure).expect("a line");
        let found = line[field].as_u64().expect("a number");
        let expected = milliseconds * 1_000_000;
        assert!(found.abs_diff(expected) <= expected / 500, "{measure} {field}: {found}");
    };
    near("time-to-first-token", "p50", 1200);
    near("inter-token", "max", 20);
    near("time-per-output-token", "p50", 20);
    near("session-length", "p50", 1700);
    assert_eq!(whole.iter().find(|line| line["measure"] == "inter-token").expect("a line")["count"], 9);
}

/// The number of tokens in what was recorded in a format.
fn tokens_of(format: &str, input: &[u8]) -> usize {
    let scratch = Scratch::new();
    let (log, file) = (scratch.arg("log"), scratch.file("s", input));
    record(&[&log, &file, "--format", format]);
    let text = String::from_utf8(done(&["latency", &log])).expect("text");
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn lines_without_words_are_no_tokens() {
    for (input, tokens) in [
        (&b"\xef\xbb\xbf\n\n{\"text\":\"a\"}\n \r\n\xef\xbb\xbf{\"text\":\"b\"}\nTraceback:\n  File\n{\"text\":\"cut\n"[..], 2),
        (b"data: {\"text\":\"a\"}\n\n: wait\n\nevent: x\ndata: {\"text\":\"b\"}\n\nretry: 1\n\ndata: oh\n\ndata: [DONE]\n\n", 2),
        (b"{\"error\":\"m\"}\n{\"errors\":[1]}\n{\"detail\":\"m\"}\n{\"error\":false,\"text\":\"a\"}\n", 1),
        (b"17\n\"a\"\nnull\n", 2),
        (b"\x1f\x8b\x08\0\n\0\xff", 0),
    ] {
        assert_eq!(tokens_of("jsonl", input), tokens, "{}", String::from_utf8_lossy(input));
    }
    let frames = b"\xef\xbb\xbfdata: {\"text\":\"a\"}\n\nfoo: bar\ndata: {\"text\":\"b\"}\n\nevent: ERROR\ndata: oh\n\n: x\n\ndata: cut";
    assert_eq!(tokens_of("sse", frames), 2);
}

#[test]
fn what_was_recorded_has_kinds_and_models() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    import_stream(&log, &live_stream());
    let slices = |by: &str| {
        let lines = json(&done(&["latency", &log, "--by", by, "--json"]));
        let lines = lines.into_iter().filter(|line| line["by"] == by && line["measure"] == "inter-token");
        lines.map(|line| (line["slice"].as_str().expect("text").to_owned(), line["count"].as_u64())).collect::<Vec<_>>()
    };
    assert_eq!(slices("model"), [("gpt-oss-20b".to_owned(), Some(9))]);
    let expected =
        [("chat.completion.chunk", 9), ("chat.completion.chunk without content", 2), ("[DONE]", 0), ("comment", 0)];
    assert_eq!(slices("kind"), expected.map(|(name, count)| (name.to_owned(), Some(count))));
}

#[test]
fn many_groups_are_one_together() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let lines: String = (0..10_100).map(|number| format!("{{\"s\":\"{number}\"}}\n")).collect();
    let lines = format!("{lines}{lines}");
    record(&[&log, &scratch.file("many", lines), "--format", "jsonl", "--session-field", "s"]);
    let output = expect(run(&["latency", &log, "--by", "session", "--json"]), 0);
    assert!(errors(&output).contains("the first 10,000 groups"), "{}", errors(&output));
    let lines = json(&output.stdout);
    let lengths: Vec<_> =
        lines.iter().filter(|line| line["by"] == "session" && line["measure"] == "session-length").collect();
    assert_eq!(
        (lengths.len(), &lengths[10_000]["slice"], &lengths[10_000]["count"]),
        (10_001, &"others".into(), &100.into())
    );
}

/// The counts, or the largest values, of the measures of single tokens and answers, of the whole or of a kind.
fn of_tokens(log: &str, args: &[&str], slice: Option<&str>, what: &str) -> [u64; 3] {
    let lines = json(&done(&[&["latency", log, "--json"], args].concat()));
    let of = |measure: &str| {
        let mut lines = lines.iter().filter(|line| line["measure"] == measure && line["slice"].as_str() == slice);
        lines.next().expect("the measure")[what].as_u64().expect("a number")
    };
    ["time-to-first-token", "inter-token", "time-per-output-token"].map(of)
}

/// Two answers of two choices each, as chunks; the second answer is another by its id alone.
fn answers_of_two_choices() -> Vec<(u64, String)> {
    let chunk = |id: u32, choice: &str| format!("{{\"id\":\"{id}\",\"object\":\"c\",\"choices\":[{choice}]}}");
    let piece = |index: u32| format!("{{\"index\":{index},\"delta\":{{\"content\":\"w\"}},\"finish_reason\":null}}");
    let end = |index: u32| format!("{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"stop\"}}");
    let of = |id: u32, start: u64| {
        let mut events = vec![(start, chunk(id, r#"{"index":0,"delta":{"role":"assistant"}}"#))];
        for number in 0..5 {
            events.push((start + 100 + number * 40, chunk(id, &piece(0))));
            events.push((start + 101 + number * 40, chunk(id, &piece(1))));
        }
        events.push((start + 500, chunk(id, &end(0))));
        events.push((start + 501, chunk(id, &end(1))));
        events
    };
    [of(1, 0), of(2, 60_000)].concat()
}

#[test]
fn choices_and_answers_are_measured_each_by_itself_in_every_format() {
    let scratch = Scratch::new();
    let events = answers_of_two_choices();
    for format in ["jsonl", "sse"] {
        let log = scratch.arg(format);
        let frame = |text: &String| if format == "sse" { format!("data: {text}\n\n") } else { format!("{text}\n") };
        let events: Vec<_> = events.iter().map(|(time, text)| (*time, frame(text))).collect();
        import_as(format, &log, &events);
        for (args, slice) in [(&[][..], None), (&["--by", "kind"], Some("c")), (&["--by", "session"], Some("a"))] {
            assert_eq!(of_tokens(&log, args, slice, "count"), [4, 16, 4], "{format}: {args:?}");
            let close = |found: u64, milliseconds: u64| found.abs_diff(milliseconds * 1_000_000) < 100_000;
            let [first, inter, each] = of_tokens(&log, args, slice, "max");
            assert!(close(first, 101) && close(inter, 40) && close(each, 40), "{format}: {first} {inter} {each}");
        }
    }
}

#[test]
fn kinds_have_as_many_answers_as_the_whole() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let again = live_stream().into_iter().map(|(time, text)| (time + 60_000, text));
    import_stream(&log, &live_stream().into_iter().chain(again).collect::<Vec<_>>());
    for (args, slice) in [(&[][..], None), (&["--by", "kind"], Some("chat.completion.chunk"))] {
        assert_eq!(of_tokens(&log, args, slice, "count"), [2, 18, 2], "{args:?}");
        let [first, inter, each] = of_tokens(&log, args, slice, "max");
        assert!([first, inter, each].iter().all(|value| *value < 1_300_000_000), "{first} {inter} {each}");
    }
}

#[test]
fn the_end_of_a_stream_belongs_to_the_answer_before_it() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let texts = [
        r#"data: {"type":"response.created"}"#,
        r#"data: {"type":"response.output_text.delta","delta":"a"}"#,
        r#"data: {"type":"response.completed"}"#,
        "data: [DONE]",
    ];
    let frames = texts.iter().cycle().take(8).enumerate();
    let events: Vec<_> = frames.map(|(at, text)| (at as u64 * 100, format!("{text}\n\n"))).collect();
    import_as("sse", &log, &events);
    assert_eq!(of_tokens(&log, &[], None, "count"), [2, 0, 0], "two answers");
    assert_eq!(of_tokens(&log, &["--by", "kind"], Some("[DONE]"), "count"), [2, 0, 0]);
    let [first, ..] = of_tokens(&log, &["--by", "kind"], Some("[DONE]"), "max");
    assert!(first.abs_diff(300_000_000) < 1_000_000, "since the answer began: {first}");
}
