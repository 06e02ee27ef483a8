//! The thread that looks how busy the shards are, decides, and changes them. One change at a time, each to its end.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use futures_channel::oneshot;
use tapeline_reader::blocking::check_may_block;
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{AdapterError, AdapterResult, ScalingError};

use super::metrics::{Meter, SAMPLES};
use super::scaler::Scaler;
use super::{ScalingDecision, ShardMetrics};
use crate::bus_core::BusCore;
use crate::core::config::ScalingPolicy;
use crate::core::lock::lock;
use crate::core::park::block_on;
use crate::core::seam::Step;
use crate::core::{foreign, seam};
use crate::factory::ShardFactory;
use crate::routing::Change;

/// Shards that came or went.
type Outcome = Result<Vec<u16>, ScalingError>;

enum Order {
    Up(u16, oneshot::Sender<Outcome>),
    Down(u16, oneshot::Sender<Outcome>),
    Monitor,
}

/// The bus's hold on the thread.
#[derive(Debug)]
pub(crate) struct Scaling {
    orders: Mutex<Option<Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Mutex<Vec<ShardMetrics>>>,
}

impl Scaling {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn start(policy: ScalingPolicy, core: Arc<BusCore>, factory: Arc<ShardFactory>) -> io::Result<Self> {
        seam::pass(core.log_id(), Step::Scaling)?;
        let (orders, queue) = mpsc::channel();
        let metrics = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&metrics);
        let mut worker = Worker { core, factory, scaler: Scaler::new(policy), meters: Vec::new(), ticks: 0, shown };
        worker.look();
        let thread = thread::Builder::new().name("tapeline-scaling".into()).spawn(move || worker.run(&queue))?;
        Ok(Self { orders: Mutex::new(Some(orders)), thread: Mutex::new(Some(thread)), metrics })
    }

    /// The metrics of the last look, by shard.
    pub(crate) fn metrics(&self) -> Vec<ShardMetrics> {
        lock(&self.metrics).clone()
    }

    /// Has shards come and go by themselves from now on.
    pub(crate) fn monitor(&self) {
        self.send(Order::Monitor);
    }

    /// Adds up to `count` shards. Returns which.
    ///
    /// # Errors
    /// [`AdapterError`]; [`AdapterError::OnShard`] on a thread that the change waits for.
    pub(crate) async fn up(&self, count: u16) -> AdapterResult<Vec<u16>> {
        self.change("manual_scale_up", |answer| Order::Up(count, answer)).await
    }

    /// Takes up to `count` shards away. Returns which.
    ///
    /// # Errors
    /// As [`Scaling::up`].
    pub(crate) async fn down(&self, count: u16) -> AdapterResult<Vec<u16>> {
        self.change("manual_scale_down", |answer| Order::Down(count, answer)).await
    }

    async fn change(
        &self,
        call: &'static str,
        order: impl FnOnce(oneshot::Sender<Outcome>) -> Order,
    ) -> AdapterResult<Vec<u16>> {
        check_may_block(call)?;
        if self.is_here() {
            return Err(AdapterError::OnShard { call });
        }
        let (answer, outcome) = oneshot::channel();
        self.send(order(answer));
        Ok(foreign::awaited_off_shard(call, outcome).await?.map_err(|_| AdapterError::Shutdown)??)
    }

    /// Returns whether the calling thread is the scaling thread.
    fn is_here(&self) -> bool {
        lock(&self.thread).as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id())
    }

    fn send(&self, order: Order) {
        if let Some(orders) = &*lock(&self.orders) {
            // The thread has ended: a caller that waits for an answer learns it by the loss of its sender.
            let _ = orders.send(order);
        }
    }

    /// Ends the thread, once the change that it may be at has come to its end.
    pub(crate) fn end(&self) {
        drop(lock(&self.orders).take());
        let thread = lock(&self.thread).take();
        // A waker that this thread calls may drop the bus.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            foreign::discard(thread.join());
        }
    }

    /// In a forked child: the thread is the parent's, and so may be the lock of its handle.
    pub(crate) fn forget_thread(self: &Arc<Self>) {
        match self.thread.try_lock() {
            Ok(mut thread) => std::mem::forget(thread.take()),
            Err(_) => std::mem::forget(Arc::clone(self)),
        }
    }
}

