//! The predecessor, crate net-mesh 0.46, with its own adapters: from its memory, as it has no log.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::{
    AdapterConfig, BackpressureMode, EventBus, EventBusConfig, IngestionError, JetStreamAdapterConfig, RawEvent,
    RedisAdapterConfig,
};
use tapeline_testing::server::Server;
use tokio::runtime::Builder;

use super::{LOOK, PATIENCE};
use crate::args::{RelayArgs, RelayBackend};
use crate::harness::Outcome;

/// Sends the events, and waits until its adapter has stored all of them.
pub(super) fn send(backend: RelayBackend, server: &Server, args: &RelayArgs) -> Outcome<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Longer limits than its own: a batch that takes longer is dropped.
    let adapter = match backend {
        RelayBackend::Redis => {
            AdapterConfig::Redis(RedisAdapterConfig::new(server.url()).with_command_timeout(Duration::from_secs(30)))
        }
        RelayBackend::Jetstream => AdapterConfig::JetStream(JetStreamAdapterConfig::new(server.url())),
    };
    let config = EventBusConfig::builder()
        .num_shards(1)
        .adapter(adapter)
        .backpressure_mode(BackpressureMode::FailProducer)
        .without_scaling()
        .build()?;
    let bus = runtime.block_on(EventBus::new(config))?;
    // It takes JSON alone.
    let payload = Bytes::from(format!("\"{}\"", "x".repeat(args.common.payload.saturating_sub(2))));
    for _ in 0..args.events {
        while let Err(error) = bus.ingest_raw(RawEvent::from_bytes(payload.clone())) {
            match error {
                IngestionError::Backpressure => std::thread::yield_now(),
                error => return Err(error.into()),
            }
        }
    }
    let begun = Instant::now();
    let stored = || bus.stats().events_dispatched.load(Ordering::Relaxed);
    while stored() < args.events {
        if begun.elapsed() > PATIENCE {
            return Err(format!("net-mesh has stored {} of {} events", stored(), args.events).into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(runtime.block_on(bus.shutdown())?)
}
