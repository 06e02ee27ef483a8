//! A task of the server that follows every session.

use tapeline::consumer::Visibility;
use tapeline::{EventBus, SubscribeRequest, Subscription, kinds};
use tokio::runtime::Runtime;

use super::join;
use super::load::{Load, arrived, name};
use crate::harness::Outcome;
use crate::harness::latencies::Latencies;

/// Follows the load to its end.
pub(super) fn measure(runtime: &Runtime, bus: &EventBus, load: &Load, visibility: Visibility) -> Outcome<Latencies> {
    let request = SubscribeRequest::live().visibility(visibility).until_close();
    let request = (0..load.sessions).fold(request, |request, number| request.session(&name(number)));
    let subscription = runtime.block_on(bus.subscribe(request))?;
    let follower = runtime.spawn(follow(subscription));
    let emitted = load.run_on(bus)?.iter().sum::<u64>();
    let (latencies, seen) = join(runtime, follower)?;
    if seen == emitted { Ok(latencies) } else { Err(format!("the follower got {seen} of {emitted} tokens").into()) }
}

async fn follow(mut subscription: Subscription) -> Outcome<(Latencies, u64)> {
    let (mut latencies, mut seen) = (Latencies::new()?, 0);
    while let Some(event) = subscription.next().await {
        let event = event?;
        if event.kind == kinds::TOKEN {
            arrived(&event.raw, &mut latencies)?;
            seen += 1;
        }
    }
    Ok((latencies, seen))
}
