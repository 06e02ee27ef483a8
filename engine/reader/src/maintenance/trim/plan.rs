//! A plan of the segments that go, with reasons. Looks at numbers only: changes nothing, and reads no events.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use tapeline_storage::format::Sequence;
use tapeline_storage::log::{LogView, Segment};

use super::RetentionPolicy;
use crate::named::Pin;

/// The segments that trimming removes, oldest first, and those that only a cursor holds.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore, RetentionPolicy};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-trim-plan-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// let plan = LogFiles::open(&directory)?.plan_trim(&RetentionPolicy::new().max_bytes(1 << 30))?;
/// for segment in &plan.removed {
///     println!("{} of shard {} would go: {}", segment.file, segment.shard_id, segment.reason);
/// }
/// assert!(plan.removed.is_empty(), "less than a gibibyte");
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TrimPlan {
    /// Segments that go.
    pub removed: Vec<TrimmedSegment>,
    /// Segments that stay for a cursor alone.
    pub kept: Vec<KeptSegment>,
    /// Segments that stay for any reason.
    pub segments_left: usize,
    /// Bytes of their files.
    pub bytes_left: u64,
    /// Once it is carried out: why the names of sessions that were opened in what goes could not be kept. Segments go
    /// all the same, as the space may be what is missing.
    pub names_lost: Option<String>,
}

/// A segment that goes.
///
/// ```
/// use tapeline_reader::TrimPlan;
///
/// fn freed(plan: &TrimPlan) -> u64 {
///     plan.removed.iter().map(|segment| segment.bytes).sum()
/// }
/// assert_eq!(freed(&TrimPlan::default()), 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrimmedSegment {
    /// Its shard.
    pub shard_id: u16,
    /// Its file name.
    pub file: String,
    /// Sequence of its first event.
    pub base: Sequence,
    /// Sequence after its last event.
    pub end: Sequence,
    /// Bytes of its file.
    pub bytes: u64,
    /// Times of its events, smallest and largest: nanoseconds since the Unix epoch.
    pub first_insertion_ts: u64,
    /// The largest.
    pub last_insertion_ts: u64,
    /// The limit that it is beyond.
    pub reason: TrimReason,
}

/// A segment that is beyond a limit and stays.
///
/// ```
/// use tapeline_reader::TrimPlan;
///
/// fn report(plan: &TrimPlan) {
///     for kept in &plan.kept {
///         println!("{} stays for cursor {}", kept.segment.file, kept.cursor);
///     }
/// }
/// # report(&TrimPlan::default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptSegment {
    /// The segment that would go.
    pub segment: TrimmedSegment,
    /// The named cursor that has not passed it.
    pub cursor: String,
    /// The reason for which that cursor cannot be read, if it cannot: it may be anywhere, and so holds everything.
    pub cursor_fault: Option<String>,
}

/// The limit that a segment is beyond.
///
/// ```
/// use tapeline_reader::TrimReason;
///
/// assert_eq!(TrimReason::Age.to_string(), "age");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrimReason {
    /// Its last event is older than the policy's age.
    Age,
    /// The log has more bytes than it is to have.
    Bytes,
    /// The log has more segments than it is to have.
    Segments,
}

impl fmt::Display for TrimReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Age => "age",
            Self::Bytes => "bytes",
            Self::Segments => "segments",
        })
    }
}

impl TrimPlan {
    /// Up to where each shard is trimmed.
    #[doc(hidden)]
    pub fn cuts(&self) -> BTreeMap<u16, Sequence> {
        // In the order of a shard, so that its last end stays.
        self.removed.iter().map(|segment| (segment.shard_id, segment.end)).collect()
    }
}

