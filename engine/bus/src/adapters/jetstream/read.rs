//! Events out of the stream: a page through a consumer of its own, in three requests whatever its size; and the shards
//! of which the stream has events.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, Batch};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::message::Message;
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind as RawMessageErrorKind;
use futures_core::Stream;
use tapeline_reader::{AdapterError, AdapterResult, Payload, StoredEvent};
use tapeline_storage::format::LogId;

use super::link::{Link, Session, Stored};
use crate::adapters::position::Position;
use crate::adapters::stored::{StoredShards, shard_of};
use crate::adapters::{ShardPollResult, StoredShard};
use crate::live::Delivery;

/// Events of a page at most: the client's own queue holds more than that.
const PAGE: usize = 10_000;

/// The time after which the server forgets a consumer that was not removed.
const IDLE: Duration = Duration::from_secs(30);

/// Events of the stream, in their order.
struct Page {
    events: Vec<StoredEvent>,
    /// The place of the last, or that to read after.
    last: u64,
    has_more: bool,
}

/// Reads a page of a shard: of the events that were delivered out of order once the others were read.
pub(super) async fn shard(
    link: &Link,
    session: &Session,
    (log, shard): (LogId, u16),
    (mut from, limit): (Position<u64>, usize),
) -> AdapterResult<ShardPollResult> {
    let settings = &link.config().stream;
    let of = |subject, from: Option<u64>, limit| page(link, session, subject, (from.unwrap_or(0), limit));
    let Page { mut events, last, mut has_more } = of(settings.shard_filter(log, shard), from.in_order, limit).await?;
    from.in_order = if events.is_empty() { from.in_order } else { Some(last) };
    if !has_more {
        let late = of(settings.redriven_subject(log, shard), from.late, limit - events.len()).await?;
        from.late = if late.events.is_empty() { from.late } else { Some(late.last) };
        events.extend(late.events);
        has_more = late.has_more;
    }
    Ok(ShardPollResult { events, next_id: from.text(), has_more })
}

/// The shards of which the stream has events.
///
/// # Errors
/// [`AdapterError::Denied`] where their layout is not the one that is set: they would not be read.
pub(super) async fn stored(link: &Link, session: &Session) -> AdapterResult<Vec<StoredShard>> {
    let settings = &link.config().stream;
    let subjects = session.stream.info_with_subjects(format!("{}.>", settings.prefix)).await;
    let mut subjects = subjects.map_err(|error| link.unanswered(&error))?;
    let mut shards = StoredShards::default();
    while let Some(found) = poll_fn(|context| Pin::new(&mut subjects).poll_next(context)).await {
        let (subject, _) = found.map_err(|error| link.unanswered(&error))?;
        let Some((log, shard, layout)) = settings.parse(&subject) else { continue };
        let Some(shard) = shard_of(log, shard) else { continue };
        match layout {
            None => shards.add(shard, Delivery::Redriven),
            Some(layout) if layout == settings.mapping.layout => shards.add(shard, Delivery::InOrder),
            Some(layout) => {
                let text = format!("the stream {} has its subjects {layout:?}; set that layout", settings.name());
                return Err(AdapterError::Denied(link.text(&text)));
            }
        }
    }
    Ok(shards.list())
}

/// Reads up to `limit` events of these subjects after a place of the stream.
async fn page(link: &Link, session: &Session, filter: String, (after, limit): (u64, usize)) -> AdapterResult<Page> {
    let consumer = consumer(link, session, filter, after).await?;
    let waiting = usize::try_from(consumer.cached_info().num_pending).unwrap_or(usize::MAX);
    let count = waiting.min(limit).min(PAGE);
    let mut page = Page { events: Vec::with_capacity(count), last: after, has_more: waiting > count };
    if count > 0 {
        fetch(link, &consumer, count, &mut page).await?;
    }
    // The server removes a consumer that this fails to delete, once it has been idle.
    let _ = session.stream.delete_consumer(&consumer.cached_info().name).await;
    Ok(page)
}

