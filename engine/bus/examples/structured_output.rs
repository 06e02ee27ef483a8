//! Structured-output parses: each parse of a growing answer is a typed event, read back without deserialising it.

use rkyv::{Archive, Serialize};
use tapeline::event::TypedPayload;
use tapeline::{EventBus, EventBusConfig, SubscribeRequest, kinds, rkyv};

/// The state of a parser after each token of an answer.
#[derive(Archive, Serialize)]
#[rkyv(crate = tapeline::rkyv)]
struct Parse {
    complete: bool,
    fields: Vec<(String, String)>,
}

impl TypedPayload for Parse {
    const TYPE_NAME: &'static str = "example.Parse.1";
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let mut producer = bus.producer()?;
    let session = producer.session("form");
    let answer = [("city", "Ulm"), ("country", "Germany"), ("river", "Danube")];
    for known in 0..=answer.len() {
        let fields = answer[..known].iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        producer.emit_archived(session, kinds::STRUCTURED_OUTPUT, &Parse { complete: known == 3, fields })?;
    }

    let mut parses = bus.subscribe(SubscribeRequest::new().session("form").kind(kinds::STRUCTURED_OUTPUT)).await?;
    let mut seen = 0;
    'read: loop {
        let batch = parses.next_batch().await.ok_or("the bus ended")??;
        for event in batch.events() {
            let parse = event.map_err(tapeline::ConsumerError::Gap)?.access::<Parse>()?;
            assert_eq!(parse.fields.len(), seen, "each parse knows one field more");
            seen += 1;
            if parse.complete {
                let pairs = parse.fields.iter().map(|pair| format!("{}: {}", pair.0, pair.1));
                println!("{}", pairs.collect::<Vec<_>>().join(", "));
                break 'read;
            }
        }
    }
    assert_eq!(seen, 4);
    bus.shutdown().await?;
    Ok(())
}
