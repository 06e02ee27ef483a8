//! The hold on a relay that runs.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::controls::{Controls, RelayEnd};
use crate::adapters::Adapter;
use crate::adapters::call::is_healthy;
use crate::bus_core::{RelayStats, RelayStatus};
use crate::core::park;
use crate::core::timer::Timers;

/// The hold on a relay that runs, of which there may be several. Dropping it leaves the relay to itself; a relay of a
/// bus ends with the bus.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::adapter::{NoopAdapter, RelayEnd, RelayOptions};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let relay = bus.start_relay(Box::new(NoopAdapter::new()), RelayOptions::new("nowhere"))?;
/// relay.drain(Duration::from_secs(10));
/// assert_eq!(relay.ended().await, RelayEnd::Drained);
/// assert_eq!(relay.stats().delivered.events, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RelayHandle {
    pub(super) controls: Arc<Controls>,
    pub(super) status: Arc<RelayStatus>,
    pub(super) adapter: Arc<OnceLock<Arc<dyn Adapter>>>,
    pub(super) timers: Arc<Timers>,
    pub(super) timeout: Duration,
    /// The time for which the end of its bus waits for it.
    pub(super) patience: Duration,
}

impl std::fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayHandle").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl RelayHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        self.status.name()
    }

    /// Its numbers. Only its name in a forked child.
    pub fn stats(&self) -> RelayStats {
        if self.controls.is_forked() {
            RelayStats { name: self.name().to_owned(), ..RelayStats::default() }
        } else {
            self.status.stats()
        }
    }

    /// Its adapter, once that is initialised: to read events back.
    pub fn adapter(&self) -> Option<Arc<dyn Adapter>> {
        self.adapter.get().cloned()
    }

    /// Asks the adapter whether its backend works. `false` where the relay has ended, or has not reached it yet.
    pub async fn is_healthy(&self) -> bool {
        let stats = self.stats();
        match self.adapter() {
            Some(adapter) if stats.is_running && stats.health.is_healthy() => {
                is_healthy(&self.timers, self.timeout, &*adapter).await
            }
            _ => false,
        }
    }

    /// Has it begin no other call to the adapter. What it has in hand stays; the log keeps the rest.
    pub fn pause(&self) {
        self.controls.pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.controls.resume();
    }

    /// Has it deliver its dead letters again, as batches of [`Delivery::Redriven`](crate::adapter::Delivery::Redriven),
    /// before it goes on. Those that the adapter still does not take are dead letters again.
    pub fn redrive(&self) {
        self.controls.redrive();
    }

    /// Has it end once the backend has confirmed all that there is, or after so long. A shorter time that was set
    /// before stays.
    pub fn drain(&self, patience: Duration) {
        self.controls.drain(patience);
    }

    /// Waits for its end.
    pub async fn ended(&self) -> RelayEnd {
        self.controls.ended().await
    }

    /// Waits for its end, blocking the thread.
    pub fn join(&self) -> RelayEnd {
        park::block_on(self.ended())
    }

    /// Has it end as a bus does that ends.
    pub(crate) fn drain_with_bus(&self) {
        self.drain(self.patience);
    }
}
