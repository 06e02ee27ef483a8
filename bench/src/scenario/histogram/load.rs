//! The load: calls at fixed times from each producer, and what was seen of them.

use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tapeline::{EventBus, Producer, Session, SubscribeRequest, kinds};

use super::watch::{Deliveries, Durables, touched};
use crate::harness::Outcome;
use crate::harness::clock::{Clock, ticks};
use crate::harness::cores::{Cores, pin};
use crate::harness::open_loop::WARM_UP;
use crate::harness::payloads::Payloads;
use crate::harness::wait::block_on;

/// Longest time after the last call until everything is delivered and durable.
const PATIENCE: Duration = Duration::from_secs(30);

/// From the moment when all threads are there to the first call.
const START_IN: Duration = Duration::from_millis(5);

/// A load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Calls a second of all producers.
    pub(super) rate: f64,
    /// Seconds for which calls count. Before that, the loop warms up.
    pub(super) seconds: f64,
    /// Bytes of a payload.
    pub(super) payload: usize,
}

/// The times at which calls are due.
#[derive(Debug, Clone, Copy)]
struct Timetable {
    /// The time of the first call of the first producer.
    start: u64,
    /// Ticks between two calls of a producer.
    interval: f64,
    producers: usize,
}

impl Timetable {
    /// The time at which a call of a producer is due, in ticks. Producers take turns.
    fn due(self, producer: usize, call: usize) -> u64 {
        self.start + ((call as f64 + producer as f64 / self.producers as f64) * self.interval) as u64
    }
}

/// The times of events of one producer, in ticks, by call. Calls of the warm-up are among them.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) due: Vec<u64>,
    pub(super) returned: Vec<u64>,
    pub(super) delivered: Vec<u64>,
    pub(super) durable: Vec<u64>,
}

/// The measurements of a run.
#[derive(Debug)]
pub(super) struct Ran {
    /// By producer.
    pub(super) producers: Vec<Calls>,
    /// Calls of each that do not count.
    pub(super) warm_up: usize,
    /// The first tick that counts, and the time it stands for: nanoseconds since the Unix epoch.
    pub(super) start_ticks: u64,
    pub(super) start_ns: u64,
    /// Calls a second that were made.
    pub(super) rate: f64,
}

impl Load {
    /// Runs it: one pinned thread a producer.
    pub(super) fn run(self, bus: &EventBus, cores: &Cores, clock: Clock) -> Outcome<Ran> {
        let producers = cores.producers.len();
        let own_rate = self.rate / producers as f64;
        let warm_up = (WARM_UP.as_secs_f64() * own_rate) as usize;
        let calls = warm_up + ((self.seconds * own_rate) as usize).max(1);
        let threads = self.threads(bus, producers, calls)?;
        let (ready, begun) = (Barrier::new(producers), OnceLock::new());
        // The first call is due a moment after all threads are there with their memory.
        let begin = || {
            let start = ticks() + clock.ticks_of(START_IN.as_nanos() as f64) as u64;
            let timetable = Timetable { start, interval: clock.ticks_of(1e9 / own_rate), producers };
            (timetable, SystemTime::now() + START_IN)
        };
        let work = |number: usize, core: usize, mut thread: Thread| {
            // A thread that cannot go on still lets the others go.
            let pinned = pin(core);
            ready.wait();
            pinned?;
            let (timetable, _) = *begun.get_or_init(begin);
            thread.run(self.payload, producers * calls, |call| timetable.due(number, call))?;
            Ok(thread)
        };
        let finished: Vec<Outcome<Thread>> = std::thread::scope(|scope| {
            let numbered = threads.into_iter().zip(&cores.producers).enumerate();
            let work = &work;
            let running: Vec<_> =
                numbered.map(|(number, (thread, &core))| scope.spawn(move || work(number, core, thread))).collect();
            let panicked = |_| Err("a measuring thread panicked".into());
            running.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        });
        let finished = finished.into_iter().collect::<Outcome<Vec<Thread>>>()?;
        let (timetable, start) = begun.into_inner().ok_or("no thread began")?;
        ran(finished, timetable, start, warm_up, clock)
    }

