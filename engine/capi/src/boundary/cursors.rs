//! Named cursors, which a log keeps.

use std::ffi::c_char;

use serde_json::{Value, json};
use tapeline::consumer::NamedCursor;

use super::bus::bus_of;
use super::memory::{put_text, text};
use super::{call, tapeline_bus};
use crate::code::tapeline_code::TAPELINE_NOT_FOUND;
use crate::failure::Failure;

#[cold]
fn not_found(name: &str) -> Failure {
    Failure::new(TAPELINE_NOT_FOUND, format_args!("the log has no cursor {name}"))
}

/// Stores a cursor in the log under a name.
///
/// Any thread. Waits for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_cursor_save(bus: tapeline_bus, name: *const c_char, cursor: *const c_char) -> i32 {
    call(|| {
        // SAFETY: rule 2.
        let name = unsafe { text("name", name) }?;
        // SAFETY: rule 2.
        let cursor = unsafe { text("cursor", cursor) }?;
        Ok(bus_of(bus)?.save_cursor(name, cursor)?)
    })
}

/// The cursor of a name, or `TAPELINE_NOT_FOUND`. `length` as with `tapeline_prometheus`.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_cursor_load(
    bus: tapeline_bus,
    name: *const c_char,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        // SAFETY: rule 2.
        let name = unsafe { text("name", name) }?;
        let cursor = bus_of(bus)?.load_cursor(name)?.ok_or_else(|| not_found(name))?;
        // SAFETY: rule 1.
        unsafe { put_text(&cursor, (buffer, capacity), length) }
    })
}

/// Removes a cursor, or returns `TAPELINE_NOT_FOUND`.
///
/// Any thread. Waits for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_cursor_remove(bus: tapeline_bus, name: *const c_char) -> i32 {
    call(|| {
        // SAFETY: rule 2.
        let name = unsafe { text("name", name) }?;
        if bus_of(bus)?.remove_cursor(name)? { Ok(()) } else { Err(not_found(name)) }
    })
}

/// All cursors with their lags, as a JSON array of objects with `name`, `cursor`, `lag_events`, `lag_bytes`, `lag_ms`
/// and, of one that cannot be used, `fault`. `length` as with `tapeline_prometheus`.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_cursors(
    bus: tapeline_bus,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let text = listing(&bus_of(bus)?.cursors()?);
        // SAFETY: rule 1.
        unsafe { put_text(&text, (buffer, capacity), length) }
    })
}

/// Cursors as a JSON array.
pub(super) fn listing(cursors: &[NamedCursor]) -> String {
    let cursors = cursors.iter().map(|cursor| {
        json!({
            "name": cursor.name,
            "cursor": cursor.cursor,
            "lag_events": cursor.lag_events,
            "lag_bytes": cursor.lag_bytes,
            "lag_ms": cursor.lag.as_millis() as u64,
            "fault": cursor.fault,
        })
    });
    Value::Array(cursors.collect()).to_string()
}
