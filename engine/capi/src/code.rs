//! The codes that every function returns.

#![allow(non_camel_case_types)]

use std::ffi::CStr;

use tapeline_code::*;

/// The result of a call: 0, a state that is no error (positive), or an error (negative). `tapeline_last_error` says
/// more about this thread's last result that was not 0.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum tapeline_code {
    /// Done.
    TAPELINE_OK = 0,
    /// The reader has returned everything; nothing more will come.
    TAPELINE_END = 1,
    /// The time that the caller gave has passed. Nothing is lost: the call may be made again.
    TAPELINE_TIMEOUT = 2,
    /// The event was dropped, as the producer's back-pressure mode says. It is counted, and readers get a gap.
    TAPELINE_DROPPED = 3,
    /// Another thread closed the reader while this one waited in it.
    TAPELINE_CANCELLED = 4,
    /// There is nothing of that name.
    TAPELINE_NOT_FOUND = 5,
    /// A pointer that must not be null is null.
    TAPELINE_NULL = -1,
    /// A text is not UTF-8.
    TAPELINE_UTF8 = -2,
    /// A text or a payload is not JSON, or not the JSON that is wanted.
    TAPELINE_JSON = -3,
    /// A number or an enumeration is out of its range, or a pointer is not aligned.
    TAPELINE_ARGUMENT = -4,
    /// `struct_size` is too small, or members that this library does not know are not zero.
    TAPELINE_STRUCT_SIZE = -5,
    /// The handle was closed, was never opened, or is of another type.
    TAPELINE_HANDLE = -6,
    /// Another thread is in a call with this handle, or a callback has it.
    TAPELINE_BUSY = -7,
    /// The producer belongs to another thread.
    TAPELINE_THREAD = -8,
    /// This process is a child that was forked after the bus was opened.
    TAPELINE_FORKED = -9,
    /// Too many handles of this type are open.
    TAPELINE_LIMIT = -10,
    /// The caller's buffer is too small.
    TAPELINE_BUFFER = -11,
    /// A setting is out of its range, or there is no such setting.
    TAPELINE_CONFIG = -12,
    /// Another process has the log open.
    TAPELINE_LOCKED = -13,
    /// The log's files do not open as a log.
    TAPELINE_OPEN = -14,
    /// The kernel refused something.
    TAPELINE_IO = -15,
    /// Stored data fail their checks.
    TAPELINE_DAMAGED = -16,
    /// A write failed, and the shard takes no more events.
    TAPELINE_POISONED = -17,
    /// The disk is full. The shard continues when there is space.
    TAPELINE_STORAGE_FULL = -18,
    /// The bus is shutting down, or has ended.
    TAPELINE_SHUTDOWN = -19,
    /// The lane is full; the event was not taken.
    TAPELINE_BACKPRESSURE = -20,
    /// The event or the batch is larger than the bus takes.
    TAPELINE_TOO_LARGE = -21,
    /// The memory budget is spent.
    TAPELINE_MEMORY = -22,
    /// The session is closed.
    TAPELINE_SESSION_CLOSED = -23,
    /// The call needs a session.
    TAPELINE_NO_SESSION = -24,
    /// The kind is reserved.
    TAPELINE_RESERVED_KIND = -25,
    /// The cursor, or its name, cannot be used.
    TAPELINE_CURSOR = -26,
    /// The text is no token, or the token belongs to another session.
    TAPELINE_TOKEN = -27,
    /// The token's event was trimmed, or the log never had it.
    TAPELINE_TOKEN_GONE = -28,
    /// The filter, or the requirement, cannot be used.
    TAPELINE_FILTER = -29,
    /// The reader lagged, and had asked to fail.
    TAPELINE_LAGGED = -30,
    /// The ticket belongs to another bus.
    TAPELINE_TICKET = -31,
    /// The library failed. This is an error of its own.
    TAPELINE_INTERNAL = -99,
}

/// The codes in words.
const TEXTS: &[(tapeline_code, &CStr)] = &[
    (TAPELINE_OK, c"done"),
    (TAPELINE_END, c"nothing more will come"),
    (TAPELINE_TIMEOUT, c"the time has passed"),
    (TAPELINE_DROPPED, c"the event was dropped, as the back-pressure mode says"),
    (TAPELINE_CANCELLED, c"another thread closed the reader"),
    (TAPELINE_NOT_FOUND, c"not found"),
    (TAPELINE_NULL, c"a pointer is null"),
    (TAPELINE_UTF8, c"a text is not UTF-8"),
    (TAPELINE_JSON, c"not JSON, or not the JSON that is wanted"),
    (TAPELINE_ARGUMENT, c"an argument is out of its range"),
    (TAPELINE_STRUCT_SIZE, c"struct_size is wrong"),
    (TAPELINE_HANDLE, c"the handle is closed or was never opened"),
    (TAPELINE_BUSY, c"another call uses the handle"),
    (TAPELINE_THREAD, c"the producer belongs to another thread"),
    (TAPELINE_FORKED, c"the bus belongs to the process that forked this one"),
    (TAPELINE_LIMIT, c"too many handles are open"),
    (TAPELINE_BUFFER, c"the buffer is too small"),
    (TAPELINE_CONFIG, c"a setting is wrong"),
    (TAPELINE_LOCKED, c"another process has the log open"),
    (TAPELINE_OPEN, c"the log does not open"),
    (TAPELINE_IO, c"the kernel refused"),
    (TAPELINE_DAMAGED, c"stored data fail their checks"),
    (TAPELINE_POISONED, c"a write failed, and the shard takes no more events"),
    (TAPELINE_STORAGE_FULL, c"the disk is full"),
    (TAPELINE_SHUTDOWN, c"the bus has ended"),
    (TAPELINE_BACKPRESSURE, c"the lane is full"),
    (TAPELINE_TOO_LARGE, c"the event is too large"),
    (TAPELINE_MEMORY, c"the memory budget is spent"),
    (TAPELINE_SESSION_CLOSED, c"the session is closed"),
    (TAPELINE_NO_SESSION, c"the call needs a session"),
    (TAPELINE_RESERVED_KIND, c"the kind is reserved"),
    (TAPELINE_CURSOR, c"the cursor cannot be used"),
    (TAPELINE_TOKEN, c"the token is not one of this session"),
    (TAPELINE_TOKEN_GONE, c"the log does not have the token's event"),
    (TAPELINE_FILTER, c"the filter cannot be used"),
    (TAPELINE_LAGGED, c"the reader lagged"),
    (TAPELINE_TICKET, c"the ticket belongs to another bus"),
    (TAPELINE_INTERNAL, c"the library failed"),
];

/// The code with this number, in words.
pub(crate) fn text(number: i32) -> &'static CStr {
    TEXTS.iter().find(|(code, _)| *code as i32 == number).map_or(c"not a code of this library", |(_, text)| text)
}
