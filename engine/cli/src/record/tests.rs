//! Cutting loses no byte, wherever the reads happen to end, and cuts where the formats say.

use std::io::{self, Read};

use super::jsonl::{self, Lines};
use super::raw::Chunks;
use super::split::{Cutter, SplitError, Splitter};
use crate::sse::FrameEnds as Frames;

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

/// The events of `bytes`, with the lines they start on.
fn cut_at<C: Cutter>(bytes: &[u8], step: usize, cut: C) -> Vec<(u64, Vec<u8>)> {
    let mut splitter = Splitter::new(Dribble(bytes, step), cut, 1 << 20);
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
    let end = |bytes: &[u8]| Frames::default().end(bytes, false).map(|end| end.bytes);
    assert_eq!(end(b"data: a\r\r"), Some(9));
    assert_eq!(end(b"event: x\rdata: a\r\rdata"), Some(18));
    assert_eq!(end(b"data: a\r\n\r"), None, "the line feed is on its way");
}

#[test]
fn any_bytes_come_back_from_any_cut() {
    for seed in 0..500 {
        let mut random = Random(seed);
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
        let mut lines = Splitter::new(Dribble(b"12345\n1234567890", step), Lines::default(), 8);
        assert_eq!(lines.next().expect("short").expect("line").bytes, b"12345\n");
        assert!(matches!(lines.next(), Err(SplitError::TooLong { line: 2 })), "{step} bytes at once");
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
    let name = |line: &str| jsonl::session_name(line.as_bytes(), "id");
    assert_eq!(name("{\"a\": [1, {\"id\": 2}], \"id\": \"x\"}\r\n"), Ok("x".to_owned()));
    assert_eq!(name(r#"{"i\u0064": 17}"#), Ok("17".to_owned()));
    assert_eq!(name(r#"{"id": 18446744073709551615}"#), Ok("18446744073709551615".to_owned()));
    assert_eq!(name(r#"{"id": "a", "id": "b"}"#), Ok("b".to_owned()));
    for (refused, why) in [
        ("", "not a JSON object"),
        ("\n", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{\"id\": \"x\"", "not a JSON object"),
        ("{\"id\": \"x\"} {}", "not a JSON object"),
        ("\u{feff}{\"id\": \"x\"}", "not a JSON object"),
        ("{\"idx\": 1}", "no field \"id\""),
        ("{\"id\": null}", "neither a string nor a number"),
        ("{\"id\": \"\"}", "is empty"),
    ] {
        let error = name(refused).expect_err(refused);
        assert!(error.contains(why), "{refused:?}: {error}");
    }
    assert!(jsonl::session_name(b"{\"id\": \"\xff\"}", "id").is_err());
}

fn joined(pieces: Vec<(u64, Vec<u8>)>) -> Vec<u8> {
    pieces.into_iter().flat_map(|(_, bytes)| bytes).collect()
}

/// A small generator (splitmix64): the tests need variety, not quality.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
