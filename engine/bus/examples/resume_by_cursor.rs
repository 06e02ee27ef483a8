//! Resume by cursor: an indexer handles events, stores its cursor in the log under a name, and stops. The next one
//! continues after the last event that the first one handled, in a later life of the process.

use std::path::Path;

use tapeline::{EventBus, EventBusConfig, SubscribeRequest, kinds};

const NAME: &str = "indexer";

async fn open(directory: &Path) -> Result<EventBus, Box<dyn std::error::Error>> {
    Ok(EventBus::new(EventBusConfig::builder().directory(directory).build()?).await?)
}

/// Handles at most `count` events, from where the last call stopped.
async fn index(bus: &EventBus, count: usize) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let request = match bus.load_cursor(NAME)? {
        Some(cursor) => SubscribeRequest::new().from(cursor),
        None => SubscribeRequest::new(),
    };
    let mut events = bus.subscribe(request).await?;
    let mut handled = Vec::new();
    while handled.len() < count
        && let Some(event) = events.try_next()
    {
        handled.push(event?.raw.to_string());
        // Stored after the event is handled: a crash between the two handles it again, and skips none.
        bus.save_cursor(NAME, &events.cursor())?;
    }
    Ok(handled)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("tapeline-resume-{}", std::process::id()));

    let bus = open(&directory).await?;
    let mut producer = bus.producer()?;
    let session = producer.session("run-7");
    for step in ["plan", "search", "read", "write", "check"] {
        producer.emit(session, kinds::AGENT_MESSAGE, step.as_bytes())?;
    }
    producer.flush().await?;
    let first = index(&bus, 2).await?;
    println!("before the restart: {}", first.join(", "));
    bus.shutdown().await?;

    let bus = open(&directory).await?;
    // The lag is what the cursor has yet to read.
    println!("{} events to go", bus.cursors()?[0].lag_events);
    let second = index(&bus, 10).await?;
    println!("after the restart: {}", second.join(", "));
    assert_eq!([first, second].concat(), ["plan", "search", "read", "write", "check"]);
    bus.shutdown().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
