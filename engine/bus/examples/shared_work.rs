//! Two scorers share sessions. One is killed in the middle of an answer, and the other goes on after the last token
//! that was scored: none is scored twice, none is left out.

use std::collections::BTreeMap;
use std::time::Duration;

use tapeline::capability::CapabilitySet;
use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, Output};
use tapeline::event::SessionOutcome;
use tapeline::{EventBus, EventBusConfig, StoredEvent, SubscribeRequest, kinds, require};

const TOKENS: usize = 40;

struct Scorer(&'static str);

impl Daemon for Scorer {
    fn name(&self) -> &str {
        self.0
    }

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::parse(["software.scorer=toxicity"]).unwrap_or_default()
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        Ok(vec![Output::new(kinds::GUARDRAIL, format!("{} {}", event.raw_str()?, self.0))])
    }
}

/// The scorer of each token, once more for each time that it was scored.
async fn scored(bus: &EventBus) -> Result<BTreeMap<usize, Vec<String>>, Box<dyn std::error::Error>> {
    let mut scored = BTreeMap::<usize, Vec<String>>::new();
    for name in ["scorer-1", "scorer-2"] {
        for event in bus.replay(name).await?.flatten().filter(|event| event.kind == kinds::GUARDRAIL) {
            let (token, scorer) = event.raw_str()?.split_once(' ').ok_or("no verdict")?;
            scored.entry(token.parse()?).or_default().push(scorer.to_owned());
        }
    }
    Ok(scored)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let (first, _) = bus.daemon(Scorer("scorer-1"), DaemonOptions::new().worker()).await?;
    let first = tokio::spawn(first.run());

    // The first scorer is the only one, so the session is its own.
    let mut producer = bus.producer()?;
    let chat = bus.route_to(require!("software.scorer=toxicity")).open_session(&mut producer, "chat-42")?;
    let (second, handle) = bus.daemon(Scorer("scorer-2"), DaemonOptions::new().worker()).await?;
    let second = tokio::spawn(second.run());
    for token in 0..TOKENS / 2 {
        producer.emit(chat, kinds::TOKEN, token.to_string().as_bytes())?;
    }
    while scored(&bus).await?.is_empty() {
        tokio::task::yield_now().await;
    }

    first.abort();
    for token in TOKENS / 2..TOKENS {
        producer.emit(chat, kinds::TOKEN, token.to_string().as_bytes())?;
    }
    producer.close_session(chat, SessionOutcome::Finished)?;
    let _ = first.await;
    while scored(&bus).await?.len() < TOKENS {
        tokio::task::yield_now().await;
    }
    handle.drain(Duration::from_secs(10)).ended().await;
    second.await?;

    let scored = scored(&bus).await?;
    assert!(scored.values().all(|scorers| scorers.len() == 1), "a token was scored twice: {scored:?}");
    for name in ["scorer-1", "scorer-2"] {
        let tokens: Vec<_> = scored.iter().filter(|(_, scorers)| scorers[0] == name).map(|(token, _)| token).collect();
        println!("{name} scored {} tokens, {:?} to {:?}", tokens.len(), tokens.first(), tokens.last());
    }
    bus.shutdown().await?;
    Ok(())
}
