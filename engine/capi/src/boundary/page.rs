//! Pages: `tapeline_poll`, and views of events and gaps.

use std::ffi::{CString, c_char};
use std::sync::Arc;

use tapeline::consumer::{DropReason, Gap, GapReason, ResumeToken, ShardFailure};
use tapeline::event::{EventId, Sequence, SessionId};
use tapeline::{ConsumeResponse, StoredEvent};

use super::bus::bus_of;
use super::call;
use super::memory::{Out, put_sized, put_text, slice_mut};
use super::requests::poll_request;
use super::types::*;
use crate::code::tapeline_code::{TAPELINE_ARGUMENT, TAPELINE_STRUCT_SIZE};
use crate::failure::Failure;
use crate::reader::Item;
use crate::table::{Table, Type};
use crate::wait::{Deadline, complete};

static PAGES: Table<Page, 16384> = Table::new(Type::Page);

/// The memory that views of a page point into.
struct Page {
    /// Never changed: views point into the payloads.
    events: Vec<StoredEvent>,
    gaps: Vec<Item>,
    failures: Vec<ShardFailure>,
    cursor: CString,
    has_more: bool,
}

/// Reads a page: up to `capacity` events, which `events` then refers to. Set `info->struct_size` before the call; close
/// `info->page` afterwards, when the views are no longer needed. `options` may be null.
///
/// Any thread. Reads files, and waits for up to `wait_ms`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_poll(
    bus: tapeline_bus,
    options: *const tapeline_poll_options,
    events: *mut tapeline_event,
    capacity: usize,
    info: *mut tapeline_page_info,
) -> i32 {
    call(|| {
        // SAFETY: rule 1.
        unsafe { check_info(info) }?;
        if capacity == 0 {
            return Err(Failure::new(TAPELINE_ARGUMENT, "capacity: a page of no events"));
        }
        // SAFETY: rule 1.
        let views = unsafe { slice_mut("events", events, capacity) }?;
        // SAFETY: rules 1 and 2.
        let request = unsafe { poll_request(options, capacity) }?;
        let page = Arc::new(Page::new(complete(bus_of(bus)?.poll(request), Deadline::NONE)??));
        for (view, event) in views.iter_mut().zip(&page.events) {
            *view = event_view(event);
        }
        let found = tapeline_page_info {
            struct_size: 0,
            event_count: page.events.len(),
            gap_count: page.gaps.len(),
            failure_count: page.failures.len(),
            cursor: page.cursor.as_ptr(),
            has_more: page.has_more.into(),
            reserved: 0,
            page: tapeline_page { number: PAGES.insert(page)? },
        };
        // SAFETY: rule 1.
        unsafe { put_sized("info", info, found) }
    })
}

/// # Safety
/// Rule 1.
unsafe fn check_info(info: *mut tapeline_page_info) -> Result<(), Failure> {
    Out::new("info", info)?;
    // SAFETY: rule 1; neither null nor unaligned.
    let size = unsafe { info.cast::<usize>().read() };
    if size < size_of::<tapeline_page_info>() {
        return Err(Failure::new(TAPELINE_STRUCT_SIZE, format_args!("info: struct_size is {size}")));
    }
    Ok(())
}

/// The gaps of a page, as many as there is room for. `count` is their number.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_page_gaps(
    page: tapeline_page,
    gaps: *mut tapeline_event,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    call(|| {
        let count = Out::new("count", count)?;
        // SAFETY: rule 1.
        let views = unsafe { slice_mut("gaps", gaps, capacity) }?;
        let page = PAGES.get(page.number)?;
        for (view, gap) in views.iter_mut().zip(&page.gaps) {
            *view = item_view(gap);
        }
        // SAFETY: rule 1.
        unsafe { count.put(page.gaps.len().min(capacity)) };
        Ok(())
    })
}

/// The shards that a page could not read, and why, as a JSON array of objects with `shard` and `message`. `length` as
/// with `tapeline_prometheus`.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_page_failures(
    page: tapeline_page,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        let page = PAGES.get(page.number)?;
        let failures = page
            .failures
            .iter()
            .map(|failure| serde_json::json!({"shard": failure.shard_id, "message": failure.message}));
        let text = serde_json::Value::Array(failures.collect()).to_string();
        // SAFETY: rule 1.
        unsafe { put_text(&text, (buffer, capacity), length) }
    })
}

/// Frees a page, and with it what its views refer to.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_page_close(page: tapeline_page) -> i32 {
    call(|| PAGES.remove(page.number).map(drop))
}

impl Page {
    fn new(response: ConsumeResponse) -> Self {
        Self {
            events: response.events,
            gaps: response.gaps.into_iter().map(Item::gap).collect(),
            failures: response.failed_shards,
            cursor: CString::new(response.next_id.unwrap_or_default()).unwrap_or_default(),
            has_more: response.has_more,
        }
    }
}

