//! Cutting loses no byte, wherever the reads happen to end, and cuts where the formats say.

use std::io::{self, Read};

use serde_json::Value;
use tapeline::sse::{FrameEnds as Frames, Rest};
use tapeline_testing::{Random, seeds};

use super::args::OnBad;
use super::field;
use super::jsonl::Lines;
use super::raw::Chunks;
use super::split::{Awaited, Cutter, Extent, Limit, SplitError, Splitter};

/// A stream that gives at most so many bytes at once.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.len().min(self.1).min(buffer.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

impl Awaited for Dribble<'_> {
    fn would_wait(&self) -> bool {
        false
    }
}

/// A stream that has stalled after what it has.
struct Stalled<'a>(&'a [u8]);

impl Read for Stalled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl Awaited for Stalled<'_> {
    fn would_wait(&self) -> bool {
        self.0.is_empty()
    }
}

#[test]
fn a_return_ends_a_frame_where_nothing_follows_it_yet() {
    let limit = Limit { bytes_max: 1 << 20, on_bad: OnBad::Stop };
    for whole in ["data: a\r\n\r", "data: a\n\r", "\r\ndata: a\r\n\r", "data: a\r\r", "data: a\r\n\r\n"] {
        let mut frames = Splitter::new(Stalled(whole.as_bytes()), Frames::default(), limit);
        let frame = frames.next().expect("no read").expect("a frame");
        assert_eq!(String::from_utf8_lossy(frame.bytes), whole);
    }
    for begun in ["data: a\r", "data: a\r\n", "\r", "\r\n\r"] {
        let mut frames = Splitter::new(Stalled(begun.as_bytes()), Frames::default(), limit);
        assert!(matches!(frames.next(), Err(SplitError::Read(_))), "{begun:?}");
    }
}

/// The events of `bytes`, with the lines they start on.
fn cut_at<C: Cutter>(bytes: &[u8], step: usize, cut: C) -> Vec<(u64, Vec<u8>)> {
    let mut splitter = Splitter::new(Dribble(bytes, step), cut, Limit { bytes_max: 1 << 20, on_bad: OnBad::Stop });
    let mut pieces = Vec::new();
    while let Some(piece) = splitter.next().expect("readable") {
        pieces.push((piece.line, piece.bytes.to_vec()));
    }
    pieces
}

/// The same, checked to be the same at any step.
fn cut<C: Cutter + Default>(bytes: &[u8]) -> Vec<(u64, String)> {
    let whole = cut_at(bytes, usize::MAX, C::default());
    for step in 1..=bytes.len().min(40) {
        assert_eq!(cut_at(bytes, step, C::default()), whole, "{step} bytes at once");
    }
    let pieces = whole.into_iter();
    pieces.map(|(line, bytes)| (line, String::from_utf8_lossy(&bytes).into_owned())).collect()
}

fn pieces(of: &[(u64, &str)]) -> Vec<(u64, String)> {
    of.iter().map(|&(line, text)| (line, text.to_owned())).collect()
}

#[test]
fn lines_keep_their_line_ends() {
    let cases: [(&str, &[(u64, &str)]); 6] = [
        ("", &[]),
        ("{}\n{}\n", &[(1, "{}\n"), (2, "{}\n")]),
        ("a\nb", &[(1, "a\n"), (2, "b")]),
        ("a\r\n\r\nb\rc\n", &[(1, "a\r\n"), (2, "\r\n"), (3, "b\rc\n")]),
        ("\n\n", &[(1, "\n"), (2, "\n")]),
        ("\u{feff}{}\n", &[(1, "\u{feff}{}\n")]),
    ];
    for (text, expected) in cases {
        assert_eq!(cut::<Lines>(text.as_bytes()), pieces(expected), "{text:?}");
    }
}

#[test]
fn frames_end_with_their_blank_line() {
    let cases: [(&str, &[(u64, &str)]); 10] = [
        ("", &[]),
        ("data: a\n\ndata: b\n\n", &[(1, "data: a\n\n"), (3, "data: b\n\n")]),
        ("event: x\r\ndata: a\r\n\r\n: ping\r\n\r\n", &[(1, "event: x\r\ndata: a\r\n\r\n"), (4, ": ping\r\n\r\n")]),
        ("data: a\r\rdata: b\r\r", &[(1, "data: a\r\r"), (3, "data: b\r\r")]),
        (
            "data: a\n\r\ndata: b\r\n\rdata: c\r\n\n",
            &[(1, "data: a\n\r\n"), (3, "data: b\r\n\r"), (5, "data: c\r\n\n")],
        ),
        ("data: a\n\n\n\ndata: b\n\n", &[(1, "data: a\n\n"), (3, "\n\ndata: b\n\n")]),
        ("data: a\n\n\n", &[(1, "data: a\n\n"), (3, "\n")]),
        ("data: a\n\ndata: b", &[(1, "data: a\n\n"), (3, "data: b")]),
        ("data: a\n\ndata: b\n", &[(1, "data: a\n\n"), (3, "data: b\n")]),
        ("\u{feff}data\n\n", &[(1, "\u{feff}data\n\n")]),
    ];
    for (text, expected) in cases {
        assert_eq!(cut::<Frames>(text.as_bytes()), pieces(expected), "{text:?}");
    }
}

