//! Consensus votes: three models vote from threads of their own; the tally reads them in the order they were cast.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tapeline::{ConsumeRequest, Event, EventBus, EventBusConfig, Ordering, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::builder().num_shards(2).build()?).await?;
    std::thread::scope(|scope| {
        for (model, choice) in [("small", "B"), ("medium", "A"), ("large", "A")] {
            let bus = &bus;
            scope.spawn(move || {
                let vote = Event::new(json!({ "round": 1, "model": model, "choice": choice }));
                bus.ingest(vote.with_session(model).with_kind(kinds::CONSENSUS))
            });
        }
    });

    let (mut tally, mut cast, mut cursor) = (BTreeMap::<String, u32>::new(), Vec::new(), None);
    while cast.len() < 3 {
        let request = ConsumeRequest { from_id: cursor, ..ConsumeRequest::new(2) }
            .kind(kinds::CONSENSUS)
            .ordering(Ordering::InsertionTs)
            .wait(Duration::from_secs(5));
        let page = bus.poll(request).await?;
        for vote in &page.events {
            cast.push(vote.insertion_ts);
            *tally.entry(vote.parse()?["choice"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
        cursor = page.next_id;
    }
    assert!(cast.is_sorted(), "votes come in the order they were cast, whatever shard holds them");
    let (winner, votes) = tally.iter().max_by_key(|(_, votes)| **votes).ok_or("no vote")?;
    assert_eq!((winner.as_str(), *votes), ("A", 2));
    println!("{winner} wins with {votes} of 3");
    bus.shutdown().await?;
    Ok(())
}
