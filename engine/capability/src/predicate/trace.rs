//! Explanations: which clauses of a predicate decided.

use std::fmt;

use crate::facts::Capabilities;

use super::{DEPTH_MAX, Predicate};

/// The result of a clause and of the clauses in it that were looked at: an `and` ends with the first that does not
/// hold, an `or` with the first that does. Clauses that are more than [`DEPTH_MAX`] inside one another are looked at,
/// and have no trace of their own.
///
/// ```
/// use tapeline_capability::{CapabilitySet, Predicate, TagKey};
///
/// let camera = Predicate::exists(TagKey::parse("devices.camera")?);
/// let wanted = Predicate::and([camera, Predicate::metadata_exists("zone")]);
/// let trace = wanted.evaluate_with_trace(&CapabilitySet::parse(["devices.camera"])?);
/// assert_eq!(trace.to_string(), "no  and\nno    metadata_exists \"zone\"\n");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClauseTrace {
    /// The clause as text; `and`, `or` and `not` without the clauses in them.
    pub label: String,
    /// True if it holds.
    pub result: bool,
    /// The clauses in it that were looked at, in the order of evaluation.
    pub children: Vec<ClauseTrace>,
}

impl fmt::Display for ClauseTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn lines(trace: &ClauseTrace, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let answer = if trace.result { "yes" } else { "no " };
            writeln!(f, "{answer} {:depth$}{}", "", trace.label, depth = 2 * depth)?;
            trace.children.iter().try_for_each(|child| lines(child, depth + 1, f))
        }
        lines(self, 0, f)
    }
}

/// The numbers of a clause over many sets.
///
/// ```
/// use tapeline_capability::{CapabilitySet, Predicate, TagKey};
///
/// let camera = Predicate::exists(TagKey::parse("devices.camera")?);
/// let report = camera.debug_report(&[CapabilitySet::parse(["devices.camera"])?, CapabilitySet::new()]);
/// let clause = &report.clause_stats[0];
/// assert_eq!((clause.evaluated, clause.matched), (2, 1));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClauseStats {
    /// The clause, as in [`ClauseTrace::label`].
    pub label: String,
    /// The sets for which it was looked at.
    pub evaluated: u64,
    /// Those of which it held.
    pub matched: u64,
}

/// The numbers of a predicate over many sets: which clause leaves how many.
///
/// ```
/// use tapeline_capability::{CapabilitySet, Predicate, TagKey};
///
/// let camera = Predicate::exists(TagKey::parse("devices.camera")?);
/// let report = camera.debug_report(&[CapabilitySet::parse(["devices.camera"])?, CapabilitySet::new()]);
/// assert_eq!((report.total_candidates, report.matched), (2, 1));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredicateDebugReport {
    /// The sets.
    pub total_candidates: u64,
    /// Those of which the predicate holds.
    pub matched: u64,
    /// Each clause, before the clauses in it.
    pub clause_stats: Vec<ClauseStats>,
}

impl Predicate {
    /// Evaluates the predicate as [`Predicate::evaluate`] does, and says how.
    pub fn evaluate_with_trace(&self, of: &impl Capabilities) -> ClauseTrace {
        self.compile().predicate().trace(DEPTH_MAX, of)
    }

    /// Evaluates the predicate over many sets, as [`Predicate::evaluate`] does, and counts what each clause does.
    pub fn debug_report<'s, C: Capabilities + 's>(
        &self,
        sets: impl IntoIterator<Item = &'s C>,
    ) -> PredicateDebugReport {
        let compiled = self.compile();
        let clauses = compiled.predicate().each();
        let clause_stats = clauses.map(|clause| ClauseStats { label: clause.label(), evaluated: 0, matched: 0 });
        let clause_stats = clause_stats.collect();
        let mut report = PredicateDebugReport { total_candidates: 0, matched: 0, clause_stats };
        for set in sets {
            report.total_candidates += 1;
            report.matched +=
                u64::from(compiled.predicate().count(DEPTH_MAX, set, &mut report.clause_stats.iter_mut()));
        }
        report
    }

    /// Recurses `room` clauses deep.
    fn trace(&self, room: usize, of: &impl Capabilities) -> ClauseTrace {
        let mut children = Vec::new();
        let mut look = |clause: &Self| {
            let trace = clause.trace(room - 1, of);
            let result = trace.result;
            children.push(trace);
            result
        };
        let result = match self {
            clause if room == 0 => clause.evaluate_unplanned(of),
            Self::And(clauses) => clauses.iter().all(&mut look),
            Self::Or(clauses) => clauses.iter().any(&mut look),
            Self::Not(clause) => !look(clause),
            leaf => leaf.evaluate_unplanned(of),
        };
        ClauseTrace { label: self.label(), result, children }
    }

    /// Counts itself in the next of `stats`, and the clauses in it in those after that, `room` clauses deep.
    fn count<'s>(
        &self,
        room: usize,
        of: &impl Capabilities,
        stats: &mut impl Iterator<Item = &'s mut ClauseStats>,
    ) -> bool {
        let own = stats.next();
        // Clauses that are not looked at have their place all the same.
        let mut look = |clause: &Self, decided: bool| {
            if decided {
                clause.each().zip(stats.by_ref()).for_each(|_| {});
                return None;
            }
            Some(clause.count(room - 1, of, stats))
        };
        let result = match self {
            clause if room == 0 => {
                clause.each().skip(1).zip(stats.by_ref()).for_each(|_| {});
                clause.evaluate_unplanned(of)
            }
            Self::And(clauses) => clauses.iter().fold(true, |all, clause| look(clause, !all).unwrap_or(all)),
            Self::Or(clauses) => clauses.iter().fold(false, |any, clause| look(clause, any).unwrap_or(any)),
            Self::Not(clause) => !look(clause, false).unwrap_or_default(),
            leaf => leaf.evaluate_unplanned(of),
        };
        if let Some(own) = own {
            own.evaluated += 1;
            own.matched += u64::from(result);
        }
        result
    }

    fn label(&self) -> String {
        if self.is_joined() { self.joined_by().to_owned() } else { self.to_string() }
    }
}
