//! Server-sent events that were recorded are the same stream when they are played back.

use tapeline_testing::{Random, seed};

use crate::run::{Scratch, done, record};

/// A stream as a client decodes it, with each line end as a line feed.
fn decoded(stream: &[u8]) -> String {
    let text = String::from_utf8_lossy(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream));
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The events that a client of the HTML standard gets from a stream: type and data of each.
pub(crate) fn events(stream: &[u8]) -> Vec<(String, String)> {
    dispatched(stream).into_iter().map(|(event, data, _)| (event, data)).collect()
}

/// The same, each with the last id that the client knows then.
fn dispatched(stream: &[u8]) -> Vec<(String, String, String)> {
    let text = decoded(stream);
    let (mut all, mut event, mut data, mut id) = (Vec::new(), String::new(), String::new(), String::new());
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                if let Some(data) = data.strip_suffix('\n') {
                    all.push((event.clone(), data.to_owned(), id.clone()));
                }
                (event, data) = Default::default();
            }
            "event" => event = value.to_owned(),
            "data" => data = format!("{data}{value}\n"),
            "id" if !value.contains('\0') => id = value.to_owned(),
            _ => {}
        }
    }
    all
}

/// The time after which such a client connects again, in the digits of the stream.
fn retry(stream: &[u8]) -> Option<String> {
    let text = decoded(stream);
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let mut times =
        whole.filter_map(|line| line.strip_prefix("retry:")).map(|time| time.strip_prefix(' ').unwrap_or(time));
    let is_time = |time: &&str| !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
    times.rfind(is_time).map(str::to_owned)
}

/// Streams with what servers send beside plain frames.
const STREAMS: [(&str, &[u8]); 21] = [
    ("plain", b"data: a\n\ndata: b\n\ndata: [DONE]\n\n"),
    ("comments", b": wait\n\n:\n\ndata: a\n: more\n\n"),
    ("fields", b"event: chunk\nid: 7\ndata: a\n\nid: 8\n\nevent: none\n\nretry: 3000\n\nid: \0\ndata: b\n\n"),
    ("lines", b"data: a\ndata: b\ndata:\ndata: c\n\n"),
    ("no-colon", b"data\n\ndata\ndata\n\ndata: two\n\nevent\ndata: x\n\n"),
    ("unknown", b"Data: no\n\n data: no\n\nother: no\ndata: yes\n\njust text\n\n"),
    ("blank", b"\n\n\ndata: a\n\n\n\ndata: b\n\n\n\n"),
    ("mark", b"\xef\xbb\xbfdata: a\n\ndata: b\n\n\xef\xbb\xbfdata: no\n\n"),
    ("marks", b"\xef\xbb\xbf\xef\xbb\xbfdata: no\n\ndata: a\n\n"),
    ("returns", b"data: a\r\rdata: b\r\n\r\ndata: c\n\r\ndata: d\r\r\ndata: e\r\n\r"),
    ("cut", b"data: one\n\ndata: tw"),
    ("cut-line", b"data: one\n\ndata: two\n"),
    ("bytes", b"data: \xff\xc3\n\nevent: \xff\ndata: a\0b\n\n"),
    ("json", b"data: {\"a\":\ndata: 1}\n\n{\"error\": \"no frame\"}\n\n"),
    ("empty", b""),
    ("retry", b"data: a\n\nretry: 3000\n"),
    ("retry-cut", b"retry: 1\n\ndata: a\n\nid: 9\nretry:2000\r\ndata: b\nretry: x\nretry: 30"),
    ("retry-only", b"retry: 5000\n"),
    ("retry-return", b"data: a\r\rretry: 7\r"),
    ("retry-first", b"retry: 10\ndata: a\n\n"),
    ("nul", b"\0data: no\nid: 1\x002\nid\ndata: \0\n\ndata: {\"a\":1,\"a\":2}\n\n"),
];

#[test]
fn recorded_streams_are_the_same_to_a_client() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    for (name, bytes) in STREAMS {
        let file = scratch.file(&format!("{name}.sse"), bytes);
        record(&[&log, &file, "--format", "sse"]);
        assert_eq!(done(&["replay", &log, "--session", name, "--format", "raw"]), bytes, "{name}: bytes");
        let played = done(&["replay", &log, "--session", name, "--format", "sse"]);
        assert_eq!(events(&played), events(bytes), "{name}: {:?}", String::from_utf8_lossy(&played));
        for command in ["replay", "export", "tail"] {
            let tail = ["--from", "start", "--exit-idle", "1ms"];
            let more: &[&str] = if command == "tail" { &tail } else { &[] };
            let played = done(&[&[command, &log, "--session", name, "--format", "sse"], more].concat());
            assert_eq!(retry(&played), retry(bytes), "{name}: {command}");
        }
    }
    let all = events(&done(&["replay", &log, "--format", "sse"]));
    let each: Vec<_> = STREAMS.iter().flat_map(|(_, bytes)| events(bytes)).collect();
    assert_eq!(all, each, "one after the other");
    assert_eq!(events(&done(&["export", &log, "--format", "sse"])), each);
}

