//! Logs without a bus: their files, read by any process, also while another one writes them.

use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

use tapeline::LogFiles;
use tapeline::log::LogFollower;

use super::call;
use super::cursors::listing;
use super::memory::{Out, put_text, text};
use super::readers::keep;
use super::requests::{follow_request, replay_request};
use super::sessions::{requirement, summaries};
use super::types::*;
use crate::code::tapeline_code::TAPELINE_ARGUMENT;
use crate::failure::Failure;
use crate::reader::Source;
use crate::table::{Table, Type};

static LOGS: Table<LogFiles, 1024> = Table::new(Type::Log);

/// Opens the log in a directory for reading, without a bus. It is as it was when it was opened.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_log_open(directory: *const c_char, log: *mut tapeline_log) -> i32 {
    call(|| {
        let log = Out::new("log", log)?;
        // SAFETY: rule 2.
        let directory = unsafe { text("directory", directory) }?;
        super::watch_forks();
        let number = LOGS.insert(Arc::new(LogFiles::open(Path::new(directory))?))?;
        // SAFETY: rule 1.
        unsafe { log.put(tapeline_log { number }) };
        Ok(())
    })
}

/// As `tapeline_replay`, of a log without a bus, and as fast as possible: `speed` is 0.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_log_replay(
    log: tapeline_log,
    options: *const tapeline_replay_options,
    reader: *mut tapeline_reader,
) -> i32 {
    call(|| {
        let reader = Out::new("reader", reader)?;
        // SAFETY: rules 1 and 2.
        let (request, speed) = unsafe { replay_request(options) }?;
        if speed.is_some() {
            return Err(Failure::new(
                TAPELINE_ARGUMENT,
                "speed: a log without a bus is replayed as fast as possible: 0",
            ));
        }
        let replay = LOGS.get(log.number)?.replay_with(&request)?;
        keep(Source::Replay(Box::new(replay)), reader)
    })
}

/// As `tapeline_sessions`, of a log without a bus.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_log_sessions(
    log: tapeline_log,
    requirement: *const c_char,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        // SAFETY: rule 2.
        let wanted = unsafe { self::requirement(requirement) }?;
        let log = LOGS.get(log.number)?;
        let found = match wanted {
            None => log.sessions()?,
            Some(wanted) => log.sessions_where(wanted)?,
        };
        // SAFETY: rule 1.
        unsafe { put_text(&summaries(&found), (buffer, capacity), length) }
    })
}

/// As `tapeline_cursors`, of a log without a bus.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_log_cursors(
    log: tapeline_log,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let text = listing(&LOGS.get(log.number)?.cursors()?);
        // SAFETY: rule 1.
        unsafe { put_text(&text, (buffer, capacity), length) }
    })
}

/// Closes a log. Its readers stay open.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_log_close(log: tapeline_log) -> i32 {
    call(|| LOGS.remove(log.number).map(drop))
}

/// Follows the log in a directory that another process writes: what it holds, then what becomes durable there. Goes on
/// until the log is removed. Of `options`, which may be null, `shards`, `visibility`, `slow_reader` and `until_close`
/// are 0. `tapeline_reader_next` looks at the files every 20 ms while it waits, and the reader's descriptor is readable
/// as often.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_follow(
    directory: *const c_char,
    options: *const tapeline_subscribe_options,
    reader: *mut tapeline_reader,
) -> i32 {
    call(|| {
        let reader = Out::new("reader", reader)?;
        // SAFETY: rule 2.
        let directory = unsafe { text("directory", directory) }?;
        // SAFETY: rules 1 and 2.
        let (start, request) = unsafe { follow_request(options) }?;
        super::watch_forks();
        keep(Source::Follower(Box::new(LogFollower::open(Path::new(directory), start, &request)?)), reader)
    })
}
