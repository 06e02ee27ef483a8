//! The paths of a payload that a filter looks at, as a tree of keys with the tests of each.
//!
//! Each test leaves a bit where it holds. Bits are zero until then, so a path that leads nowhere needs no work.

use serde_json::Value;

use super::field::{Field, Found, Test};
use super::held::Held;
use super::path;

/// A node of the tree: paths end here or lead on.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    tests: Vec<(usize, Test)>,
    /// Sorted by key.
    keys: Vec<(String, Lookup)>,
    /// The keys that are an index of an array too, each with its number among `keys`; sorted. `1` and `01` are one
    /// index.
    pub(super) elements: Vec<(usize, usize)>,
    /// The tests here and below.
    pub(super) below: Held,
    /// True if a test here looks into arrays and objects.
    pub(super) whole: bool,
}

impl Lookup {
    /// The tree of the paths. Tests are numbered in their order; there are at most
    /// [`NODES_MAX`](super::limits::NODES_MAX).
    pub(super) fn new(fields: Vec<&Field>) -> Self {
        let mut root = Self::default();
        for (number, field) in fields.into_iter().enumerate() {
            root.insert(number, field);
        }
        root.index();
        root
    }

    fn insert(&mut self, number: usize, field: &Field) {
        let mut lookup = self;
        lookup.below.insert(number);
        for segment in path::segments(&field.path) {
            lookup = lookup.child(segment);
            lookup.below.insert(number);
        }
        lookup.whole |= field.test.wants_whole();
        lookup.tests.push((number, field.test.clone()));
    }

    fn child(&mut self, segment: &str) -> &mut Lookup {
        let at = match self.keys.binary_search_by(|(key, _)| key.as_str().cmp(segment)) {
            Ok(at) => at,
            Err(at) => {
                self.keys.insert(at, (segment.to_owned(), Lookup::default()));
                at
            }
        };
        &mut self.keys[at].1
    }

    /// Finds the keys that are an index of an array, here and below.
    fn index(&mut self) {
        let elements = self.keys.iter().enumerate().filter_map(|(at, (key, _))| Some((path::index_of(key)?, at)));
        self.elements = elements.collect();
        self.elements.sort_unstable();
        self.keys.iter_mut().for_each(|(_, lookup)| lookup.index());
    }

    /// Runs the tests of this path.
    #[inline]
    pub(super) fn test(&self, found: &Found<'_>, held: &mut Held) {
        for (number, test) in &self.tests {
            if test.holds(found) {
                held.insert(*number);
            }
        }
    }

    /// Runs the tests of this path and those below it on a value that had to be built.
    pub(super) fn walk(&self, value: &Value, held: &mut Held) {
        self.test(&Found::of(value), held);
        for (key, lookup) in &self.keys {
            if let Some(value) = path::step(value, key) {
                lookup.walk(value, held);
            }
        }
    }

    #[inline]
    pub(super) fn at_key(&self, key: &str) -> Option<&Lookup> {
        match self.keys.as_slice() {
            [(only, lookup)] => (only == key).then_some(lookup),
            keys => keys.binary_search_by(|(other, _)| other.as_str().cmp(key)).ok().map(|at| &keys[at].1),
        }
    }

    /// The node that `elements` names.
    pub(super) fn element(&self, at: usize) -> &Lookup {
        &self.keys[at].1
    }
}
