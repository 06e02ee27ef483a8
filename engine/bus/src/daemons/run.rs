//! A daemon at work: events in, groups of outputs out.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use tapeline_reader::last::last_event;
use tapeline_reader::selection::Selection;
use tapeline_reader::{ConsumerError, ConsumerResult, Filter, Gap, StoredEvent, kinds, session_id};
use tapeline_storage::format::Kind;

use super::checkpoint::{Checkpoint, SetAside};
use super::control::{DaemonControl, DaemonEnd, DaemonHandle, EndReason, Ending, Line};
use super::feed::Feed;
use super::group::{GROUP_BYTES_MAX, Group};
use super::options::{DaemonOptions, DaemonRefused};
use super::recover::routed_sessions;
use super::saturation::Saturation;
use super::word::Word;
use super::worker::WorkerFeed;
use super::writer::Writer;
use super::{Daemon, DaemonResult, Output};
use crate::bus_core::{BusCore, DaemonStatus, Worker};
use crate::core::foreign;
use crate::core::timer::Timer;
use crate::live::{Followed, Inputs, SubscribeRequest, Subscription};

/// The time after which a worker is asked again how it is, although nothing happens: how it is decides what it gets.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The longest pause before an event is tried again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A daemon that is ready to run. Dropped before its end, it leaves what was not checkpointed to the next start.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, Output};
/// use tapeline::{EventBus, EventBusConfig, StoredEvent};
///
/// # struct Shout;
/// # impl Daemon for Shout {
/// #     fn name(&self) -> &str {
/// #         "shout"
/// #     }
/// #     fn process(&mut self, event: &StoredEvent) -> DaemonResult {
/// #         Ok(vec![Output::new(event.kind, event.raw.to_ascii_uppercase())])
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let (shout, handle) = bus.daemon(Shout, DaemonOptions::new()).await?;
/// let shout = tokio::spawn(shout.run());
/// let end = handle.drain(Duration::from_secs(5)).ended().await;
/// assert_eq!(shout.await?, end);
/// # Ok(())
/// # }
/// ```
#[must_use = "a daemon does nothing before `run` is polled"]
pub struct DaemonRun {
    daemon: Box<dyn Daemon>,
    options: DaemonOptions,
    core: Arc<BusCore>,
    feed: Feed,
    writer: Writer,
    group: Group,
    life: Life,
    saturation: Saturation,
    timer: Option<Timer>,
}

impl std::fmt::Debug for DaemonRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonRun").field("status", &self.life.status).field("feed", &self.feed).finish_non_exhaustive()
    }
}

/// The line on which others speak to the daemon, and the facts that they learn of it; they learn of its end also where
/// its task is dropped.
#[derive(Debug)]
struct Life {
    line: Arc<Line>,
    status: Arc<DaemonStatus>,
    end: Option<oneshot::Sender<DaemonEnd>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.end.is_some() {
            self.status.end(Some("its task was dropped"));
        }
    }
}

/// The next step.
enum Next {
    Item(Option<ConsumerResult<StoredEvent>>),
    /// There is nothing to process, and the group is due, or the end.
    Idle,
    /// The grace period is over.
    Late,
    Said(Vec<DaemonControl>),
}

impl DaemonRun {
    /// Prepares a daemon: takes its state back, and finds where it goes on. `shard`: the only one to read.
    ///
    /// # Errors
    /// [`DaemonRefused`].
    pub(crate) async fn prepare(
        core: &Arc<BusCore>,
        mut daemon: Box<dyn Daemon>,
        options: DaemonOptions,
        shard: Option<u16>,
    ) -> Result<(Self, DaemonHandle), DaemonRefused> {
        let name = daemon.name().to_owned();
        check_name(&name)?;
        core.wait_readable().await?;
        if options.is_worker && (shard.is_some() || options.follow.is_some()) {
            return Err(DaemonRefused::Worker { name });
        }
        let last = last_checkpoint(core, &name)?;
        if let Some(state) = last.as_ref().and_then(|last| last.state.as_deref()) {
            restore(&mut *daemon, state)?;
        }
        let follows =
            if options.is_worker { None } else { Some(follow(core, &*daemon, &options, (last.as_ref(), shard))?) };
        let mut writer = Writer::new(core, &name)?;
        let status = core.daemons().enter(&name).ok_or_else(|| DaemonRefused::Running { name: name.clone() })?;
        // A worker may be given sessions from its entry on.
        let word = Word::of(&*daemon);
        status.say(word.health, word.saturation.unwrap_or_default());
        let (sender, end) = oneshot::channel();
        let life = Life { line: Arc::default(), status: Arc::clone(&status), end: Some(sender) };
        let feed = follows.map_or_else(|| share(core, &*daemon, &status), Ok)?;
        if last.is_none() {
            writer.open(&name, &daemon.capabilities())?;
        }
        let handle = DaemonHandle { line: Arc::clone(&life.line), status, end };
        let run = Self {
            daemon,
            options,
            core: Arc::clone(core),
            feed,
            writer,
            group: Group::new(),
            life,
            saturation: Saturation::new(),
            timer: None,
        };
        Ok((run, handle))
    }