/// Plans what `policy` removes at the time `now` (nanoseconds since the Unix epoch), where `pins` are what cursors have
/// not read.
pub fn plan(views: &[Arc<LogView>], policy: &RetentionPolicy, pins: &[Pin], now: u64) -> TrimPlan {
    let mut shards: Vec<Shard<'_>> = views.iter().map(|view| Shard::of(view, now)).collect();
    let mut plan = TrimPlan {
        segments_left: shards.iter().map(|shard| shard.segments).sum(),
        bytes_left: shards.iter().map(|shard| shard.bytes).sum(),
        ..TrimPlan::default()
    };
    let (mut segments, mut bytes) = (plan.segments_left, plan.bytes_left);
    let oldest_event = policy.max_age.map(|age| now.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
    loop {
        let next = shards.iter_mut().filter_map(|shard| Some((shard.sealed.front()?.0, shard)));
        let Some((last_timestamp, shard)) = next.min_by_key(|(time, shard)| (*time, shard.number)) else { break };
        let reason = match policy {
            _ if oldest_event.is_some_and(|oldest| last_timestamp < oldest) => TrimReason::Age,
            RetentionPolicy { max_bytes: Some(most), .. } if bytes > *most => TrimReason::Bytes,
            RetentionPolicy { max_segments: Some(most), .. } if segments > *most => TrimReason::Segments,
            // Everything else is younger.
            _ => break,
        };
        let Some((_, mut segment)) = shard.sealed.pop_front() else { break };
        segment.reason = reason;
        // As if it went, also where it stays: what is younger does not go in its place.
        (segments, bytes) = (segments - 1, bytes.saturating_sub(segment.bytes));
        let pin = pins.iter().find(|pin| pin.shard == segment.shard_id && pin.next < segment.end);
        shard.pinned = shard.pinned.or(pin);
        match shard.pinned.cloned() {
            Some(Pin { cursor, fault, .. }) => plan.kept.push(KeptSegment { segment, cursor, cursor_fault: fault }),
            None => {
                (plan.segments_left, plan.bytes_left) = (plan.segments_left - 1, plan.bytes_left - segment.bytes);
                plan.removed.push(segment);
            }
        }
    }
    plan
}

/// The segments of a shard that may go.
struct Shard<'a> {
    number: u16,
    segments: usize,
    bytes: u64,
    /// Those that may go, in order, each with the time that it is as old as.
    sealed: VecDeque<(u64, TrimmedSegment)>,
    /// The cursor that holds what is left.
    pinned: Option<&'a Pin>,
}

impl Shard<'_> {
    fn of(view: &LogView, now: u64) -> Self {
        let segments = view.segments();
        let candidates = segments.iter().map_while(|segment| candidate(view.shard(), segment));
        let sealed = ages(&segments, now).into_iter().zip(candidates).collect();
        Self {
            number: view.shard(),
            segments: segments.len(),
            bytes: segments.iter().map(|segment| segment.file_bytes()).sum(),
            sealed,
            pinned: None,
        }
    }
}

/// For each segment the time that it is as old as: that of its last event. A time that is ahead of the clock says
/// nothing: such a segment is as old as the first event after it whose time is not.
fn ages(segments: &[Arc<Segment>], now: u64) -> Vec<u64> {
    let mut behind = u64::MAX;
    let age = |segment: &Arc<Segment>| {
        let created = segment.header().created;
        let (first, last) =
            segment.footer().map_or((created, created), |footer| (footer.first_timestamp, footer.last_timestamp));
        let age = if last > now { last.min(behind) } else { last };
        behind = if first <= now { behind.min(first) } else { behind };
        age
    };
    let mut ages: Vec<_> = segments.iter().rev().map(age).collect();
    ages.reverse();
    ages
}

/// The segment, if it is sealed, with a reason that is not known yet.
fn candidate(shard: u16, segment: &Segment) -> Option<TrimmedSegment> {
    let footer = segment.footer()?;
    Some(TrimmedSegment {
        shard_id: shard,
        file: Segment::file_name(segment.base()),
        base: segment.base(),
        end: footer.end_sequence,
        bytes: segment.file_bytes(),
        first_insertion_ts: footer.first_timestamp,
        last_insertion_ts: footer.last_timestamp,
        reason: TrimReason::Age,
    })
}
