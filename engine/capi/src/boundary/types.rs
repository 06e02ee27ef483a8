//! Types of C programs: handles, values and structures.

use std::ffi::c_char;

use tapeline::Ticket;
use tapeline::event::SessionId;

use super::memory::Versioned;

/// A bus. Any thread may use it, several at a time. A handle whose number is 0 stands for none.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_bus {
    /// For the library.
    pub number: u64,
}

/// A producer: the fast way to ingest, for one thread at a time. It belongs to the thread that opened it until
/// `tapeline_producer_release`, or that thread's end; then to the next thread that uses it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_producer {
    /// For the library.
    pub number: u64,
}

/// A subscription, a relay or a replay. Any thread may use it, one at a time.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_reader {
    /// For the library.
    pub number: u64,
}

/// The memory of a page that `tapeline_poll` returned.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_page {
    /// For the library.
    pub number: u64,
}

/// The files of a log, as they were when `tapeline_log_open` opened them. Any thread may use it, several at a time.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_log {
    /// For the library.
    pub number: u64,
}

/// A session: a value, not a handle. Programs may copy it, keep it, and make one of a number of their own. All 0 stands
/// for no session.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct tapeline_session {
    /// The upper half of the 128-bit id.
    pub high: u64,
    /// The lower half of the 128-bit id.
    pub low: u64,
}

impl From<tapeline_session> for SessionId {
    #[inline(always)]
    fn from(session: tapeline_session) -> Self {
        SessionId(u128::from(session.high) << 64 | u128::from(session.low))
    }
}

impl From<SessionId> for tapeline_session {
    fn from(session: SessionId) -> Self {
        Self { high: (session.0 >> 64) as u64, low: session.0 as u64 }
    }
}

/// The receipt of an event: a value. Any thread may ask the bus what became of its event.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct tapeline_ticket {
    /// For the library.
    pub words: [u64; 3],
}

impl From<Ticket> for tapeline_ticket {
    #[inline(always)]
    fn from(ticket: Ticket) -> Self {
        Self { words: ticket.to_words() }
    }
}

/// A name and a value, both UTF-8 that ends with a 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_pair {
    /// The name.
    pub name: *const c_char,
    /// The value.
    pub value: *const c_char,
}

/// An event to ingest, as one of several.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_input {
    /// The session. `tapeline_emit_batch` does not look at it.
    pub session: tapeline_session,
    /// The payload.
    pub payload: *const u8,
    /// The number of its bytes.
    pub payload_len: usize,
    /// The kind, as `TAPELINE_KIND_TOKEN`.
    pub kind: u16,
}

/// `tapeline_event.item` of an event.
pub const TAPELINE_ITEM_EVENT: u16 = 0;
/// `tapeline_event.item` of a gap, which reports events that the reader does not get.
pub const TAPELINE_ITEM_GAP: u16 = 1;

/// `tapeline_event.gap_reason`: the log no longer holds the events.
pub const TAPELINE_GAP_TRIMMED: u16 = 1;
/// `tapeline_event.gap_reason`: a lane was full, and its back-pressure mode dropped the events.
pub const TAPELINE_GAP_OVERFLOW: u16 = 2;
/// `tapeline_event.gap_reason`: the reader lagged, and had asked to skip.
pub const TAPELINE_GAP_DROPPED: u16 = 3;
/// `tapeline_event.gap_reason`: a block fails its check.
pub const TAPELINE_GAP_CORRUPT: u16 = 4;
/// `tapeline_event.gap_reason`: the reader had seen the events, and a crash took them.
pub const TAPELINE_GAP_LOST_IN_CRASH: u16 = 5;
/// `tapeline_event.gap_reason`: a repair found the events in no file.
pub const TAPELINE_GAP_LOST: u16 = 6;
/// `tapeline_event.gap_reason`: a lane was full, and the events went back to their producer, which may have ingested
/// them again: of the mode `TAPELINE_BACKPRESSURE_FAIL_AND_REPORT`.
pub const TAPELINE_GAP_REFUSED: u16 = 7;
/// `tapeline_event.gap_reason`: another one; the payload says which.
pub const TAPELINE_GAP_OTHER: u16 = 99;

