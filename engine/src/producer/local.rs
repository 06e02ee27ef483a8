//! The producers that `EventBus::ingest` keeps for each thread.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Producer, ProducerOptions};
use crate::error::IngestionResult;
use crate::parts::BusParts;

thread_local! {
    /// One producer for each open bus that the thread has ingested into: rarely more than one.
    static PRODUCERS: RefCell<Vec<Producer>> = const { RefCell::new(Vec::new()) };
}

/// Runs `ingest` with this thread's producer for the bus.
pub(crate) fn with<T>(
    parts: &Arc<BusParts>,
    ingest: impl FnOnce(&mut Producer) -> IngestionResult<T>,
) -> IngestionResult<T> {
    let mut ingest = Some(ingest);
    let local = PRODUCERS.try_with(|producers| {
        // A signal handler or a destructor that ingests while this thread ingests gets a producer of its own.
        let mut producers = producers.try_borrow_mut().ok()?;
        let ingest = ingest.take()?;
        Some(find(&mut producers, parts).and_then(ingest))
    });
    match (local.ok().flatten(), ingest) {
        (Some(outcome), _) => outcome,
        (None, Some(ingest)) => ingest(&mut Producer::new(Arc::clone(parts), ProducerOptions::default())?),
        (None, None) => Err(crate::error::IngestionError::ShuttingDown),
    }
}

fn find<'a>(producers: &'a mut Vec<Producer>, parts: &Arc<BusParts>) -> IngestionResult<&'a mut Producer> {
    let known = producers.iter().position(|producer| Arc::ptr_eq(&producer.parts, parts));
    let at = match known {
        Some(at) => at,
        None => {
            producers.retain(|producer| producer.parts.check_open().is_ok());
            producers.push(Producer::new(Arc::clone(parts), ProducerOptions::default())?);
            producers.len() - 1
        }
    };
    Ok(&mut producers[at])
}
