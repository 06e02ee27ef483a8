//! Tasks of the server that follow a session each, as the handlers of its clients do.

use tapeline::consumer::Visibility;
use tapeline::{EventBus, SubscribeRequest, Subscription, kinds};
use tokio::runtime::Runtime;

use super::join;
use super::load::{Load, name, taken};
use crate::harness::Outcome;
use crate::harness::latencies::Latencies;

/// Follows each session of the load to its end.
pub(super) fn measure(runtime: &Runtime, bus: &EventBus, load: &Load, visibility: Visibility) -> Outcome<Latencies> {
    let mut followers = Vec::new();
    for number in 0..load.sessions {
        let request = SubscribeRequest::live().visibility(visibility).session(&name(number)).until_close();
        let subscription = runtime.block_on(bus.subscribe(request))?;
        followers.push(runtime.spawn(follow(subscription)));
    }
    let emitted = load.run_on(bus)?;
    let mut all = Latencies::new()?;
    for (number, (follower, emitted)) in followers.into_iter().zip(emitted).enumerate() {
        let arrivals = join(runtime, follower)?;
        if arrivals.len() as u64 != emitted {
            return Err(format!("the follower of {} got {} of {emitted} tokens", name(number), arrivals.len()).into());
        }
        arrivals.into_iter().flatten().for_each(|ticks| all.record(ticks));
    }
    Ok(all)
}

/// The time that each token took, in ticks, if it counts.
async fn follow(mut subscription: Subscription) -> Outcome<Vec<Option<u64>>> {
    let mut arrivals = Vec::new();
    while let Some(event) = subscription.next().await {
        let event = event?;
        if event.kind == kinds::TOKEN {
            arrivals.push(taken(&event.raw)?);
        }
    }
    Ok(arrivals)
}
