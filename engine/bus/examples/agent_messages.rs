//! Multi-agent events: a planner and two workers talk over the bus, each hearing what is meant for it.

use serde_json::json;
use tapeline::{Event, EventBus, EventBusConfig, Filter, SubscribeRequest, kinds};

fn message(from: &str, to: &str, text: &str) -> Event {
    Event::new(json!({ "from": from, "to": to, "text": text })).with_session("task-7").with_kind(kinds::AGENT_MESSAGE)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let inbox = |agent: &str| SubscribeRequest::live().kind(kinds::AGENT_MESSAGE).filter(Filter::eq("to", agent));
    let mut search = bus.subscribe(inbox("search")).await?;
    let mut write = bus.subscribe(inbox("write")).await?;
    let mut planner = bus.subscribe(inbox("planner")).await?;

    bus.ingest(message("planner", "search", "find the height of the Ulm Minster"))?;
    let task = search.next().await.ok_or("the bus ended")??;
    assert_eq!(task.parse()?["from"], "planner");
    bus.ingest(message("search", "write", "161.53 m"))?;
    let found = write.next().await.ok_or("the bus ended")??;
    bus.ingest(message(
        "write",
        "planner",
        &format!("It is {} high.", found.parse()?["text"].as_str().unwrap_or("?")),
    ))?;
    let answer = planner.next().await.ok_or("the bus ended")??.parse()?;

    assert_eq!(answer["text"], "It is 161.53 m high.");
    assert!(search.try_next().is_none(), "nobody hears what is not meant for it");
    println!("{}", answer["text"]);
    bus.shutdown().await?;
    Ok(())
}