/// A view of an event, or of a gap, in memory of the library. It is valid until the next call with its reader, or until
/// its reader or page is closed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_event {
    /// `TAPELINE_ITEM_EVENT` or `TAPELINE_ITEM_GAP`.
    pub item: u16,
    /// The kind. 0 of a gap.
    pub kind: u16,
    /// The shard.
    pub shard: u16,
    /// The reason of a gap, as `TAPELINE_GAP_TRIMMED`. 0 of an event.
    pub gap_reason: u16,
    /// The event's number in its shard. Of a gap: that of the first missing event.
    pub sequence: u64,
    /// The number after a gap. 0 of an event.
    pub gap_end: u64,
    /// Nanoseconds since the Unix epoch. 0 of a gap.
    pub time_ns: u64,
    /// The session. All 0 of a gap.
    pub session: tapeline_session,
    /// The payload, which does not end with a 0. Of a gap: its description.
    pub payload: *const u8,
    /// The number of bytes of the payload.
    pub payload_len: usize,
    /// Of a gap of a relay: the token that a client resumes after it with, and a 0. Null otherwise.
    pub gap_token: *const c_char,
    /// The name of the session, which does not end with a 0. Null: it was not opened by name, or its opening is not
    /// known; null of a gap.
    pub session_name: *const c_char,
    /// The number of bytes of the name.
    pub session_name_len: usize,
    /// Of a gap: the number of events that are missing. 0 of an event.
    pub gap_events: u64,
    /// Of a gap for which a lane was full: the events of each session, as far as their sessions are known. Null
    /// otherwise.
    pub gap_sessions: *const tapeline_gap_session,
    /// The number of these sessions.
    pub gap_session_count: usize,
}

/// Events of one session in a gap.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct tapeline_gap_session {
    /// The session.
    pub session: tapeline_session,
    /// The number of its events that are missing.
    pub events: u64,
}

/// `start`: at the earliest event that the log holds.
pub const TAPELINE_START_EARLIEST: u32 = 0;
/// `start`: after the newest event.
pub const TAPELINE_START_LATEST: u32 = 1;
/// `start`: at `start_time_ns`.
pub const TAPELINE_START_TIME: u32 = 2;

/// `visibility`: what the log has taken.
pub const TAPELINE_VISIBILITY_APPENDED: u32 = 0;
/// `visibility`: what no crash can take.
pub const TAPELINE_VISIBILITY_DURABLE: u32 = 1;

/// `ordering`: each shard's own order.
pub const TAPELINE_ORDERING_NONE: u32 = 0;
/// `ordering`: the order of time over all shards.
pub const TAPELINE_ORDERING_TIME: u32 = 1;

/// `slow_reader`: it continues from the log.
pub const TAPELINE_SLOW_REPLAY: u32 = 0;
/// `slow_reader`: it skips ahead, and gets a gap.
pub const TAPELINE_SLOW_DROP: u32 = 1;
/// `slow_reader`: it fails with `TAPELINE_LAGGED`.
pub const TAPELINE_SLOW_FAIL: u32 = 2;

/// `backpressure`: that of the bus.
pub const TAPELINE_BACKPRESSURE_DEFAULT: u32 = 0;
/// `backpressure`: the call fails.
pub const TAPELINE_BACKPRESSURE_FAIL: u32 = 1;
/// `backpressure`: the call waits for up to `deadline_ms`.
pub const TAPELINE_BACKPRESSURE_BLOCK: u32 = 2;
/// `backpressure`: the event is dropped.
pub const TAPELINE_BACKPRESSURE_DROP_NEWEST: u32 = 3;
/// `backpressure`: the oldest events of the lane are dropped.
pub const TAPELINE_BACKPRESSURE_DROP_OLDEST: u32 = 4;
/// `backpressure`: one event in `sample_rate` of each session is kept above half a lane.
pub const TAPELINE_BACKPRESSURE_SAMPLE: u32 = 5;
/// `backpressure`: the call fails, and readers of the session get a gap that counts each refused event.
pub const TAPELINE_BACKPRESSURE_FAIL_AND_REPORT: u32 = 6;

/// An outcome of a session: it ended as it should.
pub const TAPELINE_OUTCOME_FINISHED: u32 = 0;
/// An outcome of a session: an error ended it.
pub const TAPELINE_OUTCOME_FAILED: u32 = 1;
/// An outcome of a session: it was stopped.
pub const TAPELINE_OUTCOME_STOPPED: u32 = 2;
/// An outcome of a session: it took too long.
pub const TAPELINE_OUTCOME_TIMED_OUT: u32 = 3;

