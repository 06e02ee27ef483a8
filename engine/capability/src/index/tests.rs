use tapeline_testing::{Random, seeds};

use super::*;
use crate::testing::{predicate, set};

/// Through insertions and removals, the index finds what an evaluation of each set finds.
#[test]
fn index_finds_what_evaluation_finds() {
    for seed in seeds(40) {
        let mut random = Random::new(seed);
        let mut index = CapabilityIndex::new();
        let mut kept: Vec<(SetId, CapabilitySet)> = Vec::new();
        for _ in 0..300 {
            if !kept.is_empty() && random.below(4u32) == 0 {
                let (id, set) = kept.swap_remove(random.below(kept.len()));
                assert_eq!(index.remove(id), Some(set));
                assert_eq!(index.remove(id), None);
            } else {
                let set = set(&mut random);
                kept.push((index.insert(set.clone()), set));
            }
        }
        kept.sort_by_key(|(id, _)| *id);
        assert_eq!(index.len(), kept.len());
        for _ in 0..50 {
            let predicate = predicate(&mut random, 4);
            let expected: Vec<_> =
                kept.iter().filter(|(_, set)| predicate.evaluate_unplanned(set)).map(|(id, _)| *id).collect();
            assert_eq!(index.matching(&predicate), expected, "{predicate}");
        }
        for tag in kept.iter().flat_map(|(_, set)| set.tags()).take(50) {
            let mut requirements = vec![RequiredCapability::Tag(tag.clone())];
            requirements.extend(tag.axis().map(RequiredCapability::AxisAny));
            requirements.extend(tag.key().cloned().map(RequiredCapability::AxisKey));
            for requirement in requirements {
                let expected: Vec<_> =
                    kept.iter().filter(|(_, set)| requirement.evaluate(set)).map(|(id, _)| *id).collect();
                assert_eq!(index.meeting(&requirement), expected, "{requirement}");
            }
        }
    }
}

/// Values that come and go leave nothing in the index.
#[test]
fn index_keeps_nothing_of_what_was_removed() {
    let mut index = CapabilityIndex::new();
    for beat in 0..1000 {
        let id = index.insert(
            CapabilitySet::parse(["gpu", &format!("hardware.load={beat}")])
                .expect("tags")
                .with_metadata("beat", beat.to_string()),
        );
        assert_eq!(id.number(), 0);
        assert!(index.remove(id).is_some());
    }
    assert!(
        index.is_empty()
            && index.keys.is_empty()
            && index.metadata.is_empty()
            && index.others.is_empty()
            && index.axes.is_empty()
    );
    assert_eq!(index.matching(&Predicate::and([])), []);
}
