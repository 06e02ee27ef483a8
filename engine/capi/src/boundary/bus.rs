//! Buses: opening, ingest from any thread, waiting, statistics, the end.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use tapeline::event::{Kind, PAYLOAD_BYTES_MAX, RawEvent, SessionId};
use tapeline::{Event, EventBus, EventBusConfig, IngestionError, Ticket};

use super::memory::{Out, bytes, optional_text, put_sized, put_text, slice, text};
use super::{call, tapeline_bus, tapeline_input, tapeline_pair, tapeline_session, tapeline_stats, tapeline_ticket};
use crate::code::tapeline_code::TAPELINE_JSON;
use crate::failure::Failure;
use crate::settings;
use crate::table::{Table, Type};
use crate::wait::{Deadline, complete, patience};

static BUSES: Table<EventBus, 1024> = Table::new(Type::Bus);

/// The longest that a shutdown without a timeout waits.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The bus of a handle.
pub(super) fn bus_of(bus: tapeline_bus) -> Result<Arc<EventBus>, Failure> {
    BUSES.get(bus.number)
}

fn open(config: EventBusConfig, bus: Out<tapeline_bus>) -> Result<(), Failure> {
    super::watch_forks();
    let opened = complete(EventBus::new(config), Deadline::NONE)??;
    let number = BUSES.insert(Arc::new(opened))?;
    // SAFETY: rule 1.
    unsafe { bus.put(tapeline_bus { number }) };
    Ok(())
}

/// Opens a bus. `json` is an object of the settings in docs/C.md, as `{"directory": "log"}`; null stands for the
/// defaults: a bus in memory. Without `tapeline_close` a program's end loses what was not yet written.
///
/// Any thread. Waits for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_open(json: *const c_char, bus: *mut tapeline_bus) -> i32 {
    call(|| {
        let bus = Out::new("bus", bus)?;
        // SAFETY: rule 2.
        let json = unsafe { optional_text("json", json) }?;
        open(settings::from_json(json.unwrap_or("{}"))?, bus)
    })
}

/// Opens a bus, with settings as pairs of texts, as `{"directory", "log"}` and `{"retention.max_bytes", "1000000000"}`.
/// As `tapeline_open`.
///
/// Any thread. Waits for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_open_pairs(
    pairs: *const tapeline_pair,
    pair_count: usize,
    bus: *mut tapeline_bus,
) -> i32 {
    call(|| {
        let bus = Out::new("bus", bus)?;
        // SAFETY: rule 1.
        let pairs = unsafe { slice("pairs", pairs, pair_count) }?;
        let pairs = pairs.iter().map(|pair| {
            // SAFETY: rule 2.
            let name = unsafe { text("name", pair.name) }?;
            // SAFETY: rule 2.
            Ok((name, unsafe { text(name, pair.value) }?))
        });
        open(settings::from_pairs(pairs)?, bus)
    })
}

/// Ends the bus: what was ingested before is written, readers get `TAPELINE_END`, and the handle is closed. A negative
/// timeout has no end. After `TAPELINE_TIMEOUT` the handle is still open, and the call may be made again. After another
/// error it is closed.
///
/// Any thread, also while others use the bus: their calls return `TAPELINE_SHUTDOWN`, and `TAPELINE_HANDLE` later.
/// Producers, readers and pages stay open, and are closed by themselves. Waits for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_close(bus: tapeline_bus, timeout_ms: i64) -> i32 {
    call(|| {
        let object = bus_of(bus)?;
        let ended = complete(object.shutdown_within(patience(timeout_ms).unwrap_or(LONGEST)), Deadline::NONE)?;
        match ended {
            Err(error @ tapeline::AdapterError::NotEnded { .. }) => Err(error.into()),
            ended => {
                // Another thread may have closed it meanwhile.
                let _ = BUSES.remove(bus.number);
                Ok(ended?)
            }
        }
    })
}

/// Waits until everything that was ingested before the call has reached the bus's durability level. A negative timeout
/// has no end.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_flush(bus: tapeline_bus, timeout_ms: i64) -> i32 {
    call(|| Ok(complete(bus_of(bus)?.flush(), Deadline::after_ms(timeout_ms))??))
}

/// Ingests an event of any bytes. Costs more than `tapeline_emit`: a lock, and a copy of the payload. `ticket` may be
/// null.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_ingest(
    bus: tapeline_bus,
    session: tapeline_session,
    kind: u16,
    payload: *const u8,
    payload_len: usize,
    ticket: *mut tapeline_ticket,
) -> i32 {
    call(|| {
        let ticket = Out::optional("ticket", ticket)?;
        // SAFETY: rule 1.
        let payload = unsafe { payload_of("payload", payload, payload_len) }?;
        let given = bus_of(bus)?.ingest_raw(raw_event(session, kind, payload))?;
        // SAFETY: rule 1.
        unsafe { ticket.put(given.into()) };
        Ok(())
    })
}

/// Ingests an event of JSON, which is checked and kept as it is. `ticket` may be null.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_ingest_json(
    bus: tapeline_bus,
    session: tapeline_session,
    kind: u16,
    json: *const c_char,
    json_len: usize,
    ticket: *mut tapeline_ticket,
) -> i32 {
    call(|| {
        let ticket = Out::optional("ticket", ticket)?;
        // SAFETY: rule 1.
        let json = unsafe { payload_of("json", json.cast(), json_len) }?;
        let bus = bus_of(bus)?;
        let event = Event::from_slice(json).map_err(|error| Failure::new(TAPELINE_JSON, error))?;
        let given = bus.ingest(event.with_session(SessionId::from(session)).with_kind(Kind(kind)))?;
        // SAFETY: rule 1.
        unsafe { ticket.put(given.into()) };
        Ok(())
    })
}

