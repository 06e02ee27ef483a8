//! Events into the stream: many on the way at once, and yet in order, without a hole.
//!
//! Each message names the one that has to be the last of the stream: the first by the place that the server reported,
//! each later one by the id of that before it. So once a message is missing, the server refuses all that were published
//! after it, whatever the reason is and however long they were on their way, and the rest comes again. The messages of
//! all shards are one such chain.

use std::collections::VecDeque;
use std::future::IntoFuture;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use tapeline_reader::{AdapterError, AdapterResult, StoredEvent};

use super::link::{Link, Session, Tail};
use super::{message, read};
use crate::live::{Batch, Delivery};

/// Tries in a row in which the chain was broken before any event was confirmed.
const TRIES: u32 = 5;

/// Stores a batch.
pub(super) async fn publish(link: &Link, batch: &Batch) -> AdapterResult<()> {
    let mut rest = &batch.events[..];
    let mut tries = 0;
    loop {
        let mut pass =
            Pass { link, delivery: batch.delivery, acks: VecDeque::new(), confirmed: 0, is_chain_broken: false };
        let Err(error) = link.with(async |session| pass.run(session, rest).await).await else { return Ok(()) };
        rest = &rest[pass.confirmed..];
        tries = if pass.confirmed == 0 { tries + 1 } else { 0 };
        if !pass.is_chain_broken || tries == TRIES {
            return Err(error);
        }
    }
}

/// The message of an event, on its way.
type Ack = <PublishAckFuture as IntoFuture>::IntoFuture;

/// One try to store events.
struct Pass<'b> {
    link: &'b Link,
    delivery: Delivery,
    /// Those that are not acknowledged yet.
    acks: VecDeque<(Ack, &'b StoredEvent)>,
    /// The number of events, from the first on, that the stream holds.
    confirmed: usize,
    /// True if another message came in between.
    is_chain_broken: bool,
}

impl<'b> Pass<'b> {
    async fn run(&mut self, session: &Session, events: &'b [StoredEvent]) -> AdapterResult<()> {
        let published = self.publish(session, events).await;
        while !self.acks.is_empty() {
            self.acknowledge().await?;
        }
        published
    }

    /// Publishes the events, and leaves at most `pipeline_size` of them to be acknowledged.
    async fn publish(&mut self, session: &Session, events: &'b [StoredEvent]) -> AdapterResult<()> {
        let link = self.link;
        let settings = &link.config().stream;
        let mut tail = session.tail.lock().await;
        for event in self.without_repeats(session, events).await? {
            if self.acks.len() >= link.config().pipeline_size {
                self.acknowledge().await?;
            }
            let message = message::of(event, &settings.mapping);
            let message = match &*tail {
                Tail::At(position) => message.expected_last_sequence(*position),
                Tail::After(id) => message.expected_last_message_id(id),
            };
            let subject = match self.delivery {
                Delivery::InOrder => settings.subject(event),
                Delivery::Redriven => settings.redriven_subject(event.id.log, event.shard_id),
            };
            let ack =
                session.context.send_publish(subject, message).await.map_err(|error| self.failed(&error, event))?;
            *tail = Tail::After(event.dedup_id());
            self.acks.push_back((ack.into_future(), event));
        }
        Ok(())
    }

    /// The events without those, at the front, that the stream holds or has held.
    async fn without_repeats(
        &mut self,
        session: &Session,
        events: &'b [StoredEvent],
    ) -> AdapterResult<&'b [StoredEvent]> {
        let Some(first) = events.first().filter(|_| self.delivery == Delivery::InOrder) else { return Ok(events) };
        let Some(last) = self.link.stored(session, (first.id.log, first.shard_id)).await? else { return Ok(events) };
        let repeats = events.partition_point(|event| event.sequence <= last.sequence);
        let (repeats, new) = events.split_at(repeats);
        read::check_repeats(self.link, session, repeats, last).await?;
        self.confirmed += repeats.len();
        Ok(new)
    }

    /// Waits until the first of the messages is acknowledged.
    async fn acknowledge(&mut self) -> AdapterResult<()> {
        let Some((ack, event)) = self.acks.pop_front() else { return Ok(()) };
        let ack = ack.await.map_err(|error| self.failed(&error, event))?;
        self.confirmed += 1;
        if self.delivery == Delivery::InOrder {
            self.link.note_stored(event, ack.sequence);
        }
        Ok(())
    }

    fn failed(&mut self, error: &PublishError, event: &StoredEvent) -> AdapterError {
        let text = self.link.text(&error.to_string());
        match error.kind() {
            PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => {
                self.is_chain_broken = true;
                AdapterError::Transient(format!("{text}; no other log and no other program may write to the stream"))
            }
            PublishErrorKind::MaxPayloadExceeded => AdapterError::Serialization(format!("event {}: {text}", event.id)),
            PublishErrorKind::Other => match source(error) {
                Some(refused) => self.link.refused(refused),
                None => AdapterError::Connection(text),
            },
            _ => AdapterError::Transient(text),
        }
    }
}

/// The server's own error.
fn source(error: &PublishError) -> Option<&async_nats::jetstream::Error> {
    std::error::Error::source(error)?.downcast_ref()
}
