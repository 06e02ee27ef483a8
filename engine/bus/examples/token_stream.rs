//! Tokens: a server relays an answer to a client that may lose its connection and resume.

use tapeline::{EventBus, EventBusConfig, SubscribeRequest, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let answer = "The bus keeps every token of this answer, so nobody has to ask the model twice.";

    let mut producer = bus.producer()?;
    let session = producer.open_session("chat-42")?;
    for token in answer.split_inclusive(' ') {
        producer.emit(session, kinds::TOKEN, token.as_bytes())?;
    }
    producer.emit(session, kinds::SESSION, br#"{"type":"session.close"}"#)?;

    // The client reads a part, and its connection breaks.
    let request = || SubscribeRequest::new().session("chat-42").kind(kinds::TOKEN);
    let mut first = bus.subscribe(request()).await?;
    let mut text = String::new();
    for _ in 0..5 {
        text.push_str(first.next().await.ok_or("the bus ended")??.raw_str()?);
    }
    let cursor = first.cursor();
    drop(first);

    // It comes back with the cursor and goes on where it was.
    let mut second = bus.subscribe(request().from(cursor)).await?;
    while let Some(token) = second.try_next() {
        text.push_str(token?.raw_str()?);
    }
    assert_eq!(text, answer);
    println!("{text}");
    bus.shutdown().await?;
    Ok(())
}
