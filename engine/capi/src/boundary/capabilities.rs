//! Capabilities: tags, compared with requirements and predicates.

use std::ffi::c_char;

use tapeline::capability::{CapabilitySet, Predicate, Tag};

use super::memory::{Out, null, slice, text};
use super::sessions::requirement;
use super::{call, tapeline_pair};
use crate::code::tapeline_code::{TAPELINE_ARGUMENT, TAPELINE_FILTER};
use crate::failure::Failure;

/// Asks whether a worker with these tags, as `software.model=llama-7b`, meets a requirement (docs/CAPABILITIES.md):
/// `is_met` is 1 or 0.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_requirement_met(
    requirement: *const c_char,
    tags: *const *const c_char,
    tag_count: usize,
    is_met: *mut i32,
) -> i32 {
    call(|| {
        let is_met = Out::new("is_met", is_met)?;
        // SAFETY: rule 2.
        let requirement = unsafe { self::requirement(requirement) }?.ok_or_else(|| null("requirement"))?;
        // SAFETY: rules 1 and 2.
        let tags = unsafe { tags_of(tags, tag_count) }?;
        let answer = requirement.evaluate(&tags.into_iter().collect::<CapabilitySet>());
        // SAFETY: rule 1.
        unsafe { is_met.put(answer.into()) };
        Ok(())
    })
}

/// Asks whether a predicate (docs/CAPABILITIES.md) holds of a worker with these tags and metadata entries: `is_met` is
/// 1 or 0. `predicate` is a JSON document, or text as `not num_at_least "hardware.gpu.vram_gb", 48`.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_predicate_met(
    predicate: *const c_char,
    tags: *const *const c_char,
    tag_count: usize,
    metadata: *const tapeline_pair,
    metadata_count: usize,
    is_met: *mut i32,
) -> i32 {
    call(|| {
        let is_met = Out::new("is_met", is_met)?;
        // SAFETY: rule 2.
        let predicate = self::predicate(unsafe { text("predicate", predicate) }?)?;
        // SAFETY: rules 1 and 2.
        let mut worker = unsafe { tags_of(tags, tag_count) }?.into_iter().collect::<CapabilitySet>();
        // SAFETY: rule 1.
        for entry in unsafe { slice("metadata", metadata, metadata_count) }? {
            // SAFETY: rule 2.
            let name = unsafe { text("metadata", entry.name) }?;
            // SAFETY: rule 2.
            worker.set_metadata(name, unsafe { text(name, entry.value) }?);
        }
        // SAFETY: rule 1.
        unsafe { is_met.put(predicate.evaluate(&worker).into()) };
        Ok(())
    })
}

/// A predicate in one of its two forms.
fn predicate(text: &str) -> Result<Predicate, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::new(TAPELINE_FILTER, format_args!("predicate: {error}"));
    if text.trim_start().starts_with('{') {
        Predicate::from_json(text).map_err(|error| refused(&error))
    } else {
        text.parse().map_err(|error| refused(&error))
    }
}

/// The caller's tags.
///
/// # Safety
/// Rules 1 and 2.
pub(super) unsafe fn tags_of(tags: *const *const c_char, count: usize) -> Result<Vec<Tag>, Failure> {
    // SAFETY: rule 1.
    let tags = unsafe { slice("tags", tags, count) }?;
    let tags = tags.iter().map(|&tag| {
        // SAFETY: rule 2.
        let tag = unsafe { text("tag", tag) }?;
        tag.parse().map_err(|error| Failure::new(TAPELINE_ARGUMENT, format_args!("tag {tag}: {error}")))
    });
    tags.collect()
}