/// A view of an item, which must not move or change while the view is used.
pub(super) fn item_view(item: &Item) -> tapeline_event {
    match item {
        Item::Event(event) => event_view(event),
        Item::Gap { gap, text, token, sessions } => tapeline_event {
            payload: text.as_ptr(),
            payload_len: text.len(),
            gap_token: token.as_ref().map_or(std::ptr::null(), |token| token.as_ptr()),
            gap_sessions: if sessions.is_empty() { std::ptr::null() } else { sessions.as_ptr() },
            gap_session_count: sessions.len(),
            ..gap_view(gap)
        },
    }
}

fn event_view(event: &StoredEvent) -> tapeline_event {
    tapeline_event {
        item: TAPELINE_ITEM_EVENT,
        kind: event.kind.0,
        shard: event.shard_id,
        gap_reason: 0,
        sequence: event.sequence.get(),
        gap_end: 0,
        time_ns: event.insertion_ts,
        session: event.session.into(),
        payload: event.raw.as_ptr(),
        payload_len: event.raw.len(),
        gap_token: std::ptr::null(),
        session_name: event.session_name().map_or(std::ptr::null(), |name| name.as_ptr().cast()),
        session_name_len: event.session_name().map_or(0, str::len),
        gap_events: 0,
        gap_sessions: std::ptr::null(),
        gap_session_count: 0,
    }
}

/// A view of a gap without the texts and sessions.
fn gap_view(gap: &Gap) -> tapeline_event {
    tapeline_event {
        item: TAPELINE_ITEM_GAP,
        kind: 0,
        shard: gap.shard_id,
        gap_reason: match gap.reason {
            GapReason::Trimmed => TAPELINE_GAP_TRIMMED,
            GapReason::Overflow { reason: DropReason::Refused, .. } => TAPELINE_GAP_REFUSED,
            GapReason::Overflow { .. } => TAPELINE_GAP_OVERFLOW,
            GapReason::Dropped => TAPELINE_GAP_DROPPED,
            GapReason::Corrupt(_) => TAPELINE_GAP_CORRUPT,
            GapReason::LostInCrash => TAPELINE_GAP_LOST_IN_CRASH,
            GapReason::Lost => TAPELINE_GAP_LOST,
            _ => TAPELINE_GAP_OTHER,
        },
        sequence: gap.from.get(),
        gap_end: gap.to.get(),
        time_ns: 0,
        session: SessionId::NONE.into(),
        payload: std::ptr::null(),
        payload_len: 0,
        gap_token: std::ptr::null(),
        session_name: std::ptr::null(),
        session_name_len: 0,
        gap_events: match &gap.reason {
            GapReason::Overflow { events, .. } => *events,
            _ => gap.to.since(gap.from),
        },
        gap_sessions: std::ptr::null(),
        gap_session_count: 0,
    }
}

/// The caller's view.
///
/// # Safety
/// Rule 1.
unsafe fn view_of(event: *const tapeline_event) -> Result<tapeline_event, Failure> {
    Out::new("event", event.cast_mut())?;
    // SAFETY: rule 1; neither null nor unaligned.
    let view = unsafe { event.read() };
    if view.item != TAPELINE_ITEM_EVENT {
        return Err(Failure::new(TAPELINE_ARGUMENT, "event: a gap; the token of a gap is its gap_token"));
    }
    Ok(view)
}

/// The token of an event, which a client of its session resumes after: 32 characters and a 0, as the `id` of a
/// server-sent event. `token` has `TAPELINE_TOKEN_BYTES` bytes.
///
/// Any thread that may use the view.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_event_token(event: *const tapeline_event, token: *mut c_char) -> i32 {
    call(|| {
        // SAFETY: rule 1.
        let view = unsafe { view_of(event) }?;
        let made = ResumeToken::new(view.session.into(), view.shard, Sequence::new(view.sequence), view.time_ns);
        // SAFETY: rule 1.
        unsafe { put_text(&made.to_string(), (token, TAPELINE_TOKEN_BYTES), std::ptr::null_mut()) }
    })
}

/// The id of an event of this bus: text that never changes. `length` as with `tapeline_prometheus`.
///
/// Any thread that may use the view.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tapeline_event_id(
    bus: tapeline_bus,
    event: *const tapeline_event,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    call(|| {
        // SAFETY: rule 1.
        let view = unsafe { view_of(event) }?;
        let log = bus_of(bus)?.log_id();
        let id = EventId { log, shard_id: view.shard, sequence: Sequence::new(view.sequence) };
        // SAFETY: rule 1.
        unsafe { put_text(&id.to_string(), (buffer, capacity), length) }
    })
}
