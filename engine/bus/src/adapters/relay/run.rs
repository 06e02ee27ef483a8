//! A relay at work: takes events up while the adapter stores those before them.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tapeline_reader::{AdapterError, ConsumerError, ConsumerResult};

use super::controls::{Controls, Deadline, RelayEnd};
use super::round::{Collector, Round};
use super::sender::Sender;
use crate::bus_core::{RelayHealth, RelayStatus};
use crate::core::timer::{Timer, Timers};
use crate::live::Inputs;

/// The time after which the cursor of a relay that leaves events out is stored though nothing was delivered.
const ADVANCE: Duration = Duration::from_secs(1);

/// Opens the inputs at a cursor.
pub(super) type Open = Box<dyn Fn(Option<String>) -> ConsumerResult<Inputs> + Send>;

/// A relay that is ready to run.
pub(super) struct RelayRun {
    pub(super) intake: Intake,
    pub(super) sender: Sender,
    pub(super) is_selective: bool,
    /// The next time at which it looks whether its cursor has moved.
    pub(super) advance: Option<Timer>,
    pub(super) due: Option<Timer>,
}

/// The half of a relay that reads.
pub(super) struct Intake {
    pub(super) open: Open,
    pub(super) inputs: Inputs,
    pub(super) collector: Collector,
    pub(super) status: Arc<RelayStatus>,
    pub(super) cursor: Kept,
    /// The reason why a part of the log could not be read: the inputs are opened anew.
    pub(super) broken: Option<String>,
    /// The last reason why a follower could not read a part of the log.
    pub(super) unread: Unread,
    /// The events that are being delivered.
    pub(super) in_flight: InFlight,
}

/// The cursor of a relay.
#[derive(Debug)]
pub(super) struct Kept {
    /// After what the adapter has confirmed, until it is stored.
    pub(super) confirmed: Option<String>,
    /// As it is stored.
    pub(super) saved: String,
}

/// The events of the round that is being delivered.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// The time of ingestion of the oldest.
    oldest: Option<u64>,
    events: u64,
}

/// The part of a log that a follower could not read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    reason: Option<String>,
    /// It was looked for once more before the end.
    is_last_look: bool,
}

/// The rest of the events to take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    /// The round takes no more.
    Full,
    /// Nothing at present.
    Dry,
    /// More, once the task is polled again.
    Busy,
    /// A part of the log cannot be read, at present perhaps.
    Broken,
    /// There will be no more.
    Ended,
}

/// The next step.
enum Next {
    Deliver(Round),
    Redrive,
    Advance,
    Reopen,
    End(RelayEnd),
}

impl RelayRun {
    /// Runs the relay to its end.
    pub(super) async fn run(mut self) -> RelayEnd {
        let (controls, timers) = (Arc::clone(&self.sender.controls), Arc::clone(&self.sender.timers));
        let end = until_deadline(&controls, &timers, self.work()).await;
        // The time of the end counts for the rest, too: a backend that hangs holds nothing up.
        let _ = until_deadline(&controls, &timers, async {
            self.sender.end().await;
            RelayEnd::Drained
        })
        .await;
        end
    }

    async fn work(&mut self) -> RelayEnd {
        self.intake.alongside(self.sender.init()).await;
        let mut tries = 0;
        loop {
            match self.next().await {
                Next::Deliver(round) => {
                    self.deliver(round).await;
                    tries = 0;
                }
                Next::Redrive => {
                    self.sender.controls.begin_redrive();
                    if let Err(error) = self.sender.redrive().await {
                        self.sender.status.set_health(RelayHealth::Unhealthy { reason: error.to_string() });
                    }
                }
                Next::Advance => self.save().await,
                Next::Reopen => self.reopen(&mut tries).await,
                Next::End(end @ (RelayEnd::GraceOver | RelayEnd::LogGone)) => return end,
                Next::End(end) => {
                    self.save().await;
                    return end;
                }
            }
        }
    }

