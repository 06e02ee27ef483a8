//! Follow another process: a server writes its log, and a second process reads it at the same time, without a bus and
//! without a connection to the server.
//!
//! The program runs itself a second time, as the server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tapeline::log::{FollowStart, LogFollower};
use tapeline::{EventBus, EventBusConfig, ReplayRequest, kinds};

const ANSWER: [&str; 5] = ["Logs ", "are ", "files, ", "files ", "are read."];

/// Streams an answer, durably token by token.
async fn serve(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::builder().directory(directory).build()?).await?;
    let mut producer = bus.producer()?;
    let session = producer.session("chat-42");
    for token in ANSWER {
        let ticket = producer.emit(session, kinds::TOKEN, token.as_bytes())?;
        producer.durable(ticket).await?;
    }
    Ok(bus.shutdown().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(directory) = std::env::args_os().nth(1) {
        return serve(&PathBuf::from(directory)).await;
    }
    let directory = std::env::temp_dir().join(format!("tapeline-follow-{}", std::process::id()));
    // A log to follow must exist.
    EventBus::new(EventBusConfig::builder().directory(&directory).build()?).await?.shutdown().await?;
    let mut server = Command::new(std::env::current_exe()?).arg(&directory).spawn()?;

    let request = ReplayRequest::new().session("chat-42");
    let mut follower = LogFollower::open(&directory, FollowStart::Earliest, &request)?;
    let mut tokens = Vec::new();
    while tokens.len() < ANSWER.len() {
        // A look costs two system calls if nothing has come. A follower has no thread: the caller decides how often.
        if !follower.look() {
            std::thread::sleep(Duration::from_millis(2));
        }
        while let Some(event) = follower.try_next() {
            let event = event?;
            println!("{}: {}", event.sequence, event.raw);
            tokens.push(event.raw.to_string());
        }
    }
    assert_eq!(tokens, ANSWER);
    assert!(server.wait()?.success());
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
