//! `tapeline export --format openai-chunks`: an answer gets an end that was not recorded only if it is known to be
//! whole.

use std::fs;

use crate::chunks::{answers, imported};
use crate::export::checked;
use crate::frames::events;
use crate::run::{Recording, Scratch, done, errors, expect, json, record, run, run_with, until};

/// The answers of a session, the status of the export, and what is said beside them.
fn exported(log: &str, session: &str, args: &[&str]) -> (Vec<String>, i32, String) {
    let output = run(&[&["export", log, "--format", "openai-chunks", "--session", session], args].concat());
    let data: Vec<_> = events(&output.stdout).into_iter().map(|(_, data)| data).collect();
    (answers(&data), output.status.code().expect("no signal"), errors(&output))
}

/// A log of 6,000 tokens in several segments, and its segments' files.
fn long(scratch: &Scratch) -> (String, Vec<String>) {
    let log = scratch.arg("log");
    let lines: String = (0..6000).map(|n| format!("{{\"content\":\"t{n} {}\"}}\n", "z".repeat(700))).collect();
    record(&[&log, &scratch.file("s", lines), "--format", "jsonl"]);
    let info = json(&done(&["info", &log, "--json"])).remove(0);
    let segments = info["segments"].as_array().expect("a list").iter();
    (log, segments.map(|segment| segment["file"].as_str().expect("text").to_owned()).collect())
}

fn assert_incomplete(answers: &[String], said: &str, why: &str) {
    let [answer] = answers else { panic!("{} answers", answers.len()) };
    assert!(answer.ends_with("(failed)") && !answer.contains("(stop)") && !answer.contains("[DONE]"), "{said}");
    assert!(said.contains("not known to be whole") && said.contains(why), "{said}");
}

#[test]
fn an_answer_with_a_hole_does_not_stop() {
    let scratch = Scratch::new();
    let (log, segments) = long(&scratch);
    let (whole, status, said) = exported(&log, "s", &[]);
    assert!(whole[0].ends_with("(stop)[DONE]") && status == 0, "{said}");
    let path = scratch.path("log/shard-0000").join(segments.last().expect("a segment"));
    let mut bytes = fs::read(&path).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("a segment");
    let (answers, status, said) = exported(&log, "s", &[]);
    assert_eq!(status, 5, "{said}");
    assert_incomplete(&answers, &said, "events are missing");
    let out = scratch.arg("out");
    expect(run(&["export", &log, "--format", "openai-chunks", "--out", &out]), 5);
    if let Some(found) = checked(&["openai-chunks", &format!("{out}/s.sse")]) {
        assert_eq!(found["errors"][0]["type"], "incomplete_answer");
    }
}

#[test]
fn an_answer_without_its_beginning_does_not_stop() {
    let scratch = Scratch::new();
    let (log, _) = long(&scratch);
    let more = scratch.file("more", "{\"text\":\"a\"}\n");
    record(&[&log, &more, "--format", "jsonl"]);
    done(&["trim", &log, "--max-segments", "2"]);
    let (answers, status, said) = exported(&log, "s", &[]);
    assert_eq!(status, 4, "{said}");
    assert_incomplete(&answers, &said, "its beginning is not there");
    // Another session has its beginning.
    assert_eq!(exported(&log, "more", &[]), (vec!["a(stop)[DONE]".to_owned()], 0, String::new()));
}

#[test]
fn a_recording_that_goes_on_or_was_killed_has_no_end() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("before", "{\"text\":\"b\"}\n"), "--format", "jsonl"]);
    let mut recording = Recording::start(&[&log, "--format", "jsonl", "--session", "cut"]);
    recording.write(b"{\"text\":\"one\"}\n{\"text\":\"two\"}\n");
    until("two events", || Recording::seen(&log, "cut").filter(|events| *events == 2));
    let is_cut = |answers: &[String], status, said: &str| {
        assert_incomplete(answers, said, "goes on or was cut off");
        assert_eq!((answers[0].as_str(), status), ("onetwo(failed)", 4), "{said}");
    };
    let (answers, status, said) = exported(&log, "cut", &[]);
    is_cut(&answers, status, &said);
    drop(recording);
    let (answers, status, said) = exported(&log, "cut", &[]);
    is_cut(&answers, status, &said);
    let whole = |text: &str| (vec![format!("{text}(stop)[DONE]")], 0, String::new());
    assert_eq!(exported(&log, "before", &[]), whole("b"));
    // The next recording keeps in mind that this one was killed.
    record(&[&log, &scratch.file("after", "{\"text\":\"a\"}\n"), "--format", "jsonl"]);
    let (answers, status, said) = exported(&log, "cut", &[]);
    is_cut(&answers, status, &said);
    assert_eq!((exported(&log, "before", &[]), exported(&log, "after", &[])), (whole("b"), whole("a")));
    record(&[&log, &scratch.file("cut", "{\"text\":\"again\"}\n"), "--format", "jsonl"]);
    let (answers, status, _) = exported(&log, "cut", &[]);
    assert_eq!((answers, status), (vec!["onetwo(failed)again(stop)[DONE]".to_owned()], 4));
    let lines = json(&done(&["ls", &log, "--json"]));
    assert!(lines.iter().all(|line| line["state"] == "open"), "{lines:?}");
}

