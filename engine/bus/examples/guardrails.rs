//! Guardrail verdicts: a checker follows the tokens as they come and stops an answer that leaks a secret; the relay
//! shows tokens only once they are cleared.

use serde_json::json;
use tapeline::event::Sequence;
use tapeline::{EventBus, EventBusConfig, SubscribeRequest, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let mut checker = bus.subscribe(SubscribeRequest::live().kind(kinds::TOKEN)).await?;
    let mut verdicts = bus.subscribe(SubscribeRequest::live().kind(kinds::GUARDRAIL)).await?;

    let mut model = bus.producer()?;
    let answer = model.session("answer");
    for token in ["The ", "code ", "is ", "hunter2", ", ", "as ", "always."] {
        model.emit(answer, kinds::TOKEN, token.as_bytes())?;
    }

    let mut guard = bus.producer()?;
    for _ in 0..7 {
        let token = checker.next().await.ok_or("the bus ended")??;
        let allowed = !token.raw_str()?.contains("hunter2");
        let verdict = json!({ "of": token.sequence.get(), "allowed": allowed }).to_string();
        guard.emit(guard.session("answer"), kinds::GUARDRAIL, verdict.as_bytes())?;
        if !allowed {
            break;
        }
    }

    // The relay pairs each verdict with its token, and ends with the first that is refused.
    let mut shown = String::new();
    loop {
        let verdict = verdicts.next().await.ok_or("the bus ended")??;
        let (of, allowed) = {
            let value = verdict.parse()?;
            (value["of"].as_u64(), value["allowed"] == true)
        };
        if !allowed {
            break;
        }
        let at = (verdict.shard_id, Sequence::new(of.ok_or("no token")?));
        let request =
            tapeline::ConsumeRequest::new(1).shards(vec![at.0]).start(tapeline::consumer::Start::Sequences(vec![at]));
        shown.push_str(bus.poll(request).await?.events[0].raw_str()?);
    }
    assert_eq!(shown, "The code is ");
    println!("{shown}[stopped]");
    bus.shutdown().await?;
    Ok(())
}
