//! Any filter says of any payload what the plain meaning of its terms says of the parsed value.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use tapeline_testing::{Random, seed};

use super::generate::{filter, numbers, spell, value};
use super::*;

/// The answers that each term gave.
type Seen = BTreeSet<(&'static str, bool)>;

/// The plain meaning: `None` where it hangs on a payload that is not JSON.
fn expected(filter: &Filter, event: &EventView<'_>, value: Option<&Value>, seen: &mut Seen) -> Option<bool> {
    let (term, answer) = match &filter.0 {
        Node::And(filters) if filters.is_empty() => ("$and", Some(false)),
        Node::And(filters) => ("$and", decided(filters, false, event, value, seen)),
        Node::Or(filters) => ("$or", decided(filters, true, event, value, seen)),
        Node::Not(filter) => ("$not", expected(filter, event, value, seen).map(|answer| !answer)),
        Node::Field(field) => {
            (field.test.key(), value.map(|value| field_expected(&field.test, json_path_get(value, &field.path))))
        }
        Node::Session { names, ids } => {
            let mut ids = names.iter().map(|name| session_id(name)).chain(ids.iter().copied());
            ("$session", Some(ids.any(|id| id == event.session())))
        }
        Node::Kind(kinds) => ("$kind", Some(kinds.contains(&event.kind()))),
        // The generator opens no session.
        Node::Source(Question::Meets(wanted)) => ("$source", Some(wanted.evaluate(&CapabilitySet::new()))),
        Node::Source(Question::Suits(_)) => ("$suits", Some(true)),
        Node::Time(interval) => ("$time", Some(interval.contains(&event.insertion_ts()))),
        Node::Size(interval) => ("$size", Some(interval.contains(&(event.payload().len() as u64)))),
    };
    seen.extend(answer.map(|answer| (term, answer)));
    answer
}

fn decided(
    filters: &[Filter],
    decisive: bool,
    event: &EventView<'_>,
    value: Option<&Value>,
    seen: &mut Seen,
) -> Option<bool> {
    let answers: Vec<_> = filters.iter().map(|filter| expected(filter, event, value, seen)).collect();
    if answers.contains(&Some(decisive)) { Some(decisive) } else { (!answers.contains(&None)).then_some(!decisive) }
}

fn field_expected(test: &Test, found: Option<&Value>) -> bool {
    match test {
        Test::Equal(value) => found == Some(value),
        Test::NotEqual(value) => found != Some(value),
        Test::In(values) => values.iter().any(|value| found == Some(value)),
        Test::Exists(exists) => found.is_some() == *exists,
        Test::Prefix(prefix) => found.and_then(Value::as_str).is_some_and(|text| text.starts_with(prefix.as_str())),
        Test::Contains(value) => match found {
            Some(Value::String(text)) => value.as_str().is_some_and(|part| text.contains(part)),
            Some(Value::Array(elements)) => elements.contains(value),
            _ => false,
        },
        Test::Order(relation, value) => {
            let order = match (found, value) {
                (Some(Value::String(found)), Value::String(value)) => Some(found.cmp(value)),
                (Some(Value::Number(found)), Value::Number(value)) => Some(compared(found, value)),
                _ => None,
            };
            order.is_some_and(|order| match relation {
                Relation::Gt => order.is_gt(),
                Relation::Gte => order.is_ge(),
                Relation::Lt => order.is_lt(),
                Relation::Lte => order.is_le(),
            })
        }
    }
}

/// The order of two numbers as they stand, without rounding.
fn compared(one: &serde_json::Number, other: &serde_json::Number) -> Ordering {
    let fraction = |number: &serde_json::Number| number.as_f64().unwrap();
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => compared_to_whole(fraction(other), one).reverse(),
        (None, Some(other)) => compared_to_whole(fraction(one), other),
        (None, None) => fraction(one).partial_cmp(&fraction(other)).unwrap(),
    }
}

