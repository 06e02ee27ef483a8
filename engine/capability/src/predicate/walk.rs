//! Ways over the clauses of a predicate that take no stack: a program may put clauses into one another without end.
//! Recursion elsewhere goes [`DEPTH_MAX`](super::DEPTH_MAX) clauses deep, and goes on with these.

use std::fmt;
use std::slice;

use super::Predicate;

/// A step over the clauses of a predicate, in the order of its text.
pub(super) enum Step<'p> {
    /// A clause without clauses.
    Leaf(&'p Predicate),
    /// `and`, `or`, `not`; the clauses in it follow.
    Begin(&'p Predicate),
    /// The end of one.
    End(&'p Predicate),
}

/// A clause whose clauses are not all done.
struct Open<'p, T> {
    clause: &'p Predicate,
    rest: slice::Iter<'p, Predicate>,
    parts: Vec<T>,
}

impl<'p, T> Open<'p, T> {
    fn new(clause: &'p Predicate) -> Self {
        Self { clause, rest: clause.clauses().iter(), parts: Vec::new() }
    }
}

/// All steps over a predicate.
pub(super) struct Steps<'p> {
    /// The predicate itself, before the first step.
    first: Option<&'p Predicate>,
    open: Vec<Open<'p, ()>>,
}

impl<'p> Iterator for Steps<'p> {
    type Item = Step<'p>;

    fn next(&mut self) -> Option<Step<'p>> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.open.last_mut()?.rest.next(),
        };
        match next {
            Some(clause) if clause.is_joined() => {
                self.open.push(Open::new(clause));
                Some(Step::Begin(clause))
            }
            Some(leaf) => Some(Step::Leaf(leaf)),
            None => self.open.pop().map(|open| Step::End(open.clause)),
        }
    }
}

impl Predicate {
    /// The clauses in it.
    pub(crate) fn clauses(&self) -> &[Self] {
        match self {
            Self::And(clauses) | Self::Or(clauses) => clauses,
            Self::Not(clause) => slice::from_ref(clause),
            _ => &[],
        }
    }

    /// Returns whether it is an `and`, an `or` or a `not`.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self, Self::And(_) | Self::Or(_) | Self::Not(_))
    }

    pub(super) fn steps(&self) -> Steps<'_> {
        Steps { first: Some(self), open: Vec::new() }
    }

    /// It and all clauses in it, each before the clauses in it.
    pub(super) fn each(&self) -> impl Iterator<Item = &Self> {
        self.steps().filter_map(|step| match step {
            Step::Leaf(clause) | Step::Begin(clause) => Some(clause),
            Step::End(_) => None,
        })
    }

    /// Visits each clause after the clauses in it, with what the visits of these gave.
    pub(crate) fn fold<T>(&self, mut visit: impl FnMut(&Self, Vec<T>) -> T) -> T {
        if !self.is_joined() {
            return visit(self, Vec::new());
        }
        let (mut inner, mut outer) = (Open::new(self), Vec::new());
        loop {
            match inner.rest.next() {
                Some(clause) if clause.is_joined() => outer.push(std::mem::replace(&mut inner, Open::new(clause))),
                Some(leaf) => inner.parts.push(visit(leaf, Vec::new())),
                None => {
                    let done = visit(inner.clause, inner.parts);
                    let Some(parent) = outer.pop() else { return done };
                    inner = parent;
                    inner.parts.push(done);
                }
            }
        }
    }

    /// The same clause with other clauses in it.
    pub(super) fn with_clauses(&self, mut clauses: Vec<Self>) -> Self {
        match self {
            Self::And(_) => Self::And(clauses),
            Self::Or(_) => Self::Or(clauses),
            // It has one.
            Self::Not(_) => Self::Not(Box::new(clauses.pop().unwrap_or(Self::And(Vec::new())))),
            leaf => leaf.clone_leaf(),
        }
    }

    /// Takes the clauses out of it, as far as they have clauses of their own.
    fn take_clauses(&mut self) -> Vec<Self> {
        if !self.clauses().iter().any(Self::is_joined) {
            return Vec::new();
        }
        match self {
            Self::And(clauses) | Self::Or(clauses) => std::mem::take(clauses),
            Self::Not(clause) => vec![std::mem::replace(&mut **clause, Self::And(Vec::new()))],
            _ => Vec::new(),
        }
    }
}

/// One clause after the other, not one within the other.
impl Drop for Predicate {
    fn drop(&mut self) {
        let mut rest = self.take_clauses();
        while let Some(mut clause) = rest.pop() {
            rest.append(&mut clause.take_clauses());
        }
    }
}

impl Clone for Predicate {
    fn clone(&self) -> Self {
        self.fold(Self::with_clauses)
    }
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        let are_equal = |(one, other): (&Self, &Self)| {
            one.is_leaf_equal(other)
                || (one.is_joined()
                    && std::mem::discriminant(one) == std::mem::discriminant(other)
                    && one.clauses().len() == other.clauses().len())
        };
        // Equal numbers of clauses in each: the two have the same shape for as long as they are equal.
        self.each().zip(other.each()).all(are_equal)
    }
}

/// Its text.
impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
