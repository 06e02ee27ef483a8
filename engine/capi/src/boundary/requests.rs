//! Requests of readers, made of the caller's structures.

use tapeline::consumer::{Filter, Ordering, SlowReader, Speed, Start, Visibility};
use tapeline::event::{Kind, SessionId};
use tapeline::log::FollowStart;
use tapeline::{ConsumeRequest, ReplayRequest, SubscribeRequest};

use super::memory::{optional_text, options, slice};
use super::types::*;
use crate::code::tapeline_code::TAPELINE_ARGUMENT;
use crate::failure::Failure;
use std::ffi::c_char;
use std::time::Duration;

#[cold]
fn no_such(name: &str, number: u32) -> Failure {
    Failure::new(TAPELINE_ARGUMENT, format_args!("{name}: there is no {number}"))
}

fn start(number: u32, time_ns: u64) -> Result<Start, Failure> {
    Ok(match number {
        TAPELINE_START_EARLIEST => Start::Earliest,
        TAPELINE_START_LATEST => Start::Latest,
        TAPELINE_START_TIME => Start::Time(time_ns),
        other => return Err(no_such("start", other)),
    })
}

pub(super) fn visibility(number: u32) -> Result<Visibility, Failure> {
    Ok(match number {
        TAPELINE_VISIBILITY_APPENDED => Visibility::Appended,
        TAPELINE_VISIBILITY_DURABLE => Visibility::Durable,
        other => return Err(no_such("visibility", other)),
    })
}

/// The caller's filter, if there is one.
///
/// # Safety
/// Rule 2.
unsafe fn filter(json: *const c_char) -> Result<Option<Filter>, Failure> {
    // SAFETY: rule 2.
    let json = unsafe { optional_text("filter", json) }?;
    Ok(json.map(Filter::from_json).transpose()?)
}

/// The caller's sessions; none stands for all.
///
/// # Safety
/// Rule 1.
unsafe fn sessions(data: *const tapeline_session, count: usize) -> Result<Option<Vec<SessionId>>, Failure> {
    // SAFETY: rule 1.
    let sessions = unsafe { slice("sessions", data, count) }?;
    Ok((!sessions.is_empty()).then(|| sessions.iter().map(|&session| session.into()).collect()))
}

/// The caller's kinds; none stands for all.
///
/// # Safety
/// Rule 1.
unsafe fn kinds(data: *const u16, count: usize) -> Result<Option<Vec<Kind>>, Failure> {
    // SAFETY: rule 1.
    let kinds = unsafe { slice("kinds", data, count) }?;
    Ok((!kinds.is_empty()).then(|| kinds.iter().map(|&kind| Kind(kind)).collect()))
}

/// The caller's shards; none stands for all.
///
/// # Safety
/// Rule 1.
unsafe fn shards(data: *const u16, count: usize) -> Result<Option<Vec<u16>>, Failure> {
    // SAFETY: rule 1.
    let shards = unsafe { slice("shards", data, count) }?;
    Ok((!shards.is_empty()).then(|| shards.to_vec()))
}

/// A page of at most `limit` events.
///
/// # Safety
/// Rules 1 and 2.
pub(super) unsafe fn poll_request(
    given: *const tapeline_poll_options,
    limit: usize,
) -> Result<ConsumeRequest, Failure> {
    // SAFETY: rule 1.
    let given = unsafe { options("options", given, size_of::<tapeline_poll_options>()) }?;
    let mut request = ConsumeRequest::new(limit)
        .start(start(given.start, given.start_time_ns)?)
        .visibility(visibility(given.visibility)?)
        .wait(Duration::from_millis(given.wait_ms.into()))
        .ordering(match given.ordering {
            TAPELINE_ORDERING_NONE => Ordering::None,
            TAPELINE_ORDERING_TIME => Ordering::InsertionTs,
            other => return Err(no_such("ordering", other)),
        });
    // SAFETY: rule 2.
    request.from_id = unsafe { optional_text("cursor", given.cursor) }?.map(str::to_owned);
    // SAFETY: rule 2.
    request.filter = unsafe { filter(given.filter) }?;
    // SAFETY: rule 1.
    request.sessions = unsafe { sessions(given.sessions, given.session_count) }?;
    // SAFETY: rule 1.
    request.kinds = unsafe { kinds(given.kinds, given.kind_count) }?;
    // SAFETY: rule 1.
    request.shards = unsafe { shards(given.shards, given.shard_count) }?;
    Ok(request)
}

