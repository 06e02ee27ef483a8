//! An index over many capability sets: which of them does a predicate hold of?
//!
//! Each key has the sets that have it, by value. A clause is a union of such lists, as bits; `and`, `or` and `not` are
//! words of bits at a time. A value that many sets share is compared once.

mod bits;

use std::collections::HashMap;
use std::hash::Hash;

use crate::axis::TaxonomyAxis;
use crate::facts::{Reading, Value};
use crate::predicate::{DEPTH_MAX, Predicate};
use crate::requirement::RequiredCapability;
use crate::set::CapabilitySet;
use crate::tag::Tag;
use crate::tag_key::TagKey;

use bits::{Bits, Posting};

/// The number of a set in its index. A number is given again once its set is removed.
///
/// ```
/// use tapeline_capability::{CapabilityIndex, CapabilitySet};
///
/// let mut index = CapabilityIndex::new();
/// let id = index.insert(CapabilitySet::new());
/// assert_eq!(id.number(), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(u32);

impl SetId {
    /// The number: from 0 on, without large gaps.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Capability sets by what they hold. Takes memory for each distinct value and 4 bytes for each tag.
///
/// ```
/// use tapeline_capability::{CapabilityIndex, CapabilitySet, Predicate, TagKey};
///
/// let mut index = CapabilityIndex::new();
/// let mut ids = Vec::new();
/// for tag in ["software.version=1.1", "software.version=1.2", "software.version=1.3", "software.version=1.4"] {
///     ids.push(index.insert(CapabilitySet::parse([tag])?));
/// }
/// let recent = Predicate::semver_at_least(TagKey::parse("software.version")?, "1.3");
/// assert_eq!(index.matching(&recent), ids[2..]);
/// index.remove(ids[3]);
/// assert_eq!(index.matching(&recent), ids[2..3]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CapabilityIndex {
    /// By number.
    sets: Vec<Option<CapabilitySet>>,
    /// Numbers below the length that have no set.
    free: Vec<u32>,
    all: Bits,
    keys: HashMap<TagKey, Values>,
    metadata: HashMap<String, Values>,
    axes: HashMap<TaxonomyAxis, Posting>,
    /// Tags that lie on no axis, as text.
    others: HashMap<String, Posting>,
}

/// The sets that have a key.
#[derive(Debug, Clone, Default)]
struct Values {
    /// With or without a value.
    any: Posting,
    /// Without a value.
    bare: Posting,
    numbers: HashMap<String, usize>,
    values: Vec<ValueSets>,
}

/// The sets that have one value of a key.
#[derive(Debug, Clone)]
struct ValueSets {
    text: String,
    reading: Reading,
    sets: Posting,
}

impl CapabilityIndex {
    /// An index without sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a set. Costs some 100 ns a tag.
    pub fn insert(&mut self, set: CapabilitySet) -> SetId {
        let id = self.free.pop().unwrap_or(self.sets.len() as u32);
        self.all.insert(id);
        for tag in set.tags() {
            match tag.key() {
                Some(key) => {
                    self.axes.entry(key.axis()).or_default().insert(id);
                    self.keys.entry(key.clone()).or_default().insert(tag.value(), id);
                }
                None => self.others.entry(tag.to_string()).or_default().insert(id),
            }
        }
        for (name, value) in set.metadata() {
            self.metadata.entry(name.clone()).or_default().insert(Some(value), id);
        }
        match self.sets.get_mut(id as usize) {
            Some(place) => *place = Some(set),
            None => self.sets.push(Some(set)),
        }
        SetId(id)
    }

    /// Removes a set and returns it. Costs a search in the list of each of its tags.
    pub fn remove(&mut self, id: SetId) -> Option<CapabilitySet> {
        let set = self.sets.get_mut(id.0 as usize)?.take()?;
        self.all.remove(id.0);
        for tag in set.tags() {
            match tag.key() {
                Some(key) => {
                    remove_from(&mut self.axes, &key.axis(), |sets| sets.remove(id.0));
                    remove_from(&mut self.keys, key, |values| values.remove(tag.value(), id.0));
                }
                None => remove_from(&mut self.others, &tag.to_string(), |sets| sets.remove(id.0)),
            }
        }
        for (name, value) in set.metadata() {
            remove_from(&mut self.metadata, name, |values| values.remove(Some(value), id.0));
        }
        self.free.push(id.0);
        Some(set)
    }

    /// The set of this number.
    pub fn get(&self, id: SetId) -> Option<&CapabilitySet> {
        self.sets.get(id.0 as usize)?.as_ref()
    }

    /// The number of sets.
    pub fn len(&self) -> usize {
        self.sets.len() - self.free.len()
    }

    /// Returns whether there is no set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sets that the predicate holds of, by number: those of which [`Predicate::evaluate`] says so.
    pub fn matching(&self, predicate: &Predicate) -> Vec<SetId> {
        self.bits(DEPTH_MAX, predicate).iter().map(SetId).collect()
    }