    /// The threads, with memory for so many calls each, and the one subscription in the first's hands.
    fn threads(self, bus: &EventBus, producers: usize, calls: usize) -> Outcome<Vec<Thread>> {
        let subscription = block_on(bus.subscribe(SubscribeRequest::live()))?;
        let mut threads = Vec::new();
        for number in 0..producers {
            let producer = bus.producer()?;
            let session = producer.session(format!("histogram-{number}").as_str());
            let (durables, returned) = (Durables::new(calls), touched(calls));
            threads.push(Thread { producer, session, calls, deliveries: None, durables, returned });
        }
        let sessions = threads.iter().map(|thread| thread.session.id()).collect();
        if let Some(first) = threads.first_mut() {
            first.deliveries = Some(Deliveries::new(subscription, sessions, calls));
        }
        Ok(threads)
    }
}

/// Puts together what the threads saw.
fn ran(
    mut threads: Vec<Thread>,
    timetable: Timetable,
    start: SystemTime,
    warm_up: usize,
    clock: Clock,
) -> Outcome<Ran> {
    let delivered = threads.first_mut().and_then(|thread| thread.deliveries.take()).ok_or("no producer")?.seen;
    let start_ticks = timetable.due(0, warm_up);
    let warm_up_ns = clock.nanos(start_ticks.saturating_sub(timetable.start)) as u64;
    let last = threads.iter().filter_map(|thread| thread.returned.last()).max().copied().unwrap_or(start_ticks);
    let counted: usize = threads.iter().map(|thread| thread.returned.len().saturating_sub(warm_up)).sum();
    let seconds = clock.nanos(last.saturating_sub(start_ticks)) / 1e9;
    let producers = threads.into_iter().zip(delivered).enumerate().map(|(number, (thread, delivered))| Calls {
        due: (0..thread.returned.len()).map(|call| timetable.due(number, call)).collect(),
        returned: thread.returned,
        delivered,
        durable: thread.durables.seen,
    });
    Ok(Ran {
        producers: producers.collect(),
        warm_up,
        start_ticks,
        start_ns: start.duration_since(UNIX_EPOCH)?.as_nanos() as u64 + warm_up_ns,
        rate: if seconds > 0.0 { counted as f64 / seconds } else { 0.0 },
    })
}

/// A thread that makes the calls of one producer.
struct Thread {
    producer: Producer,
    session: Session,
    calls: usize,
    /// The first thread has them.
    deliveries: Option<Deliveries>,
    durables: Durables,
    returned: Vec<u64>,
}

impl Thread {
    /// Makes the calls, then looks until all `events` have been delivered and its own are durable.
    fn run(&mut self, payload: usize, events: usize, due: impl Fn(usize) -> u64) -> Outcome<()> {
        let payloads = Payloads::new(payload);
        for call in 0..self.calls {
            let due = due(call);
            while ticks() < due {
                self.look()?;
            }
            let ticket = self.producer.emit(self.session, kinds::TOKEN, payloads.of(call as u64))?;
            self.returned.push(ticks());
            self.durables.accepted(ticket);
        }
        let start = Instant::now();
        let is_delivered = |thread: &Self| thread.deliveries.as_ref().is_none_or(|seen| seen.count() >= events);
        while self.durables.seen.len() < self.calls || !is_delivered(self) {
            self.look()?;
            if start.elapsed() > PATIENCE {
                return Err("events are still under way long after the last call".into());
            }
        }
        Ok(())
    }

    #[inline]
    fn look(&mut self) -> Outcome<()> {
        self.durables.look(&self.producer);
        self.deliveries.as_mut().map_or(Ok(()), Deliveries::look)
    }
}
