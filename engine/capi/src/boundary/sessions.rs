//! Sessions: their ids, openings, closes, and what a log holds of them.

use std::ffi::c_char;

use serde_json::{Value, json};
use tapeline::capability::RequiredCapability;
use tapeline::event::{SessionId, SessionMetadata, SessionOutcome, SessionState, SessionSummary, session_id};

use super::bus::bus_of;
use super::capabilities::tags_of;
use super::memory::{Out, optional_text, options, put_text, slice, text, text_of};
use super::{TAPELINE_OUTCOME_FAILED, TAPELINE_OUTCOME_FINISHED, TAPELINE_OUTCOME_STOPPED, TAPELINE_OUTCOME_TIMED_OUT};
use super::{call, tapeline_bus, tapeline_session, tapeline_session_metadata, tapeline_ticket};
use crate::code::tapeline_code::{TAPELINE_ARGUMENT, TAPELINE_FILTER, TAPELINE_NOT_FOUND};
use crate::failure::Failure;
use crate::wait::{Deadline, complete};

/// The session of a name: the hash of it. Writes nothing to a log.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_session_named(
    name: *const c_char,
    name_len: usize,
    session: *mut tapeline_session,
) -> i32 {
    call(|| {
        let session = Out::new("session", session)?;
        // SAFETY: rule 1.
        let name = unsafe { text_of("name", name, name_len) }?;
        // SAFETY: rule 1.
        unsafe { session.put(session_id(name).into()) };
        Ok(())
    })
}

/// Begins a session, or another turn of it, with an event that has its name and what it is. `metadata` and `ticket` may
/// be null.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_session_open(
    bus: tapeline_bus,
    name: *const c_char,
    name_len: usize,
    metadata: *const tapeline_session_metadata,
    session: *mut tapeline_session,
    ticket: *mut tapeline_ticket,
) -> i32 {
    call(|| {
        let session = Out::new("session", session)?;
        let ticket = Out::optional("ticket", ticket)?;
        // SAFETY: rule 1.
        let name = unsafe { text_of("name", name, name_len) }?;
        // SAFETY: rules 1 and 2.
        let metadata = unsafe { metadata_of(metadata) }?;
        let (opened, given) = bus_of(bus)?.begin_session(name, &metadata)?;
        // SAFETY: rule 1.
        unsafe { session.put(opened.id().into()) };
        // SAFETY: rule 1.
        unsafe { ticket.put(given.into()) };
        Ok(())
    })
}

/// Begins another turn of a session that is known by its id, be it closed or not; it keeps its name. `metadata` and
/// `ticket` may be null.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_session_reopen(
    bus: tapeline_bus,
    session: tapeline_session,
    metadata: *const tapeline_session_metadata,
    ticket: *mut tapeline_ticket,
) -> i32 {
    call(|| {
        let ticket = Out::optional("ticket", ticket)?;
        // SAFETY: rules 1 and 2.
        let metadata = unsafe { metadata_of(metadata) }?;
        let (_, given) = bus_of(bus)?.reopen_session(SessionId::from(session), &metadata)?;
        // SAFETY: rule 1.
        unsafe { ticket.put(given.into()) };
        Ok(())
    })
}

/// The caller's metadata.
///
/// # Safety
/// Rules 1 and 2.
unsafe fn metadata_of(given: *const tapeline_session_metadata) -> Result<SessionMetadata, Failure> {
    // SAFETY: rule 1.
    let given = unsafe { options("metadata", given, size_of::<tapeline_session_metadata>()) }?;
    let mut metadata = SessionMetadata::new();
    // SAFETY: rule 2.
    if let Some(model) = unsafe { optional_text("model", given.model) }? {
        metadata = metadata.model(model);
    }
    // SAFETY: rule 2.
    if let Some(user) = unsafe { optional_text("user", given.user) }? {
        metadata = metadata.user(user);
    }
    // SAFETY: rule 2.
    if let Some(content_type) = unsafe { optional_text("content_type", given.content_type) }? {
        metadata = metadata.content_type(content_type);
    }
    // SAFETY: rules 1 and 2.
    for tag in unsafe { tags_of(given.tags, given.tag_count) }? {
        metadata = metadata.tag(tag);
    }
    // SAFETY: rule 1.
    for label in unsafe { slice("labels", given.labels, given.label_count) }? {
        // SAFETY: rule 2.
        let name = unsafe { text("label", label.name) }?;
        // SAFETY: rule 2.
        metadata = metadata.label(name, unsafe { text(name, label.value) }?);
    }
    // SAFETY: rule 2.
    if let Some(needs) = unsafe { requirement(given.requirement) }? {
        metadata = metadata.requires(needs);
    }
    Ok(metadata)
}

