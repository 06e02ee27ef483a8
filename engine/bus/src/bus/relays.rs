//! The relays of a bus.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tapeline_reader::{AdapterError, AdapterResult, ConfigError};

use crate::adapters::{Adapter, RelayHandle, RelayOptions, RelayPlace, start_relay};
use crate::core::config::{AdapterConfig, EventBusConfig};
use crate::core::lock::lock;

use super::EventBus;

/// The relays that were started on one bus.
#[derive(Debug, Default)]
pub(crate) struct RelayHandles(Mutex<Vec<RelayHandle>>);

impl RelayHandles {
    fn all(&self) -> Vec<RelayHandle> {
        lock(&self.0).clone()
    }

    /// Waits for the end of each, which has until its own time is over, and `patience` at most.
    pub(super) async fn ended(&self, patience: Option<Duration>) {
        let relays = self.all();
        for relay in &relays {
            relay.drain_with_bus();
            patience.into_iter().for_each(|patience| relay.drain(patience));
        }
        for relay in relays {
            let _ = relay.ended().await;
        }
    }
}

impl EventBus {
    /// Opens a bus as [`EventBus::new`] does, and a relay of all its events to this adapter. The relay has the name of
    /// the adapter and the settings of [`RelayOptions::new`], but for
    /// [`adapter_timeout`](field@EventBusConfig::adapter_timeout). The bus opens whether or not the backend can be
    /// reached: the relay tries on.
    ///
    /// # Errors
    /// As [`EventBus::new`] and [`EventBus::start_relay`]; [`AdapterError::Config`], where
    /// the configuration names an adapter, too.
    pub async fn new_with_adapter(config: EventBusConfig, adapter: Box<dyn Adapter>) -> AdapterResult<Self> {
        if config.adapter != AdapterConfig::Noop {
            let both = "the configuration names an adapter, and another was handed in; leave one of them out";
            return Err(ConfigError::InvalidValue(both.into()).into());
        }
        let bus = Self::new(config).await?;
        bus.start_first_relay(adapter)?;
        Ok(bus)
    }

    pub(super) fn start_first_relay(&self, adapter: Box<dyn Adapter>) -> AdapterResult<RelayHandle> {
        let options = RelayOptions::new(adapter.name()).timeout(self.factory.config().adapter_timeout);
        self.start_relay(adapter, options)
    }

    /// Starts a relay to another adapter, from where the cursor of its name stands. Any number of relays may run on a
    /// bus, each with its own position. It ends with the bus: [`RelayOptions::drain`].
    ///
    /// # Errors
    /// [`AdapterError`]: a relay of the name runs on this log, a setting is out of range, the log
    /// or its directory cannot be used.
    pub fn start_relay(&self, adapter: Box<dyn Adapter>, options: RelayOptions) -> AdapterResult<RelayHandle> {
        self.core.check_fork()?;
        if self.core.is_closed() {
            return Err(AdapterError::Shutdown);
        }
        let config = self.factory.config();
        let place = RelayPlace {
            core: Arc::clone(&self.core),
            directory: config.log.directory.clone(),
            hold: self.factory.store().hold(),
            batch: config.batch,
        };
        let handle = start_relay(place, adapter, options)?;
        lock(&self.relays.0).push(handle.clone());
        Ok(handle)
    }

    /// The relays that were started on this bus, in the order in which they were. None in a forked child.
    pub fn relays(&self) -> Vec<RelayHandle> {
        if self.core.is_forked() { Vec::new() } else { self.relays.all() }
    }

    /// The name of the adapter that the bus was opened with, or of the first that was started: `noop` without one.
    pub fn adapter_name(&self) -> &'static str {
        self.relays().first().map_or("noop", |relay| relay.stats().adapter)
    }
}
