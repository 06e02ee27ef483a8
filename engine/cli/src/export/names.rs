//! A file's name for each session.

use std::collections::HashSet;

use tapeline_reader::SessionId;

/// Most bytes of a session's name in a file's name. File systems take 255 bytes, `-`, digits and `.sse` included.
const NAME_BYTES_MAX: usize = 200;

/// The names that were given. No two are the same, even where a file system does not distinguish `A` from `a`.
#[derive(Debug, Default)]
pub(super) struct FileNames {
    taken: HashSet<String>,
}

impl FileNames {
    /// The name of a session's file: that of the session, with `_` for what no file name may hold. One that is too
    /// long is cut; that, and one that another session has, is followed by digits of the session's id.
    pub(super) fn give(&mut self, session: SessionId, name: &str) -> String {
        let is_plain = |c: char| c.is_alphanumeric() || "-_.[]".contains(c);
        let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let plain = plain.trim_start_matches('.');
        let end = (0..=NAME_BYTES_MAX.min(plain.len())).rev().find(|&end| plain.is_char_boundary(end));
        let short = &plain[..end.unwrap_or(0)];
        let id = session.to_string();
        let mut candidates = [format!("{short}-{}", &id[..8]), format!("{short}-{id}")].into_iter();
        let first = if short.is_empty() { id } else { short.to_owned() };
        let first = Some(first).filter(|_| short.len() == plain.len());
        let free = first.into_iter().chain(candidates.by_ref()).find(|name| self.taken.insert(name.to_lowercase()));
        // A session comes here once, so that the last candidate, with all of its id, is free unless names were made to
        // collide; a number makes any free.
        let name = free.unwrap_or_else(|| {
            let mut numbers = 2u64..;
            let numbered = numbers.find_map(|number| {
                let name = format!("{short}-{number}");
                self.taken.insert(name.to_lowercase()).then_some(name)
            });
            numbered.unwrap_or_default()
        });
        format!("{name}.sse")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_bounded_and_different() {
        let mut names = FileNames::default();
        let mut given = HashSet::new();
        let long = "ü".repeat(200);
        for (number, (session, expected)) in [
            ("answer-17", "answer-17.sse"),
            ("a/b", "a_b.sse"),
            ("a_b", "a_b-00000000.sse"),
            ("a b", "a_b-00000000000000000000000000000003.sse"),
            ("Answer-17", "Answer-17-00000000.sse"),
            ("../../etc", "_.._etc.sse"),
            ("", "00000000000000000000000000000006.sse"),
            ("..", "00000000000000000000000000000007.sse"),
            (&long, &format!("{}-00000000.sse", "ü".repeat(100))),
            ("a\0\n\u{202e}", "a___.sse"),
        ]
        .into_iter()
        .enumerate()
        {
            let name = names.give(SessionId(number as u128), session);
            assert_eq!(name, *expected, "{session:?}");
            assert!(name.len() <= 255 && given.insert(name.to_lowercase()));
        }
        let numbered = (0..50).map(|_| names.give(SessionId(0), "x")).collect::<HashSet<_>>();
        assert_eq!(numbered.len(), 50);
    }
}
