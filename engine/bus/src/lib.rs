//! Tapeline is an embeddable event bus for Linux inference servers. It ingests, relays and replays what AI systems
//! stream: tokens, agent messages, tool calls, guardrail verdicts, votes, retries, session lifecycles.
//!
//! A bus runs inside your process: there is no server and no broker. An ingest call writes the event into a *lane* in
//! memory and returns. The thread of a *shard* copies events from its lanes into its log: append-only segment files in
//! a directory, or a bounded amount of memory.
//!
//! This program ingests an event and reads it back:
//!
//! ```
//! use tapeline::{Event, EventBus, EventBusConfig};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let bus = EventBus::new(EventBusConfig::default()).await?;
//!     bus.ingest(Event::from_str(r#"{"token": "hello", "index": 0}"#)?)?;
//!     let page = bus.poll(Default::default()).await?;
//!     println!("{}", page.events[0].raw);
//!     bus.shutdown().await?;
//!     Ok(())
//! }
//! ```
//!
//! # Five types to know
//!
//! | type | is |
//! |---|---|
//! | [`EventBus`] | the shards and their log; opened with an [`EventBusConfig`] |
//! | [`Producer`] | the handle that one thread ingests through; each event belongs to a [`Session`] and yields a [`Ticket`] |
//! | [`Subscription`] | a stream of [`StoredEvent`]s: first the events in the log, then live ones |
//! | [`Replay`] | an iterator over the events that are in the log now, as fast as possible or at the recorded pace |
//! | [`LogFiles`] | a log directory opened for reading without a bus, also while another process writes it |
//!
//! The async functions run on any executor. Ingest calls are synchronous.
//!
//! # Ingest
//!
//! [`Producer::emit`] makes no system call, takes no lock and allocates nothing, except for the first event to a shard
//! and when a lane fills up. A ticket reports when its event is durable: with a directory, that is when the device has
//! confirmed the write.
//!
//! ```
//! use tapeline::{EventBus, EventBusConfig, kinds};
//!
//! async fn ingest(directory: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//!     let bus = EventBus::new(EventBusConfig::builder().directory(directory).build()?).await?;
//!     let mut producer = bus.producer()?;
//!     let chat = producer.open_session("chat-42")?;
//!     producer.emit(chat, kinds::TOKEN, b"Hel")?;
//!     let last = producer.emit(chat, kinds::TOKEN, b"lo")?;
//!     producer.durable(last).await?;
//!     bus.shutdown().await?;
//!     Ok(())
//! }
//! # let directory = std::env::temp_dir().join(format!("tapeline-ingest-{}", std::process::id()));
//! # futures_lite::future::block_on(ingest(&directory)).unwrap();
//! # std::fs::remove_dir_all(&directory).unwrap();
//! ```
//!
//! # Follow
//!
//! A subscription delivers every event once, in order, from its start on. [`Subscription`] is a `Stream`, and
//! [`Subscription::blocking`] turns it into an iterator for plain threads.
//!
//! ```
//! use tapeline::{Event, EventBus, EventBusConfig, Filter, SubscribeRequest, kinds};
//!
//! async fn follow(bus: &EventBus) -> Result<(), Box<dyn std::error::Error>> {
//!     let request = SubscribeRequest::new().kind(kinds::TOOL_CALL).filter(Filter::eq("tool.name", "search"));
//!     let mut calls = bus.subscribe(request).await?;
//!     bus.ingest(Event::from_str(r#"{"tool": {"name": "search"}}"#)?.with_kind(kinds::TOOL_CALL))?;
//!     if let Some(call) = calls.next().await {
//!         println!("{}", call?.raw);
//!     }
//!     Ok(())
//! }
//! # let bus = futures_lite::future::block_on(EventBus::new(EventBusConfig::default())).unwrap();
//! # futures_lite::future::block_on(follow(&bus)).unwrap();
//! ```
//!
//! # Resume
//!
//! A cursor is text. The log stores it under a name, and a later process continues after the last event that the
//! earlier one handled.
//!
//! ```
//! use tapeline::{EventBus, SubscribeRequest};
//! # use tapeline::{Event, EventBusConfig}; use futures_lite::future::block_on;
//!
//! async fn handle_one(bus: &EventBus) -> Result<Option<String>, Box<dyn std::error::Error>> {
//!     let request = match bus.load_cursor("indexer")? {
//!         Some(cursor) => SubscribeRequest::new().from(cursor),
//!         None => SubscribeRequest::new(),
//!     };
//!     let mut events = bus.subscribe(request).await?;
//!     let Some(event) = events.next().await else { return Ok(None) };
//!     bus.save_cursor("indexer", &events.cursor())?;
//!     Ok(Some(event?.raw.to_string()))
//! }
//! # let bus = block_on(EventBus::new(EventBusConfig::default())).unwrap();
//! # bus.ingest_batch(["1", "2"].map(|text| Event::from_str(text).unwrap()).to_vec());
//! # assert_eq!(block_on(handle_one(&bus)).unwrap().as_deref(), Some("1"));
//! # assert_eq!(block_on(handle_one(&bus)).unwrap().as_deref(), Some("2"));
//! ```
//!
//! # Replay
//!
//! ```
//! use tapeline::consumer::Speed;
//! use tapeline::{EventBus, ReplayRequest};
//! # use tapeline::{Event, EventBusConfig};
//!
//! async fn replay(bus: &EventBus) -> Result<(), Box<dyn std::error::Error>> {
//!     let request = ReplayRequest::new().session("chat-42");
//!     for event in bus.replay_with(request).await?.paced(Speed::Factor(1.0)) {
//!         let event = event?;
//!         println!("{} {} {}", event.insertion_ts, event.id, event.raw);
//!     }
//!     Ok(())
//! }
//! # let bus = futures_lite::future::block_on(EventBus::new(EventBusConfig::default())).unwrap();
//! # bus.ingest(Event::from_str("1").unwrap().with_session("chat-42")).unwrap();
//! # futures_lite::future::block_on(replay(&bus)).unwrap();
//! ```
//!
//! # Overload
//!
//! A lane is bounded. The producer's [`BackpressureMode`] decides what happens to an event that finds its lane full:
//! the call fails or waits, or an event is dropped. Every dropped event is counted and appears to readers as a
//! [`Gap`](consumer::Gap).
//!
//! ```
//! use tapeline::bus::ProducerOptions;
//! use tapeline::{BackpressureMode, EventBus, kinds};
//!
//! fn relay(bus: &EventBus, tokens: &[&str]) -> Result<usize, Box<dyn std::error::Error>> {
//!     let options = ProducerOptions::new().backpressure_mode(BackpressureMode::DropNewest);
//!     let mut producer = bus.producer_with(options)?;
//!     let chat = producer.session("chat-42");
//!     let mut dropped = 0;
//!     for token in tokens {
//!         match producer.emit(chat, kinds::TOKEN, token.as_bytes()) {
//!             Ok(_) => {}
//!             Err(error) if error.is_drop() => dropped += 1,
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//!     Ok(dropped)
//! }
//! # let bus = futures_lite::future::block_on(EventBus::new(Default::default())).unwrap();
//! # assert_eq!(relay(&bus, &["Hel", "lo"]).unwrap() as u64, bus.stats().drops.total());
//! ```
//!
//! # Daemons
//!
//! A daemon reads events and writes others; after a crash it goes on with none skipped and none processed twice. Macros
//! say which sources it listens to, and what it can do:
//!
//! ```no_run
//! use tapeline::capability::{CapabilitySet, RequiredCapability};
//! use tapeline::daemon::{Daemon, DaemonResult, Output};
//! use tapeline::{StoredEvent, daemon_main, kinds, pred, require, require_axis, require_axis_value};
//!
//! struct Guardrail;
//!
//! impl Daemon for Guardrail {
//!     fn name(&self) -> &str {
//!         "guardrail"
//!     }
//!
//!     fn requirements(&self) -> Vec<RequiredCapability> {
//!         let large = pred!(and [prefix "software.model", "llama-", num_at_least "hardware.gpu.vram_gb", 48]);
//!         vec![require_axis!("hardware"), require_axis_value!("software", "model"), large.into()]
//!     }
//!
//!     fn process(&mut self, event: &StoredEvent) -> DaemonResult {
//!         let allowed = !event.raw_str()?.contains("hunter2");
//!         Ok(vec![Output::new(kinds::GUARDRAIL, format!(r#"{{"of":"{}","allowed":{allowed}}}"#, event.id))])
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let worker = CapabilitySet::parse(["software.model:llama-7b"]).unwrap_or_default();
//!     assert!(require!("software.model=llama-7b").evaluate(&worker));
//!     daemon_main! { daemon: Guardrail }
//! }
//! ```
//!
//! # Modules
//!
//! The names that most programs need are at the root. The others are in the modules: settings in [`config`], ways to
//! read in [`consumer`], what can go wrong in [`error`], events in [`event`], logs without a bus in [`log`], what a log
//! keeps in [`retention`], when shards come and go in [`scaling`], statistics of shards in [`shard`], what workers can
//! do and events need in [`capability`], programs over events in [`daemon`], and stores elsewhere in [`adapter`].

