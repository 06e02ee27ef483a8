//! Hostile texts: tags, the documents and the texts of predicates, and the grammar of `require!`. A text is refused, or
//! read as what gives its meaning back, within the bounds of documents. `scripts/fuzz` runs these with more seeds.

use tapeline_testing::{Random, asked, seeds};

use crate::predicate::{DEPTH_MAX, DOCUMENT_BYTES_MAX, NODES_MAX, Predicate, PredicateWire};
use crate::requirement::RequiredCapability;
use crate::set::CapabilitySet;
use crate::tag::{CapabilityTagError, Tag};
use crate::tag_key::TagKey;
use crate::testing;

/// Words of the grammars, so that texts of them often mean something.
const WORDS: [&str; 38] = [
    "hardware",
    "software",
    "devices",
    "dataforts",
    "hardwre",
    "scope:",
    "heat:",
    "any of ",
    ".",
    "=",
    ":",
    "==",
    ">=",
    "<=",
    ">",
    "<",
    "!=",
    " ",
    "\"",
    "model",
    "gpu.vram_gb",
    "48",
    "-0.5",
    "1e999",
    "nan",
    "1.2.3",
    "and [",
    "or [",
    "]",
    ", ",
    "not ",
    "exists ",
    "equals ",
    "num_at_least ",
    "prefix ",
    "metadata_exists ",
    "\u{e9}",
    "\0",
];

/// The seeds of a fuzz test: `TAPELINE_FUZZ_CASES` of them.
fn cases() -> tapeline_testing::Seeds {
    seeds(asked("TAPELINE_FUZZ_CASES").unwrap_or(300))
}

fn words(random: &mut Random) -> String {
    (0..random.below(12u32)).map(|_| random.pick(&WORDS)).collect()
}

/// A text that was harmed in a few places; as it was, where that leaves no text.
fn harm(random: &mut Random, text: &str) -> String {
    let mut harmed = text.as_bytes().to_vec();
    for _ in 0..=random.below(4u32) {
        let at = random.below(harmed.len() + 1);
        match random.below(5u32) {
            0 => harmed.truncate(at),
            1 => harmed.insert(at, random.pick(b"[]{}\"\\,.:=<>!0 9e-n")),
            2 => harmed.extend_from_within(..at.min(100)),
            3 => drop(harmed.splice(at..at, random.pick(&WORDS).bytes())),
            _ if at < harmed.len() => harmed[at] = random.next_u64() as u8,
            _ => {}
        }
    }
    String::from_utf8(harmed).unwrap_or_else(|_| text.to_owned())
}

#[test]
fn tags_are_written_as_they_were_read() {
    for seed in cases() {
        let mut random = Random::new(seed);
        let sound = testing::set(&mut random);
        let sound = sound.tags().iter().map(Tag::to_string).map(|tag| harm(&mut random, &tag)).collect::<Vec<_>>();
        for text in sound.into_iter().chain([words(&mut random)]) {
            let read = Tag::parse(&text);
            match &read {
                Ok(tag) => {
                    assert_eq!(tag.to_string(), text);
                    let document = serde_json::to_string(tag).expect("a document");
                    assert_eq!(serde_json::from_str::<Tag>(&document).expect("a tag"), *tag, "{document}");
                    let set: CapabilitySet = [tag.clone()].into_iter().collect();
                    assert!(RequiredCapability::Tag(tag.clone()).evaluate(&set), "{text}");
                }
                Err(error) => check_refusal(&text, error),
            }
            match Tag::parse_user(&text) {
                Err(CapabilityTagError::ReservedPrefix { prefix, .. }) => assert!(text.starts_with(prefix), "{text}"),
                user => assert_eq!(user, read),
            }
            if let Ok(key) = TagKey::parse(&text) {
                assert_eq!(key.to_string(), text);
            }
        }
    }
}

/// Checks that a text is no tag for the reason that is given, by the rules as they are written.
fn check_refusal(text: &str, error: &CapabilityTagError) {
    match error {
        CapabilityTagError::Empty => assert!(text.is_empty(), "{text}: {error}"),
        CapabilityTagError::Character { character, .. } => {
            assert!(character.is_control() || "\u{2028}\u{2029}".contains(*character), "{text}: {error}");
            assert!(text.contains(*character), "{text}: {error}");
        }
        CapabilityTagError::Key { .. } => {
            let key = text.split(['=', ':']).next().unwrap_or_default();
            let is_on_axis = crate::TaxonomyAxis::ALL.iter().any(|axis| key.starts_with(&format!("{axis}.")));
            assert!(is_on_axis && TagKey::parse(key).is_err(), "{text}: {error}");
        }
        error => panic!("{text}: {error}"),
    }
}

/// Checks a predicate that was read.
fn check(predicate: &Predicate, random: &mut Random) {
    let wire = predicate.to_wire();
    assert!(wire.nodes.len() <= NODES_MAX && depth(predicate) <= DEPTH_MAX, "{predicate}");
    assert_eq!(wire.to_predicate().as_ref().ok(), Some(predicate));
    let set = testing::set(random);
    assert_eq!(predicate.evaluate(&set), predicate.evaluate_unplanned(&set), "{predicate} of {set:?}");
}

fn depth(predicate: &Predicate) -> usize {
    1 + match predicate {
        Predicate::And(clauses) | Predicate::Or(clauses) => clauses.iter().map(depth).max().unwrap_or(0),
        Predicate::Not(clause) => depth(clause),
        _ => 0,
    }
}

