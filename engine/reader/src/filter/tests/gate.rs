//! The gate gives the answer that the terms give.

use super::*;

#[test]
fn the_gate_takes_nothing_away_and_lets_nothing_through() {
    let many = |count: u16| Filter::kinds((0..count).map(|kind| Kind(kind + 2)));
    let (ours, other) = (Filter::session(SESSION), Filter::sessions([SessionId(9)]));
    let yes = Filter::eq("a", 1);
    for (filters, expected) in [
        (vec![ours.clone(), many(1)], true),
        (vec![other.clone(), many(1)], false),
        (vec![ours.clone(), Filter::kind(Kind(1))], false),
        (vec![ours.clone(), ours.clone()], true),
        (vec![ours.clone(), other.clone()], false),
        (vec![other.clone(), ours.clone()], false),
        (vec![many(1), Filter::kinds([Kind(2), Kind(3)])], true),
        (vec![many(2), Filter::kind(Kind(3))], false),
        (vec![Filter::kind(Kind(3)), many(2)], false),
        (vec![many(16)], true),
        (vec![many(17)], true),
        (vec![Filter::kinds((3..19).map(Kind))], false),
        (vec![Filter::kinds((3..20).map(Kind))], false),
        (vec![Filter::kinds([]), ours.clone()], false),
        (vec![Filter::sessions([]), many(1)], false),
        (vec![Filter::not(other.clone()), many(1)], true),
        (vec![Filter::not(ours.clone()), many(1)], false),
        (vec![Filter::or([other.clone(), many(1)]), ours.clone()], true),
        (vec![Filter::and([ours, Filter::and([many(1), Filter::size(7..=7)])])], true),
        (vec![Filter::and([many(1), Filter::size(8..)])], false),
    ] {
        let payload = r#"{"a":1}"#;
        let plain = Filter::and(filters.clone());
        assert_eq!(matches(&plain, payload), expected, "{}", plain.to_json());
        assert_eq!(matches(&Filter::not(plain.clone()), payload), !expected, "not {}", plain.to_json());
        let first = Filter::and(filters.iter().cloned().chain([yes.clone()]));
        let last = Filter::and([yes.clone(), plain]);
        assert!(matches(&first, payload) == expected && matches(&last, payload) == expected, "{}", first.to_json());
        assert!(!matches(&Filter::and([first, Filter::ne("a", 1)]), payload));
    }
}

#[test]
fn a_list_of_kinds_is_those_kinds_however_long() {
    for length in 0..40 {
        let compiled = Filter::kinds((0..length).map(|at| Kind(60 - at))).compile().unwrap();
        for kind in 0..70 {
            let expected = kind <= 60 && kind > 60 - length;
            let answer = with_event_of(Kind(kind), b"", |event| compiled.matches(event));
            assert_eq!(answer, expected, "kind {kind} of {length}");
        }
    }
}
