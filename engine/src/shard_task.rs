//! Work on a shard's own core: [`EventBus::run_on_shard`](crate::EventBus::run_on_shard).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use tapeline_storage::format::Kind;

use crate::blocking::check_may_block;
use crate::config::BackpressureMode;
use crate::consumer::{EventBatch, SubscribeRequest, Subscription};
use crate::error::{AdapterError, AdapterResult, ConsumerResult, IngestionResult};
use crate::foreign;
use crate::park;
use crate::parts::BusParts;
use crate::producer::{Producer, ProducerOptions, Session, Ticket};
use crate::session::IntoSession;
use crate::shard::{ShardControl, TaskSeed};

/// What a task on a shard has: the events of its shard, and a producer to all.
///
/// The task shares the thread with the shard, which writes everybody's events: it must not block, and not compute for
/// long between two `await`s. Calls of this crate that would block the thread fail there instead.
#[derive(Debug)]
pub struct ShardContext {
    shard: u16,
    parts: Arc<BusParts>,
    producer: Producer,
}

impl ShardContext {
    fn new(parts: Arc<BusParts>, shard: u16) -> IngestionResult<Self> {
        let options = ProducerOptions::new();
        let options = match options.mode(parts.backpressure_mode())? {
            // The shard would wait for itself.
            BackpressureMode::Block { .. } => options.backpressure_mode(BackpressureMode::FailProducer),
            _ => options,
        };
        Ok(Self { shard, producer: Producer::new(Arc::clone(&parts), options)?, parts })
    }

    /// The shard.
    pub fn shard_id(&self) -> u16 {
        self.shard
    }

    /// The events of this shard, from a place on, then live. They are read where they were written: on this core.
    ///
    /// # Errors
    /// As [`EventBus::subscribe`](crate::EventBus::subscribe).
    pub fn subscribe(&self, mut request: SubscribeRequest) -> ConsumerResult<ShardSubscription> {
        request.shards = Some(vec![self.shard]);
        Subscription::new(Arc::clone(&self.parts), &request).map(ShardSubscription)
    }

    /// The token of a session, of whatever shard.
    pub fn session(&self, session: impl IntoSession) -> Session {
        self.producer.session(session)
    }

    /// Ingests an event, into whatever shard: through an SPSC lane from this one. Never waits: in mode
    /// [`Block`](BackpressureMode::Block) a full lane is an error here; see [`ShardContext::yield_now`].
    ///
    /// # Errors
    /// As [`Producer::emit`].
    pub fn emit(&mut self, session: Session, kind: Kind, payload: &[u8]) -> IngestionResult<Ticket> {
        self.producer.emit(session, kind, payload)
    }

    /// The producer, for batches and typed events.
    pub fn producer(&mut self) -> &mut Producer {
        &mut self.producer
    }

    /// Lets the shard make a turn.
    pub async fn yield_now(&self) {
        yield_now().await;
    }
}

/// The events of one shard, for a task on it.
#[derive(Debug)]
pub struct ShardSubscription(Subscription);

impl ShardSubscription {
    /// Waits for the next events, those of one block, uncopied; lets the shard make a turn before. `None`: the bus has
    /// ended.
    pub async fn next_batch(&mut self) -> Option<ConsumerResult<EventBatch>> {
        yield_now().await;
        self.0.next_batch().await
    }

    /// The cursor behind what was handed out.
    pub fn cursor(&self) -> String {
        self.0.cursor()
    }
}

/// Why a task on a shard has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It panicked.
    #[error("the task panicked: {0}")]
    Panicked(String),
    /// The bus ended before the task did, or the shard died.
    #[error("the bus is shut down")]
    Shutdown,
    /// The call would have blocked the thread of a shard.
    #[error("joining a task would block the thread of a shard; await the task")]
    OnShard,
}

/// A task on a shard. Dropping it leaves the task to itself.
#[derive(Debug)]
pub struct ShardTask<T>(oneshot::Receiver<Result<T, TaskError>>);

impl<T> ShardTask<T> {
    /// Waits for the task's end, blocking the thread.
    ///
    /// # Errors
    /// [`TaskError`]; the task goes on after [`TaskError::OnShard`].
    pub fn join(self) -> Result<T, TaskError> {
        check_may_block("joining a task").map_err(|_| TaskError::OnShard)?;
        park::block_on(self)
    }
}

impl<T> Future for ShardTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The shard wakes it.
        let waker = foreign::contained(context.waker());
        Pin::new(&mut self.0)
            .poll(&mut Context::from_waker(&waker))
            .map(|outcome| outcome.unwrap_or(Err(TaskError::Shutdown)))
    }
}

/// Has `work` made and run on the thread of a shard.
///
/// # Errors
/// [`AdapterError`]: there is no such shard, or the bus has ended.
pub(crate) fn run_on<T, W, F>(parts: &Arc<BusParts>, shard: u16, work: W) -> AdapterResult<ShardTask<T>>
where
    T: Send + 'static,
    W: FnOnce(ShardContext) -> F + Send + 'static,
    F: Future<Output = T> + 'static,
{
    parts.check_fork()?;
    let control: Arc<ShardControl> = parts.shard(shard).ok_or_else(|| AdapterError::Fatal {
        shard,
        message: format!("there is no such shard; there are {}", parts.shard_count()),
    })?;
    let (sender, receiver) = oneshot::channel();
    let parts = Arc::clone(parts);
    let seed = TaskSeed::new(move || {
        Box::pin(async move {
            let Ok(context) = ShardContext::new(parts, shard) else { return };
            // Nobody may wait for the outcome any more.
            let _ = sender.send(contain(work, context).await);
        })
    });
    control.plant(seed)?;
    Ok(ShardTask(receiver))
}

/// Runs the work; a panic becomes an outcome.
async fn contain<T, F: Future<Output = T>>(
    work: impl FnOnce(ShardContext) -> F,
    context: ShardContext,
) -> Result<T, TaskError> {
    let mut future = foreign::contain(|| Box::pin(work(context))).map_err(TaskError::Panicked)?;
    poll_fn(|context| match foreign::contain(|| future.as_mut().poll(context)) {
        Ok(outcome) => outcome.map(Ok),
        Err(panic) => Poll::Ready(Err(TaskError::Panicked(panic))),
    })
    .await
}

/// Has whoever polls poll once more.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| match std::mem::replace(&mut has_yielded, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
