//! Batches into streams: transactions, and what comes again.

use std::borrow::Cow;
use std::collections::BTreeSet;

use tapeline_reader::{AdapterError, AdapterResult, StoredEvent};

use super::client::Link;
use super::entry::{self, Entry, id_of};
use super::index;
use super::keys::Keys;
use crate::core::config::{Layout, RedisSettings};
use crate::live::{Batch, Delivery};

/// The transactions of a batch.
pub(super) struct Parts<'b>(Vec<Part<'b>>);

/// Events that one transaction adds.
struct Part<'b> {
    keys: Keys,
    events: &'b [StoredEvent],
    delivery: Delivery,
    settings: &'b RedisSettings,
}

impl<'b> Parts<'b> {
    /// # Errors
    /// [`AdapterError::Serialization`], where a payload is larger than the server takes.
    pub(super) fn of(batch: &'b Batch, link: &'b Link) -> AdapterResult<Self> {
        let max = link.payload_bytes_max();
        if let Some(event) = batch.events.iter().find(|event| event.raw.len() > max) {
            let bytes = event.raw.len();
            return Err(AdapterError::Serialization(format!(
                "event {} has a payload of {bytes} bytes; the server takes {max} at most",
                event.id
            )));
        }
        let settings = &link.config().streams;
        let streams = batch.events.chunk_by(|one, next| (one.id.log, one.shard_id) == (next.id.log, next.shard_id));
        let parts = streams.flat_map(|events| events.chunks(link.config().pipeline_size)).map(|events| {
            let keys = Keys::of(settings, events[0].id.log, events[0].shard_id);
            Part { keys, events, delivery: batch.delivery, settings }
        });
        Ok(Self(parts.collect()))
    }

    /// Adds the events, one transaction after the other: one that the server refuses has none after it. While the
    /// server carries one out, the next is put together.
    pub(super) async fn add(self, link: &Link) -> AdapterResult<()> {
        let mut parts = self.0.into_iter().map(|part| (part.transaction(), part));
        let mut next = parts.next();
        while let Some((transaction, part)) = next.take() {
            let put_together = async {
                // The connection sends the transaction first.
                tokio::task::yield_now().await;
                parts.next()
            };
            let (added, following) = tokio::join!(part.add(link, &transaction), put_together);
            added?;
            next = following;
        }
        Ok(())
    }
}

impl Part<'_> {
    /// The transaction that adds the events.
    fn transaction(&self) -> redis::Pipeline {
        let mut transaction = redis::Pipeline::with_capacity(self.events.len());
        transaction.atomic();
        for event in self.events {
            let mut add = self.xadd(&self.stream_of(event));
            match self.delivery {
                Delivery::Redriven => add.arg("*"),
                Delivery::InOrder => add.arg(id_of(event.sequence)),
            };
            Entry::of(event).write(&mut add, &self.settings.mapping);
            transaction.add_command(add);
        }
        self.expire(&mut transaction, self.events.iter().map(|event| self.stream_of(event)));
        transaction
    }

    /// The beginning of a command that adds an entry.
    fn xadd(&self, stream: &str) -> redis::Cmd {
        let mut add = redis::cmd("XADD");
        add.arg(stream);
        if let Some(entries) = self.settings.max_len {
            add.arg("MAXLEN").arg("~").arg(entries);
        }
        add
    }

    /// Has streams go some time after this, if that is set.
    fn expire<'s>(&self, transaction: &mut redis::Pipeline, streams: impl Iterator<Item = Cow<'s, str>>) {
        let Some(time) = self.settings.expire_after else { return };
        for stream in streams.collect::<BTreeSet<_>>() {
            transaction.cmd("PEXPIRE").arg(&*stream).arg(time.as_millis() as u64);
        }
    }

    /// The stream of an event.
    fn stream_of(&self, event: &StoredEvent) -> Cow<'_, str> {
        match (self.delivery, self.settings.mapping.layout.part(event)) {
            (Delivery::Redriven, _) => self.keys.late().into(),
            (Delivery::InOrder, Some(part)) => self.keys.part(&part).into(),
            (Delivery::InOrder, None) => self.keys.events().into(),
        }
    }

    /// Adds the events by their transaction.
    async fn add(&self, link: &Link, transaction: &redis::Pipeline) -> AdapterResult<()> {
        let answers = link.transaction(transaction).await?;
        let mut repeats = Vec::new();
        for (at, answer) in answers.iter().enumerate() {
            match (answer, self.events.get(at)) {
                (redis::Value::ServerError(error), Some(event)) if is_repeat(error) => repeats.push(event),
                (redis::Value::ServerError(error), _) => return Err(link.refused(error)),
                _ => {}
            }
        }
        self.check_repeats(link, &repeats).await?;
        self.note_span(link).await
    }

    /// Writes the span of the events to the index of the shard, where the shard has several streams: once all of them
    /// are in their streams. A repeat is there already.
    async fn note_span(&self, link: &Link) -> AdapterResult<()> {
        if self.settings.mapping.layout == Layout::PerShard || self.delivery == Delivery::Redriven {
            return Ok(());
        }
        let index = self.keys.index();
        let mut transaction = redis::Pipeline::new();
        transaction.atomic();
        let mut add = self.xadd(&index);
        let parts = self.events.iter().filter_map(|event| self.settings.mapping.layout.part(event));
        index::write(&mut add, self.events, &parts.collect());
        transaction.add_command(add);
        self.expire(&mut transaction, std::iter::once(index.into()));
        for answer in link.transaction(&transaction).await? {
            match answer {
                redis::Value::ServerError(error) if !is_repeat(&error) => return Err(link.refused(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at the entries of events that the server refused because the stream is past their ids.
    ///
    /// The stream has the log's id in its name, and only relays of the log write to it, in order. So an entry that is
    /// not there was there: it was trimmed, or a consumer has deleted it.
    async fn check_repeats(&self, link: &Link, repeats: &[&StoredEvent]) -> AdapterResult<()> {
        if repeats.is_empty() {
            return Ok(());
        }
        let mut look = redis::Pipeline::with_capacity(repeats.len());
        for event in repeats {
            let id = id_of(event.sequence);
            look.cmd("XRANGE").arg(&*self.stream_of(event)).arg(&id).arg(&id);
        }
        let answers = link.pipeline(&look).await?;
        for (event, answer) in repeats.iter().zip(answers) {
            if let redis::Value::ServerError(error) = &answer {
                return Err(link.refused(error));
            }
            let stored = entry::entries(answer).into_iter().next();
            if let Some((id, fields)) = stored
                && entry::event(&fields).as_ref() != Some(event)
            {
                // After a crash that took events which were relayed, their sequences belong to others.
                return Err(AdapterError::Serialization(format!(
                    "entry {id} of stream {} is another event than {} of this log",
                    self.stream_of(event),
                    event.id
                )));
            }
        }
        Ok(())
    }
}

fn is_repeat(error: &redis::ServerError) -> bool {
    error.details().is_some_and(|details| details.contains("equal or smaller than the target stream top item"))
}
