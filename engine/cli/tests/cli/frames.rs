//! Server-sent events that were recorded are the same stream when they are played back.

use crate::run::{Scratch, done, record};

/// The events that a client of the HTML standard gets from a stream: type and data of each.
pub(crate) fn events(stream: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream)).into_owned();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut all, mut event, mut data) = (Vec::new(), String::new(), String::new());
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                if let Some(data) = data.strip_suffix('\n') {
                    all.push((event.clone(), data.to_owned()));
                }
                (event, data) = Default::default();
            }
            "event" => event = value.to_owned(),
            "data" => data = format!("{data}{value}\n"),
            _ => {}
        }
    }
    all
}

/// Streams with what servers send beside plain frames.
const STREAMS: [(&str, &[u8]); 14] = [
    ("plain", b"data: a\n\ndata: b\n\ndata: [DONE]\n\n"),
    ("comments", b": wait\n\n:\n\ndata: a\n: more\n\n"),
    ("fields", b"event: chunk\nid: 7\ndata: a\n\nid: 8\n\nevent: none\n\nretry: 3000\n\nid: \0\ndata: b\n\n"),
    ("lines", b"data: a\ndata: b\ndata:\ndata: c\n\n"),
    ("no-colon", b"data\n\ndata\ndata\n\ndata: two\n\nevent\ndata: x\n\n"),
    ("unknown", b"Data: no\n\n data: no\n\nother: no\ndata: yes\n\njust text\n\n"),
    ("blank", b"\n\n\ndata: a\n\n\n\ndata: b\n\n\n\n"),
    ("mark", b"\xef\xbb\xbfdata: a\n\ndata: b\n\n\xef\xbb\xbfdata: no\n\n"),
    ("returns", b"data: a\r\rdata: b\r\n\r\ndata: c\n\r\ndata: d\r\r\ndata: e\r\n\r"),
    ("cut", b"data: one\n\ndata: tw"),
    ("cut-line", b"data: one\n\ndata: two\n"),
    ("bytes", b"data: \xff\xc3\n\nevent: \xff\ndata: a\0b\n\n"),
    ("json", b"data: {\"a\":\ndata: 1}\n\n{\"error\": \"no frame\"}\n\n"),
    ("empty", b""),
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
    }
    let all = events(&done(&["replay", &log, "--format", "sse"]));
    let each: Vec<_> = STREAMS.iter().flat_map(|(_, bytes)| events(bytes)).collect();
    assert_eq!(all, each, "one after the other");
    assert_eq!(events(&done(&["export", &log, "--format", "sse"])), each);
}
