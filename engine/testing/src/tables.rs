//! The tables of docs/ that list what the code has, and the names that the code has.

use std::collections::BTreeSet;
use std::fmt::Debug;

/// Names, in order.
pub type Names = BTreeSet<String>;

/// The first words of the first cells of the table that begins with this header.
pub fn rows(page: &str, header: &str) -> Names {
    let table =
        page.lines().skip_while(|line| !line.starts_with(header)).skip(2).take_while(|line| line.starts_with('|'));
    let cell = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let word = |cell: String| cell.chars().skip_while(|c| !c.is_alphabetic()).take_while(is_of_name).collect();
    table.map(cell).map(word).collect()
}

fn is_of_name(c: &char) -> bool {
    c.is_alphanumeric() || *c == '_'
}

/// The name of a variant.
pub fn variant(value: &impl Debug) -> String {
    format!("{value:?}").chars().take_while(is_of_name).collect()
}

/// The names of a structure's fields.
pub fn fields(value: &impl Debug) -> Names {
    let text = format!("{value:#?}");
    let own = |line: &&str| line.starts_with("    ") && !line[4..].starts_with([' ', '}', ']', ')']);
    text.lines().filter(own).filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_ends_with_its_last_row_and_names_end_with_their_word() {
        let page = "| a | b |\n|---|---|\n| `one` | x |\n| `Two(u8)` | y |\n\n| a | c |\n|---|---|\n| three | z |\n";
        assert_eq!(rows(page, "| a | b |"), ["one", "Two"].map(String::from).into());
        assert_eq!(rows(page, "| a | c |"), [String::from("three")].into());
        assert_eq!(rows(page, "| none |"), Names::new());
        assert_eq!(variant(&Some(1)), "Some");
    }

    #[test]
    fn fields_are_those_of_the_structure_itself() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "its Debug form is looked at")]
        struct Outer {
            inner: Option<std::ops::Range<u8>>,
            last: u8,
        }
        let names = fields(&Outer { inner: Some(1..2), last: 3 });
        assert_eq!(names, ["inner", "last"].map(String::from).into());
    }
}
