//! An event that happened before another comes before it, in every reader, on whichever threads.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::{
    BackpressureMode, ConsumeRequest, EventBus, EventBusConfig, EventBusConfigBuilder, Ordering, Producer, RawEvent,
    ScalingPolicy, StoredEvent, SubscribeRequest, kinds,
};
use tapeline_storage::device::sim::Random;

fn config(shards: u16) -> EventBusConfigBuilder {
    let mode = BackpressureMode::Block { deadline: Duration::from_secs(60) };
    EventBusConfig::builder().num_shards(shards).memory_bytes(64 << 20).backpressure_mode(mode)
}

fn open(config: EventBusConfigBuilder) -> EventBus {
    block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus")
}

/// All events, in the order of their shards or of time.
fn polled(bus: &EventBus, ordering: Ordering) -> Vec<StoredEvent> {
    block_on(bus.flush()).expect("flushes");
    let page = block_on(bus.poll(ConsumeRequest::new(1_000_000).ordering(ordering))).expect("a page");
    assert!(!page.has_more && page.gaps.is_empty(), "{:?}", page.gaps);
    page.events
}

/// By whichever producer the thread has on the bus.
fn ingest(bus: &EventBus, session: &str, payload: Vec<u8>) {
    let event = RawEvent::from_bytes(payload).with_session(session).with_kind(kinds::TOKEN);
    bus.ingest_raw(event).expect("ingested");
}

const THREADS: usize = 4;

/// The number of events of each thread that happened before: a vector clock.
type Past = [u32; THREADS];

fn join(past: &mut Past, other: &Past) {
    past.iter_mut().zip(other).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
}

fn payload(thread: usize, past: &Past) -> Vec<u8> {
    [thread as u32].iter().chain(past).flat_map(|number| number.to_le_bytes()).collect()
}

fn parse(payload: &[u8]) -> (usize, Past) {
    let number = |at: usize| u32::from_le_bytes(payload[4 * at..4 * at + 4].try_into().expect("four bytes"));
    (number(0) as usize, std::array::from_fn(|thread| number(1 + thread)))
}

/// Each event comes after all that happened before it.
fn assert_causal<'e>(events: impl Iterator<Item = &'e [u8]>, expected: Past, how: &str) {
    let mut seen = Past::default();
    for (at, event) in events.enumerate() {
        let (thread, past) = parse(event);
        for (other, (seen, before)) in seen.iter().zip(past).enumerate() {
            assert!(*seen >= before, "{how}: event {at}, of thread {thread}, precedes event {seen} of thread {other}");
        }
        seen[thread] += 1;
    }
    assert_eq!(seen, expected, "{how}");
}

/// A thread that ingests, and passes what it knows to other threads, by each means that there is.
struct Talker<'b> {
    bus: &'b EventBus,
    number: usize,
    producers: Vec<Producer>,
    past: Past,
    random: Random,
    others: Vec<Sender<Past>>,
    inbox: Receiver<Past>,
    board: Arc<Mutex<Past>>,
}

impl Talker<'_> {
    fn run(mut self, steps: usize) -> u32 {
        for _ in 0..steps {
            match self.random.below(10) {
                0..=3 => self.emit(),
                4 => self.ingest(),
                5 => self.batch(),
                6 => {
                    let to = self.random.below(THREADS as u64) as usize;
                    let _ = self.others[to].send(self.past);
                }
                7 => {
                    let mut board = self.board.lock().expect("a lock");
                    join(&mut board, &self.past);
                    join(&mut self.past, &board);
                }
                _ => self.listen(),
            }
        }
        self.past[self.number]
    }

    fn listen(&mut self) {
        while let Ok(past) = self.inbox.try_recv() {
            join(&mut self.past, &past);
        }
    }

    fn session(&mut self) -> String {
        format!("session {}", self.random.below(16))
    }

    fn emit(&mut self) {
        let (name, at) = (self.session(), self.random.below(self.producers.len() as u64) as usize);
        let producer = &mut self.producers[at];
        let session = producer.session(&name);
        producer.emit(session, kinds::TOKEN, &payload(self.number, &self.past)).expect("ingested");
        self.past[self.number] += 1;
    }

    fn ingest(&mut self) {
        ingest(self.bus, &self.session(), payload(self.number, &self.past));
        self.past[self.number] += 1;
    }

    /// Goes on listening while the batch is open.
    fn batch(&mut self) {
        let (name, events) = (self.session(), 1 + self.random.below(40) as u32);
        let mut producer = self.producers.pop().expect("a producer");
        let session = producer.session(&name);
        let mut batch = producer.batch(session);
        for _ in 0..events {
            batch.push(kinds::TOKEN, &payload(self.number, &self.past)).expect("room");
            self.listen();
        }
        let _ = batch.publish().expect("publishes");
        drop(batch);
        self.past[self.number] += events;
        self.producers.push(producer);
    }
}

/// Has threads talk, beside `beside`, and returns how many events each ingested.
fn talk(bus: &EventBus, seed: u64, steps: usize, beside: impl FnOnce()) -> Past {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let board = Arc::new(Mutex::new(Past::default()));
    thread::scope(|scope| {
        let talkers: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(number, inbox)| {
                let (others, board) = (senders.clone(), Arc::clone(&board));
                scope.spawn(move || {
                    let producers = (0..2).map(|_| bus.producer().expect("a producer")).collect();
                    let (past, random) = (Past::default(), Random::new(seed + number as u64));
                    Talker { bus, number, producers, past, random, others, inbox, board }.run(steps)
                })
            })
            .collect();
        beside();
        let mut counts = talkers.into_iter().map(|talker| talker.join().expect("ends"));
        std::array::from_fn(|_| counts.next().expect("a count"))
    })
}

