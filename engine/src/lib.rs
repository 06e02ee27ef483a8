#![doc = include_str!("../README.md")]

mod blocking;
mod budget;
mod bus;
mod config;
mod consumer;
mod damage;
#[cfg(test)]
mod documentation;
mod ending;
mod error;
mod event;
mod feed;
mod fence;
mod foreign;
mod fork;
mod foundry;
mod horizon;
pub mod kinds;
mod lane;
mod note;
mod park;
mod parts;
mod producer;
mod random;
mod readers;
mod repair;
mod restore;
mod retention;
mod route;
mod scaling;
mod seam;
mod session;
mod shard;
mod shard_task;
pub mod sse;
mod stats;
#[cfg(test)]
mod testing;
mod timestamp;
mod trim;

pub use bus::EventBus;
pub use config::{
    BackpressureMode, BatchConfig, Driver, EventBusConfig, EventBusConfigBuilder, Host, IdleMode, LogConfig,
    MAX_BATCH_SIZE_LIMIT, PlacementConfig, ScalingPolicy,
};
pub use consumer::{
    Batch, Batches, BlockingSubscription, CompiledFilter, ConsumeRequest, ConsumeResponse, CursorFault, EventBatch,
    Events, Filter, FilterBuilder, FilterError, FollowStart, Gap, GapReason, KindSummary, LogFiles, LogFollower,
    LostLog, NamedCursor, Ordering, PacedReplay, Pacer, PacingError, ParseSpeedError, Replay, ReplayRequest,
    SegmentSummary, SessionOpening, SessionSummary, ShardFailure, SlowReader, Speed, Start, SubscribeRequest,
    Subscription, Verification, is_filterable, json_path_get,
};
pub use damage::Damage;
pub use error::{
    AdapterError, AdapterResult, ConfigError, ConsumerError, ConsumerResult, IngestionError, IngestionResult,
    RejectedBatch, ScalingError,
};
pub use event::{
    Event, EventId, EventView, ParseEventIdError, Payload, PayloadSerializer, PayloadValidator, PayloadWriter,
    RawEvent, StoredEvent, TypeError, TypedPayload,
};
pub use note::{DropReason, Drops};
pub use producer::{Producer, ProducerBatch, ProducerOptions, Session, Ticket};
pub use repair::{RepairStep, plan_repair, repair_log};
pub use restore::{LogRestore, RestoredEvent};
/// The version of rkyv that typed payloads are archived with.
pub use rkyv;
pub use scaling::{ScalingDecision, ShardMetrics};
pub use session::{IntoSession, session_id};
pub use shard::{LaneStats, ShardStats};
pub use shard_task::{ShardContext, ShardSubscription, ShardTask, TaskError};
pub use stats::EventBusStats;
pub use tapeline_storage::format::{FORMAT_VERSION, Kind, LogId, PAYLOAD_BYTES_MAX, Sequence, SessionId};
pub use tapeline_storage::log::{Cut, Durability, LogView, Poison, RepairAction, Stretch};
pub use tapeline_storage::read::Visibility;
pub use timestamp::TimestampGenerator;
pub use trim::{KeptSegment, RetentionPolicy, TrimPlan, TrimReason, TrimmedSegment, trim_log};