/// No kind.
pub const TAPELINE_KIND_UNSPECIFIED: u16 = 0;
/// A token, or a piece of an answer.
pub const TAPELINE_KIND_TOKEN: u16 = 1;
/// A message of an agent.
pub const TAPELINE_KIND_AGENT_MESSAGE: u16 = 2;
/// A call of a tool, or its result.
pub const TAPELINE_KIND_TOOL_CALL: u16 = 3;
/// A verdict of a guardrail.
pub const TAPELINE_KIND_GUARDRAIL: u16 = 4;
/// A vote.
pub const TAPELINE_KIND_CONSENSUS: u16 = 5;
/// A structured output.
pub const TAPELINE_KIND_STRUCTURED_OUTPUT: u16 = 6;
/// A retry.
pub const TAPELINE_KIND_RETRY: u16 = 7;
/// A signal of drift.
pub const TAPELINE_KIND_DRIFT: u16 = 8;
/// A session's opening or close, which the bus writes.
pub const TAPELINE_KIND_SESSION: u16 = 9;
/// An event of a daemon.
pub const TAPELINE_KIND_DAEMON: u16 = 10;
/// More of the event before it, which was recorded in parts.
pub const TAPELINE_KIND_PART: u16 = 11;

/// The bytes of a token's text, with its 0.
pub const TAPELINE_TOKEN_BYTES: usize = 33;

/// Options of a producer. Begin with `{ .struct_size = sizeof(tapeline_producer_options) }`: other members that are 0
/// have their defaults. A null pointer stands for the defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_producer_options {
    /// The size of this structure.
    pub struct_size: usize,
    /// `TAPELINE_BACKPRESSURE_DEFAULT`, or another mode.
    pub backpressure: u32,
    /// For `TAPELINE_BACKPRESSURE_SAMPLE`.
    pub sample_rate: u32,
    /// For `TAPELINE_BACKPRESSURE_BLOCK`.
    pub deadline_ms: u64,
    /// The number of bytes that a lane may grow to hold. 0: that of the bus.
    pub lane_bytes: usize,
}

/// Metadata of a session. Members as those of `tapeline_producer_options`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_session_metadata {
    /// The size of this structure.
    pub struct_size: usize,
    /// The model, or null.
    pub model: *const c_char,
    /// The user, or null.
    pub user: *const c_char,
    /// The content type of the payloads, or null.
    pub content_type: *const c_char,
    /// Tags, as `software.model=llama-7b`.
    pub tags: *const *const c_char,
    /// The number of tags.
    pub tag_count: usize,
    /// Labels of the program's own.
    pub labels: *const tapeline_pair,
    /// The number of labels.
    pub label_count: usize,
    /// The capabilities that a consumer of its events needs, as `hardware.gpu.vram_gb >= 48` (docs/CAPABILITIES.md), or
    /// null. It is the label `requires`.
    pub requirement: *const c_char,
}

/// Options of a page: its events, and its beginning. Members as those of `tapeline_producer_options`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_poll_options {
    /// The size of this structure.
    pub struct_size: usize,
    /// The cursor of the page before, or null: then `start`.
    pub cursor: *const c_char,
    /// A filter as JSON (docs/CONSUMERS.md), or null.
    pub filter: *const c_char,
    /// The sessions that are wanted.
    pub sessions: *const tapeline_session,
    /// The number of them. 0: all.
    pub session_count: usize,
    /// The kinds that are wanted.
    pub kinds: *const u16,
    /// The number of them. 0: all.
    pub kind_count: usize,
    /// The shards that are read.
    pub shards: *const u16,
    /// The number of them. 0: all.
    pub shard_count: usize,
    /// `TAPELINE_START_EARLIEST`, or another start.
    pub start: u32,
    /// `TAPELINE_VISIBILITY_APPENDED` or `TAPELINE_VISIBILITY_DURABLE`.
    pub visibility: u32,
    /// For `TAPELINE_START_TIME`.
    pub start_time_ns: u64,
    /// `TAPELINE_ORDERING_NONE` or `TAPELINE_ORDERING_TIME`.
    pub ordering: u32,
    /// The time that the call waits for events if there are none.
    pub wait_ms: u32,
}

/// The numbers of a page, and its cursor. Set `struct_size` before the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_page_info {
    /// The size of this structure.
    pub struct_size: usize,
    /// The page's memory, to be closed with `tapeline_page_close`.
    pub page: tapeline_page,
    /// The number of events in the caller's array.
    pub event_count: usize,
    /// The number of gaps: see `tapeline_page_gaps`.
    pub gap_count: usize,
    /// The number of shards that could not be read: see `tapeline_page_failures`.
    pub failure_count: usize,
    /// The cursor for the next page, which ends with a 0. Valid until the page is closed.
    pub cursor: *const c_char,
    /// 1 if there is more to read now, else 0.
    pub has_more: u32,
    /// 0.
    pub reserved: u32,
}