/// Ingests events of any sessions, in order. `taken` is the number of those that were taken; it may be null, and is
/// also written where the call fails after some.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_ingest_batch(
    bus: tapeline_bus,
    events: *const tapeline_input,
    event_count: usize,
    taken: *mut usize,
) -> i32 {
    call(|| {
        let taken = Out::optional("taken", taken)?;
        // SAFETY: rule 1.
        let events = unsafe { slice("events", events, event_count) }?;
        let bus = bus_of(bus)?;
        let (mut inputs, mut failure) = (Vec::with_capacity(events.len()), None);
        for event in events {
            // SAFETY: rule 1.
            match unsafe { payload_of("payload", event.payload, event.payload_len) } {
                Ok(payload) => inputs.push(raw_event(event.session, event.kind, payload)),
                Err(refused) => {
                    failure = Some(refused);
                    break;
                }
            }
        }
        let count = bus.try_ingest_raw_batch(inputs).unwrap_or_else(|rejected| {
            failure = Some(rejected.error.into());
            rejected.taken
        });
        // SAFETY: rule 1.
        unsafe { taken.put(count) };
        failure.map_or(Ok(()), Err)
    })
}

/// The caller's payload, to be copied: what no bus takes is refused before it is read.
///
/// # Safety
/// Rule 1.
unsafe fn payload_of<'a>(name: &str, payload: *const u8, len: usize) -> Result<&'a [u8], Failure> {
    // SAFETY: rule 1.
    let payload = unsafe { bytes(name, payload, len) }?;
    if len > PAYLOAD_BYTES_MAX {
        return Err(IngestionError::TooLarge { bytes: len, max: PAYLOAD_BYTES_MAX }.into());
    }
    Ok(payload)
}

fn raw_event(session: tapeline_session, kind: u16, payload: &[u8]) -> RawEvent {
    RawEvent::from_bytes(payload.to_vec()).with_session(SessionId::from(session)).with_kind(Kind(kind))
}

/// The caller's ticket.
///
/// # Safety
/// Rule 1.
pub(super) unsafe fn ticket_of(ticket: *const tapeline_ticket) -> Result<Ticket, Failure> {
    Out::new("ticket", ticket.cast_mut())?;
    // SAFETY: rule 1; neither null nor unaligned.
    Ok(Ticket::from_words(unsafe { ticket.read() }.words))
}

/// Waits until the ticket's event has reached the bus's durability level. A negative timeout has no end.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_wait_durable(
    bus: tapeline_bus,
    ticket: *const tapeline_ticket,
    timeout_ms: i64,
) -> i32 {
    call(|| {
        // SAFETY: rule 1.
        let ticket = unsafe { ticket_of(ticket) }?;
        Ok(complete(bus_of(bus)?.durable(ticket), Deadline::after_ms(timeout_ms))??)
    })
}

/// Waits until the ticket's event can be read at `TAPELINE_VISIBILITY_APPENDED`. A negative timeout has no end.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_wait_readable(
    bus: tapeline_bus,
    ticket: *const tapeline_ticket,
    timeout_ms: i64,
) -> i32 {
    call(|| {
        // SAFETY: rule 1.
        let ticket = unsafe { ticket_of(ticket) }?;
        Ok(complete(bus_of(bus)?.readable(ticket), Deadline::after_ms(timeout_ms))??)
    })
}

/// Asks whether the ticket's event has reached the bus's durability level: `is_durable` is 1 or 0. A ticket of another
/// bus never has.
///
/// Any thread. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_is_durable(
    bus: tapeline_bus,
    ticket: *const tapeline_ticket,
    is_durable: *mut i32,
) -> i32 {
    call(|| {
        let is_durable = Out::new("is_durable", is_durable)?;
        // SAFETY: rule 1.
        let ticket = unsafe { ticket_of(ticket) }?;
        let answer = bus_of(bus)?.is_durable(ticket);
        // SAFETY: rule 1.
        unsafe { is_durable.put(answer.into()) };
        Ok(())
    })
}

/// The numbers of a bus. Set `stats->struct_size` before the call.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_get_stats(bus: tapeline_bus, stats: *mut tapeline_stats) -> i32 {
    call(|| {
        let now = bus_of(bus)?.stats();
        let age = now.oldest_not_durable.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        let found = tapeline_stats {
            struct_size: 0,
            events_ingested: now.events_ingested,
            events_refused: now.refusals.total(),
            events_dropped: now.drops.total(),
            events_in_lanes: now.lanes.events,
            events_appended: now.events_appended,
            events_durable: now.events_durable,
            bytes_pending: now.lanes.bytes,
            memory_bytes: now.memory.bytes,
            memory_budget: now.memory.budget,
            lanes: now.lanes.count,
            oldest_not_durable_ns: age,
        };
        // SAFETY: rule 1.
        unsafe { put_sized("stats", stats, found) }
    })
}

/// All numbers of a bus as text for Prometheus. `length` is the text's length without its 0; it may be null, and is
/// also written with `TAPELINE_BUFFER`.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_prometheus(
    bus: tapeline_bus,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let numbers = bus_of(bus)?.prometheus();
        // SAFETY: rule 1.
        unsafe { put_text(&numbers, (buffer, capacity), length) }
    })
}