    /// Runs the daemon to its end.
    pub async fn run(mut self) -> DaemonEnd {
        let reason = match self.work().await {
            Ok(reason) => reason,
            // The next start processes the events whose outputs were not written.
            Err(_) if self.core.is_closed() => EndReason::BusEnded,
            Err(reason) => EndReason::Failed(reason),
        };
        let Self { feed, mut life, .. } = self;
        // Others have its sessions from here on.
        drop(feed);
        let status = Arc::clone(&life.status);
        status.end(if let EndReason::Failed(reason) = &reason { Some(reason) } else { None });
        let end = DaemonEnd { reason, stats: status.stats() };
        if let Some(sender) = life.end.take() {
            // The owner may have dropped the handle.
            let _ = sender.send(end.clone());
        }
        end
    }

    /// # Errors
    /// The reason why it ends.
    async fn work(&mut self) -> Result<EndReason, String> {
        let mut ending = None;
        loop {
            match self.next(ending).await {
                Next::Item(Some(Ok(event))) => self.process(&event).await?,
                Next::Item(Some(Err(ConsumerError::Gap(gap)))) => self.pass(&gap),
                Next::Item(Some(Err(error))) => return Err(error.to_string()),
                Next::Item(None) => return self.end(EndReason::BusEnded).await,
                Next::Idle if ending.is_some() => return self.end(EndReason::Drained).await,
                Next::Idle => self.idle().await?,
                Next::Late => {}
                Next::Said(words) => ending = self.hear(words).await?.or(ending),
            }
            if self.group.is_full() {
                self.checkpoint().await?;
            }
            match ending {
                Some(Ending::Now) => return self.end(EndReason::Stopped).await,
                Some(Ending::Drain(Some(until))) if Instant::now() >= until => {
                    return self.end(EndReason::GraceOver).await;
                }
                _ => {}
            }
        }
    }

    async fn next(&mut self, ending: Option<Ending>) -> Next {
        let next = poll_fn(|context| {
            let next = self.poll_next(context, ending);
            if next.is_pending() {
                self.saturation.rest();
            }
            next
        });
        let next = next.await;
        self.saturation.work();
        next
    }

    fn poll_next(&mut self, context: &mut Context<'_>, ending: Option<Ending>) -> Poll<Next> {
        let words = self.life.line.listen(context);
        if !words.is_empty() {
            return Poll::Ready(Next::Said(words));
        }
        let Self { daemon, feed, life, saturation, .. } = self;
        let mut ask = || {
            let Word { health, saturation: own } = Word::of(&**daemon);
            life.status.say(health, own.unwrap_or_else(|| saturation.measure()));
        };
        let item = feed.poll_next(context, &mut ask);
        self.group.events += self.feed.worker().map_or(0, WorkerFeed::take_passed);
        if let Poll::Ready(item) = item {
            return Poll::Ready(Next::Item(item));
        }
        if self.feed.has_more() {
            // It lets others run, or waits for a file or for what is to be durable.
            let until = if let Some(Ending::Drain(until)) = ending { until } else { None };
            return self.poll_due(context, until).map(|()| Next::Late);
        }
        if ending.is_some() || self.group.is_due() {
            return Poll::Ready(Next::Idle);
        }
        let asked_again = self.feed.worker().map(|_| Instant::now() + ASK_AGAIN);
        let due = [self.group.due(), self.saturation.due(), asked_again].into_iter().flatten().min();
        self.poll_due(context, due).map(|()| Next::Idle)
    }