    /// The next step. The cursor is stored first, but for a round that can be delivered at once.
    async fn next(&mut self) -> Next {
        let now = poll_fn(|context| match self.poll_next(context) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending => Poll::Ready(None),
        });
        match now.await {
            Some(next @ (Next::Deliver(_) | Next::End(RelayEnd::LogGone))) => next,
            Some(next) => {
                self.intake.save_confirmed(&self.sender).await;
                next
            }
            None => {
                self.intake.save_confirmed(&self.sender).await;
                poll_fn(|context| self.poll_next(context)).await
            }
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let wanted = self.sender.controls.look(context);
        let (supply, now) = (self.intake.fill(context), Instant::now());
        self.sender.status.is_paused.store(wanted.is_paused, Ordering::Relaxed);
        if wanted.is_paused {
            let is_over = wanted.deadline.is_some();
            return if is_over { Poll::Ready(Next::End(RelayEnd::GraceOver)) } else { Poll::Pending };
        }
        if wanted.is_redrive {
            return Poll::Ready(Next::Redrive);
        }
        let collector = &mut self.intake.collector;
        let is_due = match supply {
            Supply::Full | Supply::Broken | Supply::Ended => true,
            Supply::Dry if wanted.deadline.is_some() => true,
            Supply::Dry if collector.has_batch() => true,
            Supply::Dry | Supply::Busy => collector.due().is_some_and(|due| due <= now),
        };
        if is_due && !collector.is_empty() {
            (self.due, self.advance) = (None, None);
            return Poll::Ready(Next::Deliver(collector.take(self.intake.inputs.cursor())));
        }
        match (supply, &self.intake.inputs) {
            (Supply::Broken, _) => return Poll::Ready(Next::Reopen),
            (Supply::Ended, Inputs::Bus(_)) => return Poll::Ready(Next::End(RelayEnd::BusEnded)),
            (Supply::Ended, Inputs::Log(_)) => return Poll::Ready(Next::End(RelayEnd::LogGone)),
            (Supply::Dry, _) if wanted.deadline.is_some() => return Poll::Ready(self.intake.drained()),
            _ => {}
        }
        self.poll_timers(context)
    }

    /// Waits for the time of the round, and for that of the cursor.
    fn poll_timers(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let timers = &self.sender.timers;
        if let Some(due) = self.intake.collector.due() {
            let timer = self.due.get_or_insert_with(|| Timer::new(timers, due));
            if Pin::new(timer).poll(context).is_ready() {
                self.due = None;
                context.waker().wake_by_ref();
            }
        } else if self.is_selective {
            let timer = self.advance.get_or_insert_with(|| Timer::new(timers, Instant::now() + ADVANCE));
            if Pin::new(timer).poll(context).is_ready() {
                self.advance = None;
                return Poll::Ready(Next::Advance);
            }
        }
        Poll::Pending
    }

    /// Delivers a round, and stores the cursor after the one before once the adapter has the batches in hand: what it
    /// does on its own threads goes on meanwhile. Takes events up meanwhile, too.
    async fn deliver(&mut self, round: Round) {
        let Round { steps, cursor, oldest, events } = round;
        self.intake.in_flight = InFlight { oldest, events };
        let mut delivering = pin!(self.sender.deliver(steps));
        let is_done = poll_fn(|context| Poll::Ready(delivering.as_mut().poll(context).is_ready())).await;
        self.intake.save_confirmed(&self.sender).await;
        if !is_done {
            self.intake.alongside(delivering).await;
        }
        self.intake.cursor.confirmed = Some(cursor);
        self.intake.in_flight = InFlight::default();
    }

    /// Stores the cursor after everything that was taken up.
    async fn save(&mut self) {
        self.intake.cursor.confirmed = Some(self.intake.inputs.cursor());
        self.intake.save_confirmed(&self.sender).await;
    }

    /// Reads on from the stored cursor, after a pause.
    async fn reopen(&mut self, tries: &mut u32) {
        self.save().await;
        loop {
            let reason = self.intake.broken.take().unwrap_or_default();
            self.sender.rest(&AdapterError::Transient(reason), tries).await;
            match (self.intake.open)(Some(self.intake.cursor.saved.clone())) {
                Ok(inputs) => {
                    self.intake.inputs = inputs;
                    return;
                }
                Err(error) => self.intake.broken = Some(error.to_string()),
            }
        }
    }
}

