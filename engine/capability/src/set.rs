//! Capability sets: the tags and the metadata of one producer, session, task or daemon.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Reading, Value};
use crate::key_table::KeyTable;
use crate::tag::{CapabilityTagError, Tag};
use crate::tag_key::TagKey;

/// Tags and metadata, prepared so that predicates find the values of a key fast: a look goes to the tags of the key by
/// its hash, and compares these.
///
/// ```
/// use tapeline_capability::{CapabilitySet, Predicate, TagKey};
///
/// let worker = CapabilitySet::parse(["hardware.gpu.vram_gb=80", "software.model:llama-7b"])?;
/// let worker = worker.with_metadata("zone", "eu");
/// let large = Predicate::numeric_at_least(TagKey::parse("hardware.gpu.vram_gb")?, 48.0);
/// assert!(large.evaluate(&worker));
/// assert_eq!(worker.metadata().get("zone").map(String::as_str), Some("eu"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CapabilitySet {
    tags: Vec<Tag>,
    metadata: BTreeMap<String, String>,
    entries: KeyTable<Entry>,
}

/// A tag that lies on an axis.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Its number among the tags.
    tag: usize,
    /// Its value, as predicates read it.
    reading: Reading,
}

impl CapabilitySet {
    /// No capability.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set of these tags.
    ///
    /// # Errors
    /// [`CapabilityTagError`], of the first text that is no tag.
    pub fn parse<'t>(tags: impl IntoIterator<Item = &'t str>) -> Result<Self, CapabilityTagError> {
        tags.into_iter().map(Tag::parse).collect()
    }

    /// The same set with a tag more.
    #[must_use]
    pub fn with_tag(mut self, tag: Tag) -> Self {
        self.insert(tag);
        self
    }

    /// The same set with a metadata entry, in place of that of the same name.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_metadata(name, value);
        self
    }

    /// Adds a tag; returns whether it was not there. Tags that differ by their separator alone are two.
    pub fn insert(&mut self, tag: Tag) -> bool {
        if self.tags.contains(&tag) {
            return false;
        }
        if let Some(key) = tag.key() {
            let reading = tag.value().map(Reading::of).unwrap_or_default();
            self.entries.insert(key.hash_number(), Entry { tag: self.tags.len(), reading });
        }
        self.tags.push(tag);
        true
    }

    /// Removes a tag; returns whether it was there.
    pub fn remove(&mut self, tag: &Tag) -> bool {
        let Some(at) = self.tags.iter().position(|other| other == tag) else { return false };
        let mut rest = std::mem::take(&mut self.tags);
        rest.remove(at);
        self.entries = KeyTable::default();
        self.extend(rest);
        true
    }

    /// Sets a metadata entry; returns the value that it had.
    pub fn set_metadata(&mut self, name: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.metadata.insert(name.into(), value.into())
    }

    /// Removes a metadata entry; returns the value that it had.
    pub fn remove_metadata(&mut self, name: &str) -> Option<String> {
        self.metadata.remove(name)
    }

    /// The tags, in the order in which they were added.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// The metadata.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns whether there is neither a tag nor metadata.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.metadata.is_empty()
    }
}

impl Facts for CapabilitySet {
    #[inline]
    fn has_key(&self, key: &TagKey) -> bool {
        self.entries.of(key.hash_number()).any(|entry| self.tags[entry.tag].key() == Some(key))
    }

    #[inline]
    fn any_value(&self, key: &TagKey, test: impl Fn(Value<'_>) -> bool) -> bool {
        self.entries.of(key.hash_number()).any(|entry| match &self.tags[entry.tag] {
            Tag::AxisValue { key: other, value, .. } => other == key && test(Value::Read(value, &entry.reading)),
            _ => false,
        })
    }

    fn has_tag(&self, test: impl Fn(&Tag) -> bool) -> bool {
        self.tags.iter().any(test)
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }
}

impl PartialEq for CapabilitySet {
    fn eq(&self, other: &Self) -> bool {
        (&self.tags, &self.metadata) == (&other.tags, &other.metadata)
    }
}

impl Eq for CapabilitySet {}

impl Extend<Tag> for CapabilitySet {
    fn extend<T: IntoIterator<Item = Tag>>(&mut self, tags: T) {
        for tag in tags {
            self.insert(tag);
        }
    }
}

impl FromIterator<Tag> for CapabilitySet {
    fn from_iter<T: IntoIterator<Item = Tag>>(tags: T) -> Self {
        let mut set = Self::new();
        set.extend(tags);
        set
    }
}

/// A set as documents have it.
#[derive(Serialize, Deserialize)]
#[serde(rename = "CapabilitySet")]
struct SetDocument<T, M> {
    tags: T,
    #[serde(default)]
    metadata: M,
}

impl Serialize for CapabilitySet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SetDocument { tags: &self.tags, metadata: &self.metadata }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let SetDocument { tags, metadata } = SetDocument::<Vec<Tag>, _>::deserialize(deserializer)?;
        let mut set: Self = tags.into_iter().collect();
        set.metadata = metadata;
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_there_once_and_go_alone() {
        let mut set =
            CapabilitySet::parse(["software.model=a", "software.model:a", "gpu", "software.model=a"]).expect("tags");
        assert_eq!(set.tags().len(), 3);
        assert!(set.remove(&Tag::Legacy("gpu".into())) && !set.remove(&Tag::Legacy("gpu".into())));
        let key = TagKey::parse("software.model").expect("a key");
        assert!(set.any_value(&key, |value| value.text() == "a"));
        assert!(set.remove(&"software.model=a".parse().expect("a tag")) && set.has_key(&key));
        assert!(set.remove(&"software.model:a".parse().expect("a tag")) && !set.has_key(&key));
        assert!(set.is_empty());
    }

    #[test]
    fn documents_give_the_set_back() {
        let set = CapabilitySet::parse(["software.model=a", "gpu"]).expect("tags").with_metadata("zone", "eu");
        let document = serde_json::to_string(&set).expect("a document");
        assert_eq!(document, r#"{"tags":["software.model=a","gpu"],"metadata":{"zone":"eu"}}"#);
        let read: CapabilitySet = serde_json::from_str(&document).expect("a set");
        assert_eq!(read, set);
        assert!(read.has_key(&TagKey::parse("software.model").expect("a key")));
        for refused in [r#"{"tags":[""]}"#, r#"{"tags":["software."]}"#, r#"{"tags":["a\nb"]}"#] {
            assert!(serde_json::from_str::<CapabilitySet>(refused).is_err(), "{refused}");
        }
    }
}