async fn consumer(
    link: &Link,
    session: &Session,
    filter_subject: String,
    after: u64,
) -> AdapterResult<Consumer<pull::Config>> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) },
        ack_policy: AckPolicy::None,
        filter_subject,
        inactive_threshold: IDLE,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    };
    session.stream.create_consumer(config).await.map_err(|error| match error.kind() {
        ConsumerErrorKind::JetStream(error) => link.refused(&error),
        _ => link.unanswered(&error),
    })
}

async fn fetch(link: &Link, consumer: &Consumer<pull::Config>, count: usize, page: &mut Page) -> AdapterResult<()> {
    let incomplete = |reason: &str| AdapterError::Transient(link.text(reason));
    let batch = consumer.fetch().max_messages(count).messages().await;
    let mut batch = batch.map_err(|error| incomplete(&error.to_string()))?;
    let limit = link.config().request_timeout;
    for number in 1..=count {
        let message = tokio::time::timeout(limit, next(&mut batch)).await;
        let Some(message) = message.map_err(|_| incomplete(&format!("no message within {limit:?}")))? else {
            // Limits have removed the rest while it was read.
            page.has_more = false;
            return Ok(());
        };
        let message = message.map_err(|error| incomplete(&error.to_string()))?;
        let info = message.info().map_err(|error| incomplete(&error.to_string()))?;
        if info.consumer_sequence != number as u64 {
            return Err(incomplete("messages were lost on their way from the server"));
        }
        (page.last, page.has_more) = (info.stream_sequence, info.pending > 0);
        page.events.push(link.event(message.headers.as_ref(), message.payload.clone(), page.last)?);
    }
    Ok(())
}

async fn next(batch: &mut Batch) -> Option<Result<Message, async_nats::Error>> {
    poll_fn(|context| Pin::new(&mut *batch).poll_next(context)).await
}

/// Compares events with those of the same numbers in the stream. One that is not there any more was dropped by a limit,
/// or removed by a consumer.
///
/// # Errors
/// [`AdapterError::Serialization`], where the stream holds another event: after a crash that took events which were
/// relayed, their sequences belong to others.
pub(super) async fn check_repeats(
    link: &Link,
    session: &Session,
    repeats: &[StoredEvent],
    last: Stored,
) -> AdapterResult<()> {
    let (Some(first), Some(end)) = (repeats.first(), repeats.last()) else { return Ok(()) };
    let filter = link.config().stream.shard_filter(first.id.log, first.shard_id);
    let Some(mut after) = place_before(link, session, first, last).await? else { return Ok(()) };
    loop {
        let page = page(link, session, filter.clone(), (after, PAGE)).await?;
        for found in &page.events {
            let repeat = repeats.binary_search_by_key(&found.sequence, |event| event.sequence);
            if let Ok(repeat) = repeat.map(|at| &repeats[at])
                && repeat != found
            {
                let name = link.config().stream.name();
                let text = format!("the stream {name} holds another event than {} of this log", repeat.id);
                return Err(AdapterError::Serialization(link.text(&text)));
            }
        }
        if !page.has_more || page.events.last().is_none_or(|event| event.sequence >= end.sequence) {
            return Ok(());
        }
        after = page.last;
    }
}

/// A place of the stream, not far before that of an event of this sequence. `None`: the stream has no event any more up
/// to the last one that is known.
async fn place_before(link: &Link, session: &Session, event: &StoredEvent, last: Stored) -> AdapterResult<Option<u64>> {
    let filter = link.config().stream.shard_filter(event.id.log, event.shard_id);
    let mut back = 100;
    loop {
        let place = last.position.saturating_sub(back).max(1);
        let look = session.stream.raw_message_builder().sequence(place).next_by_subject(filter.clone());
        match look.send().await {
            Ok(found) => {
                let position = found.sequence;
                let found = link.event(Some(&found.headers), Payload::from(found.payload), position)?;
                if place == 1 || found.sequence <= event.sequence {
                    return Ok(Some(place - 1));
                }
            }
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => return Ok(None),
                RawMessageErrorKind::JetStream(error) => return Err(link.refused(&error)),
                _ => return Err(link.unanswered(&error)),
            },
        }
        back *= 4;
    }
}