mod adapters;
pub mod bus;
mod bus_core;
pub mod capability;
mod core;
mod daemons;
mod factory;
mod feed;
mod ingest;
mod lane;
mod live;
mod program;
pub mod retention;
mod routing;
pub mod scaling;
pub mod shard;

#[cfg(test)]
mod documentation_tests;

/// Adapters: other stores that relays feed with the events of a log, each from a durable cursor. docs/ADAPTERS.md has
/// the guarantees.
pub mod adapter {
    #[cfg(feature = "jetstream")]
    pub use crate::adapters::JetStreamAdapter;
    pub use crate::adapters::{
        Adapter, AdapterFuture, AdapterReader, InternalEvent, MemoryAdapter, NoopAdapter, RelayEnd, RelayHandle,
        RelayOptions, ShardPollResult, StoredShard, conformance, relay_log,
    };
    #[cfg(feature = "redis")]
    pub use crate::adapters::{RedisAdapter, RedisStreamDedup};
    pub use crate::bus_core::{RelayDeadLetters, RelayDeliveries, RelayHealth, RelayLag, RelayMissed, RelayStats};
    pub use crate::config::AdapterConfig;
    #[cfg(any(feature = "jetstream", feature = "redis"))]
    pub use crate::core::config::{EventMapping, Layout};
    #[cfg(feature = "jetstream")]
    pub use crate::core::config::{JetStreamAdapterConfig, JetStreamCreation, JetStreamDiscard, JetStreamSettings};
    #[cfg(feature = "redis")]
    pub use crate::core::config::{RedisAdapterConfig, RedisSettings};
    pub use crate::live::{Batch, Delivery};
}

