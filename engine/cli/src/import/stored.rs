//! The shards of a log that a backend has, as an import reads them.

use std::collections::BTreeMap;

use pollster::block_on;
use tapeline::adapter::{Adapter, StoredShard};
use tapeline_reader::{EventId, LogId, Sequence, StoredEvent};

use super::{Importer, Stop};
use crate::backend::{Access, Backend};
use crate::exit::{Exit, Failure};
use crate::progress::Progress;
use crate::signal::Interrupt;

/// Events that it asks for at a time.
const PAGE_EVENTS: usize = 1000;

/// A log in a backend.
pub(super) struct StoredLog {
    log: LogId,
    shards: Vec<StoredShard>,
    adapter: Box<dyn Adapter>,
}

impl StoredLog {
    /// The log of this id, or the only one that there is.
    ///
    /// # Errors
    /// [`Exit::NotFound`] where there is none; [`Exit::Usage`] where there are several, with their ids.
    pub(super) fn find(backend: &Backend<'_>, id: Option<LogId>) -> Result<Self, Failure> {
        let mut adapter = backend.adapter(Access::Read(id))?;
        block_on(adapter.init())?;
        let mut stored = block_on(adapter.stored())?;
        stored.retain(|shard| id.is_none_or(|id| id == shard.log));
        stored.sort_unstable();
        let Some(log) = stored.first().map(|shard| shard.log) else {
            let prefix = &backend.streams.prefix;
            return Err(Failure::new(
                Exit::NotFound,
                match id {
                    Some(id) => format!("the server has no events of log {id} under the prefix {prefix}"),
                    None => format!("the server has no events under the prefix {prefix}"),
                },
            ));
        };
        if stored.iter().any(|shard| shard.log != log) {
            let mut logs: Vec<_> = stored.iter().map(|shard| shard.log.to_string()).collect();
            logs.dedup();
            let logs = logs.join(", ");
            return Err(Failure::new(
                Exit::Usage,
                format_args!("the server has several logs; choose one with --log: {logs}"),
            ));
        }
        if id.is_none() {
            adapter = backend.adapter(Access::Read(Some(log)))?;
            block_on(adapter.init())?;
        }
        Ok(Self { log, shards: stored, adapter })
    }

    /// Imports the shards, one after the other.
    pub(super) fn import(
        &self,
        importer: &mut Importer,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> Result<(), Stop> {
        self.shards.iter().try_for_each(|shard| {
            let reading = Reading { log: self, shard: shard.shard_id, interrupt };
            let late = if shard.is_in_order { BTreeMap::new() } else { reading.late()? };
            reading.import(late, importer, progress)
        })
    }
}

/// The events of a shard, which are read from the first on.
struct Reading<'a> {
    log: &'a StoredLog,
    shard: u16,
    interrupt: &'a Interrupt,
}

impl Reading<'_> {
    /// Those that do not come in their order, by their sequences. They are in memory until they are imported.
    fn late(&self) -> Result<BTreeMap<Sequence, StoredEvent>, Stop> {
        let (mut late, mut next) = (BTreeMap::new(), Sequence::ZERO);
        self.each(|event| {
            if event.sequence >= next {
                next = event.sequence.plus(1);
            } else {
                let _ = late.insert(event.sequence, event);
            }
            Ok(())
        })?;
        Ok(late)
    }

    /// Imports the events, each once.
    fn import(
        &self,
        mut late: BTreeMap<Sequence, StoredEvent>,
        importer: &mut Importer,
        progress: &Progress,
    ) -> Result<(), Stop> {
        let mut next = Sequence::ZERO;
        let mut take = |event: StoredEvent| -> Result<(), Stop> {
            // It was imported before, in its order.
            if event.sequence < next {
                return Ok(());
            }
            next = event.sequence.plus(1);
            progress.add(1);
            importer.take_stored(&event).map_err(|error| Failure::failed(format_args!("{}: {error}", event.id)).into())
        };
        self.each(|event| {
            while let Some(first) = late.first_entry().filter(|first| *first.key() < event.sequence) {
                take(first.remove())?;
            }
            take(event)
        })?;
        late.into_values().try_for_each(take)
    }

    fn each(&self, mut each: impl FnMut(StoredEvent) -> Result<(), Stop>) -> Result<(), Stop> {
        let StoredLog { log, adapter, .. } = self.log;
        let mut from = None;
        loop {
            if self.interrupt.pending().map_err(|error| Failure::failed(format_args!("signals: {error}")))?.is_some() {
                return Err(Stop::Interrupted);
            }
            let page = block_on(adapter.poll_shard(self.shard, from.as_deref(), PAGE_EVENTS)).map_err(Failure::from)?;
            for event in page.events {
                let EventId { log: of, shard_id, .. } = event.id;
                if of != *log || shard_id != self.shard {
                    let words = format_args!("the server has event {} in shard {} of log {log}", event.id, self.shard);
                    return Err(Failure::failed(words).into());
                }
                each(event)?;
            }
            from = page.next_id;
            if !page.has_more {
                return Ok(());
            }
        }
    }
}
