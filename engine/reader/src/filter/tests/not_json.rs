//! Payloads that are not JSON, and JSON that no [`Value`] holds.

use super::*;

/// Checks the answer of a filter for a payload that is not JSON, as it concerns the terms of `filter`.
fn assert_not_json(filter: &Filter, payload: &[u8]) {
    assert!(!matches(filter, payload), "{} {payload:?}", filter.to_json());
    assert!(!matches(&Filter::not(filter.clone()), payload), "not {} {payload:?}", filter.to_json());
    assert!(!matches(&Filter::and([Filter::kind(Kind(2)), Filter::not(filter.clone())]), payload));
    // Metadata decides these; the filter does not look at the payload.
    assert!(matches(&Filter::or([filter.clone(), Filter::kind(Kind(2))]), payload));
    assert!(matches(&Filter::not(Filter::and([filter.clone(), Filter::kind(Kind(3))])), payload));
}

#[test]
fn a_payload_that_is_not_json_matches_no_question_about_it() {
    let unclosed = "[".repeat(10_000);
    let broken: [&[u8]; 11] = [
        b"",
        b"abc",
        b"{\"a\":1",
        b"{\"a\":1}x",
        b"{\"a\":1,}",
        b"{\"a\":01}",
        b"{\"a\":\"x\xff\"}",
        b"{\"b\":\"\xff\"}",
        b"{\"a\":\"\n\"}",
        b"{\"b\":[{\"c\":\"\\x\"}]}",
        unclosed.as_bytes(),
    ];
    for payload in broken {
        for filter in [Filter::exists("a"), Filter::eq("a", 1), Filter::eq("a", "x"), Filter::prefix("", "a")] {
            assert_not_json(&filter, payload);
        }
    }
}

#[test]
fn metadata_settles_the_answer_from_any_depth() {
    let (yes, payload_term) = (Filter::kind(Kind(2)), Filter::eq("a", 1));
    let inner = Filter::and([yes.clone(), Filter::or([Filter::size(..), Filter::eq("b", 1)])]);
    let filter = Filter::or([payload_term.clone(), inner]);
    assert!(matches(&filter, "abc") && !matches(&Filter::not(filter), "abc"));
    for payload_term in [payload_term.clone(), Filter::not(payload_term)] {
        let either = Filter::or([Filter::not(yes.clone()), payload_term.clone()]);
        assert!(!matches(&either, "abc") && !matches(&Filter::not(either), "abc"), "the payload's term is left");
        assert!(!matches(&Filter::or([payload_term.clone(), Filter::not(payload_term)]), "abc"), "one by one");
    }
}

#[test]
fn json_that_no_value_holds_matches_where_it_is_not_looked_at() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for inner in ["1e999", r#""\ud800""#, deep.as_str()] {
        let payload = format!(r#"{{"a":{inner},"b":[{inner},1],"c":1}}"#);
        for filter in [Filter::eq("c", 1), Filter::eq("b.1", 1), Filter::not(Filter::prefix("", "a"))] {
            assert!(matches(&filter, &payload), "{}", filter.to_json());
        }
        for filter in [Filter::contains("b", 1), Filter::eq("a", json!([])), Filter::eq("", json!({}))] {
            assert_not_json(&filter, payload.as_bytes());
        }
    }
    for filter in [Filter::exists("a"), Filter::eq("a", 1), Filter::ne("a", "x")] {
        assert_not_json(&filter, br#"{"a":1e999}"#);
        assert_not_json(&filter, br#"{"a":"\ud800"}"#);
        assert_not_json(&filter, br#"{"\ud800":0,"a":1}"#);
    }
    let spelled_twice = Filter::or([Filter::exists("0"), Filter::exists("00")]);
    assert!(matches(&Filter::exists("0"), "[[1e999]]"));
    assert_not_json(&spelled_twice, b"[[1e999]]");

    assert!(matches(&Filter::absent("a"), &deep));
    let path = |segments| Filter::exists(vec!["0"; segments].join("."));
    assert!(matches(&path(limits::PATH_SEGMENTS_MAX - 1), &deep));
    assert_not_json(&path(limits::PATH_SEGMENTS_MAX), deep.as_bytes());
}

#[test]
fn every_prefix_of_a_payload_is_read_without_a_panic() {
    let payload = r#"{"a":[1,-2.5e3,"\u00e9\n",{"b":null}],"c":{"d":true,"a":"é"}}"#.as_bytes();
    let filter =
        Filter::or([Filter::eq("a.3", json!({"b": null})), Filter::contains("c.a", "é"), Filter::lt("a.1", 0)]);
    assert!(matches(&filter, payload));
    (0..payload.len()).for_each(|end| assert!(!matches(&filter, &payload[..end])));
}
