//! Work on a shard's core: [`EventBus::run_on_shard`](crate::EventBus::run_on_shard).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use tapeline_reader::blocking::is_shard_thread;
use tapeline_reader::{AdapterError, AdapterResult, ConsumerResult, IntoSession, fork};
use tapeline_storage::device::fs::DirectoryLock;
use tapeline_storage::format::Kind;

use crate::bus_core::BusCore;
use crate::core::config::BackpressureMode;
use crate::core::error::IngestionResult;
use crate::core::seam::{self, Step};
use crate::core::{foreign, park};
use crate::ingest::{Producer, ProducerOptions, Session, Ticket};
use crate::live::{EventBatch, SubscribeRequest, Subscription};
use crate::shard::{CompanionSpec, Line, NewTask, Refusal, ShardControl, ShardTasks, yield_now};

/// The surroundings of a task on a shard: the events of its shard, and a producer to all shards.
///
/// The task runs on a thread beside the shard's, on the same core, at a lower priority: the tasks of a shard get a
/// tenth of the core while the shard wants it, and all of it otherwise. A task that blocks or computes for long between
/// two `await`s holds up the other tasks of its shard, and never the shard.
///
/// The thread's executor is glommio's, so tasks may use the timers, channels, files and sockets of
/// [`glommio`](crate::glommio) where [`ShardContext::has_glommio`]. What a task starts by `glommio::spawn_local` should
/// be joined or dropped by it: a detached one is never freed if the bus ends before it does, and a panic in it ends all
/// tasks of the shard.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, SubscribeRequest, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let counter = bus.run_on_shard(0, async |mut context| {
///     let mut tokens = context.subscribe(SubscribeRequest::new().kind(kinds::TOKEN)).ok()?;
///     let count = tokens.next_batch().await?.ok()?.events().count();
///     let session = context.session("counts");
///     context.emit(session, kinds::DRIFT, count.to_string().as_bytes()).ok()
/// })?;
/// let mut producer = bus.producer()?;
/// producer.emit(producer.session("chat-42"), kinds::TOKEN, b"hello")?;
/// assert!(counter.await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ShardContext {
    shard: u16,
    core: Arc<BusCore>,
    producer: Producer,
}

impl ShardContext {
    fn new(core: Arc<BusCore>, shard: u16) -> IngestionResult<Self> {
        let options = ProducerOptions::new();
        let options = match options.mode(core.producers().backpressure_mode())? {
            // The other tasks would wait as well.
            BackpressureMode::Block { .. } => options.backpressure_mode(BackpressureMode::FailProducer),
            _ => options,
        };
        Ok(Self { shard, producer: Producer::new(Arc::clone(&core), options)?, core })
    }

    /// The shard.
    pub fn shard_id(&self) -> u16 {
        self.shard
    }

    /// Returns whether the executor of this task is glommio's. It is not where io_uring or memory to lock is refused:
    /// then the calls of glommio that need its executor panic.
    pub fn has_glommio(&self) -> bool {
        let control = self.core.shards().get(self.shard);
        control.and_then(|control| control.tasks().runtime()).is_some_and(|(name, _)| name == ShardTasks::GLOMMIO)
    }

    /// The events of this shard, from a position on, then live. They are read by reference where they were written, on
    /// this core.
    ///
    /// # Errors
    /// As [`EventBus::subscribe`](crate::EventBus::subscribe).
    pub fn subscribe(&self, mut request: SubscribeRequest) -> ConsumerResult<ShardSubscription> {
        request.shards = Some(vec![self.shard]);
        Subscription::new(Arc::clone(&self.core), &request).map(ShardSubscription)
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

    /// Lets the other tasks of the shard run.
    pub async fn yield_now(&self) {
        yield_now().await;
    }
}

/// The events of one shard, for a task on it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, RawEvent, SubscribeRequest};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let first = bus.run_on_shard(0, async |context| {
///     let mut events = context.subscribe(SubscribeRequest::new()).ok()?;
///     Some(events.next_batch().await?.ok()?.events().count())
/// })?;
/// assert_eq!(first.await?, Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ShardSubscription(Subscription);

impl ShardSubscription {
    /// Waits for the next events, those of one block, uncopied; lets the other tasks of the shard run before. `None`:
    /// the bus has ended.
    pub async fn next_batch(&mut self) -> Option<ConsumerResult<EventBatch>> {
        yield_now().await;
        self.0.next_batch().await
    }

