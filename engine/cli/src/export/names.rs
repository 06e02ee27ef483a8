//! The name of a session's file.

use tapeline_reader::SessionId;

/// Most bytes of a session's name in a file's name. File systems take 255 bytes, `-`, an id and `.sse` included.
const NAME_BYTES_MAX: usize = 200;

/// Digits of an id.
const ID_DIGITS: usize = 32;

/// The name of a session's file. It follows from the session alone, so that each export of it has the same, whatever
/// else is exported; and no two sessions have the same, even where a file system does not distinguish `A` from `a`.
///
/// It is the session's name, with `_` for what no file name may hold. A name that is changed for that, too long, not in
/// lower case, not that which the id follows from, or that ends like an id itself, is followed by the id.
pub(super) fn file_name(session: SessionId, name: Option<&str>) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.[]".contains(c);
    let name = name.unwrap_or_default();
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let plain = plain.trim_start_matches('.');
    let end = (0..=NAME_BYTES_MAX.min(plain.len())).rev().find(|&end| plain.is_char_boundary(end));
    let short = &plain[..end.unwrap_or(0)];
    let is_own = short == name
        && short == short.to_lowercase()
        && session == tapeline_reader::session_id(name)
        && !ends_like_an_id(short);
    match short {
        "" => format!("{session}.sse"),
        short if is_own => format!("{short}.sse"),
        short => format!("{short}-{session}.sse"),
    }
}

fn ends_like_an_id(name: &str) -> bool {
    let digits = name.bytes().rev().take_while(u8::is_ascii_hexdigit).count();
    digits >= ID_DIGITS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tapeline_reader::session_id;

    use super::*;

    #[test]
    fn names_are_plain_bounded_and_different() {
        let mut given = HashSet::new();
        let long = "ü".repeat(200);
        for (name, begins, is_own) in [
            ("answer-17", "answer-17", true),
            ("a_b", "a_b", true),
            ("a/b", "a_b", false),
            ("a b", "a_b", false),
            ("Answer-17", "Answer-17", false),
            ("../../etc", "_.._etc", false),
            (".hidden", "hidden", false),
            ("a\0\n\u{202e}", "a___", false),
            (&long, &"ü".repeat(100), false),
            (&"0a".repeat(16), &"0a".repeat(16), false),
            ("", "", false),
            ("..", "", false),
        ] {
            let session = session_id(name);
            let file = file_name(session, Some(name));
            let expected = match (begins, is_own) {
                (begins, true) => format!("{begins}.sse"),
                ("", false) => format!("{session}.sse"),
                (begins, false) => format!("{begins}-{session}.sse"),
            };
            assert_eq!(file, expected, "{name:?}");
            assert!(file.len() <= 255 && given.insert(file.to_lowercase()), "{file}");
            // What looks like the file of another is none.
            let stem = file.trim_end_matches(".sse");
            let other = file_name(session_id(stem), Some(stem));
            assert!(is_own || other != file, "{file}");
        }
        assert_eq!(file_name(SessionId(10), None), format!("{:032x}.sse", 10));
        assert_ne!(file_name(SessionId(10), Some("s")), file_name(session_id("s"), Some("s")));
    }
}