/// Settings of a bus.
pub mod config {
    pub use crate::core::config::{
        AdapterConfig, BackpressureMode, BatchConfig, Driver, EventBusConfig, EventBusConfigBuilder, IdleMode,
        LimitsConfig, LogConfig, MAX_BATCH_SIZE_LIMIT, OverloadThresholds, PlacementConfig, ScalingPolicy,
    };
    pub use tapeline_reader::{ConfigError, Durability, RetentionPolicy};
}

/// Reading: pages, subscriptions, replays, filters, cursors, gaps.
pub mod consumer {
    pub use crate::live::{
        Batch, Batches, BlockingSubscription, ConsumeRequest, ConsumeResponse, EventBatch, Events, Ordering,
        PacedEvents, Relay, RelayEnd, RelayRequest, ShardFailure, SlowReader, SubscribeRequest, Subscription,
    };
    pub use tapeline_reader::{
        CompiledFilter, CursorFault, DropReason, DroppedSessions, Drops, Filter, FilterBuilder, FilterError, Gap,
        GapReason, NamedCursor, PacedReplay, Pacer, PacingError, PayloadReader, Replay, ReplayRequest, ResumeToken,
        Speed, Start, TokenFault, Visibility, is_filterable, json_path_get,
    };
}

#[doc = include_str!("daemons/page.md")]
pub mod daemon {
    pub use crate::daemons::{
        Daemon, DaemonControl, DaemonCounts, DaemonEnd, DaemonError, DaemonHandle, DaemonHealth, DaemonOptions,
        DaemonRefused, DaemonResult, DaemonRun, DaemonStats, Dispatcher, EndReason, Output, RouteError, SetAside,
    };
    pub use crate::program::{DaemonProgram, run_program};
}

