//! The frames of a stream are those of the standard, however its bytes come.

use tapeline_testing::{Random, seeds};

use super::*;

/// The events of a client: type and data of each.
type Events = Vec<(String, String)>;

fn events<'a>(frames: impl Iterator<Item = Frame<'a>>) -> Events {
    frames.filter_map(|frame| Some((frame.event().into_owned(), frame.data()?.into_owned()))).collect()
}

fn whole(bytes: &[u8]) -> Events {
    events(frames(bytes))
}

/// The same, taken `step` bytes at once.
fn dribbled(bytes: &[u8], mut step: impl FnMut() -> usize) -> Events {
    let (mut stream, mut rest, mut all) = (Stream::default(), bytes, Vec::new());
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(step().clamp(1, rest.len()));
        rest = more;
        let pushed: Result<(), std::convert::Infallible> = stream.push(piece, |block| {
            all.extend(events(std::iter::once(Frame::parse(block))));
            Ok(())
        });
        let Ok(()) = pushed;
    }
    all
}

/// The standard's own steps, character by character: a second opinion.
fn standard(bytes: &[u8]) -> Events {
    let text = String::from_utf8_lossy(bytes.strip_prefix(BOM).unwrap_or(bytes)).into_owned();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut all, mut event, mut data) = (Vec::new(), String::new(), String::new());
    // What follows the last line end is no line.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "" if line.is_empty() => {
                if let Some(data) = data.strip_suffix('\n') {
                    all.push((std::mem::take(&mut event), data.to_owned()));
                }
                (event, data) = Default::default();
            }
            "event" => event = value,
            "data" => data += &(value + "\n"),
            _ => {}
        }
    }
    all
}

fn message(data: &str) -> (String, String) {
    (String::new(), data.to_owned())
}

fn of_type(event: &str, data: &str) -> (String, String) {
    (event.to_owned(), data.to_owned())
}

#[test]
fn frames_are_those_of_the_standard() {
    let cases: [(&str, Events); 18] = [
        ("data: a\n\ndata:b\n\n", vec![message("a"), message("b")]),
        ("data:  a\ndata:\ndata\ndata: d:e\n\n", vec![message(" a\n\n\nd:e")]),
        ("data\n\ndata\ndata\n\ndata:", vec![message(""), message("\n")]),
        ("event: x\ndata: a\n\ndata: b\n\n", vec![of_type("x", "a"), message("b")]),
        ("event: x\n\ndata: b\n\n", vec![message("b")]),
        ("event: x\nevent: y\ndata: b\nevent\n\n", vec![message("b")]),
        (": ping\n\n:\n\ndata: a\n: b\n\n", vec![message("a")]),
        ("retry: 3000\n\nretry: x\ndata: a\n\n", vec![message("a")]),
        ("id: 7\n\nid: \0\ndata: a\n\n", vec![message("a")]),
        ("\u{feff}data: a\n\n", vec![message("a")]),
        ("data: a\n\n\u{feff}data: b\n\n", vec![message("a")]),
        ("\u{feff}\u{feff}data: a\n\n", vec![]),
        (
            "data: a\r\rdata: b\r\n\r\ndata: c\n\ndata: d\r\n\ndata: e\n\r\n",
            ["a", "b", "c", "d", "e"].map(message).into(),
        ),
        ("data: a\r\r\ndata: b\r\r", vec![message("a"), message("b")]),
        ("data: a\n\n\n\n\ndata: b\n\n\n", vec![message("a"), message("b")]),
        ("data: a\n\ndata: b\n", vec![message("a")]),
        ("Data: a\n data: a\ndat: a\nx\n\ndata: b\n\n", vec![message("b")]),
        ("", vec![]),
    ];
    for (text, expected) in cases {
        assert_eq!(standard(text.as_bytes()), expected, "the second opinion on {text:?}");
        assert_eq!(whole(text.as_bytes()), expected, "{text:?}");
    }
    assert_eq!(whole(b"data: \xff\xc3\n\n"), [message("\u{fffd}\u{fffd}")]);
}

