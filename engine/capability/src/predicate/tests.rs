use std::collections::BTreeMap;

use tapeline_testing::{Random, seeds};

use super::*;
use crate::facts::EvalContext;
use crate::set::CapabilitySet;
use crate::tag::Tag;
use crate::testing;

/// The plain meaning of a predicate, written from its description.
fn meaning(predicate: &Predicate, tags: &[Tag], metadata: &BTreeMap<String, String>) -> bool {
    let values = |key: &TagKey| -> Vec<String> {
        let of_key = tags.iter().filter(|tag| tag.key() == Some(key));
        of_key.filter_map(|tag| tag.value().map(str::to_owned)).collect()
    };
    let numbers = |key: &TagKey| -> Vec<f64> { values(key).iter().filter_map(|value| value.parse().ok()).collect() };
    let versions = |key: &TagKey| -> Vec<[u64; 3]> { values(key).iter().filter_map(|value| triple(value)).collect() };
    match predicate {
        Predicate::Exists { key } => tags.iter().any(|tag| tag.key() == Some(key)),
        Predicate::Equals { key, value } => values(key).contains(value),
        Predicate::NumericAtLeast { key, threshold } => numbers(key).iter().any(|number| number >= threshold),
        Predicate::NumericAtMost { key, threshold } => numbers(key).iter().any(|number| number <= threshold),
        Predicate::NumericInRange { key, min, max } => numbers(key).iter().any(|number| min <= number && number <= max),
        Predicate::SemverAtLeast { key, version } => {
            triple(version).is_some_and(|wanted| versions(key).iter().any(|have| *have >= wanted))
        }
        Predicate::SemverAtMost { key, version } => {
            triple(version).is_some_and(|wanted| versions(key).iter().any(|have| *have <= wanted))
        }
        Predicate::SemverCompatible { key, version } => triple(version).is_some_and(|wanted| {
            let fixed = wanted.iter().position(|number| *number != 0).unwrap_or(2);
            versions(key).iter().any(|have| *have >= wanted && have[..=fixed] == wanted[..=fixed])
        }),
        Predicate::StringPrefix { key, prefix } => values(key).iter().any(|value| value.starts_with(prefix)),
        Predicate::StringMatches { key, pattern } => values(key).iter().any(|value| value.contains(pattern)),
        Predicate::MetadataExists { key } => metadata.contains_key(key),
        Predicate::MetadataEquals { key, value } => metadata.get(key) == Some(value),
        Predicate::MetadataMatches { key, pattern } => metadata.get(key).is_some_and(|value| value.contains(pattern)),
        Predicate::MetadataNumericAtLeast { key, threshold } => {
            metadata.get(key).and_then(|value| value.parse::<f64>().ok()).is_some_and(|number| number >= *threshold)
        }
        Predicate::And(clauses) => !clauses.iter().any(|clause| !meaning(clause, tags, metadata)),
        Predicate::Or(clauses) => clauses.iter().any(|clause| meaning(clause, tags, metadata)),
        Predicate::Not(clause) => !meaning(clause, tags, metadata),
    }
}

fn triple(text: &str) -> Option<[u64; 3]> {
    let numbers: Vec<&str> = text.split(['-', '+']).next()?.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.chars().all(|digit| digit.is_ascii_digit());
    if numbers.len() > 3 || !numbers.iter().all(is_number) {
        return None;
    }
    let mut triple = [0; 3];
    for (place, number) in triple.iter_mut().zip(numbers) {
        *place = number.parse().ok()?;
    }
    Some(triple)
}

#[test]
fn every_way_of_evaluation_has_the_plain_meaning() {
    for seed in seeds(2000) {
        let mut random = Random::new(seed);
        let (set, predicate) = (testing::set(&mut random), testing::predicate(&mut random, 5));
        let expected = meaning(&predicate, set.tags(), set.metadata());
        let context = EvalContext { tags: set.tags(), metadata: set.metadata() };
        assert_eq!(predicate.evaluate_unplanned(&set), expected, "{predicate} of {set:?}");
        assert_eq!(predicate.evaluate(&set), expected, "{predicate} of {set:?}");
        assert_eq!(predicate.compile().evaluate(&context), expected, "{predicate} of {set:?}");
        let trace = predicate.evaluate_with_trace(&set);
        assert_eq!(trace.result, expected, "{trace}");
        let report = predicate.debug_report([&set, &CapabilitySet::new()]);
        assert_eq!(report.total_candidates, 2);
        assert_eq!(report.clause_stats[0].evaluated, 2);
        assert_eq!(report.matched, report.clause_stats[0].matched);
    }
}

#[test]
fn documents_and_texts_give_the_predicate_back() {
    for seed in seeds(500) {
        let mut random = Random::new(seed);
        let predicate = testing::predicate(&mut random, 5);
        let wire = serde_json::to_string(&predicate).expect("a document");
        assert_eq!(serde_json::from_str::<Predicate>(&wire).expect("a predicate"), predicate, "{wire}");
        if predicate.to_string().len() <= DOCUMENT_BYTES_MAX {
            assert_eq!(predicate.to_string().parse::<Predicate>(), Ok(predicate.clone()), "{predicate}");
        }
    }
}