#[test]
fn a_recording_that_ends_before_its_input_has_no_end() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let lines =
        "{\"s\":\"a\",\"text\":\"a\"}\n{\"s\":\"b\",\"text\":\"b\"}\nno JSON\n{\"s\":\"a\",\"text\":\"more\"}\n";
    let args = ["record", &log, "--format", "jsonl", "--session-field", "s", "--on-bad", "stop"];
    expect(run_with(&args, lines.as_bytes()), 1);
    for session in ["a", "b"] {
        let (answers, status, said) = exported(&log, session, &[]);
        assert_incomplete(&answers, &said, "was cut off");
        assert_eq!(status, 4);
    }
    record(&[&log, &scratch.file("c", "{\"text\":\"c\"}\n"), "--format", "jsonl"]);
    assert_eq!(exported(&log, "c", &[]), (vec!["c(stop)[DONE]".to_owned()], 0, String::new()));
    assert_eq!(exported(&log, "a", &[]).1, 4);
}

#[test]
fn a_selection_within_an_answer_is_no_whole_one() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("s", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n"), "--format", "jsonl"]);
    let lines = json(&done(&["replay", &log, "--format", "jsonl"]));
    let time = |line: usize| lines[line]["time"].as_str().expect("text").to_owned();
    for (args, why) in [
        (["--until", &*time(2)], "leaves events of its session out"),
        (["--until", &*time(3)], "leaves events of its session out"),
        (["--since", &*time(2)], "its beginning is not there"),
        (["--filter", r#"{"path":"text","value":"b"}"#], "leaves events of its session out"),
        (["--filter", r#"{"$size":{"gte":1}}"#], "leaves events of its session out"),
    ] {
        let (answers, status, said) = exported(&log, "s", &args);
        assert_eq!(status, 4, "{args:?}: {said}");
        assert_incomplete(&answers, &said, why);
    }
    for args in [["--until", "2500-01-01"], ["--since", &*time(0)], ["--kind", "unspecified"]] {
        assert_eq!(exported(&log, "s", &args), (vec!["abc(stop)[DONE]".to_owned()], 0, String::new()), "{args:?}");
    }
}

#[test]
fn what_other_producers_wrote_is_whole_once_their_process_has_ended() {
    let token = ("token", r#""payload":{"text":"a"}"#);
    let close = |outcome: &str| format!(r#""payload":{{"type":"session.close"{outcome}}}"#);
    let (finished, unsaid) = (close(r#","outcome":"finished""#), close(""));
    for (events, expected, status) in [
        (vec![token, ("session", &finished)], "a(stop)[DONE]", 0),
        (vec![token], "a(stop)[DONE]", 0),
        (vec![token, ("session", &unsaid)], "a(stop)[DONE]", 0),
        (vec![token, ("session", &finished), token], "aa(stop)[DONE]", 0),
        (vec![token, ("guardrail", r#""payload":{"x":1}"#)], "a(stop)[DONE]", 0),
    ] {
        let scratch = Scratch::new();
        let log = imported(&scratch, &events);
        let (answers, found, said) = exported(&log, &"0a".repeat(16), &[]);
        assert_eq!((&answers[..], found), (&[expected.to_owned()][..], status), "{events:?}: {said}");
    }
    // Recorded ends are passed on, of an answer that is not known to be whole after its error.
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let frames = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    expect(run_with(&["record", &log, "--format", "sse"], frames.as_bytes()), 0);
    assert_eq!(exported(&log, "stdin", &[]), (vec!["a[DONE]".to_owned()], 0, String::new()));
    let last = json(&done(&["replay", &log, "--format", "jsonl"]))[1]["time"].as_str().expect("text").to_owned();
    let (answers, status, _) = exported(&log, "stdin", &["--since", &last]);
    assert_eq!((answers, status), (vec!["a(failed)[DONE]".to_owned()], 4));
}
