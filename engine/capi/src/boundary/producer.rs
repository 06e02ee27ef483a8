//! Producers: the hot path.

use std::ffi::c_char;

use tapeline::bus::ProducerOptions;
use tapeline::event::Kind;

use super::bus::bus_of;
use super::memory::{Out, bytes, optional_text, options, slice, text};
use super::producers::{self, enter};
use super::tapeline_ticket;
use super::{call, tapeline_bus, tapeline_input, tapeline_producer, tapeline_producer_options, tapeline_session};
use crate::settings::mode;
use crate::wait::{Deadline, complete};

/// Opens a producer of the bus, which belongs to the calling thread. `options` may be null.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_producer_open(
    bus: tapeline_bus,
    options: *const tapeline_producer_options,
    producer: *mut tapeline_producer,
) -> i32 {
    call(|| {
        let producer = Out::new("producer", producer)?;
        // SAFETY: rule 1.
        let given = unsafe { self::options("options", options, size_of::<tapeline_producer_options>()) }?;
        let mut wanted = ProducerOptions::new();
        if let Some(mode) = mode(given.backpressure, given.deadline_ms, given.sample_rate)? {
            wanted = wanted.backpressure_mode(mode);
        }
        if given.lane_bytes > 0 {
            wanted = wanted.lane_bytes(given.lane_bytes);
        }
        let opened = producers::insert(bus_of(bus)?.producer_with(wanted)?)?;
        // SAFETY: rule 1.
        unsafe { producer.put(opened) };
        Ok(())
    })
}

/// Ingests an event of any bytes. Makes no system call, takes no lock and allocates nothing, but where the library's
/// documentation says so of `Producer::emit`. `ticket` may be null.
///
/// The producer's thread. Not in a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_emit(
    producer: tapeline_producer,
    session: tapeline_session,
    kind: u16,
    payload: *const u8,
    payload_len: usize,
    ticket: *mut tapeline_ticket,
) -> i32 {
    call(|| {
        let ticket = Out::optional("ticket", ticket)?;
        // SAFETY: rule 1.
        let payload = unsafe { bytes("payload", payload, payload_len) }?;
        let mut kept = enter(producer)?;
        let (producer, session) = kept.with_session(session.into());
        let given = producer.emit(session, Kind(kind), payload)?;
        // SAFETY: rule 1.
        unsafe { ticket.put(given.into()) };
        Ok(())
    })
}

/// Ingests events of one session that become visible at once, and with them a cursor, so that a crash leaves both or
/// neither: of a consumer that derives these events from those before the cursor (docs/CONSUMERS.md). `cursor_name` and
/// `cursor` may both be null. `ticket`, which may be null, is that of the last event; without an event it is not
/// written.
///
/// The producer's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_emit_batch(
    producer: tapeline_producer,
    session: tapeline_session,
    events: *const tapeline_input,
    event_count: usize,
    cursor_name: *const c_char,
    cursor: *const c_char,
    ticket: *mut tapeline_ticket,
) -> i32 {
    call(|| {
        let ticket = Out::optional("ticket", ticket)?;
        // SAFETY: rule 1.
        let events = unsafe { slice("events", events, event_count) }?;
        // SAFETY: rule 2.
        let name = unsafe { optional_text("cursor_name", cursor_name) }?;
        // SAFETY: rule 2.
        let cursor = name.map(|_| unsafe { text("cursor", cursor) }).transpose()?;
        let mut kept = enter(producer)?;
        let (producer, session) = kept.with_session(session.into());
        let mut batch = producer.batch(session);
        for event in events {
            // SAFETY: rule 1.
            let payload = unsafe { bytes("payload", event.payload, event.payload_len) }?;
            batch.push(Kind(event.kind), payload)?;
        }
        if let (Some(name), Some(cursor)) = (name, cursor) {
            batch.with_cursor(name, cursor)?;
        }
        if let Some(given) = batch.publish()? {
            // SAFETY: rule 1.
            unsafe { ticket.put(given.into()) };
        }
        Ok(())
    })
}

/// Waits until everything that the producer ingested has reached the bus's durability level. A negative timeout has no
/// end.
///
/// The producer's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_producer_flush(producer: tapeline_producer, timeout_ms: i64) -> i32 {
    call(|| {
        let flush = enter(producer)?.producer().flush();
        Ok(complete(flush, Deadline::after_ms(timeout_ms))??)
    })
}

/// Gives the producer up: the next thread that uses it owns it.
///
/// The producer's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_producer_release(producer: tapeline_producer) -> i32 {
    call(|| {
        producers::release(enter(producer)?);
        Ok(())
    })
}

/// Closes the producer. Loses nothing that was ingested.
///
/// The producer's thread; any thread after the end of the producer's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_producer_close(producer: tapeline_producer) -> i32 {
    call(|| {
        drop(producers::close(enter(producer)?));
        Ok(())
    })
}
