//! Readers: subscriptions, relays and replays.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use tapeline::consumer::RelayRequest;

use super::bus::bus_of;
use super::call;
use super::descriptor;
use super::memory::{Out, optional_text, put_text, slice_mut};
use super::page::item_view;
use super::requests::{replay_request, subscribe_request, visibility};
use super::types::*;
use crate::code::tapeline_code::{TAPELINE_ARGUMENT, TAPELINE_IO, TAPELINE_NULL};
use crate::failure::Failure;
use crate::reader::{Reader, Source};
use crate::table::{Table, Type};
use crate::wait::{Deadline, complete};

static READERS: Table<Reader, 65536> = Table::new(Type::Reader);

/// The number of events that a callback gets at most.
const CALLBACK_EVENTS: usize = 256;

/// Gets events. `code` is 0 and `events` has `count` of them, valid until the function returns; or `code` is why there
/// are no more, as `TAPELINE_END`, and `count` is 0. Returns 0 to go on, and anything else to get no more. Must not
/// throw.
pub type tapeline_on_events =
    Option<unsafe extern "C" fn(user: *mut c_void, code: i32, events: *const tapeline_event, count: usize) -> i32>;

pub(super) fn keep(source: Source, reader: Out<tapeline_reader>) -> Result<(), Failure> {
    let number = READERS.insert(Reader::new(source))?;
    // SAFETY: rule 1.
    unsafe { reader.put(tapeline_reader { number }) };
    Ok(())
}

/// Follows the bus: what its log holds, then new events, with no hole and no repeat. `options` may be null.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_subscribe(
    bus: tapeline_bus,
    options: *const tapeline_subscribe_options,
    reader: *mut tapeline_reader,
) -> i32 {
    call(|| {
        let reader = Out::new("reader", reader)?;
        // SAFETY: rules 1 and 2.
        let request = unsafe { subscribe_request(options) }?;
        keep(Source::Subscription(complete(bus_of(bus)?.subscribe(request), Deadline::NONE)??), reader)
    })
}

/// Relays one session to a client until the session is closed. `token` is that of the last event that the client has,
/// as `tapeline_event_token` makes it; null stands for none. `visibility` is as `TAPELINE_VISIBILITY_DURABLE`.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_relay(
    bus: tapeline_bus,
    session: tapeline_session,
    token: *const c_char,
    visibility: u32,
    reader: *mut tapeline_reader,
) -> i32 {
    call(|| {
        let reader = Out::new("reader", reader)?;
        let id: tapeline::event::SessionId = session.into();
        let mut request = RelayRequest::new(id).visibility(self::visibility(visibility)?);
        // SAFETY: rule 2.
        if let Some(token) = unsafe { optional_text("token", token) }? {
            request = request.after(token.parse()?);
        }
        keep(Source::Relay(complete(bus_of(bus)?.relay_with(request), Deadline::NONE)??), reader)
    })
}

/// Replays what the log holds now, in order of time. `options` may be null.
///
/// Any thread. Reads files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_replay(
    bus: tapeline_bus,
    options: *const tapeline_replay_options,
    reader: *mut tapeline_reader,
) -> i32 {
    call(|| {
        let reader = Out::new("reader", reader)?;
        // SAFETY: rules 1 and 2.
        let (request, speed) = unsafe { replay_request(options) }?;
        let bus = bus_of(bus)?;
        let source = match speed {
            None => Source::Replay(Box::new(complete(bus.replay_with(request), Deadline::NONE)??)),
            Some(speed) => Source::Paced(complete(bus.replay_paced(request, speed), Deadline::NONE)??),
        };
        keep(source, reader)
    })
}