#[test]
fn what_happened_before_comes_before_in_a_shard() {
    for seed in 0..8 {
        let bus = open(config(1));
        let mut subscription = block_on(bus.subscribe(SubscribeRequest::default())).expect("subscribes");
        let expected = talk(&bus, 100 * seed, 2_000, || ());
        let events = polled(&bus, Ordering::None);
        assert_causal(events.iter().map(|event| &event.raw[..]), expected, &format!("seed {seed}: a page"));
        let followed: Vec<_> = (0..expected.iter().sum())
            .map(|_| block_on(subscription.next()).expect("goes on").expect("an event").raw.to_vec())
            .collect();
        assert_causal(followed.iter().map(|raw| &raw[..]), expected, &format!("seed {seed}: a subscription"));
    }
}

#[test]
fn what_happened_before_comes_before_in_time_over_all_shards() {
    for seed in 0..8 {
        let bus = open(config(3));
        let expected = talk(&bus, 100 * seed, 2_000, || ());
        let events = polled(&bus, Ordering::InsertionTs);
        assert_causal(events.iter().map(|event| &event.raw[..]), expected, &format!("seed {seed}: in order of time"));
    }
}

#[test]
fn what_happened_before_comes_before_while_shards_come_and_go() {
    let brief = Duration::from_millis(1);
    let policy =
        ScalingPolicy { auto_scale: false, cooldown: brief, max_shards: 3, ..ScalingPolicy::default_for_cpus(3) };
    for seed in 0..4 {
        let bus = open(config(1).scaling(policy.clone()));
        let expected = talk(&bus, 100 * seed, 4_000, || {
            for _ in 0..10 {
                block_on(bus.manual_scale_up(2)).expect("grows");
                thread::sleep(brief);
                block_on(bus.manual_scale_down(2)).expect("shrinks");
                thread::sleep(brief);
            }
        });
        let events = polled(&bus, Ordering::InsertionTs);
        assert_causal(events.iter().map(|event| &event.raw[..]), expected, &format!("seed {seed}: beside scaling"));
    }
}

/// One answer after the other is passed from thread to thread, as an asynchronous task is between the workers of its
/// runtime, and each thread ingests by itself.
#[test]
fn session_stays_in_order_however_often_its_task_changes_threads() {
    const SESSIONS: usize = 64;
    const TOKENS: u32 = 200;
    let bus = open(config(1));
    thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<(usize, u32)>()).unzip();
        for (worker, tasks) in receivers.into_iter().enumerate() {
            let (bus, next) = (&bus, senders[(worker + 1) % THREADS].clone());
            scope.spawn(move || {
                let mut running = SESSIONS;
                while running > 0
                    && let Ok((session, token)) = tasks.recv()
                {
                    if token < TOKENS {
                        let name = format!("session {session}");
                        ingest(bus, &name, token.to_le_bytes().to_vec());
                    } else {
                        running -= 1;
                    }
                    // The last worker may be gone.
                    let _ = next.send((session, token + u32::from(token < TOKENS)));
                }
            });
        }
        (0..SESSIONS).for_each(|session| senders[session % THREADS].send((session, 0)).expect("a worker"));
    });
    let mut next = std::collections::BTreeMap::new();
    for event in polled(&bus, Ordering::None) {
        let next = next.entry(event.session).or_insert(0_u32);
        assert_eq!(event.raw[..], next.to_le_bytes());
        *next += 1;
    }
    assert!(next.len() == SESSIONS && next.values().all(|tokens| *tokens == TOKENS));
}

#[test]
fn times_of_batches_rise_in_lanes_that_grow_and_beside_a_second_producer() {
    times_of_batches_rise(0);
    times_of_batches_rise(100);
}

/// From the round of this number on there is a second producer: a batch gives its events their times before it is
/// published.
fn times_of_batches_rise(second_from: u32) {
    let bus = open(config(1));
    let mut random = Random::new(7);
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("batches");
    let (mut pushed, mut second) = (0u32, None);
    for round in 0..400 {
        if round == second_from {
            second = Some(bus.producer().expect("a producer"));
        }
        let mut batch = producer.batch(session);
        for _ in 0..random.below(80) {
            let mut payload = pushed.to_le_bytes().to_vec();
            payload.resize(4 + random.below(2_000) as usize, 0);
            batch.push(kinds::TOKEN, &payload).expect("room");
            pushed += 1;
        }
        let _ = batch.publish().expect("publishes");
    }
    drop(second);
    let events = polled(&bus, Ordering::None);
    assert_eq!(events.len(), pushed as usize);
    for (number, pair) in events.windows(2).enumerate() {
        let (earlier, later) = (&pair[0], &pair[1]);
        assert_eq!(earlier.raw[..4], (number as u32).to_le_bytes(), "in order");
        assert!(earlier.insertion_ts < later.insertion_ts, "{number}: {earlier:?} {later:?}");
    }
}
