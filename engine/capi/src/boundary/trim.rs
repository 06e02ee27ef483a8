//! Trims: what a log no longer keeps.

use std::ffi::c_char;
use std::path::Path;
use std::time::Duration;

use tapeline::ConsumerResult;
use tapeline::log::trim_log;
use tapeline::retention::{RetentionPolicy, TrimPlan};

use super::bus::bus_of;
use super::memory::{Out, options, put_sized, text};
use super::types::*;
use super::{call, watch_forks};
use crate::failure::Failure;
use crate::wait::{Deadline, complete};

/// Removes from the log what `policy` does not keep, whatever the bus's settings say. Readers get a gap for it; the
/// files are removed shortly after. Set `trimmed->struct_size` before the call.
///
/// Any thread. Waits for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_trim(
    bus: tapeline_bus,
    policy: *const tapeline_retention,
    trimmed: *mut tapeline_trimmed,
) -> i32 {
    call(|| {
        // SAFETY: rule 1.
        unsafe { trim(policy, trimmed, |policy| complete(bus_of(bus)?.trim(policy), Deadline::NONE)) }
    })
}

/// As `tapeline_trim`, but changes nothing: `trimmed` is what would be removed at present.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_plan_trim(
    bus: tapeline_bus,
    policy: *const tapeline_retention,
    trimmed: *mut tapeline_trimmed,
) -> i32 {
    call(|| {
        // SAFETY: rule 1.
        unsafe { trim(policy, trimmed, |policy| Ok(bus_of(bus)?.plan_trim(policy))) }
    })
}

/// As `tapeline_trim`, of the log in a directory that no process has open for writing.
///
/// Any thread. Waits for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_log_trim(
    directory: *const c_char,
    policy: *const tapeline_retention,
    trimmed: *mut tapeline_trimmed,
) -> i32 {
    call(|| {
        // SAFETY: rule 2.
        let directory = unsafe { text("directory", directory) }?;
        watch_forks();
        // SAFETY: rule 1.
        unsafe { trim(policy, trimmed, |policy| Ok(trim_log(Path::new(directory), policy))) }
    })
}

/// Has `work` trim by the caller's policy, and writes what came of it.
///
/// # Safety
/// Rule 1.
unsafe fn trim(
    policy: *const tapeline_retention,
    trimmed: *mut tapeline_trimmed,
    work: impl FnOnce(&RetentionPolicy) -> Result<ConsumerResult<TrimPlan>, Failure>,
) -> Result<(), Failure> {
    Out::new("policy", policy.cast_mut())?;
    // SAFETY: rule 1.
    let given = unsafe { options("policy", policy, size_of::<tapeline_retention>()) }?;
    // SAFETY: rule 1: found to be there before anything is removed.
    unsafe { put_sized("trimmed", trimmed, tapeline_trimmed::default()) }?;
    let plan = work(&policy_of(given))??;
    // SAFETY: rule 1.
    unsafe { put_sized("trimmed", trimmed, plan.into()) }
}

fn policy_of(given: tapeline_retention) -> RetentionPolicy {
    let mut policy = RetentionPolicy::new();
    let limit = |number: u64| (number > 0).then_some(number);
    policy.max_age = limit(given.max_age_ms).map(Duration::from_millis);
    policy.max_bytes = limit(given.max_bytes);
    policy.max_segments = limit(given.max_segments).map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    policy.keep_for_cursors = given.keep_for_cursors != 0;
    policy
}

impl From<TrimPlan> for tapeline_trimmed {
    fn from(plan: TrimPlan) -> Self {
        Self {
            struct_size: 0,
            segments: plan.removed.len() as u64,
            events: plan.removed.iter().map(|segment| segment.end.since(segment.base)).sum(),
            bytes: plan.removed.iter().map(|segment| segment.bytes).sum(),
            segments_kept_for_cursors: plan.kept.len() as u64,
            segments_left: plan.segments_left as u64,
            bytes_left: plan.bytes_left,
        }
    }
}