/// Waits for events or gaps. `events` then refers to `count` of them: one at least, `capacity` at most, valid until the
/// next call with the reader. Returns `TAPELINE_TIMEOUT` where none came in time, and `TAPELINE_END` where none will. A
/// negative timeout has no end; 0 does not wait.
///
/// Any thread, one at a time: another one gets `TAPELINE_BUSY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_reader_next(
    reader: tapeline_reader,
    events: *mut tapeline_event,
    capacity: usize,
    timeout_ms: i64,
    count: *mut usize,
) -> i32 {
    call(|| {
        let count = Out::new("count", count)?;
        if capacity == 0 {
            return Err(Failure::new(TAPELINE_ARGUMENT, "capacity: no room for an event"));
        }
        // SAFETY: rule 1.
        let views = unsafe { slice_mut("events", events, capacity) }?;
        let reader = READERS.get(reader.number)?;
        let found = reader.next(capacity, Deadline::after_ms(timeout_ms), |items| {
            for (view, item) in views.iter_mut().zip(items) {
                *view = item_view(item);
            }
            items.len()
        })?;
        // SAFETY: rule 1.
        unsafe { count.put(found) };
        Ok(())
    })
}

/// The cursor of a subscription after what it returned. `length` as with `tapeline_prometheus`.
///
/// Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_reader_cursor(
    reader: tapeline_reader,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let cursor = READERS.get(reader.number)?.cursor()?;
        // SAFETY: rule 1.
        unsafe { put_text(&cursor, (buffer, capacity), length) }
    })
}

/// A descriptor for `poll` and `epoll`, the reader's own until it is closed: readable when `tapeline_reader_next` may
/// have something; of a reader of `tapeline_follow`, also every 20 ms. It stays readable until a call returns
/// `TAPELINE_TIMEOUT`. Programs neither read nor close it.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_reader_fd(reader: tapeline_reader, fd: *mut i32) -> i32 {
    call(|| {
        let fd = Out::new("fd", fd)?;
        let reader = READERS.get(reader.number)?;
        let looks_every = reader.looks_every()?;
        let polled = reader.bell().descriptor(|| descriptor::open(looks_every));
        let polled = polled.map_err(|error| Failure::new(TAPELINE_IO, format_args!("a descriptor: {error}")))?;
        // SAFETY: rule 1.
        unsafe { fd.put(polled) };
        Ok(())
    })
}

/// Has a thread of the library call `on_events` with events as they come, and once with the reason when no more will.
/// After the reader is closed there is no call. `tapeline_reader_next` returns `TAPELINE_BUSY` meanwhile.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_reader_start(
    reader: tapeline_reader,
    on_events: tapeline_on_events,
    user: *mut c_void,
) -> i32 {
    call(|| {
        let Some(function) = on_events else {
            return Err(Failure::new(TAPELINE_NULL, "on_events: the pointer is null"));
        };
        let kept = READERS.get(reader.number)?;
        let callback = Callback { function, user };
        let owned = Arc::clone(&kept);
        kept.start(move || {
            callback.run(&owned);
            owned.end_callback();
        })
    })
}

struct Callback {
    function: unsafe extern "C" fn(*mut c_void, i32, *const tapeline_event, usize) -> i32,
    user: *mut c_void,
}

// SAFETY: rule 5.
unsafe impl Send for Callback {}

impl Callback {
    fn run(self, reader: &Reader) {
        let mut views = Vec::with_capacity(CALLBACK_EVENTS);
        loop {
            let found = reader.next_for_callback(CALLBACK_EVENTS, |items| {
                views.clear();
                views.extend(items.iter().map(item_view));
            });
            match found {
                Ok(()) if self.call(0, &views) == 0 => {}
                Ok(()) => return,
                // The program may have freed what `user` refers to.
                Err(_) if reader.is_cancelled() => return,
                Err(failure) => {
                    self.call(failure.report(), &[]);
                    return;
                }
            }
        }
    }

    fn call(&self, code: i32, views: &[tapeline_event]) -> i32 {
        // SAFETY: rule 5.
        unsafe { (self.function)(self.user, code, views.as_ptr(), views.len()) }
    }
}

/// Closes a reader. A call of another thread that waits in it returns `TAPELINE_CANCELLED`. Waits for its callback to
/// return, but not where the callback itself calls this. In the callback of another reader, which its own callback
/// waits for in this function, it returns `TAPELINE_BUSY`, and the reader stays open.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_reader_close(reader: tapeline_reader) -> i32 {
    call(|| READERS.get(reader.number)?.close(|| READERS.remove(reader.number).map(drop)))
}