    /// Waits until then; for ever without a time.
    fn poll_due(&mut self, context: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Timer::new(self.core.timers(), due));
        if Pin::new(timer).poll(context).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        Poll::Ready(())
    }

    /// Has the daemon process an event, or sets the event aside.
    async fn process(&mut self, event: &StoredEvent) -> Result<(), String> {
        let mut tries = 0;
        let outputs = loop {
            let error = match self.call(|daemon| daemon.process(event)) {
                Ok(outputs) => break outputs,
                Err(error) => error,
            };
            tries += 1;
            if tries >= self.options.tries {
                count(&self.life.status.counters.set_aside, 1);
                break vec![Output::new(kinds::DAEMON, SetAside::new(event, tries, error).payload())];
            }
            let pause = Duration::from_millis(10).saturating_mul(1 << (tries - 1).min(7)).min(RETRY_PAUSE_MAX);
            let paused = Timer::new(self.core.timers(), Instant::now() + pause).await;
            paused.map_err(|error| format!("waiting to try again: {error}"))?;
        };
        count(&self.life.status.counters.events, 1);
        self.group.events += 1;
        self.group.add(outputs);
        Ok(())
    }

    /// Calls the daemon; counts an error or a panic, and returns it as text.
    fn call(&mut self, work: impl FnOnce(&mut dyn Daemon) -> DaemonResult) -> Result<Vec<Output>, String> {
        let called = foreign::contain(|| work(&mut *self.daemon).map_err(|error| error.to_string()));
        match called {
            Ok(Ok(outputs)) => match fault_of(&outputs) {
                None => Ok(outputs),
                Some(fault) => {
                    count(&self.life.status.counters.failures, 1);
                    Err(fault)
                }
            },
            Ok(Err(error)) => {
                count(&self.life.status.counters.failures, 1);
                Err(error)
            }
            Err(panic) => {
                count(&self.life.status.counters.panics, 1);
                Err(format!("it panicked: {panic}"))
            }
        }
    }

    fn pass(&mut self, gap: &Gap) {
        count(&self.life.status.counters.gaps, 1);
        self.group.events += 1;
        if let Ok(outputs) = self.call(|daemon| daemon.gap(gap)) {
            self.group.add(outputs);
        }
    }

    /// Has the daemon hear what its owner says. The end that is asked for, if one is.
    async fn hear(&mut self, words: Vec<DaemonControl>) -> Result<Option<Ending>, String> {
        let mut ending = None;
        for control in words {
            if let Ok(outputs) = self.call(|daemon| daemon.control(&control)) {
                self.group.add(outputs);
            }
            if self.group.is_full() {
                self.checkpoint().await?;
            }
            if !matches!(control, DaemonControl::Message(_)) {
                self.timer = None;
                self.feed.worker().into_iter().for_each(|worker| worker.prepare_to_leave());
            }
            match control {
                DaemonControl::Drain { grace } => ending = Some(Ending::Drain(Instant::now().checked_add(grace))),
                DaemonControl::Stop => ending = Some(Ending::Now),
                DaemonControl::Message(_) => {}
            }
        }
        Ok(ending)
    }

    /// Writes the group, and says how the daemon is.
    async fn checkpoint(&mut self) -> Result<(), String> {
        let gives_back = self.ask();
        if self.group.is_due() || self.group.events > 0 || gives_back {
            self.write_group().await?;
        }
        self.life.status.lag.store(self.feed.lag(), Ordering::Relaxed);
        Ok(())
    }

    /// There is nothing to process: says how the daemon is, and writes the group if it is due.
    async fn idle(&mut self) -> Result<(), String> {
        let gives_back = self.ask();
        if self.group.is_due() || gives_back {
            self.write_group().await?;
        }
        self.life.status.lag.store(self.feed.lag(), Ordering::Relaxed);
        Ok(())
    }

    /// Asks the daemon how it is, and tells others. Returns whether it gives its sessions back with the next group.
    fn ask(&mut self) -> bool {
        self.timer = None;
        let word = Word::of(&*self.daemon);
        let gives_back = word.is_unhealthy() && self.feed.worker().is_some_and(WorkerFeed::give_back);
        self.life.status.say(word.health, word.saturation.unwrap_or_else(|| self.saturation.measure()));
        gives_back
    }

    async fn write_group(&mut self) -> Result<(), String> {
        let state = foreign::contain(|| self.daemon.snapshot());
        let state = state.map_err(|panic| format!("its snapshot panicked: {panic}"))?;
        let shift = self.feed.worker().map(|worker| worker.shift());
        let checkpoint = Checkpoint { cursor: self.feed.cursor(), state, shift };
        let bytes = Group::bytes_of(&self.group.outputs) + checkpoint.bytes();
        if bytes > 2 * GROUP_BYTES_MAX {
            return Err(format!("a group with its state takes {bytes} bytes; at most {} fit", 2 * GROUP_BYTES_MAX));
        }
        self.writer.write(&self.group.outputs, &checkpoint).await?;
        if let Some(worker) = self.feed.worker() {
            worker.written(checkpoint);
        }
        // The daemon emits none of this kind.
        let outputs = self.group.outputs.iter().filter(|output| output.kind != kinds::DAEMON).count();
        count(&self.life.status.counters.outputs, outputs as u64);
        count(&self.life.status.counters.checkpoints, 1);
        self.group.clear();
        Ok(())
    }

    /// Writes what is left, durably.
    async fn end(&mut self, reason: EndReason) -> Result<EndReason, String> {
        self.checkpoint().await?;
        self.writer.durable().await?;
        Ok(reason)
    }
}