impl Intake {
    /// Stores the cursor after what the adapter has confirmed, as often as it takes.
    async fn save_confirmed(&mut self, sender: &Sender) {
        let Kept { confirmed, saved } = &mut self.cursor;
        let Some(cursor) = confirmed.take().filter(|cursor| cursor != saved) else { return };
        let (name, mut tries) = (self.status.name().to_owned(), 0);
        while let Err(error) = self.inputs.save_cursor(&name, &cursor) {
            let error = AdapterError::Transient(error.to_string());
            sender.rest(&error, &mut tries).await;
        }
        self.status.delivered.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.cursor.saved = cursor;
    }

    /// Takes events up until some work is done.
    async fn alongside(&mut self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        poll_fn(|context| {
            let done = work.as_mut().poll(context);
            if done.is_pending() {
                let _ = self.fill(context);
            }
            done
        })
        .await;
    }

    /// Takes up what there is, until a round takes no more.
    fn fill(&mut self, context: &mut Context<'_>) -> Supply {
        let supply = loop {
            if self.broken.is_some() {
                break Supply::Broken;
            }
            if self.collector.is_full() {
                break Supply::Full;
            }
            match self.inputs.poll_next(context) {
                Poll::Pending if self.inputs.has_more() => break Supply::Busy,
                Poll::Pending => break Supply::Dry,
                Poll::Ready(None) => break Supply::Ended,
                Poll::Ready(Some(Ok(event))) => self.collector.add(event),
                Poll::Ready(Some(Err(ConsumerError::Gap(gap)))) => self.status.note_gap(&gap),
                Poll::Ready(Some(Err(error))) => self.note_trouble(error),
            }
        };
        let oldest = self.in_flight.oldest.or(self.collector.oldest());
        self.status.lag.oldest.store(oldest.unwrap_or(0), Ordering::Relaxed);
        let lag = self.inputs.lag() + self.collector.events() + self.in_flight.events;
        self.status.lag.events.store(lag, Ordering::Relaxed);
        supply
    }

    /// A subscription leaves a shard out that it could not read, so it is opened anew. A follower tries by itself.
    fn note_trouble(&mut self, error: ConsumerError) {
        match &self.inputs {
            Inputs::Bus(_) => self.broken = Some(error.to_string()),
            Inputs::Log(_) => {
                self.unread.reason = Some(error.to_string());
                self.status.set_health(RelayHealth::Unhealthy { reason: error.to_string() });
            }
        }
    }

    /// The step after the last event of a log. A part that could not be read is looked for once more: it may have been
    /// for want of descriptors.
    fn drained(&mut self) -> Next {
        match self.unread.reason.take() {
            None => Next::End(RelayEnd::Drained),
            Some(reason) if self.unread.is_last_look => Next::End(RelayEnd::Failed(reason)),
            Some(reason) => {
                self.unread.is_last_look = true;
                self.broken = Some(reason);
                Next::Reopen
            }
        }
    }
}

/// The output of a future, or an end where the deadline of the owner is over before.
async fn until_deadline(controls: &Controls, timers: &Arc<Timers>, work: impl Future<Output = RelayEnd>) -> RelayEnd {
    let mut work = pin!(work);
    let mut deadline: Option<(Deadline, Option<Timer>)> = None;
    poll_fn(|context| {
        let wanted = controls.look(context).deadline;
        if deadline.as_ref().map(|(due, _)| *due) != wanted {
            deadline = wanted.map(|due| (due, due.map(|due| Timer::new(timers, due))));
        }
        if let Some((_, Some(timer))) = &mut deadline
            && Pin::new(timer).poll(context).is_ready()
        {
            return Poll::Ready(RelayEnd::GraceOver);
        }
        work.as_mut().poll(context)
    })
    .await
}
