//! A filter says of every event what its grammar promises, whatever way the answer was found.

mod gate;
mod generate;
mod grammar;
mod not_json;
mod random;

use serde_json::json;
use tapeline_storage::format::{Record, RecordView, Sequence, archive_into, archived_bytes};

use super::*;
use crate::EventView;
use crate::session::session_id;

/// An event as it is read, `SESSION`'s, of kind 2, ingested at 1,000.
fn with_event<T>(payload: &[u8], look: impl FnOnce(&EventView<'_>) -> T) -> T {
    with_event_of(Kind(2), payload, look)
}

fn with_event_of<T>(kind: Kind, payload: &[u8], look: impl FnOnce(&EventView<'_>) -> T) -> T {
    let record = Record { session: session_id(SESSION), timestamp: 1_000, kind, payload };
    let bytes = archived_bytes(payload.len());
    let mut memory = vec![0u8; bytes + 16];
    let start = memory.as_ptr().align_offset(16);
    let slot = &mut memory[start..start + bytes];
    archive_into(&record, slot);
    look(&EventView::new(0, Sequence::new(7), RecordView::parse(slot).unwrap()))
}

const SESSION: &str = "run-7";

fn matches(filter: &Filter, payload: impl AsRef<[u8]>) -> bool {
    let compiled = filter.compile().unwrap();
    with_event(payload.as_ref(), |event| compiled.matches(event))
}

fn read(json: Value) -> Filter {
    Filter::from_json(&json.to_string()).unwrap()
}

#[test]
fn equality_is_that_of_values() {
    let payload = r#"{"a":{"b":[10,{"c":"x"},null]},"n":1,"f":1.0,"neg":-3,"t":true,"e":"","z":-0.0}"#;
    for (path, value, expected) in [
        ("a.b.0", json!(10), true),
        ("a.b.1.c", json!("x"), true),
        ("a.b.01.c", json!("x"), true),
        ("a.b.2", json!(null), true),
        ("a.b.3", json!(null), false),
        ("a.b.x", json!(10), false),
        ("n", json!(1), true),
        ("n", json!(1.0), false),
        ("f", json!(1.0), true),
        ("f", json!(1), false),
        ("neg", json!(-3), true),
        ("z", json!(0.0), true),
        ("t", json!(true), true),
        ("t", json!("true"), false),
        ("e", json!(""), true),
        ("a.b", json!([10, {"c": "x"}, null]), true),
        ("a.b", json!([10]), false),
        ("a", json!({"b": [10, {"c": "x"}, null]}), true),
        ("", serde_json::from_str(payload).unwrap(), true),
        ("", json!({}), false),
        ("a.b.1.c.d", json!("x"), false),
        (".", json!(1), false),
    ] {
        assert_eq!(matches(&Filter::eq(path, value.clone()), payload), expected, "{path} {value}");
        assert_eq!(matches(&Filter::ne(path, value.clone()), payload), !expected, "not {path} {value}");
        assert_eq!(matches(&Filter::is_in(path, [json!("other"), value.clone()]), payload), expected);
    }
}

#[test]
fn payloads_need_not_be_objects() {
    assert!(matches(&Filter::eq("", 5), " 5 "));
    assert!(matches(&Filter::eq("", "x"), "\"x\""));
    assert!(matches(&Filter::eq("1", "x"), r#"[0,"x",2]"#));
    assert!(matches(&Filter::eq("1", "x"), r#"{"1":"x"}"#));
    assert!(!matches(&Filter::eq("+", "x"), "[]"));
    let indexes = ["10", "2", "02", "1"].map(|index| Filter::eq(index, index.parse::<u64>().unwrap()));
    assert!(matches(&Filter::and(indexes), "[0,1,2,3,4,5,6,7,8,9,10]"), "indexes in any order");
}

#[test]
fn the_last_of_repeated_keys_counts() {
    assert!(matches(&Filter::eq("a", 2), r#"{"a":1,"a":2}"#));
    assert!(!matches(&Filter::eq("a", 1), r#"{"a":1,"a":2}"#));
    assert!(!matches(&Filter::exists("a.b.c"), r#"{"a":{"b":{"c":1}},"a":{"b":{}}}"#));
    assert!(!matches(&Filter::eq("a", "x"), r#"{"a":"x","\u0061":"y"}"#));
}

#[test]
fn numbers_compare_exactly_and_strings_by_bytes() {
    for (payload, lesser, greater) in [
        ("2", json!(1), json!(3)),
        ("2", json!(1.5), json!(2.5)),
        ("-1", json!(-1.5), json!(0)),
        ("18446744073709551615", json!(18_446_744_073_709_551_614u64), json!(1e20)),
        ("9007199254740993", json!(9_007_199_254_740_992.0), json!(9_007_199_254_740_994.0)),
        ("-9223372036854775808", json!(-1e19), json!(i64::MIN + 1)),
        ("1e300", json!(u64::MAX), json!(1e301)),
        ("\"b\"", json!("a"), json!("ba")),
        (r#""\u0062""#, json!("a"), json!("ba")),
    ] {
        for (filter, expected) in [
            (Filter::gt("", lesser.clone()), true),
            (Filter::gte("", lesser.clone()), true),
            (Filter::lt("", lesser.clone()), false),
            (Filter::lte("", lesser), false),
            (Filter::gt("", greater.clone()), false),
            (Filter::gte("", greater.clone()), false),
            (Filter::lt("", greater.clone()), true),
            (Filter::lte("", greater), true),
        ] {
            assert_eq!(matches(&filter, payload), expected, "{payload} {}", filter.to_json());
        }
    }
    assert!(matches(&Filter::gte("", 1.0), "1") && matches(&Filter::lte("", 1), "1.0"));
    for other in [json!("1"), json!(null), json!([0]), json!(true)] {
        assert!(!matches(&Filter::gte("", other.clone()), "1") && !matches(&Filter::lte("", other), "1"));
    }
}

#[test]
fn parts_of_strings_and_elements_of_arrays() {
    let payload = r#"{"s":"tool call","tags":["a","b",[1]],"o":{"a":1}}"#;
    assert!(matches(&Filter::prefix("s", "tool"), payload) && !matches(&Filter::prefix("s", "call"), payload));
    assert!(matches(&Filter::prefix("s", ""), payload) && !matches(&Filter::prefix("tags", ""), payload));
    assert!(matches(&Filter::contains("s", "l c"), payload) && !matches(&Filter::contains("s", "lc"), payload));
    assert!(matches(&Filter::contains("tags", "b"), payload) && !matches(&Filter::contains("tags", "c"), payload));
    assert!(matches(&Filter::contains("tags", json!([1])), payload) && !matches(&Filter::contains("s", 1), payload));
    assert!(!matches(&Filter::contains("o", "a"), payload));
    let both = Filter::and([Filter::contains("tags", "a"), Filter::eq("tags.1", "b"), Filter::eq("tags.2.0", 1)]);
    assert!(matches(&both, payload), "a test of the whole array and tests of its elements");
}

#[test]
fn what_is_missing_is_unequal_and_absent() {
    let payload = r#"{"a":null}"#;
    assert!(matches(&Filter::exists("a"), payload) && !matches(&Filter::absent("a"), payload));
    assert!(!matches(&Filter::exists("b"), payload) && matches(&Filter::absent("b"), payload));
    assert!(matches(&Filter::ne("b", 1), payload) && matches(&Filter::not(Filter::eq("b", 1)), payload));
    assert!(!matches(&Filter::not(Filter::ne("b", 1)), payload));
    assert!(!matches(&Filter::lt("b", 1), payload) && matches(&Filter::not(Filter::lt("b", 1)), payload));
}

#[test]
fn empty_lists_match_nothing() {
    for filter in [Filter::and([]), Filter::or([]), FilterBuilder::new().build(), FilterBuilder::new().build_or()] {
        assert!(!matches(&filter, "{}") && !filter.compile().unwrap().needs_payload());
        assert!(matches(&Filter::not(filter.clone()), "{}"));
        assert!(!matches(&Filter::and([filter.clone(), Filter::exists("")]), "{}"));
        assert!(matches(&Filter::or([filter, Filter::exists("")]), "{}"));
    }
    assert!(!matches(&Filter::is_in("", Vec::<Value>::new()), "1"));
    assert!(!matches(&Filter::kinds([]), "1") && !matches(&Filter::sessions([]), "1"));
}

#[test]
fn metadata_needs_no_payload() {
    for (filter, expected) in [
        (Filter::session(SESSION), true),
        (Filter::session("run-8"), false),
        (Filter::sessions([SessionId(9), session_id(SESSION)]), true),
        (Filter::sessions([SessionId(9)]), false),
        (Filter::kind(Kind(2)), true),
        (Filter::kinds([Kind(9), Kind(1)]), false),
        (Filter::time(1_000..), true),
        (Filter::time(..1_000), false),
        (Filter::time(..=1_000), true),
        (Filter::size(8..=8), true),
        (Filter::size(9..), false),
        (Filter::and([Filter::kind(Kind(2)), Filter::not(Filter::size(..8))]), true),
    ] {
        assert_eq!(matches(&filter, "not json"), expected, "{}", filter.to_json());
        assert_eq!(matches(&Filter::not(filter.clone()), "not json"), !expected, "not {}", filter.to_json());
        assert!(!filter.compile().unwrap().needs_payload());
    }
    assert!(Filter::and([Filter::kind(Kind(2)), Filter::exists("a")]).compile().unwrap().needs_payload());
}

#[test]
fn escapes_do_not_hide_a_match_from_the_prefilter() {
    for payload in [r#"{"k":"abc"}"#, r#"{"k":"\u0061bc"}"#, r#"{"\u006b":"abc"}"#, r#"{ "k" :	"a\u0062c" }"#] {
        for filter in [
            Filter::eq("k", "abc"),
            Filter::prefix("k", "ab"),
            Filter::contains("k", "bc"),
            Filter::is_in("k", ["x", "abc"]),
            Filter::exists("k"),
            Filter::and([Filter::gt("k", "a"), Filter::not(Filter::eq("k", "b"))]),
            Filter::or([Filter::kind(Kind(3)), Filter::eq("k", "abc")]),
        ] {
            assert!(matches(&filter, payload), "{} {payload}", filter.to_json());
        }
    }
    for text in ["a\"b", "a\\b", "a\nb", "é", "\u{1}", "\u{1F600}", "/"] {
        let payload = json!({ "k": text }).to_string();
        assert!(matches(&Filter::eq("k", text), &payload) && matches(&Filter::contains("k", text), &payload));
        assert!(!matches(&Filter::eq("k", "other"), &payload));
    }
}

#[test]
fn a_filter_can_be_sent_to_other_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<CompiledFilter>();
    is_shared::<Filter>();
}