/// Most bytes of the outputs of one event.
const OUTPUT_BYTES_MAX: usize = GROUP_BYTES_MAX / 2;

/// The reason why outputs are not written.
fn fault_of(outputs: &[Output]) -> Option<String> {
    let is_of_others =
        |kind: Kind| kind == kinds::DAEMON || kind == kinds::SESSION || kinds::RESERVED.contains(&kind.0);
    if let Some(Output { kind, .. }) = outputs.iter().find(|output| is_of_others(output.kind)) {
        let name = kinds::name(*kind).map_or_else(|| kind.0.to_string(), |name| name.to_uppercase());
        return Some(format!("an output of kind {name}, which the bus writes; daemons write other kinds"));
    }
    let bytes = Group::bytes_of(outputs);
    let fault = || format!("outputs of {bytes} bytes; those of one event take {OUTPUT_BYTES_MAX} at most");
    (bytes > OUTPUT_BYTES_MAX).then(fault)
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Gives a daemon the state back that it left.
fn restore(daemon: &mut dyn Daemon, state: &[u8]) -> Result<(), DaemonRefused> {
    let restored = foreign::contain(|| daemon.restore(state).map_err(|error| error.to_string()));
    let refuse = |reason| DaemonRefused::Restore { name: daemon.name().to_owned(), reason };
    restored.map_err(&refuse)?.map_err(refuse)
}

/// The events of a daemon that reads for itself, from its last checkpoint on; of one shard, if one is given.
fn follow(
    core: &Arc<BusCore>,
    daemon: &dyn Daemon,
    options: &DaemonOptions,
    (last, shard): (Option<&Checkpoint>, Option<u16>),
) -> Result<Feed, DaemonRefused> {
    let mut request = inputs(daemon, daemon.name());
    if shard.is_some() {
        request.shards = shard.map(|shard| vec![shard]);
    }
    request.cursor = last.map(|last| last.cursor.clone()).or(request.cursor);
    Ok(Feed::Own(match &options.follow {
        Some(path) => Inputs::Log(Box::new(Followed::open(path, &request, core.timers())?)),
        None => Inputs::Bus(Box::new(Subscription::new(Arc::clone(core), &request)?)),
    }))
}

/// The events of a daemon that shares work.
fn share(core: &Arc<BusCore>, daemon: &dyn Daemon, status: &Arc<DaemonStatus>) -> Result<Feed, DaemonRefused> {
    core.assignments().recover(|| routed_sessions(core))?;
    let (capabilities, requirements) = (daemon.capabilities(), daemon.requirements());
    let worker = Worker { status: Arc::clone(status), capabilities, requirements };
    Ok(Feed::Routed(Box::new(WorkerFeed::new(core, daemon.inputs(), worker)?)))
}

/// The request of a daemon for its events.
fn inputs(daemon: &dyn Daemon, name: &str) -> SubscribeRequest {
    let mut request = daemon.inputs();
    let own = Filter::or([Filter::kind(kinds::DAEMON), Filter::sessions([session_id(name)])]);
    let requirements = daemon.requirements().into_iter().map(Filter::source);
    let terms = request.filter.take().into_iter().chain([Filter::not(own)]).chain(requirements);
    request.filter = Some(Filter::and(terms));
    request
}

fn last_checkpoint(core: &BusCore, name: &str) -> Result<Option<Checkpoint>, DaemonRefused> {
    let sessions = [session_id(name)];
    let is_checkpoint = Filter::eq("type", Checkpoint::TYPE);
    let selection = Selection::new(None, Some(&sessions), Some(&[kinds::DAEMON]), Some(&is_checkpoint));
    let selection = selection.map_err(ConsumerError::from)?;
    let views: Vec<_> = core.shards().views().collect();
    let last = last_event(&views, &selection).map_err(ConsumerError::from)?;
    let Some(event) = last else { return Ok(None) };
    let refuse =
        |reason: String| DaemonRefused::Checkpoint { name: name.to_owned(), event: event.id.to_string(), reason };
    Checkpoint::parse(&event.raw).map_err(refuse)
}

fn check_name(name: &str) -> Result<(), DaemonRefused> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=128).contains(&name.len()) && name.bytes().all(is_known) && !name.starts_with('.') {
        Ok(())
    } else {
        Err(DaemonRefused::Name { name: name.to_owned() })
    }
}