/// The order of a number and a whole one. The cast is exact below 2^127, far above the whole numbers of JSON, and
/// saturates beyond.
fn compared_to_whole(number: f64, whole: i128) -> Ordering {
    let floor = number.floor();
    (floor as i128).cmp(&whole).then((number - floor).partial_cmp(&0.0).unwrap())
}

/// Bytes that may be JSON or not.
fn spoil(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=random.below(2) {
        let at = random.below(bytes.len());
        bytes[at] = random.pick(b"\"\\{}[]:,0e-\xff a");
    }
    bytes.truncate(bytes.len() - random.below(8) / 7);
    bytes
}

/// The outcome of reading a payload.
#[derive(PartialEq)]
enum Payload {
    Value,
    NotJson,
    /// JSON that no value holds: whether it matches hangs on what the filter looks at.
    Neither,
}

fn check(compiled: &CompiledFilter, filter: &Filter, payload: &[u8], seen: &mut Seen) -> Payload {
    let value = serde_json::from_slice::<Value>(payload).ok();
    let is_json =
        std::str::from_utf8(payload).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok();
    with_event(payload, |event| {
        let (expected, answer) = (expected(filter, event, value.as_ref(), seen), compiled.matches(event));
        let text = || format!("{} on {:?}", filter.to_json(), String::from_utf8_lossy(payload));
        match (value.is_some(), is_json) {
            (false, true) => {
                assert!(expected.is_none_or(|expected| answer == expected), "{}", text());
                Payload::Neither
            }
            (is_value, _) => {
                assert_eq!(answer, expected == Some(true), "{}", text());
                if is_value { Payload::Value } else { Payload::NotJson }
            }
        }
    })
}

#[test]
fn compiled_filters_agree_with_the_plain_meaning() {
    let mut random = Random::new(seed());
    let (mut seen, mut not_json) = (Seen::new(), 0);
    for _ in 0..8_000 {
        let about = value(&mut random, 3);
        let filter = filter(&mut random, &about, 3);
        let compiled = filter.compile().unwrap();
        assert_eq!(Filter::from_json(&filter.to_json()).unwrap(), filter);
        for round in 0..6 {
            let value = if round < 4 { about.clone() } else { value(&mut random, 3) };
            let payload = spell(&mut random, &value);
            assert!(check(&compiled, &filter, payload.as_bytes(), &mut seen) == Payload::Value);
            let spoilt = spoil(&mut random, payload.into_bytes());
            not_json += usize::from(check(&compiled, &filter, &spoilt, &mut seen) == Payload::NotJson);
        }
    }
    assert_eq!(seen.len(), 2 * 17, "each term is seen to hold and not to: {seen:?}");
    assert!(not_json > 8_000, "{not_json} payloads that are not JSON");
}

#[test]
fn wide_filters_agree_with_the_plain_meaning() {
    let mut random = Random::new(seed());
    for _ in 0..20 {
        let about = value(&mut random, 3);
        let filters: Vec<_> = (0..150).map(|_| filter(&mut random, &about, 1)).collect();
        for filter in [Filter::or(filters.clone()), Filter::not(Filter::and(filters))] {
            let compiled = filter.compile().unwrap();
            for _ in 0..8 {
                let payload = spell(&mut random, &about);
                check(&compiled, &filter, payload.as_bytes(), &mut Seen::new());
            }
        }
    }
}

#[test]
fn every_pair_of_numbers_agrees_with_the_plain_meaning() {
    for (found, wanted) in
        numbers().into_iter().flat_map(|found| numbers().into_iter().map(move |n| (found.clone(), n)))
    {
        for term in [Filter::eq, Filter::ne, Filter::gt, Filter::gte, Filter::lt, Filter::lte] {
            let filter = term("", wanted.clone());
            check(&filter.compile().unwrap(), &filter, found.to_string().as_bytes(), &mut Seen::new());
        }
    }
}
