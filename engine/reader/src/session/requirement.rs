//! The requirement of a session: what processes its events has to meet it. It is a label of the session's opening.

use tapeline_capability::{CapabilitySet, RequiredCapability};

use super::SessionMetadata;

impl SessionMetadata {
    /// The label that is the requirement, as text.
    pub const REQUIRES: &str = "requires";

    /// The same with this requirement on what processes the session's events. One that no document can hold is met by
    /// none: it compares with no finite number, names no metadata entry, or is larger than documents are.
    ///
    /// ```
    /// use tapeline_capability::{CapabilitySet, RequiredCapability};
    /// use tapeline_reader::SessionMetadata;
    ///
    /// let large = RequiredCapability::parse("hardware.gpu.vram_gb >= 48")?;
    /// let session = SessionMetadata::new().requires(large.clone());
    /// assert_eq!(session.requirement(), Some(large));
    /// assert!(session.suits(&CapabilitySet::parse(["hardware.gpu.vram_gb=80"])?));
    /// assert!(!session.suits(&CapabilitySet::new()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn requires(self, requirement: impl Into<RequiredCapability>) -> Self {
        self.label(Self::REQUIRES, text_of(&requirement.into()))
    }

    /// The requirement. `None` if there is none, or one that cannot be read.
    pub fn requirement(&self) -> Option<RequiredCapability> {
        self.labels.get(Self::REQUIRES).and_then(|label| requirement_of(label))
    }

    /// Returns whether these capabilities meet the requirement; true if there is none. None meet one that cannot be
    /// read.
    pub fn suits(&self, capabilities: &CapabilitySet) -> bool {
        match self.labels.get(Self::REQUIRES) {
            Some(label) => requirement_of(label).is_some_and(|requirement| requirement.evaluate(capabilities)),
            None => true,
        }
    }

    /// The same with these capabilities of the session's source, too. A label comes before a metadata entry of the same
    /// name.
    #[must_use]
    pub fn of_source(mut self, capabilities: &CapabilitySet) -> Self {
        for tag in capabilities.tags() {
            if !self.tags.contains(tag) {
                self.tags.push(tag.clone());
            }
        }
        for (name, value) in capabilities.metadata() {
            self.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }
}

/// A requirement as a label: its text, or its document, where that text is read as something else.
fn text_of(requirement: &RequiredCapability) -> String {
    let text = requirement.to_string();
    match requirement_of(&text) {
        Some(read) if read == *requirement => text,
        // What no document has is in the text, which cannot be read.
        _ => serde_json::to_string(requirement).unwrap_or(text),
    }
}

fn requirement_of(label: &str) -> Option<RequiredCapability> {
    serde_json::from_str(label).ok().or_else(|| label.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapeline_capability::{Predicate, Tag, TagKey};

    #[test]
    fn labels_give_every_requirement_back() {
        let tag = |text: &str| Tag::parse(text).map(RequiredCapability::from).expect("a tag");
        let parsed = |text: &str| text.parse::<RequiredCapability>().expect("a requirement");
        let key = || TagKey::parse("hardware.gpu.vram_gb").expect("a key");
        for requirement in [
            tag("software.model=x"),
            tag("scope:tenant-4"),
            tag(r#"{"tag":"software.model"}"#),
            tag("any of devices"),
            parsed("hardware.gpu.vram_gb >= 48"),
            parsed("any of software.model"),
            parsed("and [exists \"devices.camera\", not metadata_exists \"zone\"]"),
            Predicate::equals(key(), " a b ").into(),
        ] {
            let session = SessionMetadata::new().requires(requirement.clone());
            assert_eq!(session.requirement(), Some(requirement));
        }
        for no_number in [f64::NAN, f64::INFINITY] {
            let unwritable = Predicate::not(Predicate::numeric_at_least(key(), no_number));
            assert!(!SessionMetadata::new().requires(unwritable).suits(&CapabilitySet::new()));
        }
    }

    #[test]
    fn requirement_that_cannot_be_read_is_met_by_none() {
        let session = SessionMetadata::new().label(SessionMetadata::REQUIRES, "hardware.gpu > 48");
        assert!(session.requirement().is_none() && !session.suits(&CapabilitySet::new()));
        assert!(SessionMetadata::new().suits(&CapabilitySet::new()));
    }

    #[test]
    fn source_adds_to_what_is_stated() {
        let source = CapabilitySet::parse(["hardware.gpu=h100", "devices.camera"]).expect("tags");
        let source = source.with_metadata("zone", "eu").with_metadata("rack", "7");
        let stated = SessionMetadata::new().tag("devices.camera".parse().expect("a tag")).label("zone", "us");
        let stated = stated.of_source(&source);
        assert_eq!(stated.clone().of_source(&source), stated);
        let tags: Vec<_> = stated.tags.iter().map(Tag::to_string).collect();
        assert_eq!(tags, ["devices.camera", "hardware.gpu=h100"]);
        assert_eq!((stated.labels["zone"].as_str(), stated.labels["rack"].as_str()), ("us", "7"));
    }
}
