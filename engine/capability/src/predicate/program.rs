//! A predicate as a list of clauses with jumps between them: evaluation is a loop, and `and`, `or`, `not` are gone.

use std::borrow::Borrow;

use crate::facts::Facts;
use crate::version::Version;

use super::Predicate;

/// The steps of a predicate, whose clauses `C` are owned, or borrowed for one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program<C> {
    steps: Vec<Step<C>>,
    /// The first step, or the answer.
    start: usize,
}

/// A clause that has no clauses.
#[derive(Debug, Clone, PartialEq)]
struct Step<C> {
    clause: C,
    /// The version that it compares with.
    version: Option<Version>,
    next: Next,
}

/// The next step, or the answer, where a clause does not hold and where it does.
type Next = [usize; 2];

/// Answers stand where steps do; they are more than there are steps.
const NO: usize = usize::MAX - 1;
const YES: usize = usize::MAX;

impl<C: Borrow<Predicate>> Program<C> {
    /// The clauses in the order in which they stand; `take` makes a clause of the program of one of the predicate.
    pub(super) fn new<'p>(predicate: &'p Predicate, take: impl Fn(&'p Predicate) -> C) -> Self {
        let mut program = Self { steps: Vec::new(), start: NO };
        program.start = program.add(predicate, [NO, YES], &take);
        program
    }

    /// Adds a clause, the last of its clauses first: what follows a clause is known before it. Returns where it begins.
    fn add<'p>(&mut self, predicate: &'p Predicate, [no, yes]: Next, take: &impl Fn(&'p Predicate) -> C) -> usize {
        match predicate {
            Predicate::And(clauses) => clauses.iter().rfold(yes, |next, clause| self.add(clause, [no, next], take)),
            Predicate::Or(clauses) => clauses.iter().rfold(no, |next, clause| self.add(clause, [next, yes], take)),
            Predicate::Not(clause) => self.add(clause, [yes, no], take),
            leaf => {
                self.steps.push(Step { clause: take(leaf), version: leaf.version(), next: [no, yes] });
                self.steps.len() - 1
            }
        }
    }

    /// Some 10 ns a clause over a [`CapabilitySet`](crate::CapabilitySet).
    pub(super) fn holds(&self, of: &impl Facts) -> bool {
        let mut at = self.start;
        while let Some(Step { clause, version, next }) = self.steps.get(at) {
            at = next[usize::from(clause.borrow().leaf_holds(of, *version))];
        }
        at == YES
    }
}
