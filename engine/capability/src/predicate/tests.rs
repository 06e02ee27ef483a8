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
fn documents_that_would_not_be_read_are_not_written() {
    assert!(matches!(Predicate::from_json(&" ".repeat(5000)), Err(PredicateWireError::TooLong { bytes: 5000 })));
    let zone = || Predicate::metadata_exists("zone");
    let deep = (0..DEPTH_MAX).fold(zone(), |clause, _| Predicate::not(clause));
    let key = || TagKey::parse("hardware.cores").expect("a key");
    let refused = [
        Predicate::metadata_numeric_at_least("a", f64::INFINITY),
        Predicate::numeric_at_least(key(), f64::NAN),
        Predicate::numeric_in_range(key(), f64::NEG_INFINITY, 1.0),
        Predicate::numeric_in_range(key(), 1.0, f64::INFINITY),
        Predicate::not(Predicate::metadata_exists("")),
        Predicate::and([zone(), Predicate::metadata_numeric_at_least("", 1.0)]),
        Predicate::or((0..NODES_MAX).map(|_| zone())),
        deep,
    ];
    for predicate in refused {
        assert!(predicate.to_json().is_err() && serde_json::to_string(&predicate).is_err(), "{predicate}");
        assert!(predicate.to_string().parse::<Predicate>().is_err(), "{predicate}");
        assert!(predicate.to_wire().to_predicate().is_err(), "{predicate}");
    }
}

/// Clauses inside one another without end, in each way to nest them.
fn endless() -> [Predicate; 4] {
    let camera = || Predicate::exists(TagKey::parse("devices.camera").expect("a key"));
    let nest = |join: fn(Predicate) -> Predicate| (0..10_000).fold(camera(), |clause, _| join(clause));
    [
        nest(Predicate::not),
        nest(|clause| Predicate::and([clause])),
        nest(|clause| Predicate::or([Predicate::metadata_exists("zone"), clause])),
        nest(|clause| Predicate::not(Predicate::and([Predicate::or([clause]), Predicate::and([])]))),
    ]
}

/// On a stack that a few hundred calls within one another fill.
#[test]
fn no_method_takes_stack_for_clauses_inside_one_another() {
    let use_all = || {
        let (with, without) = (CapabilitySet::parse(["devices.camera"]).expect("tags"), CapabilitySet::new());
        let mut index = crate::index::CapabilityIndex::new();
        let ids = [&with, &without].map(|set| index.insert(set.clone()));
        for predicate in endless() {
            for set in [&with, &without] {
                let expected = std::ptr::eq(set, &with);
                assert_eq!(predicate.evaluate(set), expected);
                assert_eq!(predicate.evaluate_unplanned(set), expected);
                let trace = predicate.evaluate_with_trace(set);
                assert!(trace.result == expected && !trace.to_string().is_empty());
                assert_eq!(trace.clone(), trace);
            }
            let report = predicate.debug_report([&with, &without]);
            assert_eq!((report.matched, report.clause_stats[0].evaluated), (1, 2));
            assert_eq!(index.matching(&predicate), ids[..1]);
            let copy = predicate.clone();
            assert!(copy == predicate && copy.to_wire() == predicate.to_wire());
            assert_eq!(format!("{copy:?}"), predicate.to_string());
            assert!(copy.to_json().is_err() && serde_json::to_string(&copy).is_err());
            assert!(copy.to_wire().to_predicate().is_err() && copy.to_string().parse::<Predicate>().is_err());
            let requirement = crate::requirement::RequiredCapability::from(copy);
            assert!(requirement.clone() == requirement && requirement.evaluate(&with));
            assert!(requirement.to_string().parse::<crate::requirement::RequiredCapability>().is_err());
        }
    };
    let small = std::thread::Builder::new().stack_size(256 << 10);
    small.spawn(use_all).expect("a thread").join().expect("no panic");
}

/// The copy that is compared differs in one place.
#[test]
fn predicates_that_differ_somewhere_are_not_equal() {
    for seed in seeds(500) {
        let mut random = Random::new(seed);
        let (one, other) = (testing::predicate(&mut random, 4), testing::predicate(&mut random, 4));
        assert_eq!(one, one.clone());
        assert_eq!(one == other, one.to_string() == other.to_string(), "{one}, {other}");
    }
    let zone = || Predicate::metadata_exists("zone");
    for (one, other) in [
        (Predicate::and([zone()]), Predicate::or([zone()])),
        (Predicate::and([zone()]), Predicate::and([zone(), zone()])),
        (Predicate::and([]), Predicate::or([])),
        (Predicate::not(zone()), zone()),
    ] {
        assert_ne!(one, other);
    }
}

/// Clauses that are not looked at, and those too deep for a count of their own, have their places in the list.
#[test]
fn reports_count_each_clause_in_its_place() {
    let deep = (0..DEPTH_MAX + 6).fold(Predicate::metadata_exists("deep"), |clause, _| Predicate::not(clause));
    let inner = Predicate::and([Predicate::metadata_equals("b", "1"), Predicate::metadata_matches("c", "x")]);
    let version = || TagKey::parse("software.v").expect("a key");
    let wanted = Predicate::or([
        Predicate::metadata_exists("a"),
        Predicate::and([deep, Predicate::and([])]),
        inner,
        Predicate::semver_at_most(version(), "0"),
    ]);
    let wanted = Predicate::and([wanted, Predicate::semver_at_least(version(), "1")]);
    let with_version = CapabilitySet::parse(["software.v=1"]).expect("a tag");
    let sets = ["1", "2"].map(|b| with_version.clone().with_metadata("b", b));
    let report = wanted.debug_report([CapabilitySet::new().with_metadata("a", "")].iter().chain(&sets));
    let counts = report.clause_stats.iter().map(|stats| (&*stats.label, stats.evaluated, stats.matched));
    let (deep, others): (Vec<_>, Vec<_>) = counts.partition(|(label, ..)| *label == "not");
    assert_eq!(deep.len(), DEPTH_MAX + 6);
    let expected = [
        ("and", 3, 0),
        ("semver_at_least \"software.v\", \"1\"", 3, 2),
        ("or", 2, 0),
        ("metadata_exists \"a\"", 2, 0),
        ("and", 2, 0),
        ("and", 2, 2),
        ("metadata_exists \"deep\"", 0, 0),
        ("and", 2, 0),
        ("metadata_equals \"b\", \"1\"", 2, 1),
        ("metadata_matches \"c\", \"x\"", 1, 0),
        ("semver_at_most \"software.v\", \"0\"", 2, 0),
    ];
    assert_eq!(others, expected);
}
