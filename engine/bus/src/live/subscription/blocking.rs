//! A subscription for a plain thread.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tapeline_reader::{ConsumerResult, StoredEvent};

use super::{EventBatch, Subscription};
use crate::core::park;

/// A [`Subscription`] whose reading blocks the thread while there is nothing to read. Iterates over events until the
/// subscription ends.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig, SubscribeRequest};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest(Event::from_str("1")?)?;
/// let events = bus.subscribe(SubscribeRequest::new()).await?.blocking();
/// bus.shutdown().await?;
/// // Waits on the thread for each event; ends with the bus.
/// assert_eq!(events.filter_map(Result::ok).count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BlockingSubscription(Subscription);

impl BlockingSubscription {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self(subscription)
    }

    /// Waits for the next events; see [`Subscription::try_next_batch`]. `None`: the subscription has ended.
    pub fn next_batch(&mut self) -> Option<ConsumerResult<EventBatch>> {
        self.wait(None, Subscription::next_batch_within)
    }

    /// Waits for the next event, at most for `timeout`. `None`: there was none, or the subscription has ended, which
    /// [`Subscription::has_ended`] says.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<ConsumerResult<StoredEvent>> {
        // A time beyond what an instant can hold cannot be distinguished from none.
        self.wait(Instant::now().checked_add(timeout), Subscription::next_within)
    }

    /// The subscription.
    pub fn get_ref(&self) -> &Subscription {
        &self.0
    }

    /// The subscription, to be read without blocking.
    pub fn into_inner(self) -> Subscription {
        self.0
    }

    fn wait<T>(
        &mut self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut Subscription) -> Option<ConsumerResult<T>>,
    ) -> Option<ConsumerResult<T>> {
        if let Some(item) = self.0.try_now(&mut look) {
            return Some(item);
        }
        let (parker, waker) = park::parker();
        let mut context = Context::from_waker(&waker);
        loop {
            // The thread is the reader's own: it reads files itself.
            let loading = self.0.loading.take();
            let polled = self.0.poll_with(&mut context, &mut look);
            self.0.loading = loading;
            if let Poll::Ready(item) = polled {
                return item;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => parker.park(),
                Some(Duration::ZERO) => return None,
                Some(left) => parker.park_timeout(left),
            }
        }
    }
}

impl Iterator for BlockingSubscription {
    type Item = ConsumerResult<StoredEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.wait(None, Subscription::next_within)
    }
}