/// The vectors of docs: each variant with what it holds of and what it does not.
#[test]
fn golden_vectors() {
    #[derive(serde::Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        predicate: String,
        wire: Predicate,
        holds_of: Vec<CapabilitySet>,
        holds_not_of: Vec<CapabilitySet>,
    }
    let vectors: Vectors = serde_json::from_str(include_str!("../../tests/vectors.json")).expect("vectors");
    for Case { predicate, wire, holds_of, holds_not_of } in vectors.cases {
        assert_eq!(predicate.parse::<Predicate>().as_ref(), Ok(&wire), "{predicate}");
        assert_eq!(wire.to_string(), predicate);
        for set in holds_of {
            assert!(wire.evaluate(&set), "{predicate} does not hold of {set:?}");
        }
        for set in holds_not_of {
            assert!(!wire.evaluate(&set), "{predicate} holds of {set:?}");
        }
    }
}

/// A node that is named twice by the next, and so on: 2^k clauses in k nodes.
#[test]
fn documents_that_expand_are_refused_before_they_do() {
    let mut nodes = vec![r#"{"kind":"metadata_exists","key":"a"}"#.to_owned()];
    nodes.extend((0..100).map(|child| format!(r#"{{"kind":"and","children":[{child},{child}]}}"#)));
    let document = format!(r#"{{"nodes":[{}],"root_idx":100}}"#, nodes.join(","));
    assert!(document.len() <= DOCUMENT_BYTES_MAX);
    assert!(matches!(Predicate::from_json(&document), Err(PredicateWireError::TooManyClauses)));

    let mut nodes = vec![r#"{"kind":"metadata_exists","key":"a"}"#.to_owned()];
    nodes.extend((0..DEPTH_MAX).map(|child| format!(r#"{{"kind":"not","child":{child}}}"#)));
    let document = format!(r#"{{"nodes":[{}],"root_idx":{DEPTH_MAX}}}"#, nodes.join(","));
    assert!(matches!(Predicate::from_json(&document), Err(PredicateWireError::TooDeep)));
    let document = document.replace(&format!(r#""root_idx":{DEPTH_MAX}"#), &format!(r#""root_idx":{}"#, DEPTH_MAX - 1));
    assert!(Predicate::from_json(&document).is_ok());

    let deep = format!("{}exists \"software.x\"", "not ".repeat(DEPTH_MAX));
    assert!(deep.parse::<Predicate>().is_err());
    assert!("and [".repeat(1000).parse::<Predicate>().is_err());
}

#[test]
fn documents_that_are_no_predicate_are_refused() {
    let cases = [
        (r#"{"nodes":[],"root_idx":0}"#, "without nodes"),
        (r#"{"nodes":[{"kind":"and","children":[]}],"root_idx":1}"#, "root_idx is 1"),
        (r#"{"nodes":[{"kind":"not","child":7}],"root_idx":0}"#, "there are 1 nodes"),
        (r#"{"nodes":[{"kind":"not","child":0}],"root_idx":0}"#, "does not come before it"),
        (r#"{"nodes":[{"kind":"not","child":1},{"kind":"not","child":0}],"root_idx":0}"#, "does not come before it"),
        (r#"{"nodes":[{"kind":"near","key":"a"}],"root_idx":0}"#, "unknown variant `near`"),
        (
            r#"{"nodes":[{"kind":"exists","key":{"axis":"softwar","key":"a"}}],"root_idx":0}"#,
            "unknown variant `softwar`",
        ),
        ("", "EOF"),
    ];
    for (document, reason) in cases {
        let error = Predicate::from_json(document).expect_err(document).to_string();
        assert!(error.contains(reason), "{document}: {error}");
    }
    assert!(matches!(Predicate::from_json(&" ".repeat(5000)), Err(PredicateWireError::TooLong { bytes: 5000 })));
    let infinite = Predicate::metadata_numeric_at_least("a", f64::INFINITY);
    assert!(matches!(infinite.to_json(), Err(PredicateWireError::NotFinite { .. })));
    assert!(serde_json::to_string(&infinite).is_err());
}

#[test]
fn texts_that_are_no_predicate_say_where() {
    let cases = [
        ("", 0, "no clause"),
        ("exist \"software.x\"", 0, "\"exist\" is no clause"),
        ("exists software.x", 7, "double quotes"),
        ("exists \"softwar.x\"", 7, "no axis"),
        ("equals \"software.x\"", 19, "',' is missing"),
        ("num_at_least \"software.x\", y", 27, "\"y\" is no number"),
        ("and [exists \"software.x\"", 24, "']' is missing"),
        ("not exists \"software.x\" x", 24, "has ended"),
    ];
    for (text, at, reason) in cases {
        let error = text.parse::<Predicate>().expect_err(text);
        assert!(error.at == at && error.reason.contains(reason), "{text}: {error}");
    }
}