struct Worker {
    core: Arc<BusCore>,
    factory: Arc<ShardFactory>,
    scaler: Scaler,
    meters: Vec<Meter>,
    ticks: u32,
    shown: Arc<Mutex<Vec<ShardMetrics>>>,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        let tick = self.scaler.policy().metrics_window / SAMPLES;
        loop {
            // The caller no longer waits for an answer that cannot be sent.
            match orders.recv_timeout(tick) {
                Ok(Order::Up(count, answer)) => {
                    let outcome = self.scaler.more(self.active(), count);
                    let _ = answer.send(outcome.and_then(|active| self.change_to(active)));
                }
                Ok(Order::Down(count, answer)) => {
                    let outcome = self.scaler.fewer(Clock::global().now(), self.active(), count);
                    let _ = answer.send(outcome.and_then(|active| self.change_to(active)));
                }
                Ok(Order::Monitor) => self.scaler.start(),
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn active(&self) -> u16 {
        self.core.route().get().active()
    }

    fn tick(&mut self) {
        self.look();
        self.ticks += 1;
        if self.ticks.is_multiple_of(SAMPLES) {
            self.decide();
        }
    }

    /// Looks at every shard, and shows what it saw.
    fn look(&mut self) {
        let (shards, active) = (self.core.shards().all(), self.active());
        self.meters.resize_with(shards.len(), Meter::default);
        let now = Clock::global().now();
        let mut metrics = Vec::with_capacity(shards.len());
        for (shard, meter) in shards.iter().zip(&mut self.meters) {
            meter.add(shard.reading(now));
            let (shard, policy) = (shard.id(), self.scaler.policy());
            let takes_events = shard < active;
            metrics.push(if takes_events {
                meter.metrics(shard, policy)
            } else {
                meter.metrics_of_retired(shard, policy)
            });
        }
        *lock(&self.shown) = metrics;
    }

    fn decide(&mut self) {
        let active = self.active();
        let metrics: Vec<_> = lock(&self.shown).iter().take(usize::from(active)).copied().collect();
        let wanted = match self.scaler.decide(Clock::global().now(), &metrics, active) {
            ScalingDecision::None => return,
            ScalingDecision::ScaleUp(count) => active.saturating_add(count),
            ScalingDecision::ScaleDown(count) => active.saturating_sub(count),
        };
        // A change that fails now is tried again after the cooldown; the shards there are go on.
        if self.change_to(wanted).is_err() {
            self.scaler.changed(Clock::global().now());
        }
    }

    /// Has shards 0 to `wanted - 1` take events.
    fn change_to(&mut self, wanted: u16) -> Outcome {
        let active = self.active();
        let shards = self.core.shards().all();
        if let Some(blocked) = shards.iter().find(|shard| !shard.can_write()) {
            return Err(ScalingError::ShardBlocked(blocked.id()));
        }
        let started = shards.len() as u16;
        if wanted > started {
            let made = block_on(self.factory.make(started..wanted));
            let made = made.map_err(|error| ScalingError::ShardCreationFailed(error.to_string()))?;
            for shard in made.shards {
                self.core.route().get().enter(&shard);
                self.core.add_shard(Arc::clone(&shard));
                // The bus is ending, and may not have seen it.
                if self.core.is_closed() {
                    shard.stop();
                }
            }
        }
        let change = Change::begin(self.core.route(), self.core.shards().all(), wanted);
        let mut eras = (*self.core.eras()).clone();
        eras.begin_after(Some(active), change.wait(|| self.core.is_closed()));
        let kept = self.factory.store().save_eras(&eras);
        self.core.set_eras(eras);
        change.end();
        self.scaler.changed(Clock::global().now());
        kept.map_err(|error| ScalingError::NotKept(error.to_string()))?;
        Ok((active.min(wanted)..active.max(wanted)).collect())
    }
}