    /// The sets that meet the requirement, by number.
    pub fn meeting(&self, requirement: &RequiredCapability) -> Vec<SetId> {
        let mut found = Bits::default();
        match requirement {
            RequiredCapability::Predicate(predicate) => found = self.bits(DEPTH_MAX, predicate),
            RequiredCapability::AxisAny(axis) => {
                self.axes.get(axis).into_iter().for_each(|sets| sets.add_to(&mut found))
            }
            RequiredCapability::AxisKey(key) => {
                self.keys.get(key).into_iter().for_each(|key| key.any.add_to(&mut found))
            }
            RequiredCapability::Tag(tag) => self.of_tag(tag).into_iter().for_each(|sets| sets.add_to(&mut found)),
        }
        found.iter().map(SetId).collect()
    }

    /// The sets that have a tag which means the same.
    fn of_tag(&self, tag: &Tag) -> Option<&Posting> {
        match (tag.key(), tag.value()) {
            (Some(key), Some(value)) => self.keys.get(key)?.value(value).map(|value| &value.sets),
            (Some(key), None) => self.keys.get(key).map(|key| &key.bare),
            (None, _) => self.others.get(&tag.to_string()),
        }
    }

    /// The sets that a predicate holds of. Recurses `room` clauses deep.
    fn bits(&self, room: usize, predicate: &Predicate) -> Bits {
        let Some(room) = room.checked_sub(1) else {
            return predicate.fold(|clause, parts| self.joined(clause, parts.into_iter()));
        };
        let clauses = predicate.clauses().iter();
        self.joined(predicate, clauses.map(|clause| self.bits(room, clause)))
    }

    /// The sets that a clause holds of, by those of the clauses in it.
    fn joined(&self, clause: &Predicate, mut parts: impl Iterator<Item = Bits>) -> Bits {
        let mut found = match clause {
            Predicate::And(_) | Predicate::Not(_) => self.all.clone(),
            _ => Bits::default(),
        };
        match clause {
            Predicate::And(_) => {
                while !found.is_empty()
                    && let Some(part) = parts.next()
                {
                    found.keep(&part);
                }
            }
            Predicate::Or(_) => parts.for_each(|part| found.add(&part)),
            Predicate::Not(_) => parts.for_each(|part| found.subtract(&part)),
            leaf => {
                let of_tags = leaf.tag_key().and_then(|key| self.keys.get(key));
                let values = of_tags.or_else(|| self.metadata.get(leaf.metadata_key()?));
                return values.map(|values| values.satisfying(leaf)).unwrap_or_default();
            }
        }
        found
    }
}

/// Removes something from the entry of a key, and the entry, where `remove` says that nothing is left of it.
fn remove_from<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: &K, remove: impl FnOnce(&mut V) -> bool) {
    if map.get_mut(key).is_some_and(remove) {
        map.remove(key);
    }
}

impl Values {
    fn insert(&mut self, value: Option<&str>, id: u32) {
        self.any.insert(id);
        let Some(text) = value else { return self.bare.insert(id) };
        match self.numbers.get(text) {
            Some(&at) => self.values[at].sets.insert(id),
            None => {
                let mut value = ValueSets::new(text);
                value.sets.insert(id);
                self.numbers.insert(text.to_owned(), self.values.len());
                self.values.push(value);
            }
        }
    }

    /// Returns whether nothing is left.
    fn remove(&mut self, value: Option<&str>, id: u32) -> bool {
        let is_left_empty = self.any.remove(id);
        match value.and_then(|text| self.numbers.get(text).copied()) {
            None => {
                self.bare.remove(id);
            }
            Some(at) => {
                if self.values[at].sets.remove(id) {
                    let gone = self.values.swap_remove(at);
                    self.numbers.remove(&gone.text);
                    if let Some(moved) = self.values.get(at) {
                        self.numbers.insert(moved.text.clone(), at);
                    }
                }
            }
        }
        is_left_empty
    }

    fn value(&self, text: &str) -> Option<&ValueSets> {
        self.numbers.get(text).map(|&at| &self.values[at])
    }

    /// The sets that satisfy a clause on this key.
    fn satisfying(&self, clause: &Predicate) -> Bits {
        let mut found = Bits::default();
        match clause {
            Predicate::Exists { .. } | Predicate::MetadataExists { .. } => self.any.add_to(&mut found),
            Predicate::Equals { value, .. } | Predicate::MetadataEquals { value, .. } => {
                self.value(value).into_iter().for_each(|value| value.sets.add_to(&mut found));
            }
            clause => {
                let satisfied = self.values.iter().filter(|value| clause.accepts(value.as_value()));
                satisfied.for_each(|value| value.sets.add_to(&mut found));
            }
        }
        found
    }
}

impl ValueSets {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), reading: Reading::of(text), sets: Posting::default() }
    }

    fn as_value(&self) -> Value<'_> {
        Value::Read(&self.text, &self.reading)
    }
}

#[cfg(test)]
mod tests;
