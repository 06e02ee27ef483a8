//! Sets and predicates of a seed, from few words, so that they often meet.

use tapeline_testing::Random;

use crate::axis::TaxonomyAxis;
use crate::predicate::Predicate;
use crate::set::CapabilitySet;
use crate::tag::Tag;
use crate::tag_key::TagKey;

const KEYS: [&str; 4] = ["model", "gpu.vram_gb", "version", "x"];
const VALUES: [&str; 12] =
    ["", "1", "80", "1e2", "-0.5", "1.2.3", "0.2.9", "0.0.3", "nan", "llama-7b", "llama-70b", "a=b:c"];
const NAMES: [&str; 3] = ["zone", "load", "a \"b"];

fn key(random: &mut Random) -> TagKey {
    TagKey::new(random.pick(&TaxonomyAxis::ALL[..2]), random.pick(&KEYS)).expect("a key")
}

pub(crate) fn set(random: &mut Random) -> CapabilitySet {
    let mut set = CapabilitySet::new();
    for _ in 0..random.below::<u32>(12) {
        let (key, value, separator) = (key(random), random.pick(&VALUES), random.pick(&["=", ":"]));
        let text = match random.below::<u32>(8) {
            0 => key.to_string(),
            1 => "legacy".to_owned(),
            2 => format!("scope:{value}"),
            _ => format!("{key}{separator}{value}"),
        };
        set.insert(Tag::parse(&text).expect("a tag"));
    }
    for _ in 0..random.below::<u32>(3) {
        set.set_metadata(random.pick(&NAMES), random.pick(&VALUES));
    }
    set
}

fn number(random: &mut Random) -> f64 {
    random.pick(&[0.0, 1.0, 80.0, 100.0, -0.5, 1e300, 4.1e100])
}

pub(crate) fn predicate(random: &mut Random, depth: usize) -> Predicate {
    let clauses = |random: &mut Random| {
        let count = random.below::<u32>(4);
        (0..count).map(|_| predicate(random, depth - 1)).collect()
    };
    match random.below::<u32>(if depth > 1 { 20 } else { 14 }) {
        0 => Predicate::exists(key(random)),
        1 => Predicate::equals(key(random), random.pick(&VALUES)),
        2 => Predicate::numeric_at_least(key(random), number(random)),
        3 => Predicate::numeric_at_most(key(random), number(random)),
        4 => Predicate::numeric_in_range(key(random), number(random), number(random)),
        5 => Predicate::semver_at_least(key(random), random.pick(&VALUES)),
        6 => Predicate::semver_at_most(key(random), random.pick(&VALUES)),
        7 => Predicate::semver_compatible(key(random), random.pick(&VALUES)),
        8 => Predicate::string_prefix(key(random), random.pick(&VALUES)),
        9 => Predicate::string_matches(key(random), random.pick(&VALUES)),
        10 => Predicate::metadata_exists(random.pick(&NAMES)),
        11 => Predicate::metadata_equals(random.pick(&NAMES), random.pick(&VALUES)),
        12 => Predicate::metadata_matches(random.pick(&NAMES), random.pick(&VALUES)),
        13 => Predicate::metadata_numeric_at_least(random.pick(&NAMES), number(random)),
        14 | 15 => Predicate::And(clauses(random)),
        16 | 17 => Predicate::Or(clauses(random)),
        _ => Predicate::not(predicate(random, depth - 1)),
    }
}
