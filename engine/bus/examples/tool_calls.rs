//! Tool calls: arguments stream in pieces; the call is run once they are whole, and its result follows in the session.

use serde_json::{Value, json};
use tapeline::{EventBus, EventBusConfig, SubscribeRequest, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let mut calls = bus.subscribe(SubscribeRequest::live().session("run-1").kind(kinds::TOOL_CALL)).await?;

    let mut producer = bus.producer()?;
    let session = producer.session("run-1");
    let mut say = |event: Value| producer.emit(session, kinds::TOOL_CALL, event.to_string().as_bytes());
    say(json!({ "type": "call.begin", "id": "c1", "name": "add" }))?;
    for piece in [r#"{"a": 1"#, r#"9, "b""#, ": 23}"] {
        say(json!({ "type": "call.arguments.delta", "id": "c1", "delta": piece }))?;
    }
    say(json!({ "type": "call.end", "id": "c1" }))?;

    let mut arguments = String::new();
    let result = loop {
        let event = calls.next().await.ok_or("the bus ended")??.parse()?;
        match event["type"].as_str() {
            Some("call.arguments.delta") => arguments.push_str(event["delta"].as_str().unwrap_or_default()),
            Some("call.end") => {
                let arguments: Value = serde_json::from_str(&arguments)?;
                break arguments["a"].as_i64().zip(arguments["b"].as_i64()).map(|(a, b)| a + b).ok_or("no numbers")?;
            }
            _ => {}
        }
    };
    say(json!({ "type": "call.result", "id": "c1", "result": result }))?;
    let last = calls.next().await.ok_or("the bus ended")??.parse()?;
    assert_eq!((last["type"].as_str(), last["result"].as_i64()), (Some("call.result"), Some(42)));
    println!("{arguments} -> {result}");
    bus.shutdown().await?;
    Ok(())
}
