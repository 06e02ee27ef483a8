//! The grammar takes what the predecessor takes, gives back what it took, and names the term that is wrong.

use super::super::limits::*;
use super::*;

#[test]
fn filters_come_back_from_their_json() {
    for filter in [
        Filter::and([]),
        Filter::or([Filter::and([Filter::eq("a", 1)]), Filter::not(Filter::ne("b.0", json!({"x": [1.5, null]})))]),
        Filter::gt("a", 1),
        Filter::gte("a", -1),
        Filter::lt("a", u64::MAX),
        Filter::lte("a", "é\n\"\\"),
        Filter::is_in("a", [1, 2]),
        Filter::is_in("a", Vec::<Value>::new()),
        Filter::exists("a"),
        Filter::absent(""),
        Filter::prefix("a", "p"),
        Filter::contains("a", json!(["p"])),
        Filter::session("run 7"),
        Filter::sessions([SessionId(7), SessionId(u128::MAX)]),
        Filter::sessions([]),
        Filter::kind(Kind(3)),
        Filter::kinds([Kind(3), Kind(65_535)]),
        Filter::time(5..10),
        Filter::time((Bound::Excluded(5), Bound::Included(u64::MAX))),
        Filter::size(..),
        read(json!({"$session": ["a", {"id": "000000000000000000000000000000ff"}, "b"]})),
    ] {
        assert_eq!(Filter::from_json(&filter.to_json()).unwrap(), filter, "{}", filter.to_json());
    }
}

#[test]
fn the_predecessors_grammar_is_read_in_full() {
    let eq = Filter::eq("a", 1);
    for (json, expected) in [
        (json!({"path": "a", "value": 1}), eq.clone()),
        (json!({"$eq": {"path": "a", "value": 1}}), eq.clone()),
        (json!({"$eq": ["a", 1]}), eq.clone()),
        (json!({"path": "a", "value": 1, "note": 2}), eq.clone()),
        (json!({"$eq": {"path": "a", "value": 1, "note": 2}, "note": 3}), eq.clone()),
        (json!({"$eq": 5, "path": "a", "value": 1}), eq.clone()),
        (json!({"$and": [{"path": "a", "value": 1}], "$or": [], "$gt": 1}), Filter::and([eq.clone()])),
        (json!({"$and": [{}], "$or": [{"path": "a", "value": 1}]}), Filter::or([eq.clone()])),
        (json!({"$not": {"path": "a", "value": 1}, "$eq": 1}), Filter::not(eq)),
        (json!({"path": "", "value": null}), Filter::eq("", Value::Null)),
    ] {
        assert_eq!(read(json.clone()), expected, "{json}");
    }
}

