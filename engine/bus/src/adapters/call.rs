//! Calls of adapters: foreign code, which may panic or not return.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tapeline_reader::{AdapterError, AdapterResult};

use super::Adapter;
use crate::core::foreign;
use crate::core::timer::{Timer, Timers, before};

/// Calls an adapter and waits for its answer, so long at most. A panic is an answer, too.
///
/// # Errors
/// The adapter's; [`AdapterError::Transient`] where it panics or does not answer.
pub(crate) async fn call<T, F>(timers: &Arc<Timers>, limit: Duration, begin: impl FnOnce() -> F) -> AdapterResult<T>
where
    F: Future<Output = AdapterResult<T>> + Unpin,
{
    let panicked = |panic: String| AdapterError::Transient(format!("the adapter panicked: {panic}"));
    let mut future = foreign::contain(begin).map_err(panicked)?;
    let contained = poll_fn(move |context| match foreign::contain(|| pin!(&mut future).poll(context)) {
        Ok(polled) => polled,
        Err(panic) => Poll::Ready(Err(panicked(panic))),
    });
    // Of a limit that no clock reaches there is no timer.
    let Some(due) = Instant::now().checked_add(limit) else { return contained.await };
    match before(Timer::new(timers, due), contained).await {
        Ok(Some(answer)) => answer,
        Ok(None) => Err(AdapterError::Transient(format!("no answer within {limit:?}"))),
        Err(source) => Err(AdapterError::NoThread { purpose: "timers", source }),
    }
}

/// Asks an adapter whether its backend works.
pub(super) async fn is_healthy(timers: &Arc<Timers>, limit: Duration, adapter: &dyn Adapter) -> bool {
    call(timers, limit, || {
        let mut health = adapter.is_healthy();
        Box::pin(async move { Ok(poll_fn(|context| health.as_mut().poll(context)).await) })
    })
    .await
    .unwrap_or(false)
}
