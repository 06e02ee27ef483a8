//! Typed payloads: the producer serialises a Rust value once, and a reader borrows it from the bytes of the log.
//! Nothing is decoded, and a payload of another type is refused.

use tapeline::event::TypedPayload;
use tapeline::rkyv::{Archive, Serialize};
use tapeline::{EventBus, EventBusConfig, LogFiles, kinds};

#[derive(Archive, Serialize)]
#[rkyv(crate = tapeline::rkyv)]
struct ToolCall {
    name: String,
    arguments: Vec<(String, f64)>,
}

impl TypedPayload for ToolCall {
    // Names the layout: another one needs another name, because readers check it.
    const TYPE_NAME: &'static str = "example.ToolCall.1";
}

#[derive(Archive, Serialize)]
#[rkyv(crate = tapeline::rkyv)]
struct Verdict {
    allowed: bool,
}

impl TypedPayload for Verdict {
    const TYPE_NAME: &'static str = "example.Verdict.1";
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("tapeline-typed-{}", std::process::id()));
    let bus = EventBus::new(EventBusConfig::builder().directory(&directory).build()?).await?;
    let mut producer = bus.producer()?;
    let session = producer.session("run-7");
    let call = ToolCall { name: "plot".to_owned(), arguments: vec![("from".to_owned(), 0.0), ("to".to_owned(), 1.5)] };
    producer.emit_archived(session, kinds::TOOL_CALL, &call)?;
    producer.emit_archived(session, kinds::GUARDRAIL, &Verdict { allowed: true })?;
    bus.shutdown().await?;

    // Another program, or the same one later. `access` checks the bytes, then borrows them.
    for event in LogFiles::open(&directory)?.replay("run-7")? {
        let event = event?;
        match event.access::<ToolCall>() {
            Ok(call) => {
                assert_eq!((call.name.as_str(), call.arguments.len()), ("plot", 2));
                let arguments: Vec<_> = call.arguments.iter().map(|pair| format!("{} = {}", pair.0, pair.1)).collect();
                println!("{}({})", call.name, arguments.join(", "));
            }
            Err(error) => {
                println!("not a tool call: {error}");
                assert!(event.access::<Verdict>()?.allowed);
            }
        }
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
