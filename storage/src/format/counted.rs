//! Numbers of things, for messages.

use super::Sequence;

/// `1 byte`, `2 bytes`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The sequences from `from` to before `to`, with the last of them: `sequence 7`, `sequences 1 to 4 (4 events)`.
pub fn sequences(from: Sequence, to: Sequence) -> String {
    match to.since(from.min(to)) {
        0 | 1 => format!("sequence {from}"),
        count => format!("sequences {from} to {} ({count} events)", to.get() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "step")), ["0 steps", "1 step", "2 steps"]);
    }

    #[test]
    fn the_last_sequence_is_one_of_those_named() {
        let text = |from, to| sequences(Sequence::new(from), Sequence::new(to));
        assert_eq!([text(1, 5), text(7, 8)], ["sequences 1 to 4 (4 events)", "sequence 7"]);
        assert_eq!([text(3, 3), text(3, 2)], ["sequence 3", "sequence 3"]);
    }
}
