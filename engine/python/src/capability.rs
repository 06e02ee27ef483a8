//! Capabilities, as texts of a program: tags of a session's source or of a worker, and requirements.

use std::collections::BTreeMap;
use std::fmt::Display;

use pyo3::prelude::*;
use tapeline::capability::{CapabilitySet, Predicate, RequiredCapability, Tag};

use crate::failure::Failure;

/// # Errors
/// A text that is no requirement.
pub(crate) fn requirement(text: &str) -> Result<RequiredCapability, Failure> {
    RequiredCapability::parse(text).map_err(|error| Failure::argument(format!("requirement {text:?}: {error}")))
}

/// # Errors
/// A text that is no tag.
pub(crate) fn tags(texts: &[String]) -> Result<Vec<Tag>, Failure> {
    let tag = |text: &String| text.parse().map_err(|error| Failure::argument(format!("tag {text:?}: {error}")));
    texts.iter().map(tag).collect()
}

/// Returns whether a worker with these tags meets a requirement.
#[pyfunction]
pub(crate) fn meets(tags: Vec<String>, requirement: &str) -> Result<bool, Failure> {
    let worker = self::tags(&tags)?.into_iter().collect::<CapabilitySet>();
    Ok(self::requirement(requirement)?.evaluate(&worker))
}

/// Returns whether a predicate holds of a worker with these tags and metadata entries.
#[pyfunction]
#[pyo3(signature = (tags, predicate, metadata=BTreeMap::new()))]
pub(crate) fn holds(tags: Vec<String>, predicate: &str, metadata: BTreeMap<String, String>) -> Result<bool, Failure> {
    let mut worker = self::tags(&tags)?.into_iter().collect::<CapabilitySet>();
    for (name, value) in metadata {
        worker.set_metadata(name, value);
    }
    Ok(self::predicate(predicate)?.evaluate(&worker))
}

/// A predicate in one of its two forms.
fn predicate(text: &str) -> Result<Predicate, Failure> {
    let refused = |error: &dyn Display| Failure::argument(format!("predicate {text:?}: {error}"));
    if text.trim_start().starts_with('{') {
        Predicate::from_json(text).map_err(|error| refused(&error))
    } else {
        text.parse().map_err(|error| refused(&error))
    }
}