#[test]
fn mistakes_are_named_with_their_term() {
    for (json, expected) in [
        ("5", "filter: expected an object"),
        ("{}", "filter: expected a term, found an empty object"),
        (
            r#"{"a":1}"#,
            "a: unknown term; there are $and, $or, $not, $eq, $ne, $gt, $gte, $lt, $lte, $in, $exists, $prefix, \
             $contains, $session, $kind, $source, $suits, $time, $size, and path with value",
        ),
        (r#"{"$kind":1,"$size":{}}"#, "filter: expected one term; combine several with $and"),
        (r#"{"path":"a"}"#, "filter: value is missing"),
        (r#"{"$and":{}}"#, "$and: expected an array of filters"),
        (r#"{"$and":[{"$or":[]},{"$not":[]}]}"#, "$and[1].$not: expected an object"),
        (
            r#"{"$and":[{"$or":[]},{"$or":[{"$eq":{"path":1,"value":1}}]}]}"#,
            "$and[1].$or[0].$eq.path: expected a string",
        ),
        (r#"{"$eq":{"path":"a"}}"#, "$eq: value is missing"),
        (r#"{"$eq":["a"]}"#, "$eq: expected a path and a value"),
        (r#"{"$gt":{"path":"a","value":1,"x":1}}"#, "$gt.x: unknown key; expected path, value"),
        (r#"{"$gt":{"path":"a","value":1,"value":2}}"#, "$gt: value is there twice"),
        (r#"{"$in":{"path":"a","values":1}}"#, "$in.values: expected an array"),
        (r#"{"$exists":{"path":"a","value":1}}"#, "$exists.value: expected true or false"),
        (r#"{"$prefix":{"path":"a","value":1}}"#, "$prefix.value: expected a string"),
        (r#"{"$session":5}"#, r#"$session: expected a session's name or {"id": ..}"#),
        (r#"{"$session":["a",{"id":"0x"}]}"#, "$session[1].id: expected 32 hex digits"),
        (r#"{"$session":{"id":"+0000000000000000000000000000000"}}"#, "$session.id: expected 32 hex digits"),
        (r#"{"$suits":"gpu"}"#, "$suits: expected an array of tags, as [\"software.model=llama-7b\"]"),
        (r#"{"$suits":[""]}"#, "$suits: expected an array of tags, as [\"software.model=llama-7b\"]"),
        (
            r#"{"$suits":{"metadata":{}}}"#,
            "$suits: expected capabilities, as {\"tags\":[\"hardware.gpu\"],\"metadata\":{\"zone\":\"eu\"}}",
        ),
        (r#"{"$kind":[1,65536]}"#, "$kind[1]: expected a number from 0 to 65535"),
        (r#"{"$time":{"gte":-1}}"#, "$time.gte: expected a whole number of 64 bits"),
        (r#"{"$time":{"gte":1,"gt":1}}"#, "$time: expected gt or gte, not both"),
        (r#"{"$size":{"from":1}}"#, "$size.from: unknown key; expected gt, gte, lt, lte"),
        ("", "filter is not JSON: EOF while parsing a value at line 1 column 0"),
        ("{} {}", "filter is not JSON: trailing characters at line 1 column 4"),
    ] {
        assert_eq!(Filter::from_json(json).unwrap_err().to_string(), expected, "{json}");
    }
}

fn nested(levels: usize) -> Filter {
    (1..levels).fold(Filter::exists("a"), |filter, _| Filter::and([filter]))
}

#[test]
fn limits_are_met_exactly() {
    assert_eq!(read_and_compile(&nested(DEPTH_MAX)), None);
    let error = read_and_compile(&nested(DEPTH_MAX + 1)).unwrap();
    assert!(error.ends_with("$and[0]: nested deeper than 64 levels"), "{error}");

    let wide = |filters| Filter::or(vec![Filter::exists("a"); filters]);
    assert_eq!(read_and_compile(&wide(NODES_MAX - 1)), None);
    assert_eq!(read_and_compile(&wide(NODES_MAX)).unwrap(), "$or[1023]: more than 1024 filters in one");

    let long = |segments| Filter::exists(vec!["a"; segments].join("."));
    assert_eq!(read_and_compile(&long(PATH_SEGMENTS_MAX)), None);
    assert!(
        read_and_compile(&long(PATH_SEGMENTS_MAX + 1))
            .unwrap()
            .ends_with("path of 128 segments; at most 127 can lead anywhere")
    );

    let deep = |levels| Filter::eq("a", (0..levels).fold(json!("]}"), |value, _| json!([value])));
    assert!(Filter::from_json(&deep(VALUE_DEPTH_MAX).to_json()).is_ok());
    let error = Filter::from_json(&deep(VALUE_DEPTH_MAX + 1).to_json()).unwrap_err();
    assert_eq!(error.to_string(), "$eq.value: nested deeper than 32 levels");

    let text = Filter::eq("a", "x".repeat(TEXT_BYTES_MAX)).to_json();
    assert_eq!(
        Filter::from_json(&text).unwrap_err().to_string(),
        format!("filter of {} bytes; at most 65536 are read", text.len())
    );
}

/// The error of reading the filter's JSON, which compiling the filter finds at the same term.
fn read_and_compile(filter: &Filter) -> Option<String> {
    let read = Filter::from_json(&filter.to_json()).err().map(|error| error.to_string());
    let compiled = filter.compile().err().map(|error| error.to_string());
    assert_eq!(read, compiled);
    read
}

/// Reading, compiling and asking keep to a small stack, whatever the text and the payload.
#[test]
fn nothing_deep_overflows_a_small_stack() {
    let work = || {
        for (open, close) in
            [("{\"$not\":", "}"), ("{\"$and\":[", "]}"), ("[", "]"), ("{\"$eq\":{\"path\":\"a\",\"value\":[", "]}}")]
        {
            for levels in [65, 5_000, 10_000] {
                let text = format!("{}{}", open.repeat(levels), close.repeat(levels));
                assert!(Filter::from_json(&text).is_err());
            }
        }
        let value = format!("{{\"path\":\"a\",\"value\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(Filter::from_json(&value), Err(FilterError::TooDeep { max: VALUE_DEPTH_MAX, .. })));
        let filter = Filter::from_json(&nested(DEPTH_MAX).to_json()).unwrap();
        let payload = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches(&filter, payload));
    };
    let thread = std::thread::Builder::new().stack_size(1024 << 10).spawn(work).unwrap();
    thread.join().unwrap();
}