/// A subscription.
///
/// # Safety
/// Rules 1 and 2.
pub(super) unsafe fn subscribe_request(given: *const tapeline_subscribe_options) -> Result<SubscribeRequest, Failure> {
    // SAFETY: rule 1.
    let given = unsafe { options("options", given, size_of::<tapeline_subscribe_options>()) }?;
    let mut request = SubscribeRequest::new()
        .start(start(given.start, given.start_time_ns)?)
        .visibility(visibility(given.visibility)?)
        .slow_reader(match given.slow_reader {
            TAPELINE_SLOW_REPLAY => SlowReader::Replay,
            TAPELINE_SLOW_DROP => SlowReader::Drop { lag_events: given.lag_events },
            TAPELINE_SLOW_FAIL => SlowReader::Fail { lag_events: given.lag_events },
            other => return Err(no_such("slow_reader", other)),
        });
    request.until_close = match given.until_close {
        0 => false,
        1 => true,
        other => return Err(no_such("until_close", other)),
    };
    // SAFETY: rule 2.
    request.cursor = unsafe { optional_text("cursor", given.cursor) }?.map(str::to_owned);
    // SAFETY: rule 2.
    request.filter = unsafe { filter(given.filter) }?;
    // SAFETY: rule 1.
    request.sessions = unsafe { sessions(given.sessions, given.session_count) }?;
    // SAFETY: rule 1.
    request.kinds = unsafe { kinds(given.kinds, given.kind_count) }?;
    // SAFETY: rule 1.
    request.shards = unsafe { shards(given.shards, given.shard_count) }?;
    Ok(request)
}

/// A log of another process: where to begin, and which events.
///
/// # Safety
/// Rules 1 and 2.
pub(super) unsafe fn follow_request(
    given: *const tapeline_subscribe_options,
) -> Result<(FollowStart, ReplayRequest), Failure> {
    // SAFETY: rules 1 and 2.
    let wanted = unsafe { subscribe_request(given) }?;
    let is_whole = wanted.shards.is_none() && wanted.visibility == Visibility::Appended && !wanted.until_close;
    if !is_whole || wanted.slow_reader != SlowReader::Replay {
        let text = "options: shards, visibility, slow_reader and until_close are of readers of a bus";
        return Err(Failure::new(TAPELINE_ARGUMENT, text));
    }
    let start = match (wanted.cursor, wanted.start) {
        (Some(cursor), _) => FollowStart::Cursor(cursor),
        (None, Start::Latest) => FollowStart::Latest,
        (None, Start::Time(time)) => FollowStart::Time(time),
        (None, _) => FollowStart::Earliest,
    };
    let mut request = ReplayRequest::new();
    request.sessions = wanted.sessions;
    request.filter = whole_filter(wanted.kinds, wanted.filter);
    Ok((start, request))
}

/// Kinds and filter as one filter.
fn whole_filter(kinds: Option<Vec<Kind>>, filter: Option<Filter>) -> Option<Filter> {
    match (kinds.map(Filter::kinds), filter) {
        (Some(kinds), Some(filter)) => Some(Filter::and([kinds, filter])),
        (kinds, filter) => kinds.or(filter),
    }
}

/// A replay, and its speed. `None`: as fast as possible.
///
/// # Safety
/// Rules 1 and 2.
pub(super) unsafe fn replay_request(
    given: *const tapeline_replay_options,
) -> Result<(ReplayRequest, Option<Speed>), Failure> {
    // SAFETY: rule 1.
    let given = unsafe { options("options", given, size_of::<tapeline_replay_options>()) }?;
    let mut request = ReplayRequest::new();
    // SAFETY: rule 1.
    let kinds = unsafe { kinds(given.kinds, given.kind_count) }?;
    // SAFETY: rule 2.
    request.filter = whole_filter(kinds, unsafe { filter(given.filter) }?);
    // SAFETY: rule 1.
    request.sessions = unsafe { sessions(given.sessions, given.session_count) }?;
    request.since = (given.since_ns > 0).then_some(given.since_ns);
    request.until = (given.until_ns > 0).then_some(given.until_ns);
    let speed = match given.speed {
        0.0 => None,
        factor if factor.is_finite() && factor > 0.0 => Some(Speed::Factor(factor)),
        factor => return Err(Failure::new(TAPELINE_ARGUMENT, format_args!("speed: {factor} is no speed"))),
    };
    Ok((request, speed))
}