/// Ends a session, with an outcome as `TAPELINE_OUTCOME_FINISHED`. After the call no thread that can know of it has an
/// event of the session taken, until the session is opened again. `ticket` may be null.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_session_close(
    bus: tapeline_bus,
    session: tapeline_session,
    outcome: u32,
    ticket: *mut tapeline_ticket,
) -> i32 {
    call(|| {
        let ticket = Out::optional("ticket", ticket)?;
        let outcome = match outcome {
            TAPELINE_OUTCOME_FINISHED => SessionOutcome::Finished,
            TAPELINE_OUTCOME_FAILED => SessionOutcome::Failed,
            TAPELINE_OUTCOME_STOPPED => SessionOutcome::Stopped,
            TAPELINE_OUTCOME_TIMED_OUT => SessionOutcome::TimedOut,
            other => return Err(Failure::new(TAPELINE_ARGUMENT, format_args!("outcome: there is no {other}"))),
        };
        let given = bus_of(bus)?.close_session(SessionId::from(session), outcome)?;
        // SAFETY: rule 1.
        unsafe { ticket.put(given.into()) };
        Ok(())
    })
}

/// The summary of a session: what the log holds of it, as a JSON object (docs/C.md), or `TAPELINE_NOT_FOUND`. `length`
/// as with `tapeline_prometheus`.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_session_summary(
    bus: tapeline_bus,
    session: tapeline_session,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let session = SessionId::from(session);
        let found = complete(bus_of(bus)?.session(session), Deadline::NONE)??;
        let not_found = || Failure::new(TAPELINE_NOT_FOUND, format_args!("the log has no session {session}"));
        let text = summary(&found.ok_or_else(not_found)?).to_string();
        // SAFETY: rule 1.
        unsafe { put_text(&text, (buffer, capacity), length) }
    })
}

/// The sessions of a log as a JSON array of summaries; those whose tags meet `requirement` (docs/CAPABILITIES.md), or
/// all if it is null. `length` as with `tapeline_prometheus`.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_sessions(
    bus: tapeline_bus,
    requirement: *const c_char,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        // SAFETY: rule 2.
        let wanted = unsafe { self::requirement(requirement) }?;
        let bus = bus_of(bus)?;
        let found = match wanted {
            None => complete(bus.sessions(), Deadline::NONE)??,
            Some(wanted) => complete(bus.sessions_where(wanted), Deadline::NONE)??,
        };
        // SAFETY: rule 1.
        unsafe { put_text(&summaries(&found), (buffer, capacity), length) }
    })
}

/// The sessions that a crash of an earlier process has cut off, as `tapeline_sessions` returns them: opened, and not
/// closed.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_unfinished(
    bus: tapeline_bus,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let found = complete(bus_of(bus)?.unfinished(), Deadline::NONE)??;
        // SAFETY: rule 1.
        unsafe { put_text(&summaries(&found), (buffer, capacity), length) }
    })
}

/// The caller's requirement, if there is one.
///
/// # Safety
/// Rule 2.
pub(super) unsafe fn requirement(text: *const c_char) -> Result<Option<RequiredCapability>, Failure> {
    // SAFETY: rule 2.
    let text = unsafe { optional_text("requirement", text) }?;
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error| Failure::new(TAPELINE_FILTER, format_args!("requirement: {error}")))
}

/// Summaries as a JSON array.
pub(super) fn summaries(sessions: &[SessionSummary]) -> String {
    Value::Array(sessions.iter().map(summary).collect()).to_string()
}

fn summary(session: &SessionSummary) -> Value {
    let (state, outcome) = match session.state {
        SessionState::Open => ("open", None),
        SessionState::Closed { outcome } => ("closed", outcome),
        SessionState::CutOff => ("cut_off", None),
        _ => ("unknown", None),
    };
    json!({
        "session": session.session.to_string(),
        "name": session.name,
        "state": state,
        "outcome": outcome.map(SessionOutcome::as_str),
        "events": session.events,
        "bytes": session.bytes,
        "first_time_ns": session.first_insertion_ts,
        "last_time_ns": session.last_insertion_ts,
        "metadata": session.metadata,
    })
}
