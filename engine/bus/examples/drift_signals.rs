//! Drift signals: a monitor reads scores in the background, keeps its position under a name, and wants the latest
//! scores rather than all of them when it falls behind.

use serde_json::json;
use tapeline::consumer::{GapReason, SlowReader};
use tapeline::{ConsumerError, Event, EventBus, EventBusConfig, SubscribeRequest, kinds};

fn score(value: f64) -> Event {
    Event::new(json!({ "metric": "refusal_rate", "value": value })).with_session("model-a").with_kind(kinds::DRIFT)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let request = SubscribeRequest::live().kind(kinds::DRIFT).slow_reader(SlowReader::Drop { lag_events: 100 });
    let mut monitor = bus.subscribe(request).await?;

    bus.ingest(score(0.01))?;
    assert_eq!(monitor.next().await.ok_or("the bus ended")??.parse()?["value"], 0.01);
    assert!(monitor.try_next().is_none(), "caught up");

    // While the monitor is away, more comes than it wants to read.
    for step in 0..1000 {
        bus.ingest(score(0.01 + f64::from(step) / 10_000.0))?;
    }
    bus.flush().await?;
    let (mut dropped, mut read, mut last) = (0, 0, 0.0);
    while let Some(event) = monitor.try_next() {
        match event {
            Ok(event) => (read, last) = (read + 1, event.parse()?["value"].as_f64().unwrap_or_default()),
            Err(ConsumerError::Gap(gap)) if gap.reason == GapReason::Dropped => dropped += gap.to.since(gap.from),
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!((read, dropped, last > 0.1), (50, 950, true));

    bus.save_cursor("drift-monitor", &monitor.cursor())?;
    let lag = bus.cursors()?.remove(0);
    assert_eq!((lag.name.as_str(), lag.lag_events), ("drift-monitor", 0));
    println!("{dropped} scores passed over, the last of {read} is {last:.3}: drifted");
    bus.shutdown().await?;
    Ok(())
}
