//! The order in which the clauses of a predicate are looked at.

use crate::facts::Capabilities;

use super::{DEPTH_MAX, Predicate};

/// A predicate whose cheap clauses come first: for many evaluations. It holds of what the predicate holds of.
///
/// ```
/// use tapeline_capability::{CapabilitySet, Predicate, TagKey};
///
/// let compiled = Predicate::exists(TagKey::parse("devices.camera")?).compile();
/// let sets = [CapabilitySet::parse(["devices.camera"])?, CapabilitySet::new()];
/// assert_eq!(sets.iter().filter(|set| compiled.evaluate(*set)).count(), 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledPredicate(Predicate);

impl CompiledPredicate {
    /// Returns whether the predicate holds. Allocates nothing.
    pub fn evaluate(&self, of: &impl Capabilities) -> bool {
        self.0.holds(DEPTH_MAX, of)
    }

    /// The predicate, with its clauses in the order of evaluation.
    pub fn predicate(&self) -> &Predicate {
        &self.0
    }
}

impl Predicate {
    /// Sorts the clauses of each `and` and `or` by cost; those of equal cost stay in order.
    pub fn compile(&self) -> CompiledPredicate {
        CompiledPredicate(self.planned().1)
    }

    /// The cost of the predicate, and the predicate with its clauses sorted.
    fn planned(&self) -> (u64, Self) {
        self.fold(|clause, mut planned: Vec<(u64, Self)>| {
            planned.sort_by_key(|(cost, _)| *cost);
            let cost = planned.iter().fold(clause.leaf_cost(), |sum, (cost, _)| sum.saturating_add(*cost));
            (cost, clause.with_clauses(planned.into_iter().map(|(_, clause)| clause).collect()))
        })
    }

    /// The cost of a clause that has no clauses. Only its order counts: the number is that of no unit.
    fn leaf_cost(&self) -> u64 {
        match self {
            Self::MetadataExists { .. } => 10,
            Self::MetadataEquals { .. } => 11,
            Self::Exists { .. } => 20,
            Self::Equals { .. } => 21,
            Self::MetadataNumericAtLeast { .. } => 25,
            Self::NumericAtLeast { .. } | Self::NumericAtMost { .. } | Self::NumericInRange { .. } => 30,
            Self::StringPrefix { .. } => 40,
            Self::MetadataMatches { .. } => 45,
            Self::StringMatches { .. } => 50,
            Self::SemverAtLeast { .. } | Self::SemverAtMost { .. } | Self::SemverCompatible { .. } => 60,
            Self::And(_) | Self::Or(_) | Self::Not(_) => 0,
        }
    }
}
