//! Retention: the log keeps as many segments as the policy says and removes older ones. A reader that comes late gets a
//! gap, not silence; a named cursor keeps what it has not read.

use tapeline::consumer::{GapReason, Start};
use tapeline::retention::RetentionPolicy;
use tapeline::{ConsumerError, EventBus, EventBusConfig, LogFiles, SubscribeRequest, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("tapeline-retention-{}", std::process::id()));
    let config = EventBusConfig::builder().directory(&directory).segment_bytes(2 << 20).build()?;
    let bus = EventBus::new(config).await?;
    let mut early = bus.subscribe(SubscribeRequest::new()).await?;

    // 12 MB of events, in segments of 2 MiB.
    let mut producer = bus.producer()?;
    let session = producer.session("run-7");
    for _ in 0..48 {
        producer.emit(session, kinds::TOOL_CALL, &[b'x'; 250_000])?;
        producer.flush().await?;
    }
    let first = early.try_next().ok_or("nothing came")??;
    println!("the log has {} segments", LogFiles::open(&directory)?.segments().len());

    // `EventBusConfigBuilder::retention` has the bus apply a policy by itself, once a second. `plan_trim` only looks.
    let policy = RetentionPolicy::new().max_segments(3).keep_for_cursors();
    bus.save_cursor("auditor", &early.cursor())?;
    let plan = bus.plan_trim(&policy)?;
    println!("cursor {:?} keeps {} segments from the policy", plan.kept[0].cursor, plan.kept.len());
    bus.remove_cursor("auditor")?;

    let trimmed = bus.trim(&policy).await?;
    println!("removed {} segments, {} are left", trimmed.removed.len(), trimmed.segments_left);
    assert!(trimmed.segments_left <= 3 && !trimmed.removed.is_empty());

    // A new reader begins at what is left. To one that asks for a trimmed event the gap says what is gone.
    let request = SubscribeRequest::new().start(Start::Sequences(vec![(first.shard_id, first.sequence)]));
    match bus.subscribe(request).await?.next().await {
        Some(Err(ConsumerError::Gap(gap))) => {
            assert_eq!(gap.reason, GapReason::Trimmed);
            println!("{gap}");
        }
        other => return Err(format!("no gap: {other:?}").into()),
    }
    bus.shutdown().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