#[test]
fn a_frame_of_lines_that_end_with_a_return_ends_with_its_last_byte() {
    let end = |bytes: &[u8]| Frames::default().end(bytes, Rest::Awaited).map(|end| end.bytes);
    assert_eq!(end(b"data: a\r\r"), Some(9));
    assert_eq!(end(b"event: x\rdata: a\r\rdata"), Some(18));
    assert_eq!(end(b"data: a\r\n\r"), None, "the line feed is on its way");
}

#[test]
fn any_bytes_come_back_from_any_cut() {
    for seed in seeds(500) {
        let mut random = Random::new(seed);
        let alphabet = b"\n\r\na:";
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| alphabet[random.below(alphabet.len())]).collect();
        let step = 1 + random.below(20);
        assert_eq!(joined(cut_at(&bytes, step, Lines::default())), bytes);
        assert_eq!(joined(cut_at(&bytes, step, Frames::default())), bytes);
        assert_eq!(joined(cut_at(&bytes, step, Chunks)), bytes);
        let whole = cut_at(&bytes, usize::MAX, Frames::default());
        assert_eq!(cut_at(&bytes, step, Frames::default()), whole, "seed {seed}, {step} bytes at once");
    }
}

#[test]
fn a_file_is_cut_into_full_chunks() {
    let bytes = vec![7; 3 * Chunks::BYTES + 5];
    let lengths: Vec<usize> = cut_at(&bytes, usize::MAX, Chunks).iter().map(|(_, chunk)| chunk.len()).collect();
    assert_eq!(lengths, [Chunks::BYTES, Chunks::BYTES, Chunks::BYTES, 5]);
}

#[test]
fn an_event_is_refused_where_it_is_too_long() {
    for step in [1, 7, usize::MAX] {
        let limit = Limit { bytes_max: 8, on_bad: OnBad::Stop };
        let mut lines = Splitter::new(Dribble(b"12345\n1234567890", step), Lines::default(), limit);
        assert_eq!(lines.next().expect("short").expect("line").bytes, b"12345\n");
        assert!(matches!(lines.next(), Err(SplitError::TooLong { line: 2 })), "{step} bytes at once");
    }
}

/// The pieces of a stream whose events may have `bytes_max` bytes: lines, extents and bytes.
fn limited<C: Cutter + Default>(bytes: &[u8], step: usize, limit: Limit) -> Vec<(u64, Extent, Vec<u8>)> {
    let mut splitter = Splitter::new(Dribble(bytes, step), C::default(), limit);
    let mut pieces = Vec::new();
    while let Some(piece) = splitter.next().expect("readable") {
        pieces.push((piece.line, piece.extent, piece.bytes.to_vec()));
    }
    pieces
}

#[test]
fn long_events_come_in_parts_or_are_passed_over() {
    let text = b"one\n123456789\n\n12345678\n1234567\ngr\xc3\xbcn gr\xc3\xbcn";
    for step in [1, 3, 7, usize::MAX] {
        let parts = limited::<Lines>(text, step, Limit { bytes_max: 8, on_bad: OnBad::Keep });
        let expected: [(u64, Extent, &[u8]); 9] = [
            (1, Extent::Whole, b"one\n"),
            (2, Extent::First, b"12345678"),
            (2, Extent::Later, b"9\n"),
            (3, Extent::Whole, b"\n"),
            (4, Extent::First, b"12345678"),
            (4, Extent::Later, b"\n"),
            (5, Extent::Whole, b"1234567\n"),
            (6, Extent::First, b"gr\xc3\xbcn gr"),
            (6, Extent::Later, b"\xc3\xbcn"),
        ];
        assert_eq!(parts, expected.map(|(line, extent, bytes)| (line, extent, bytes.to_vec())), "{step} bytes at once");
        let left = limited::<Lines>(text, step, Limit { bytes_max: 8, on_bad: OnBad::Skip });
        let left: Vec<_> = left.into_iter().map(|(line, extent, _)| (line, extent)).collect();
        let (whole, skipped) = (Extent::Whole, Extent::Skipped);
        assert_eq!(left, [(1, whole), (2, skipped), (3, whole), (4, skipped), (5, whole), (6, skipped)]);
    }
}

