//! The library itself.

use std::ffi::c_char;

use super::call;
use super::memory::{Out, null, slice, text};
use super::sessions::requirement;
use crate::code;
use crate::code::tapeline_code::TAPELINE_ARGUMENT;
use crate::failure::{self, Failure};
use tapeline::capability::{CapabilitySet, Tag};

/// The version of the functions and structures in the header. A library with another one is another library.
pub const TAPELINE_ABI_VERSION: u32 = 1;

/// `TAPELINE_ABI_VERSION` of the library that the program runs with.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_abi_version() -> u32 {
    TAPELINE_ABI_VERSION
}

/// The library's version, as `0.1.0`. Always there.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// A code in words. Always there, also of a number that is no code.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_strerror(code: i32) -> *const c_char {
    code::text(code).as_ptr()
}

/// The text of this thread's last result that was not 0, with the facts: names, numbers, paths. Never null. Valid until
/// the thread's next result that is not 0.
///
/// Any thread; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_last_error() -> *const c_char {
    failure::last_text()
}

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