#[test]
fn frames_do_not_depend_on_how_the_bytes_come() {
    let words: [&[u8]; 20] = [
        b"data: a",
        b"data",
        b"data:",
        b"event: x",
        b"event",
        b"id: 1",
        b"id: \0",
        b"retry: 1",
        b": ping",
        b":",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\r",
        b"\r\n",
        b"\r\n\r\n",
        b"other: y",
        BOM,
        b"\xff",
        b"{\"a\": 1}",
    ];
    for seed in seeds(3000) {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..random.below(24)).flat_map(|_| words[random.below(words.len())].to_vec()).collect();
        let expected = standard(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(whole(&bytes), expected, "seed {seed}, at once: {text:?}");
        assert_eq!(dribbled(&bytes, || 1), expected, "seed {seed}, byte by byte: {text:?}");
        assert_eq!(dribbled(&bytes, || 1 + random.below(9)), expected, "seed {seed}, in pieces: {text:?}");
    }
}

#[test]
fn a_frame_without_end_is_not_kept_for_ever() {
    let bytes = [b"data: a\n\ndata: ".to_vec(), vec![b'x'; 70 << 20], b"\n\ndata: b\n\n".to_vec()].concat();
    assert_eq!(dribbled(&bytes, || 1 << 20), [message("a"), message("b")]);
}

#[test]
fn any_bytes_are_parsed() {
    for seed in seeds(3000) {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..random.below(64)).map(|_| random.below(256) as u8).collect();
        assert_eq!(whole(&bytes), standard(&bytes), "seed {seed}");
        assert_eq!(dribbled(&bytes, || 1 + random.below(5)), standard(&bytes), "seed {seed}");
    }
}

#[test]
fn frames_are_known_where_nothing_says_what_a_payload_is() {
    for payload in [
        "data: x\n\n",
        "event: a\r\ndata: x\r\n\r\n",
        ": ping\n\n",
        "data:\n\n",
        "\n\ndata: a\n\n",
        "data: a\n\ndata: b\n\n",
        "data: a\n\ndata: b\n\n\n",
        "\u{feff}data: a\n\n",
        "retry: 1\r\r",
    ] {
        assert!(is_frames(payload.as_bytes()), "{payload:?}");
    }
    for other in
        ["", "\n\n", "data: x\n", "data: x", "hello: x\n\n", "data\n\n", "text\ndata: x\n\n", "data: x\n\nrest"]
    {
        assert!(!is_frames(other.as_bytes()), "{other:?}");
    }
}

#[test]
fn payloads_that_are_one_event_are_its_frame() {
    for (payload, data) in [
        ("data: {\"a\":1}\n\n", Some("{\"a\":1}")),
        ("\u{feff}: ping\r\nevent: x\r\nid: 7\r\ndata:{\"a\":1}\r\n\r\n", Some("{\"a\":1}")),
        ("\n\ndata: {\rdata: \"a\":1}\r\r", Some("{\n\"a\":1}")),
        ("data\n\n", Some("")),
        ("data: cut", Some("cut")),
        ("data: 1\n\n: comment\n\n", Some("1")),
        (": ping\n\n", None),
        ("", None),
        ("\n", None),
        ("data: 1\n\ndata: 2\n\n", None),
        ("{\"data\": 1}", None),
        ("data: 1\nnot a field\n\n", None),
        ("dat", None),
    ] {
        let frame = sole_frame(payload.as_bytes());
        assert_eq!(frame.as_ref().and_then(Frame::data).as_deref(), data, "{payload:?}");
        // As the client has it, where it is whole.
        if let (Some(frame), true) = (frame, is_frames(payload.as_bytes())) {
            assert_eq!(events(std::iter::once(frame)), whole(payload.as_bytes()), "{payload:?}");
        }
    }
}
