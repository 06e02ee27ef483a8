//! The server's runtime: clients, and the task that has nothing to do with them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tapeline::event::SessionId;
use tapeline::{EventBus, SubscribeRequest};

use super::fill::Filled;
use crate::harness::Outcome;

/// Threads of the runtime.
const WORKERS: usize = 2;

/// The time for which the other task sleeps each time.
const TICK: Duration = Duration::from_millis(1);

/// The time for which the other task is watched before clients come.
const IDLE: Duration = Duration::from_millis(300);

/// The outcome of a round.
pub(super) struct Caught {
    /// From the first connection until the last client is live.
    pub(super) live_seconds: f64,
    /// Events that clients got.
    pub(super) events: u64,
    /// The latest that the other task woke meanwhile.
    pub(super) late_ms: f64,
    /// The same before the clients came.
    pub(super) late_ms_idle: f64,
    /// The most that the process took beyond what it had before.
    pub(super) memory_more_mib: f64,
}

/// The task that sleeps.
#[derive(Default)]
struct Ticker {
    late_ns_max: AtomicU64,
    is_over: AtomicBool,
}

impl Ticker {
    async fn run(self: Arc<Self>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let due = Instant::now() + TICK;
            tokio::time::sleep_until(due.into()).await;
            let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.late_ns_max.fetch_max(late, Ordering::Relaxed);
        }
    }

    fn take_ms(&self) -> f64 {
        self.late_ns_max.swap(0, Ordering::Relaxed) as f64 / 1e6
    }
}

/// Has so many clients connect at once.
pub(super) fn catch_up(bus: &EventBus, filled: &Filled, clients: u32) -> Outcome<Caught> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_time().build()?;
    runtime.block_on(async {
        let ticker = Arc::new(Ticker::default());
        let ticks = tokio::spawn(Arc::clone(&ticker).run());
        tokio::time::sleep(IDLE).await;
        let late_ms_idle = ticker.take_ms();
        let before = resident_mib()?;
        let start = Instant::now();
        let mut tasks = Vec::new();
        for client in 0..clients {
            let (session, events) = filled.of_client(client);
            let request = SubscribeRequest::new().session(session);
            let subscribed = bus.subscribe(request).await?;
            tasks.push(tokio::spawn(read(subscribed, session, events)));
        }
        let mut events = 0;
        for task in tasks {
            events += task.await??;
        }
        let live_seconds = start.elapsed().as_secs_f64();
        let memory_more_mib = peak_mib()? - before;
        ticker.is_over.store(true, Ordering::Relaxed);
        ticks.await?;
        Ok(Caught { live_seconds, events, late_ms: ticker.take_ms(), late_ms_idle, memory_more_mib })
    })
}

/// Reads until the session's events are there, each once and in order.
async fn read(mut subscription: tapeline::Subscription, session: SessionId, events: u64) -> Outcome<u64> {
    let mut last = None;
    for _ in 0..events {
        let event = subscription.next().await.ok_or("the bus has ended")??;
        if event.session != session || last.is_some_and(|last| event.sequence <= last) {
            return Err(format!("a client of {session} got {}", event.id).into());
        }
        last = Some(event.sequence);
    }
    Ok(events)
}

/// Resident memory of the process; its peak begins anew from there.
fn resident_mib() -> Outcome<f64> {
    // Where the kernel refuses, the peak is that of the whole run.
    let _ = fs::write("/proc/self/clear_refs", "5");
    status_mib("VmRSS:")
}

fn peak_mib() -> Outcome<f64> {
    status_mib("VmHWM:")
}

fn status_mib(name: &str) -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the kernel does not say")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