#[test]
fn streams_recorded_as_lines_are_the_same_to_a_client() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let stream =
        "\u{feff}: wait\n\nretry: 3000\n\nevent: x\ndata: {\"a\":\ndata: 1}\n\ndata: b\r\n\r\ndata: [DONE]\n\n\n";
    record(&[&log, &scratch.file("s", stream), "--format", "jsonl"]);
    assert_eq!(done(&["replay", &log, "--format", "raw"]), stream.as_bytes());
    let played = done(&["replay", &log, "--format", "sse"]);
    assert_eq!(events(&played), events(stream.as_bytes()), "{}", String::from_utf8_lossy(&played));
    assert_eq!(retry(&played).as_deref(), Some("3000"));
    // Where blank lines end events, what follows the data on a line is of its event.
    let stream = "data: {\"a\":1}\n\ndata: {\"b\":1}\nid: 1\nevent: x\n\ndata: {}\ndata: {}\n\n: data: {}\n\ndata: []\nretry: 1\n\n";
    record(&[&log, &scratch.file("fields", stream), "--format", "jsonl"]);
    let played = done(&["replay", &log, "--session", "fields", "--format", "sse"]);
    assert_eq!(events(&played), events(stream.as_bytes()), "{}", String::from_utf8_lossy(&played));
    // JSON beside it is an event of its own, and a blank line is none.
    let mixed = "{\"a\":1}\n\ndata: {\"b\":2}\n{\"c\":3}\n";
    record(&[&log, &scratch.file("mixed", mixed), "--format", "jsonl"]);
    let played = events(&done(&["replay", &log, "--session", "mixed", "--format", "sse"]));
    let data: Vec<_> = played.iter().map(|(_, data)| data.trim_end()).collect();
    assert_eq!(data, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
}

/// The fields of an event, in any order: of these, one is a whole object of data.
const FIELDS: [&str; 12] = [
    "id: 1",
    "id",
    "event: x",
    "event",
    "retry: 5",
    ": wait",
    ":",
    "data: {\"a\":",
    "data: no",
    "data",
    "data:",
    "id: 2",
];

/// Lines that stand in a stream, too: more data, and names that no client knows.
const MORE: [&str; 7] =
    ["data: {\"b\":2}", "data: [DONE]", "data:{}", "Data: no", "no field", " data: no", "data: c\rdata: d"];

/// A random stream, of which the first event has one line with an object.
fn random_stream(random: &mut Random) -> String {
    let mut stream = random.pick(&["", "\u{feff}", "\n"]).to_owned();
    let end = random.pick(&["\n", "\r\n"]);
    let events = 1 + random.below(6);
    for event in 0..events {
        let mut lines: Vec<_> = (0..random.below(4)).map(|_| random.pick(&FIELDS)).collect();
        lines.push("data: {\"b\":1}");
        if event > 0 {
            lines.extend((0..random.below(4)).map(|_| random.pick(&MORE)));
        }
        for _ in 0..lines.len() {
            let at = random.below(lines.len());
            lines.swap(0, at);
        }
        // The last event may break off.
        let blank = if event > 0 && event + 1 == events { random.below(2) } else { 1 + random.below(2) };
        lines.extend(vec![""; blank]);
        stream.extend(lines.into_iter().flat_map(|line| [line, end]));
    }
    stream
}

#[test]
fn any_stream_recorded_as_lines_is_the_same_to_a_client() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let seed = seed();
    let mut random = Random::new(seed);
    let streams: Vec<_> = (0..300).map(|_| random_stream(&mut random)).collect();
    let files: Vec<_> =
        streams.iter().enumerate().map(|(number, stream)| scratch.file(&format!("{number:03}"), stream)).collect();
    let args: Vec<_> = [log.as_str()].into_iter().chain(files.iter().map(String::as_str)).collect();
    record(&[&args[..], &["--format", "jsonl"]].concat());
    let each: Vec<_> = streams.iter().map(|stream| events(stream.as_bytes())).collect();
    for command in ["replay", "export"] {
        assert_eq!(events(&done(&[command, &log, "--format", "sse"])), each.concat(), "{command}, seed {seed}");
    }
    for (number, stream) in streams.iter().enumerate().take(30) {
        let played = done(&["replay", &log, "--session", &format!("{number:03}"), "--format", "sse"]);
        assert_eq!(dispatched(&played), dispatched(stream.as_bytes()), "{stream:?}, seed {seed}");
        assert_eq!(retry(&played), retry(stream.as_bytes()), "{stream:?}, seed {seed}");
    }
}

/// Streams of which a filter has left the blank lines out.
#[test]
fn without_blank_lines_each_line_of_data_is_an_event() {
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let kept = "event: x\ndata: {\"a\":1}\n\nid: 7\n: wait\ndata: {\"a\":2}\n\nevent: y\nretry: 9\ndata: [DONE]\n\n";
    for (name, lost) in
        [("ends", kept.replace("\n\n", "\n")), ("breaks-off", kept.replace("\n\n", "\n").trim_end().into())]
    {
        record(&[&log, &scratch.file(name, lost), "--format", "jsonl"]);
        let played = done(&["replay", &log, "--session", name, "--format", "sse"]);
        assert_eq!(dispatched(&played), dispatched(kept.as_bytes()), "{name}: {}", String::from_utf8_lossy(&played));
        let tailed =
            done(&["tail", &log, "--session", name, "--format", "sse", "--from", "start", "--exit-idle", "1ms"]);
        assert_eq!(dispatched(&tailed), dispatched(kept.as_bytes()), "{name}: {}", String::from_utf8_lossy(&tailed));
    }
    let one = scratch.file("one", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n");
    record(&[&log, &one, "--format", "jsonl"]);
    let chunks = done(&["export", &log, "--session", "one", "--format", "openai-chunks"]);
    assert!(String::from_utf8_lossy(&chunks).contains("\"content\":\"a\""), "{}", String::from_utf8_lossy(&chunks));
}
