//! Groups on their way into the log: the outputs of some events, and the cursor after these.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tapeline_capability::CapabilitySet;
use tapeline_reader::{SessionMetadata, kinds, session_id};
use tapeline_storage::format::SessionId;

use super::Output;
use super::checkpoint::Checkpoint;
use crate::bus_core::{BusCore, TapBatch};
use crate::core::config::BackpressureMode;
use crate::core::error::{IngestionError, IngestionResult};
use crate::core::timer::Timer;
use crate::ingest::{Producer, ProducerOptions, Ticket};

/// The time after which a full lane is tried again.
const PAUSE: Duration = Duration::from_millis(1);

/// The only writer of a daemon's session.
#[derive(Debug)]
pub(super) struct Writer {
    core: Arc<BusCore>,
    producer: Producer,
    session: SessionId,
    name: String,
    last: Option<Ticket>,
    last_group: Option<TapBatch>,
}

impl Writer {
    pub(super) fn new(core: &Arc<BusCore>, name: &str) -> IngestionResult<Self> {
        let options = ProducerOptions::new().backpressure_mode(BackpressureMode::FailProducer);
        let producer = Producer::new(Arc::clone(core), options)?;
        Ok(Self {
            core: Arc::clone(core),
            producer,
            session: session_id(name),
            name: name.to_owned(),
            last: None,
            last_group: None,
        })
    }

    /// Begins the daemon's session, which has its capabilities.
    pub(super) fn open(&mut self, name: &str, capabilities: &CapabilitySet) -> IngestionResult<()> {
        let mut metadata = SessionMetadata::new();
        metadata.tags = capabilities.tags().to_vec();
        metadata.labels = capabilities.metadata().clone();
        self.last = Some(self.producer.begin_session(name, &metadata)?.1);
        Ok(())
    }

    /// Ingests a group, waiting for room.
    pub(super) async fn write(&mut self, outputs: &[Output], checkpoint: &Checkpoint) -> Result<(), String> {
        let note = checkpoint.payload();
        loop {
            self.stay_in_order().await?;
            match self.write_group(outputs, &note) {
                Ok(ticket) => {
                    self.last = Some(ticket);
                    return Ok(());
                }
                Err(IngestionError::Backpressure { .. } | IngestionError::StorageFull { .. }) => {
                    let paused = Timer::new(self.core.timers(), Instant::now() + PAUSE).await;
                    paused.map_err(|error| format!("waiting for room in the lane: {error}"))?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Stores outputs and cursor: a crash leaves all of them or none.
    fn write_group(&mut self, outputs: &[Output], note: &[u8]) -> IngestionResult<Ticket> {
        let session = self.producer.session(self.session);
        let mut batch = self.producer.batch(session);
        for output in outputs {
            batch.push(output.kind, &output.payload)?;
        }
        batch.push(kinds::DAEMON, note)?;
        batch.publish_as_one(&self.name, &mut self.last_group)
    }

    /// Where the session moves to another shard, waits until the groups before are durable: no crash takes them and
    /// leaves those that follow. The publishing would wait, too, but block the thread.
    async fn stay_in_order(&mut self) -> Result<(), String> {
        match self.last {
            Some(last) if last.shard_id != self.producer.session(self.session).shard_id() => self.durable().await,
            _ => Ok(()),
        }
    }

    /// Waits until all that was written is durable.
    pub(super) async fn durable(&mut self) -> Result<(), String> {
        match self.last {
            Some(last) => self.producer.durable(last).await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}