    /// The cursor after what was handed out.
    pub fn cursor(&self) -> String {
        self.0.cursor()
    }
}

/// The reason for which a task on a shard has no outcome.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::error::TaskError;
/// use tapeline::{EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let task = bus.run_on_shard(0, |_shard| async { panic!("on purpose") })?;
/// assert!(matches!(task.await, Err(TaskError::Panicked(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It panicked, or a task that another one had started by `glommio::spawn_local` did, which ends all.
    #[error("the task panicked: {0}")]
    Panicked(String),
    /// The bus ended before the task did, or the shard died.
    #[error("the bus is shut down")]
    Shutdown,
    /// The call would have waited for the thread that made it: the one that the task runs on, or a shard's.
    #[error("joining a task would wait for its own thread; await the task")]
    OnShard,
    /// The process is a fork of the one that started the task.
    #[error("the task belongs to the parent of this forked process")]
    Forked,
}

/// A task on a shard. Dropping it leaves the task to itself.
///
/// A future of the task's value: [`EventBus::run_on_shard`](crate::EventBus::run_on_shard) and [`TaskError`] have examples.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let task = bus.run_on_shard(0, async |context| context.shard_id())?;
/// assert_eq!(task.await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ShardTask<T> {
    outcome: oneshot::Receiver<Result<T, TaskError>>,
    line: Arc<Line>,
    fork_generation: u32,
}

impl<T> ShardTask<T> {
    /// Waits for the task's end, blocking the thread.
    ///
    /// # Errors
    /// [`TaskError`]; the task goes on after [`TaskError::OnShard`].
    pub fn join(self) -> Result<T, TaskError> {
        if self.line.is_here() || is_shard_thread() {
            return Err(TaskError::OnShard);
        }
        park::block_on(self)
    }
}

impl<T> Future for ShardTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.fork_generation != fork::generation() {
            return Poll::Ready(Err(TaskError::Forked));
        }
        // The companion wakes it.
        let waker = foreign::contained(context.waker());
        match Pin::new(&mut self.outcome).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => Poll::Ready(outcome.unwrap_or_else(|_| Err(self.ended_early()))),
            Poll::Pending if is_shard_thread() => Poll::Ready(Err(TaskError::OnShard)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> ShardTask<T> {
    /// The reason for which there is no outcome.
    fn ended_early(&self) -> TaskError {
        self.line.panic().map_or(TaskError::Shutdown, |panic| TaskError::Panicked(panic.to_owned()))
    }
}

/// Has `work` made and run on the companion of a shard. `hold` gives the lock that the companion holds.
///
/// # Errors
/// [`AdapterError`]: there is no such shard, its companion cannot be made, or the bus has ended.
pub(crate) fn run_on<T, W, F>(
    core: &Arc<BusCore>,
    shard: u16,
    hold: impl FnOnce() -> Option<Arc<DirectoryLock>>,
    work: W,
) -> AdapterResult<ShardTask<T>>
where
    T: Send + 'static,
    W: FnOnce(ShardContext) -> F + Send + 'static,
    F: Future<Output = T> + 'static,
{
    core.check_fork()?;
    let control: Arc<ShardControl> = core
        .shards()
        .get(shard)
        .ok_or_else(|| AdapterError::NoShard { shard_id: shard, shards: core.shards().count() })?;
    let (sender, receiver) = oneshot::channel();
    let (core, log) = (Arc::clone(core), core.log_id());
    let task = NewTask::new(move || {
        Box::pin(async move {
            let Ok(context) = ShardContext::new(core, shard) else { return };
            // The caller may have dropped the receiver.
            let _ = sender.send(contain(work, context).await);
        })
    });
    let spec = || {
        seam::pass(log, Step::Companion)?;
        Ok(CompanionSpec { name: format!("tapeline-t{shard}"), cores: control.facts().cores(), hold: hold() })
    };
    let line = control.tasks().submit(task, spec).map_err(|refusal| match refusal {
        Refusal::Closed => AdapterError::Shutdown,
        Refusal::NoThread(source) => AdapterError::NoTaskThread { shard_id: shard, source },
    })?;
    Ok(ShardTask { outcome: receiver, line, fork_generation: fork::generation() })
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
