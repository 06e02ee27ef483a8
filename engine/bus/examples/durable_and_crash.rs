//! Durable and crash: a process ingests and dies without warning. What was acknowledged is there afterwards. Of the
//! rest there is as much as the process wrote, without a hole.
//!
//! The program runs itself a second time, as the process that dies.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tapeline::{EventBus, EventBusConfig, kinds};

const ACKNOWLEDGED: u64 = 1_000;

async fn open(directory: &Path) -> Result<EventBus, Box<dyn std::error::Error>> {
    Ok(EventBus::new(EventBusConfig::builder().directory(directory).build()?).await?)
}

/// Ingests, waits until a part is durable, goes on, and dies.
async fn victim(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bus = open(directory).await?;
    let mut producer = bus.producer()?;
    let session = producer.session("chat-42");
    for number in 0..ACKNOWLEDGED {
        producer.emit(session, kinds::TOKEN, number.to_string().as_bytes())?;
    }
    // Returns when the device has confirmed the writes. `producer.durable(ticket)` waits for one event.
    producer.flush().await?;
    println!("{ACKNOWLEDGED} events are durable");
    for number in ACKNOWLEDGED..2 * ACKNOWLEDGED {
        producer.emit(session, kinds::TOKEN, number.to_string().as_bytes())?;
    }
    std::process::abort()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(directory) = std::env::args_os().nth(1) {
        return victim(&PathBuf::from(directory)).await;
    }
    let directory = std::env::temp_dir().join(format!("tapeline-crash-{}", std::process::id()));
    let status = Command::new(std::env::current_exe()?).arg(&directory).stderr(Stdio::null()).status()?;
    println!("the process died: {status}");

    // The next opening of the log cuts a torn tail, and goes on.
    let bus = open(&directory).await?;
    let mut found = 0;
    for event in bus.replay("chat-42").await? {
        assert_eq!(event?.raw_str()?, found.to_string(), "a prefix, in order");
        found += 1;
    }
    assert!(found >= ACKNOWLEDGED);
    println!("{found} events are there, none is missing before the last");
    bus.shutdown().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
