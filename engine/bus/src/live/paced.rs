//! A replay at a pace as a stream, for any runtime: between two events a timer of the bus wakes its task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use tapeline_reader::{AdapterError, ConsumerResult, Pacer, PacingError, Replay, Speed, StoredEvent};

use crate::bus_core::BusCore;
use crate::core::timer::Timer;

/// Items in a row that are due, after which the task yields to others.
const READY_MAX: u32 = 64;

/// The events of a replay, each when it is due: a `Stream` that is `Send`, from
/// [`EventBus::replay_paced`](crate::EventBus::replay_paced). Reads the log on the thread that polls it, a block at a
/// time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tapeline::consumer::Speed;
/// use tapeline::{EventBus, EventBusConfig, RawEvent, ReplayRequest};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let replay = bus.replay_paced(ReplayRequest::new(), Speed::Factor(1.0)).await?;
/// let mut events = replay.limit_idle(Duration::from_secs(1));
/// while let Some(event) = events.next().await {
///     println!("{}", event?.raw);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PacedEvents {
    core: Arc<BusCore>,
    replay: Replay,
    pacer: Pacer,
    /// The event that comes next, and what it waits for.
    next: Option<(StoredEvent, Timer)>,
    ready: u32,
}

impl PacedEvents {
    pub(crate) fn new(core: Arc<BusCore>, replay: Replay, speed: Speed) -> Self {
        Self { core, replay, pacer: Pacer::new(speed), next: None, ready: 0 }
    }

    /// The same with no pause longer than `longest`, whatever was recorded.
    #[must_use]
    pub fn limit_idle(mut self, longest: Duration) -> Self {
        self.pacer = self.pacer.limit_idle(longest);
        self
    }

    /// The next event, when it is due; `None` at the end. Losing the future loses nothing.
    pub async fn next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// The precision with which the pace was kept so far.
    pub fn pacing_error(&self) -> PacingError {
        self.pacer.error()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        if self.core.is_forked() {
            // The thread of the timers is the parent's; the replay says so.
            std::mem::forget(self.next.take());
            return Poll::Ready(self.replay.next());
        }
        if self.ready >= READY_MAX {
            self.ready = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.next.is_none() {
            match self.read() {
                Some(Ok((event, None))) => return self.hand_out(Ok(event)),
                Some(Ok((event, Some(due)))) => self.next = Some((event, Timer::new(self.core.timers(), due))),
                Some(Err(error)) => return self.hand_out(Err(error)),
                None => return Poll::Ready(None),
            }
        }
        let Some((_, timer)) = &mut self.next else { return Poll::Ready(None) };
        match Pin::new(timer).poll(context) {
            Poll::Ready(Ok(())) => match self.next.take() {
                Some((event, _)) => self.hand_out(Ok(event)),
                None => Poll::Ready(None),
            },
            // The event stays: the next poll tries again.
            Poll::Ready(Err(source)) => {
                Poll::Ready(Some(Err(AdapterError::NoThread { purpose: "timers", source }.into())))
            }
            Poll::Pending => {
                self.ready = 0;
                Poll::Pending
            }
        }
    }

    /// The next event, and when it is due, unless it is.
    fn read(&mut self) -> Option<ConsumerResult<(StoredEvent, Option<Instant>)>> {
        let event = match self.replay.next()? {
            Ok(event) => event,
            Err(error) => return Some(Err(error)),
        };
        // What no instant can hold comes after every program.
        let due = self.pacer.wait(event.insertion_ts).and_then(|wait| Instant::now().checked_add(wait));
        Some(Ok((event, due)))
    }

    fn hand_out(&mut self, item: ConsumerResult<StoredEvent>) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        self.ready += 1;
        if let Ok(event) = &item {
            self.pacer.played(event.insertion_ts);
        }
        Poll::Ready(Some(item))
    }
}

impl Stream for PacedEvents {
    type Item = ConsumerResult<StoredEvent>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}
