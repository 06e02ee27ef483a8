//! Scaling: shards come and go while producers ingest. Sessions move between shards, and every reader still gets the
//! events of each session in the order of ingest.

use std::collections::BTreeMap;
use std::time::Duration;

use tapeline::{ConsumeRequest, EventBus, EventBusConfig, Ordering, Producer, ScalingPolicy, kinds};

const SESSIONS: u64 = 100;

/// Ingests one event into each session.
fn round(producer: &mut Producer, number: u64) -> Result<(), Box<dyn std::error::Error>> {
    for session in 0..SESSIONS {
        let session = producer.session(u128::from(session + 1));
        producer.emit(session, kinds::TOKEN, number.to_string().as_bytes())?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // By hand here. With `auto_scale` (the default of a policy) a thread of the bus decides, by load.
    let policy =
        ScalingPolicy { auto_scale: false, cooldown: Duration::from_millis(1), ..ScalingPolicy::default_for_cpus(4) };
    let bus = EventBus::new(EventBusConfig::builder().scaling(policy).pinned(false).build()?).await?;
    let mut producer = bus.producer()?;
    round(&mut producer, 0)?;
    println!("{} shard takes {SESSIONS} sessions", bus.num_shards());

    println!("added: shards {:?}", bus.manual_scale_up(2).await?);
    round(&mut producer, 1)?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    println!("removed: shards {:?}", bus.manual_scale_down(1).await?);
    round(&mut producer, 2)?;
    bus.flush().await?;

    let page = bus.poll(ConsumeRequest::new(1_000).ordering(Ordering::InsertionTs)).await?;
    let (mut next, mut by_shard) = (BTreeMap::new(), BTreeMap::new());
    for event in &page.events {
        let expected: &mut u64 = next.entry(event.session).or_default();
        assert_eq!(event.raw_str()?, expected.to_string(), "in order, whatever the shards are");
        *expected += 1;
        *by_shard.entry(event.shard_id).or_insert(0) += 1;
    }
    assert!(next.len() as u64 == SESSIONS && next.values().all(|events| *events == 3));
    println!("events by shard: {by_shard:?}; {} sessions in order", next.len());
    Ok(bus.shutdown().await?)
}