/// The same document with numbers of nodes changed: nodes that are shared, missing, or come too late.
fn rewired(random: &mut Random, document: &str) -> String {
    let numbers: Vec<usize> =
        document.match_indices(|letter: char| letter.is_ascii_digit()).map(|(at, _)| at).collect();
    let mut rewired = document.as_bytes().to_vec();
    for _ in 0..random.below(4u32).min(numbers.len() as u32) {
        rewired[random.pick(&numbers)] = random.pick(b"0123456789");
    }
    String::from_utf8(rewired).expect("digits")
}

#[test]
fn documents_of_predicates_are_refused_or_within_bounds() {
    for seed in cases() {
        let mut random = Random::new(seed);
        let sound = testing::predicate(&mut random, 5).to_json().unwrap_or_default();
        for _ in 0..10 {
            let hostile = match random.below(2u32) {
                0 => harm(&mut random, &sound),
                _ => rewired(&mut random, &sound),
            };
            let read = Predicate::from_json(&hostile);
            assert!(read.is_err() || hostile.len() <= DOCUMENT_BYTES_MAX, "{} bytes", hostile.len());
            // The same document in parts that serde knows.
            let wire = serde_json::from_str::<PredicateWire>(&hostile).ok().and_then(|wire| wire.to_predicate().ok());
            match read {
                Ok(predicate) => {
                    assert_eq!(wire.as_ref(), Some(&predicate), "{hostile}");
                    check(&predicate, &mut random);
                }
                Err(_) => assert!(wire.is_none() || hostile.len() > DOCUMENT_BYTES_MAX, "{hostile}"),
            }
        }
    }
}

#[test]
fn texts_of_predicates_are_refused_or_give_the_predicate_back() {
    for seed in cases() {
        let mut random = Random::new(seed);
        let sound = testing::predicate(&mut random, 5).to_string();
        for _ in 0..10 {
            let hostile = if random.below(4u32) == 0 { words(&mut random) } else { harm(&mut random, &sound) };
            match hostile.parse::<Predicate>() {
                Ok(predicate) => {
                    check(&predicate, &mut random);
                    let written = predicate.to_string();
                    if written.len() <= DOCUMENT_BYTES_MAX {
                        assert_eq!(written.parse(), Ok(predicate), "{hostile}");
                    }
                }
                Err(error) => assert!(hostile.is_char_boundary(error.at), "{hostile}: {error}"),
            }
        }
    }
}

#[test]
fn requirements_are_refused_or_mean_what_they_say() {
    let sound =
        ["software.model", "software.model=x", " software . model == \"a b\" ", "hardware.gpu.vram_gb >= 48", "gpu"];
    for seed in cases() {
        let mut random = Random::new(seed);
        for _ in 0..10 {
            let base = random.pick(&sound);
            let text = if random.below(2u32) == 0 { words(&mut random) } else { harm(&mut random, base) };
            if let Ok(requirement) = RequiredCapability::parse(&text) {
                check_requirement(&text, &requirement);
            }
            if let Ok(requirement) = text.parse::<RequiredCapability>() {
                assert_eq!(requirement.to_string().parse(), Ok(requirement.clone()), "{text}");
                let document = serde_json::to_string(&requirement).expect("a document");
                assert_eq!(serde_json::from_str::<RequiredCapability>(&document).expect("one"), requirement, "{text}");
            }
        }
    }
}

/// Checks a requirement against the rules of its grammar, which are told apart by the first comparison alone.
fn check_requirement(text: &str, requirement: &RequiredCapability) {
    let trimmed = text.trim();
    let without_space = |text: &str| text.split_whitespace().collect::<String>();
    match requirement {
        RequiredCapability::Tag(tag) => {
            assert_eq!(tag.to_string(), trimmed);
            assert!(!matches!(tag, Tag::Reserved { .. }), "{text}");
            let before_value = &trimmed[..trimmed.len() - tag.value().map_or(0, |value| value.len() + 1)];
            assert!(!before_value.contains(['<', '>', '!', '~', '=']), "a typing error became a tag: {text}");
            assert!(tag.value().is_none_or(|value| value.trim() == value && !value.is_empty()), "{text}");
            let word = trimmed.split(['=', ':']).next().unwrap_or_default();
            assert!(tag.axis().is_some() || !word.contains('.'), "an unknown axis became a tag: {text}");
            assert!(crate::TaxonomyAxis::from_name(word).is_none(), "an axis alone became a tag: {text}");
        }
        RequiredCapability::Predicate(Predicate::Equals { key, value }) => {
            let (left, right) = trimmed.split_once("==").expect("a comparison");
            assert_eq!(without_space(&key.to_string()), without_space(left));
            assert!(right.trim() == value || right.trim() == format!("\"{value}\""), "{text}");
            assert!(!value.starts_with('"') && !value.ends_with('"'), "{text}");
        }
        RequiredCapability::Predicate(
            Predicate::NumericAtLeast { key, threshold } | Predicate::NumericAtMost { key, threshold },
        ) => {
            let (left, right) = trimmed
                .split_once([">=", "<="].into_iter().find(|sign| trimmed.contains(sign)).expect("one"))
                .expect("a comparison");
            assert_eq!(without_space(&key.to_string()), without_space(left));
            assert_eq!(right.trim().parse(), Ok(*threshold));
            assert!(threshold.is_finite());
        }
        other => panic!("{text} is read as {other:?}"),
    }
}
