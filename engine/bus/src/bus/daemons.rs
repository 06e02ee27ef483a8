//! The daemons of a bus.

use std::thread;

use tapeline_capability::RequiredCapability;
use tapeline_reader::AdapterError;
use tapeline_reader::blocking::check_may_block;

use crate::core::park;
use crate::daemons::{Daemon, DaemonHandle, DaemonOptions, DaemonRefused, DaemonRun, DaemonStats, Dispatcher};

use super::EventBus;
use super::task::run_on;

impl EventBus {
    /// Prepares a daemon to be run by an executor: its future is `Send`, and needs no runtime in particular. `process`
    /// is called on the executor's thread.
    ///
    /// ```
    /// # use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult};
    /// # use tapeline::{EventBus, EventBusConfig, StoredEvent};
    /// # struct Counter(u64);
    /// # impl Daemon for Counter {
    /// #     fn name(&self) -> &str { "counter" }
    /// #     fn process(&mut self, _: &StoredEvent) -> DaemonResult { self.0 += 1; Ok(Vec::new()) }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// let (daemon, handle) = bus.daemon(Counter(0), DaemonOptions::new()).await?;
    /// let daemon = tokio::spawn(daemon.run());
    /// let end = handle.stop().ended().await;
    /// assert_eq!(daemon.await?, end);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`DaemonRefused`].
    pub async fn daemon(
        &self,
        daemon: impl Daemon,
        options: DaemonOptions,
    ) -> Result<(DaemonRun, DaemonHandle), DaemonRefused> {
        self.core.check_fork()?;
        DaemonRun::prepare(&self.core, Box::new(daemon), options, None).await
    }

    /// Runs a daemon on a thread of its own. Blocks until what was ingested before is readable.
    ///
    /// # Errors
    /// [`DaemonRefused`].
    pub fn start_daemon(&self, daemon: impl Daemon, options: DaemonOptions) -> Result<DaemonHandle, DaemonRefused> {
        check_may_block("starting a daemon")?;
        let name = format!("tapeline-d-{}", daemon.name());
        let (daemon, handle) = park::block_on(self.daemon(daemon, options))?;
        let spawned = thread::Builder::new().name(name).spawn(move || park::block_on(daemon.run()));
        spawned.map_err(|source| AdapterError::NoThread { purpose: "a daemon", source })?;
        Ok(handle)
    }

    /// Runs a daemon beside a shard, on its core, as [`EventBus::run_on_shard`] runs a task. It reads the events of
    /// this shard; its outputs go where its session is. Blocks until what was ingested before is readable.
    ///
    /// # Errors
    /// [`DaemonRefused`].
    pub fn start_daemon_on(
        &self,
        shard_id: u16,
        daemon: impl Daemon,
        options: DaemonOptions,
    ) -> Result<DaemonHandle, DaemonRefused> {
        check_may_block("starting a daemon")?;
        self.core.check_fork()?;
        let prepared = DaemonRun::prepare(&self.core, Box::new(daemon), options, Some(shard_id));
        let (daemon, handle) = park::block_on(prepared)?;
        run_on(&self.core, shard_id, || self.factory.store().hold(), move |_context| daemon.run())?;
        Ok(handle)
    }

    /// The way to daemons that meet a requirement: each session that is opened through it belongs to one of those that
    /// share work, which are started with [`DaemonOptions::worker`].
    ///
    /// ```
    /// # use tapeline::capability::CapabilitySet;
    /// # use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, Output};
    /// # use tapeline::{EventBus, EventBusConfig, StoredEvent, kinds, require};
    /// struct Scorer(&'static str);
    ///
    /// impl Daemon for Scorer {
    ///     fn name(&self) -> &str {
    ///         self.0
    ///     }
    ///
    ///     fn capabilities(&self) -> CapabilitySet {
    ///         CapabilitySet::parse(["software.scorer=toxicity"]).unwrap_or_default()
    ///     }
    ///
    ///     fn process(&mut self, event: &StoredEvent) -> DaemonResult {
    ///         Ok(vec![Output::new(kinds::GUARDRAIL, event.session.to_string())])
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = futures_lite::future::block_on(EventBus::new(EventBusConfig::default()))?;
    /// let worker = DaemonOptions::new().worker();
    /// let scorers = ["scorer-1", "scorer-2"].map(|name| bus.start_daemon(Scorer(name), worker.clone()));
    /// let toxicity = bus.route_to(require!("software.scorer=toxicity"));
    /// let mut producer = bus.producer()?;
    /// // Each of the two gets one of these.
    /// for name in ["chat-1", "chat-2"] {
    ///     let chat = toxicity.open_session(&mut producer, name)?;
    ///     producer.emit(chat, kinds::TOKEN, b"hello")?;
    /// }
    /// # for scorer in scorers {
    /// #     assert_eq!(scorer?.drain(std::time::Duration::from_secs(60)).join().is_clean(), true);
    /// # }
    /// assert!(bus.route_to(require!("software.scorer=spam")).open_session(&mut producer, "chat-3").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn route_to(&self, requirement: impl Into<RequiredCapability>) -> Dispatcher {
        Dispatcher::new(&self.core, requirement.into())
    }

    /// The numbers of the daemons that were started on this bus, in the order in which they were; of those of a name,
    /// those of the last.
    pub fn daemons(&self) -> Vec<DaemonStats> {
        if self.core.is_forked() { Vec::new() } else { self.core.daemons().stats() }
    }
}