#[test]
fn parts_of_frames_end_where_the_frames_do() {
    for seed in seeds(500) {
        let mut random = Random::new(seed);
        let alphabet = b"\n\r\na:a";
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| alphabet[random.below(alphabet.len())]).collect();
        let limit = Limit { bytes_max: 4 + random.below(8), on_bad: OnBad::Keep };
        let mut whole: Vec<(u64, Vec<u8>)> = Vec::new();
        for (line, extent, part) in limited::<Frames>(&bytes, 1 + random.below(20), limit) {
            assert!(part.len() <= limit.bytes_max && !part.is_empty(), "seed {seed}");
            match (extent, whole.last_mut()) {
                (Extent::Later, Some((_, bytes))) => bytes.extend(part),
                _ => whole.push((line, part)),
            }
        }
        assert_eq!(joined(whole), bytes, "seed {seed}");
    }
}

#[test]
fn long_events_come_back_whole() {
    let mut text = vec![b'a'; 1_000_000];
    text.push(b'\n');
    text.extend_from_within(..);
    let pieces = cut_at(&text, 100_003, Lines::default());
    assert_eq!(pieces.iter().map(|(_, line)| line.len()).collect::<Vec<_>>(), [1_000_001, 1_000_001]);
}

#[test]
fn a_line_names_its_session() {
    let name = |line: &str| field::session_name(line.as_bytes(), "id");
    for (line, expected) in [
        ("{\"a\": [1, {\"id\": 2}], \"id\": \"x\"}\r\n", "x"),
        (r#"{"i\u0064": 17}"#, "17"),
        (r#"{"id": 18446744073709551615}"#, "18446744073709551615"),
        (r#"{"id": 20000000000000000001}"#, "20000000000000000001"),
        (r#"{"id":1.0,"b":"}"}"#, "1.0"),
        (r#"{"id":-1e+3}"#, "-1e+3"),
        (r#"{"id": "a", "id": "b"}"#, "b"),
        (r#"{"id": "a\"\u00e9\ud83d\ude00"}"#, "a\"\u{e9}\u{1f600}"),
        ("\u{feff}{\"id\": \"x\"}", "x"),
        (r#"{"loss": NaN, "high": [Infinity, -Infinity], "id": "x"}"#, "x"),
        (r#"{"a": {"b": "]}"}, "id": "x", "c": null}"#, "x"),
    ] {
        assert_eq!(name(line).as_deref(), Ok(expected), "{line}");
    }
    for (refused, why) in [
        ("", "not a JSON object"),
        ("\n", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{\"id\": \"x\"", "not a JSON object"),
        ("{\"id\": \"x\"} {}", "not a JSON object"),
        ("{\"id\":}", "not a JSON object (from its column 7 on)"),
        ("Traceback (most recent call last):", "not a JSON object"),
        ("{\"idx\": 1}", "no field \"id\""),
        ("{\"id\": null}", "neither a string nor a number"),
        ("{\"id\": [1]}", "is an array, neither"),
        ("{\"id\": NaN}", "is NaN, neither"),
        ("{\"id\": 01}", "is 01, neither"),
        ("{\"id\": \"\"}", "is empty"),
        ("{\"id\": \"\\ud800\"}", "no valid string"),
    ] {
        let error = name(refused).expect_err(refused);
        assert!(error.contains(why), "{refused:?}: {error}");
    }
    assert!(field::session_name(b"{\"id\": \"\xff\"}", "id").is_err());
    assert_eq!(field::session_name(b"{\"text\": \"\xff\", \"id\": 1}", "id").as_deref(), Ok("1"));
    let long = format!("{{\"id\": \"{}\"}}", "x".repeat(1 << 17));
    assert!(name(&long).expect_err("too long").contains("131072 bytes"));
    let beginning = |line: &[u8]| field::session_name_of_beginning(line, "id");
    assert_eq!(beginning(b"{\"id\": 17, \"text\": \"abc").as_deref(), Some("17"));
    assert_eq!(beginning(b"{\"text\": \"abc\", \"id\": 17"), None, "more digits may follow");
    assert!(field::is_blank(b"\xef\xbb\xbf \r\n") && !field::is_blank(b"x\n"));
}

#[test]
fn the_session_of_any_line_is_looked_for() {
    let words = ["{", "}", "[", "]", "\"", "\\", ":", ",", "\"id\"", "1", " ", "\u{feff}", "NaN", "\"x\""];
    for seed in seeds(5000) {
        let mut random = Random::new(seed);
        let line: String = (0..random.below(12)).map(|_| words[random.below(words.len())]).collect();
        let ours = field::session_name(line.as_bytes(), "id");
        // Whatever is an object with a string of that name has that session.
        let value: Option<Value> = serde_json::from_str(&line).ok();
        if let Some(name) = value.as_ref().and_then(|value| value.get("id")?.as_str()).filter(|name| !name.is_empty()) {
            assert_eq!(ours.as_deref(), Ok(name), "seed {seed}: {line}");
        }
    }
}

fn joined(pieces: Vec<(u64, Vec<u8>)>) -> Vec<u8> {
    pieces.into_iter().flat_map(|(_, bytes)| bytes).collect()
}
