//! Session lifecycles: sessions open, work and close; afterwards the log lists them and replays one at the pace it was
//! recorded.

use std::time::Duration;

use tapeline::consumer::Speed;
use tapeline::{EventBus, EventBusConfig, LogFiles, ReplayRequest, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("tapeline-session-{}", std::process::id()));
    let bus = EventBus::new(EventBusConfig::builder().directory(&directory).build()?).await?;
    let mut producer = bus.producer()?;
    for name in ["alpha", "beta"] {
        let session = producer.open_session(name)?;
        for step in ["plan", "act", "report"] {
            producer.emit(session, kinds::AGENT_MESSAGE, step.as_bytes())?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        producer.emit(session, kinds::SESSION, br#"{"type":"session.close"}"#)?;
    }
    drop(producer);
    bus.shutdown().await?;

    // Any process that has the directory can read it, without a bus.
    let files = LogFiles::open(&directory)?;
    for session in files.sessions()? {
        println!("{}: {} events", session.name.as_deref().unwrap_or("?"), session.events);
        assert_eq!(session.events, 3);
    }
    let mut replay = files.replay_with(&ReplayRequest::new().session("beta"))?.paced(Speed::Factor(2.0));
    let steps = replay.by_ref().map(|event| event.map(|event| event.raw.to_string())).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(steps[1..4], ["plan", "act", "report"]);
    println!(
        "replayed at twice the pace, {} events off by {} us at most",
        steps.len(),
        replay.pacing_error().max.as_micros()
    );
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
