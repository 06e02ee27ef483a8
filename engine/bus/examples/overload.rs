//! Overload: a burst meets a small lane. The mode of the producer decides whether events wait, come back or are
//! dropped. Every event is accounted for, and readers see a gap where some were dropped.

use std::time::Duration;

use tapeline::bus::ProducerOptions;
use tapeline::consumer::GapReason;
use tapeline::{BackpressureMode, ConsumerError, EventBus, EventBusConfig, IngestionError, SubscribeRequest, kinds};

const BURST: u64 = 20_000;

/// Sends a burst in this mode, then reads what came of it.
async fn burst(mode: BackpressureMode) -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::builder().lane_bytes(64 << 10).build()?).await?;
    let mut producer = bus.producer_with(ProducerOptions::new().backpressure_mode(mode))?;
    let chat = producer.session("chat-42");
    let (mut came_back, mut dropped) = (0, 0);
    for _ in 0..BURST {
        match producer.emit(chat, kinds::TOKEN, &[b'x'; 500]) {
            Ok(_) => {}
            // The caller still has the event, and may try again later.
            Err(IngestionError::Backpressure { .. }) => came_back += 1,
            Err(error) if error.is_drop() => dropped += 1,
            Err(error) => return Err(error.into()),
        }
    }
    // The shard reports the last events that were dropped when the producer is gone.
    drop(producer);
    let mut events = bus.subscribe(SubscribeRequest::new()).await?;
    bus.shutdown_via_ref().await?;

    let (mut read, mut missed) = (0, 0);
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => read += 1,
            Err(ConsumerError::Gap(gap)) => match gap.reason {
                GapReason::Overflow { events, .. } => missed += events,
                other => return Err(format!("{other}").into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    println!("{mode:?}: {read} read, {missed} missed, {came_back} came back");
    assert_eq!((read + missed + came_back, missed), (BURST, bus.stats().drops.total()));
    // `DropOldest` drops earlier events, without an error.
    assert!(dropped <= missed);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    burst(BackpressureMode::FailProducer).await?;
    burst(BackpressureMode::Block { deadline: Duration::from_secs(10) }).await?;
    burst(BackpressureMode::DropNewest).await?;
    burst(BackpressureMode::DropOldest).await?;
    burst(BackpressureMode::Sample { rate: 4 }).await
}