/// Errors, one type for each thing that a caller can ask for, and the errors that they contain.
pub mod error {
    pub use crate::bus::TaskError;
    pub use crate::core::error::{IngestionError, IngestionResult, RejectedBatch};
    pub use crate::core::refusals::Refusals;
    pub use tapeline_reader::{
        AdapterError, AdapterResult, BlockError, ConfigError, ConsumerError, ConsumerResult, CursorFault,
        DirectoryError, FilterError, NotDurable, OpenError, PageError, ParseEventIdError, ParseOutcomeError,
        ParseSpeedError, ParseTokenError, Poison, ReadError, RestoreError, ScalingError, TokenFault, TypeError,
    };
}

/// Events as they are ingested and read, and typed payloads.
pub mod event {
    pub use crate::adapters::InternalEvent;
    pub use crate::live::Batch;
    pub use tapeline_reader::{
        Event, EventId, EventView, IntoSession, Kind, PAYLOAD_BYTES_MAX, Payload, PayloadSerializer, PayloadValidator,
        PayloadWriter, RawEvent, SESSION_NAME_BYTES_MAX, Sequence, SessionChange, SessionId, SessionMetadata,
        SessionOutcome, SessionState, SessionSummary, StoredEvent, TypedPayload, kinds, session_id,
    };
}

/// Logs without a bus: reading, following, repairing, restoring and trimming them.
pub mod log {
    pub use tapeline_reader::{
        Cut, Damage, DamageCause, Durability, FORMAT_VERSION, FollowStart, KindSummary, LogFiles, LogFollower, LogId,
        LogRestore, LostLog, Poison, RepairAction, RepairStep, RestoredEvent, SegmentSummary, SessionOpening,
        SessionSummary, ShardSummary, Stretch, Trouble, Verification, plan_repair, repair_log, trim_log,
        trim_log_without_names,
    };
}

/// Timestamps.
pub mod timestamp {
    pub use tapeline_reader::TimestampGenerator;
}

/// The programs in README.md and docs/, which are doctests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/ADAPTERS.md")]
    mod adapters {}
    #[doc = include_str!("../../../docs/CAPABILITIES.md")]
    mod capabilities {}
    #[doc = include_str!("../../../docs/DAEMONS.md")]
    mod daemons {}
    #[doc = include_str!("../../../docs/OPERATIONS.md")]
    mod operations {}
    #[doc = include_str!("../../../docs/REPLAY.md")]
    mod replay {}
}

// The names of the predecessor's front page.
#[doc(inline)]
pub use bus::{EventBus, EventBusStats};
#[doc(inline)]
pub use config::{
    AdapterConfig, BackpressureMode, BatchConfig, ConfigError, EventBusConfig, EventBusConfigBuilder, ScalingPolicy,
};
#[doc(inline)]
pub use consumer::{ConsumeRequest, ConsumeResponse, Filter, Ordering};
#[doc(inline)]
pub use error::{
    AdapterError, AdapterResult, ConsumerError, ConsumerResult, IngestionError, IngestionResult, ScalingError,
};
#[doc(inline)]
pub use event::{Batch, Event, InternalEvent, RawEvent, StoredEvent};
#[doc(inline)]
pub use scaling::{ScalingDecision, ShardMetrics};
#[doc(inline)]
pub use timestamp::TimestampGenerator;

// The other names that programs need. The rest is in the modules.
#[doc(inline)]
pub use bus::{Producer, Session, Ticket};
#[doc(inline)]
pub use consumer::{Replay, ReplayRequest, SubscribeRequest, Subscription};
#[doc(inline)]
pub use event::kinds;
#[doc(inline)]
pub use log::LogFiles;
#[doc(inline)]
pub use tapeline_reader::sse;

#[cfg(feature = "seam")]
#[doc(hidden)]
pub use core::seam;
/// The version of glommio that tasks on shards run on.
pub use glommio;
/// The version of rkyv that typed payloads are archived with.
pub use tapeline_reader::rkyv;