/// Options of a subscription: its events, and its beginning. Members as those of `tapeline_producer_options`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_subscribe_options {
    /// The size of this structure.
    pub struct_size: usize,
    /// A cursor to continue after, or null: then `start`.
    pub cursor: *const c_char,
    /// A filter as JSON (docs/CONSUMERS.md), or null.
    pub filter: *const c_char,
    /// The sessions that are wanted.
    pub sessions: *const tapeline_session,
    /// The number of them. 0: all.
    pub session_count: usize,
    /// The kinds that are wanted.
    pub kinds: *const u16,
    /// The number of them. 0: all.
    pub kind_count: usize,
    /// The shards that are read.
    pub shards: *const u16,
    /// The number of them. 0: all.
    pub shard_count: usize,
    /// `TAPELINE_START_EARLIEST`, or another start.
    pub start: u32,
    /// `TAPELINE_VISIBILITY_APPENDED` or `TAPELINE_VISIBILITY_DURABLE`.
    pub visibility: u32,
    /// For `TAPELINE_START_TIME`.
    pub start_time_ns: u64,
    /// `TAPELINE_SLOW_REPLAY`, or what else happens once the reader lags by `lag_events`.
    pub slow_reader: u32,
    /// 1: ends with the close of its sessions.
    pub until_close: u32,
    /// For `TAPELINE_SLOW_DROP` and `TAPELINE_SLOW_FAIL`.
    pub lag_events: u64,
}

/// Options of a replay: its events, and its speed. Members as those of `tapeline_producer_options`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_replay_options {
    /// The size of this structure.
    pub struct_size: usize,
    /// A filter as JSON (docs/CONSUMERS.md), or null.
    pub filter: *const c_char,
    /// The sessions that are wanted.
    pub sessions: *const tapeline_session,
    /// The number of them. 0: all.
    pub session_count: usize,
    /// The kinds that are wanted.
    pub kinds: *const u16,
    /// The number of them. 0: all.
    pub kind_count: usize,
    /// The first time, in nanoseconds since the Unix epoch. 0: from the earliest event.
    pub since_ns: u64,
    /// The time after the last. 0: to the newest event.
    pub until_ns: u64,
    /// The speed: 2 is twice as fast as it was recorded. 0: as fast as possible.
    pub speed: f64,
}

/// Numbers of a bus, of one moment. Set `struct_size` before the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_stats {
    /// The size of this structure.
    pub struct_size: usize,
    /// Events that were taken.
    pub events_ingested: u64,
    /// Events that went back to their callers.
    pub events_refused: u64,
    /// Events that were dropped, as back-pressure modes say.
    pub events_dropped: u64,
    /// Events in lanes, on their way to a shard.
    pub events_in_lanes: u64,
    /// Events that the logs have taken.
    pub events_appended: u64,
    /// Events that have reached the bus's durability level.
    pub events_durable: u64,
    /// Bytes in lanes.
    pub bytes_pending: u64,
    /// Bytes of lanes and blocks.
    pub memory_bytes: u64,
    /// The bound of these.
    pub memory_budget: u64,
    /// Lanes.
    pub lanes: u64,
    /// The age of the oldest event that is not durable, in nanoseconds. 0: there is none.
    pub oldest_not_durable_ns: u64,
}

/// The limits of a trim. Members as those of `tapeline_producer_options`; one limit is given at least.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct tapeline_retention {
    /// The size of this structure.
    pub struct_size: usize,
    /// The age beyond which a segment goes, in milliseconds. 0: no limit.
    pub max_age_ms: u64,
    /// The bytes that the log keeps. 0: no limit.
    pub max_bytes: u64,
    /// The segments that the log keeps. 0: no limit.
    pub max_segments: u64,
    /// 1: what a named cursor has not passed stays.
    pub keep_for_cursors: u64,
}

/// The result of a trim. Set `struct_size` before the call.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct tapeline_trimmed {
    /// The size of this structure.
    pub struct_size: usize,
    /// Segments that were removed.
    pub segments: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Segments that stay for a cursor alone.
    pub segments_kept_for_cursors: u64,
    /// Segments that stay for any reason.
    pub segments_left: u64,
    /// Bytes of their files.
    pub bytes_left: u64,
}

// SAFETY: each is `repr(C)`, begins with its size, and consists of numbers and raw pointers.
unsafe impl Versioned for tapeline_producer_options {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_session_metadata {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_poll_options {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_page_info {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_subscribe_options {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_replay_options {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_stats {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_retention {}
// SAFETY: as above.
unsafe impl Versioned for tapeline_trimmed {}
