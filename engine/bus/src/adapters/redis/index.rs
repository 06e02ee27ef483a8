//! The index of a shard whose events lie in several streams: which of them has what, so that all events come back in
//! order.
//!
//! An entry is a *span*: events that were added together. Its id is that of the last event; it has the sequence of the
//! first (`first`), the number of events (`events`) and the streams that got them (`streams`, the last parts of their
//! names). It is written after its events, so a reader that finds a span finds the events. Spans follow each other in
//! order, and a span that comes again in other parts overlaps the one before; a reader passes over what it has.

use std::collections::BTreeSet;

use redis::Value;
use tapeline_reader::{AdapterError, AdapterResult, StoredEvent};

use super::client::Link;
use super::entry::{self, Fields, id_of, number_of};
use super::keys::Keys;
use crate::adapters::ShardPollResult;

/// Spans that are read at a time: each may name a thousand streams.
const SPANS: usize = 32;

/// Events that were added together.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    /// The numbers of the first and the last event's entries.
    first: u64,
    last: u64,
    events: usize,
    streams: Vec<String>,
}

/// Completes the command that adds the span of these events.
pub(super) fn write(add: &mut redis::Cmd, events: &[StoredEvent], streams: &BTreeSet<String>) {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
    let names: Vec<&str> = streams.iter().map(String::as_str).collect();
    add.arg(id_of(last.sequence));
    add.arg("first").arg(first.sequence.get()).arg("events").arg(events.len()).arg("streams").arg(names.join(","));
}

/// A page of the shard's events after the one of an entry's id, which is moved to the last.
pub(super) async fn page(
    link: &Link,
    keys: &Keys,
    from: &mut Option<String>,
    limit: usize,
) -> AdapterResult<ShardPollResult> {
    let mut after = match from {
        None => 0,
        Some(from) => {
            number_of(from).ok_or_else(|| AdapterError::Denied(format!("{from:?} is no place to go on from")))?
        }
    };
    let (mut events, mut has_more) = (Vec::new(), false);
    loop {
        let spans = spans(link, keys, after).await?;
        let wanted = limit - events.len();
        let (taken, last) = together(&spans, wanted);
        let Some(last) = last else { break };
        let mut found = read(link, keys, taken, (after, wanted)).await?;
        has_more = found.len() > wanted;
        found.truncate(wanted);
        let at = found.last().map(|event: &StoredEvent| event.sequence.get() + 1);
        after = if has_more { at.unwrap_or(after) } else { last };
        events.append(&mut found);
        if has_more {
            break;
        }
    }
    if after > 0 {
        *from = Some(format!("{after}-0"));
    }
    Ok(ShardPollResult { events, next_id: None, has_more })
}

/// The first of these spans, and those after it that fit a page with it; and the entry of their last event.
fn together(spans: &[Span], wanted: usize) -> (&[Span], Option<u64>) {
    let mut events = 0;
    let fits = spans.iter().take_while(|span| {
        events += span.events;
        events <= wanted
    });
    let count = fits.count().max(1).min(spans.len());
    (&spans[..count], spans[..count].last().map(|span| span.last))
}

/// The spans that end after an entry.
async fn spans(link: &Link, keys: &Keys, after: u64) -> AdapterResult<Vec<Span>> {
    let index = keys.index();
    let mut range = redis::cmd("XRANGE");
    range.arg(&index).arg(format!("({after}-0")).arg("+").arg("COUNT").arg(SPANS);
    let span = |(id, fields): (String, Fields)| {
        let foreign = || AdapterError::Denied(format!("entry {id} of stream {index} is no span of Tapeline"));
        span(&id, &fields).ok_or_else(foreign)
    };
    entry::entries(link.command(&range).await?).into_iter().map(span).collect()
}

fn span(id: &str, fields: &Fields) -> Option<Span> {
    let text = |name: &str| entry::text(fields, name);
    Some(Span {
        first: text("first")?.parse::<u64>().ok()?.checked_add(1)?,
        last: number_of(id)?,
        events: text("events")?.parse().ok()?,
        streams: text("streams")?.split(',').map(str::to_owned).collect(),
    })
}

/// The events of spans after an entry, in order: up to one more than are wanted, or a few more.
async fn read(
    link: &Link,
    keys: &Keys,
    spans: &[Span],
    (mut after, wanted): (u64, usize),
) -> AdapterResult<Vec<StoredEvent>> {
    let (mut ranges, mut streams) = (redis::Pipeline::new(), Vec::new());
    for span in spans {
        for part in &span.streams {
            let (stream, first) = (keys.part(part), span.first.max(after + 1));
            let range = ranges.cmd("XRANGE").arg(&stream).arg(format!("{first}-0")).arg(format!("{}-0", span.last));
            range.arg("COUNT").arg(wanted.saturating_add(1));
            streams.push(stream);
        }
        after = span.last;
    }
    let mut events = Vec::new();
    for (stream, answer) in streams.iter().zip(link.pipeline(&ranges).await?) {
        if let Value::ServerError(error) = &answer {
            return Err(link.refused(error));
        }
        for (id, fields) in entry::entries(answer) {
            events.push(entry::event_of(stream, &id, &fields)?);
        }
    }
    events.sort_unstable_by_key(|event| event.sequence);
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span_of(last: u64, events: usize) -> Span {
        Span { first: 1, last, events, streams: vec!["1".into()] }
    }

    #[test]
    fn spans_are_read_together_as_far_as_they_fit_a_page() {
        let spans = [span_of(4, 4), span_of(6, 2), span_of(9, 3)];
        let count = |wanted| (together(&spans, wanted).0.len(), together(&spans, wanted).1);
        assert_eq!(count(0), (1, Some(4)));
        assert_eq!(count(5), (1, Some(4)));
        assert_eq!(count(6), (2, Some(6)));
        assert_eq!(count(100), (3, Some(9)));
        assert_eq!(together(&[], 5).1, None);
    }
}
