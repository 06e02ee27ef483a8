//! Workers: each event of a session that was routed is processed once, in order, by one worker after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::capability::{CapabilitySet, RequiredCapability};
use tapeline::daemon::{
    Daemon, DaemonEnd, DaemonHandle, DaemonHealth, DaemonOptions, DaemonRefused, DaemonResult, Output, RouteError,
};
use tapeline::event::{SessionChange, SessionMetadata, SessionOutcome};
use tapeline::{EventBus, Producer, ReplayRequest, StoredEvent, SubscribeRequest, kinds, pred, require};
use tapeline_testing::{Random, seeds};

use crate::daemons::kill_after_checkpoints;
use crate::scratch::{Scratch, open};

/// The word of a worker about itself, which the test puts into its mouth.
#[derive(Debug, Default)]
struct Mood {
    is_saturated: AtomicBool,
    is_unhealthy: AtomicBool,
    panics: AtomicBool,
}

/// Repeats each token with its own name and the number of its run.
struct Echo {
    name: String,
    run: u64,
    model: &'static str,
    mood: Arc<Mood>,
}

impl Echo {
    fn new(name: &str, run: u64) -> Self {
        Self { name: name.to_owned(), run, model: "small", mood: Arc::default() }
    }
}

impl Daemon for Echo {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::parse([format!("software.model={}", self.model).as_str()]).expect("tags")
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        let text = format!("{} {} {} {}", self.name, self.run, event.session, event.raw_str()?);
        Ok(vec![Output::new(kinds::GUARDRAIL, text)])
    }

    fn health(&self) -> DaemonHealth {
        if self.mood.is_unhealthy.load(Ordering::Relaxed) {
            DaemonHealth::Unhealthy { reason: "on purpose".into() }
        } else {
            DaemonHealth::Healthy
        }
    }

    fn saturation(&self) -> Option<f32> {
        Some(if self.mood.is_saturated.load(Ordering::Relaxed) { 1.0 } else { 0.0 })
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        assert!(!self.mood.panics.load(Ordering::Relaxed), "on purpose");
        None
    }
}

fn small() -> RequiredCapability {
    require!("software.model=small")
}

/// A worker's output.
#[derive(Debug)]
struct Done {
    worker: String,
    run: u64,
    session: String,
    /// The number of the session's turn, and that of the event in it.
    token: (u64, u64),
}

/// The outputs of all workers, in order of time.
fn outputs(bus: &EventBus) -> Vec<Done> {
    let events = block_on(bus.replay_with(ReplayRequest::new())).expect("replays").map(|event| event.expect("event"));
    let outputs = events.filter(|event| event.kind == kinds::GUARDRAIL);
    let parse = |event: StoredEvent| {
        let text = event.raw_str().expect("text");
        let [worker, run, session, turn, number] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let count = |text: &str| text.parse().expect("a number");
        let token = (count(turn), count(number));
        Done { worker: worker.to_owned(), run: count(run), session: session.to_owned(), token }
    };
    outputs.map(parse).collect()
}

/// Checks that each token was processed once and those of each session in order. `has_left`: a worker that a session
/// may leave before it is closed.
fn check(outputs: &[Done], tokens: u64, has_left: impl Fn(&str, u64) -> bool) {
    let mut last = BTreeMap::<&str, &Done>::new();
    for done in outputs {
        let Some(before) = last.insert(&done.session, done) else {
            assert_eq!(done.token, (1, 0), "skipped: {done:?}");
            continue;
        };
        let ((turn, number), (turn_before, number_before)) = (done.token, before.token);
        let is_next = (turn == turn_before && number == number_before + 1) || (turn == turn_before + 1 && number == 0);
        assert!(is_next, "skipped, repeated or out of order: {before:?}, {done:?}");
        let is_same = (&done.worker, done.run) == (&before.worker, before.run);
        assert!(is_same || turn != turn_before || has_left(&before.worker, before.run), "{before:?}, {done:?}");
    }
    assert_eq!(outputs.len() as u64, tokens);
}

/// A worker that the test polls.
struct Running {
    name: String,
    run: u64,
    future: Pin<Box<dyn Future<Output = DaemonEnd>>>,
    handle: Option<DaemonHandle>,
    mood: Arc<Mood>,
}

/// A bus, its workers and its sessions, on which a schedule plays.
struct Stage {
    random: Random,
    bus: Option<EventBus>,
    scratch: Option<Scratch>,
    running: Vec<Running>,
    runs: u64,
    /// The workers that have ended, or were not healthy once.
    left: BTreeSet<(String, u64)>,
    /// Of each session how often it was opened and the next event's number, while it is open.
    sessions: BTreeMap<String, (u64, Option<u64>)>,
    tokens: u64,
}

impl Stage {
    fn new(seed: u64, scratch: Option<Scratch>) -> Self {
        let mut stage = Self {
            random: Random::new(seed),
            bus: None,
            scratch,
            running: Vec::new(),
            runs: 0,
            left: BTreeSet::new(),
            sessions: BTreeMap::new(),
            tokens: 0,
        };
        stage.open_bus();
        stage
    }

    fn bus(&self) -> &EventBus {
        self.bus.as_ref().expect("a bus")
    }

    fn open_bus(&mut self) {
        let config = match &self.scratch {
            Some(scratch) => scratch.config(),
            None => tapeline::EventBusConfig::builder(),
        };
        self.bus = Some(open(config.num_shards(2)));
    }

    fn start(&mut self) {
        let name = format!("worker-{}", self.random.below(4));
        self.runs += 1;
        let echo = Echo::new(&name, self.runs);
        let mood = Arc::clone(&echo.mood);
        match block_on(self.bus().daemon(echo, DaemonOptions::new().worker())) {
            Ok((daemon, handle)) => {
                let (future, handle) = (Box::pin(daemon.run()), Some(handle));
                self.running.push(Running { name, run: self.runs, future, handle, mood });
            }
            Err(DaemonRefused::Running { .. }) => assert!(self.running.iter().any(|other| other.name == name)),
            Err(error) => panic!("{error}"),
        }
    }

    /// Polls each worker, the last first or the first.
    fn poll(&mut self) {
        if self.random.below(2) == 0 {
            self.running.reverse();
        }
        let mut context = Context::from_waker(Waker::noop());
        let left = &mut self.left;
        self.running.retain_mut(|worker| match worker.future.as_mut().poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(_) => {
                left.insert((worker.name.clone(), worker.run));
                false
            }
        });
    }

    fn any(&mut self) -> Option<&mut Running> {
        let at = self.random.below(self.running.len().max(1));
        self.running.get_mut(at)
    }

    /// Ends a worker without a word.
    fn kill(&mut self) {
        if let Some(worker) = self.any() {
            let id = (worker.name.clone(), worker.run);
            self.running.retain(|other| other.run != id.1);
            self.left.insert(id);
        }
    }

    fn end(&mut self) {
        let is_drain = self.random.below(2) == 0;
        if let Some(handle) = self.any().and_then(|worker| worker.handle.take()) {
            let _ = if is_drain { handle.drain(Duration::from_secs(60)) } else { handle.stop() };
        }
    }

    fn sicken(&mut self) {
        if let Some(worker) = self.any() {
            let was_unhealthy = worker.mood.is_unhealthy.fetch_not(Ordering::Relaxed);
            let id = (worker.name.clone(), worker.run);
            if !was_unhealthy {
                self.left.insert(id);
            }
        }
    }

    fn saturate(&mut self) {
        if let Some(worker) = self.any() {
            let _ = worker.mood.is_saturated.fetch_not(Ordering::Relaxed);
        }
    }

    fn panic(&mut self) {
        self.any().into_iter().for_each(|worker| worker.mood.panics.store(true, Ordering::Relaxed));
    }

    /// Has a session say something, opening or closing it, too.
    fn say(&mut self, producer: &mut Producer) {
        let name = format!("chat-{}", self.random.below(12));
        let (turn, next) = self.sessions.get(&name).copied().unwrap_or((0, None));
        let (turn, mut next) = match next {
            Some(next) => (turn, next),
            None => {
                let route = self.bus().route_to(small());
                match route.open_session(producer, &name) {
                    Ok(_) => (turn + 1, 0),
                    Err(RouteError::NoWorker { requirement }) => {
                        assert!(self.running.is_empty(), "there are workers");
                        assert_eq!(*requirement, small());
                        return;
                    }
                    Err(RouteError::Saturated { .. }) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let session = producer.session(&*name);
        // None that is opened stays without a token: the turns in the outputs have no holes.
        for _ in 0..1 + self.random.below(4) {
            producer.emit(session, kinds::TOKEN, format!("{turn} {next}").as_bytes()).expect("emits");
            (next, self.tokens) = (next + 1, self.tokens + 1);
        }
        let is_closed = self.random.below(4) == 0;
        if is_closed {
            producer.close_session(session, SessionOutcome::Finished).expect("closes");
        }
        self.sessions.insert(name, (turn, Some(next).filter(|_| !is_closed)));
    }

    /// Ends the bus, and its workers before or after it, and opens it again.
    fn restart(&mut self) {
        let ends_before = self.random.below(2) == 0;
        let mut ended = if ends_before { std::mem::take(&mut self.running) } else { Vec::new() };
        self.left.extend(ended.drain(..).map(|worker| (worker.name, worker.run)));
        if let Some(bus) = self.bus.take() {
            block_on(bus.shutdown()).expect("ends");
        }
        self.poll();
        self.left.extend(self.running.drain(..).map(|worker| (worker.name, worker.run)));
        self.open_bus();
    }

    fn play(&mut self, steps: u64) {
        let mut producer = None;
        for _ in 0..steps {
            match self.random.below(40) {
                0..2 => self.start(),
                2 => self.kill(),
                3 => self.end(),
                4 => self.sicken(),
                5..7 => self.saturate(),
                7 if self.random.below(4) == 0 => self.panic(),
                8 if self.scratch.is_some() && self.random.below(4) == 0 => {
                    producer = None;
                    self.restart();
                }
                9 => block_on(self.bus().flush()).expect("durable"),
                10..25 => {
                    let mut mine = producer.take().unwrap_or_else(|| self.bus().producer().expect("a producer"));
                    self.say(&mut mine);
                    producer = Some(mine);
                }
                _ => self.poll(),
            }
        }
    }

    /// Has one healthy worker do what is left, and checks all that was done.
    fn finish(mut self) {
        for worker in self.running.drain(..) {
            self.left.insert((worker.name, worker.run));
        }
        while self.running.is_empty() {
            self.start();
        }
        let patience = Instant::now() + Duration::from_secs(60);
        while (outputs(self.bus()).len() as u64) < self.tokens && Instant::now() < patience {
            (0..50).for_each(|_| self.poll());
        }
        let handle = self.running[0].handle.take().expect("a handle");
        let handle = handle.drain(Duration::from_secs(60));
        while !self.running.is_empty() {
            self.poll();
        }
        assert!(handle.join().is_clean());
        check(&outputs(self.bus()), self.tokens, |worker, run| self.left.contains(&(worker.to_owned(), run)));
    }
}

#[test]
fn every_event_is_processed_once_and_in_order_whatever_becomes_of_workers() {
    for seed in seeds(12) {
        let scratch = (seed % 2 == 0).then(|| Scratch::in_memory("workers"));
        let mut stage = Stage::new(seed, scratch);
        stage.play(600);
        stage.finish();
    }
}

const DIRECTORY: &str = "TAPELINE_WORKERS_DIRECTORY";

/// The sessions of the kill test: how often each was opened, and the next event's number, while it is open.
fn sessions(bus: &EventBus) -> BTreeMap<String, (u64, Option<u64>)> {
    let of = |name: &str| {
        let (mut turn, mut next) = (0, None);
        for event in block_on(bus.replay(name)).expect("replays").map(|event| event.expect("event")) {
            next = match SessionChange::parse(&event.raw).filter(|_| event.kind == kinds::SESSION) {
                Some(SessionChange::Opened { .. }) => {
                    turn += u64::from(next.is_none());
                    next.or(Some(0))
                }
                Some(SessionChange::Closed { .. }) => None,
                _ => next.map(|next| next + 1),
            };
        }
        (turn, next)
    };
    (0..8).map(|number| format!("chat-{number}")).map(|name| (name.clone(), of(&name))).collect()
}

/// The process that is killed: its workers share sessions that are opened and closed, and come and go.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let bus = open(tapeline::EventBusConfig::builder().directory(&directory).segment_bytes(2 << 20).num_shards(2));
    let mut sessions = sessions(&bus);
    let mut random = Random::new(sessions.values().map(|(turn, next)| turn + next.unwrap_or_default()).sum());
    let start = |number: usize| {
        let echo = Echo::new(&format!("worker-{number}"), 0);
        bus.start_daemon(echo, DaemonOptions::new().worker()).expect("starts")
    };
    let mut workers = [0, 1, 2].map(|number| Some(start(number)));
    let mut producer = bus.producer().expect("a producer");
    let route = bus.route_to(small());
    for step in 1.. {
        let name = format!("chat-{}", random.below(8));
        let (turn, next) = sessions.get_mut(&name).expect("a session");
        let mut number = next.unwrap_or_else(|| {
            route.open_session(&mut producer, &name).expect("opens");
            *turn += 1;
            0
        });
        let session = producer.session(&*name);
        for _ in 0..1 + random.below(4) {
            producer.emit(session, kinds::TOKEN, format!("{turn} {number}").as_bytes()).expect("emits");
            number += 1;
        }
        *next = Some(number).filter(|_| random.below(6) > 0);
        if next.is_none() {
            producer.close_session(session, SessionOutcome::Finished).expect("closes");
        }
        if random.below(40) == 0 {
            let at = random.below(3_usize);
            workers[at].take().into_iter().for_each(|worker| drop(worker.stop().join()));
            workers[at] = Some(start(at));
        }
        if step % 20 == 0 {
            block_on(producer.flush()).expect("durable");
            println!("checkpoints {}", bus.daemons().iter().map(|daemon| daemon.counts.checkpoints).sum::<u64>());
        }
    }
}

#[test]
fn killed_daemon_skips_and_repeats_nothing_of_shared_work() {
    let rounds = tapeline_testing::asked("TAPELINE_DAEMON_KILLS").unwrap_or(6);
    let scratch = Scratch::new("workers-kill");
    let config = || scratch.config().segment_bytes(2 << 20).num_shards(2);
    for round in 0..rounds {
        kill_after_checkpoints("workers::child", (DIRECTORY, scratch.path()), round * 7919 % 13);
        // As the crash has left it: each token at most once, in order.
        let found = outputs(&open(config()));
        check(&found, found.len() as u64, |_, _| true);
    }
    let bus = open(config());
    let worker = bus.start_daemon(Echo::new("worker-9", 0), DaemonOptions::new().worker()).expect("starts");
    let events = block_on(bus.replay_with(ReplayRequest::new())).expect("replays").flatten();
    let tokens = events.filter(|event| event.kind == kinds::TOKEN).count() as u64;
    while worker.stats().is_running && (outputs(&bus).len() as u64) < tokens {
        std::thread::yield_now();
    }
    assert!(worker.drain(Duration::from_secs(60)).join().is_clean());
    check(&outputs(&bus), tokens, |_, _| true);
    assert!(tokens > rounds, "the workers got something done");
}

#[test]
fn sessions_go_to_the_free_worker_that_has_the_fewest_and_stay() {
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    let route = bus.route_to(small());
    let refused = route.open_session(&mut producer, "chat-0").expect_err("no worker");
    assert_eq!(refused.to_string(), "no worker of this bus meets the requirement software.model=small");
    let start = |echo| bus.start_daemon(echo, DaemonOptions::new().worker()).expect("starts");
    let (first, second) = (Echo::new("first", 0), Echo::new("second", 0));
    let moods = [&first, &second].map(|echo| Arc::clone(&echo.mood));
    let large = Echo { model: "large", ..Echo::new("large", 0) };
    let workers = [start(first), start(second), start(large)];
    for number in 0..6 {
        let session = route.open_session(&mut producer, &format!("chat-{number}")).expect("opens");
        // It is with its worker already.
        assert_eq!(route.open_session(&mut producer, &format!("chat-{number}")).expect("opens"), session);
        producer.emit(session, kinds::TOKEN, b"1 0").expect("emits");
    }
    let elsewhere = bus.route_to(require!("software.model=large")).open_session(&mut producer, "chat-0");
    assert!(matches!(elsewhere, Err(RouteError::Elsewhere { .. })), "{elsewhere:?}");
    // The next process would not know who is to do it.
    let unwritable = bus.route_to(pred!(not num_at_least "hardware.gpu.vram_gb", f64::NAN));
    let refused = unwritable.open_session(&mut producer, "chat-7");
    assert!(matches!(refused, Err(RouteError::Unwritable { .. })), "{refused:?}");
    let compared = bus.route_to(require!("hardware.gpu.vram_gb >= 48")).open_session(&mut producer, "chat-7");
    let reason = "no worker of this bus meets the requirement hardware.gpu.vram_gb >= 48";
    assert_eq!(compared.expect_err("none is so large").to_string(), reason);
    let other = open(tapeline::EventBusConfig::builder());
    let foreign = route.open_session(&mut other.producer().expect("a producer"), "chat-0");
    assert!(matches!(foreign, Err(RouteError::OtherBus)), "{foreign:?}");
    // Full, they say so once they have done something, and are asked again until they are not.
    moods.iter().for_each(|mood| mood.is_saturated.store(true, Ordering::Relaxed));
    for number in 0..6 {
        producer.emit(producer.session(&*format!("chat-{number}")), kinds::TOKEN, b"1 1").expect("emits");
    }
    let are_full = || bus.daemons().iter().filter(|daemon| daemon.saturation > 0.5).count() == 2;
    while !are_full() {
        std::thread::yield_now();
    }
    let refused = route.open_session(&mut producer, "chat-6").expect_err("they are full");
    let reason = "the workers that meet the requirement software.model=small take no further session at present";
    assert_eq!(refused.to_string(), reason);
    assert_eq!(block_on(bus.session("chat-6")).expect("looks"), None, "nothing of it is ingested");
    moods.iter().for_each(|mood| mood.is_saturated.store(false, Ordering::Relaxed));
    while let Err(error) = route.open_session(&mut producer, "chat-6") {
        assert!(matches!(error, RouteError::Saturated { .. }), "{error}");
        std::thread::yield_now();
    }
    for worker in workers {
        assert!(worker.drain(Duration::from_secs(60)).join().is_clean());
    }
    let mut done = BTreeMap::<_, BTreeSet<_>>::new();
    for output in outputs(&bus) {
        done.entry(output.worker).or_default().insert(output.session);
    }
    let counts: Vec<_> = done.iter().map(|(worker, sessions)| (worker.as_str(), sessions.len())).collect();
    assert_eq!(counts, [("first", 3), ("second", 3)]);
}

#[test]
fn workers_read_their_own_bus_and_all_of_it() {
    let (bus, scratch) = (open(tapeline::EventBusConfig::builder()), Scratch::new("workers-follow"));
    let follow = bus.start_daemon(Echo::new("worker", 0), DaemonOptions::new().worker().follow(scratch.path()));
    assert!(matches!(follow, Err(DaemonRefused::Worker { .. })), "{follow:?}");
    let on_shard = bus.start_daemon_on(0, Echo::new("worker", 0), DaemonOptions::new().worker());
    assert!(matches!(on_shard, Err(DaemonRefused::Worker { .. })), "{on_shard:?}");
}

#[test]
fn sources_that_a_worker_does_not_take_are_not_routed_to_it() {
    struct Picky(Echo);
    impl Daemon for Picky {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn capabilities(&self) -> CapabilitySet {
            self.0.capabilities()
        }
        fn requirements(&self) -> Vec<RequiredCapability> {
            vec![require!("hardware.gpu=h100")]
        }
        fn process(&mut self, event: &StoredEvent) -> DaemonResult {
            if event.kind == kinds::TOKEN { self.0.process(event) } else { Ok(Vec::new()) }
        }
    }
    let bus = open(tapeline::EventBusConfig::builder());
    let worker = bus.start_daemon(Picky(Echo::new("worker", 0)), DaemonOptions::new().worker()).expect("starts");
    let (mut producer, route) = (bus.producer().expect("a producer"), bus.route_to(small()));
    let refused = route.open_session(&mut producer, "chat-0");
    assert!(matches!(refused, Err(RouteError::NoWorker { .. })), "{refused:?}");
    let source = SessionMetadata::new().tag("hardware.gpu=h100".parse().expect("a tag"));
    let session = route.open_session_with(&mut producer, "chat-0", &source).expect("opens");
    let ticket = producer.emit(session, kinds::TOKEN, b"1 0").expect("emits");
    block_on(producer.durable(ticket)).expect("durable");
    assert!(worker.drain(Duration::from_secs(60)).join().is_clean());
    check(&outputs(&bus), 1, |_, _| false);
}

/// A requirement alone asks for no worker, whatever process looks.
#[test]
fn sessions_that_are_not_routed_are_no_workers_work() {
    let scratch = Scratch::in_memory("workers-not-routed");
    for run in 0..2 {
        let bus = open(scratch.config());
        let worker = bus.start_daemon(Echo::new("worker", run), DaemonOptions::new().worker()).expect("starts");
        let mut producer = bus.producer().expect("a producer");
        let session = producer.open_session_with("plain", &SessionMetadata::new().requires(small())).expect("opens");
        producer.emit(session, kinds::TOKEN, b"1 0").expect("emits");
        let session = bus.route_to(small()).open_session(&mut producer, &format!("routed-{run}")).expect("opens");
        producer.emit(session, kinds::TOKEN, b"1 0").expect("emits");
        block_on(producer.flush()).expect("durable");
        assert!(worker.drain(Duration::from_secs(60)).join().is_clean());
        check(&outputs(&bus), run + 1, |_, _| true);
        drop(producer);
        block_on(bus.shutdown()).expect("ends");
    }
}

/// A worker that the test polls, and its mood.
fn polled(bus: &EventBus, echo: Echo) -> (Pin<Box<dyn Future<Output = DaemonEnd>>>, Arc<Mood>) {
    let mood = Arc::clone(&echo.mood);
    let (daemon, _) = block_on(bus.daemon(echo, DaemonOptions::new().worker())).expect("starts");
    (Box::pin(daemon.run()), mood)
}

/// Polls a worker until there are so many outputs.
fn poll_until(worker: &mut Pin<Box<dyn Future<Output = DaemonEnd>>>, bus: &EventBus, count: usize) {
    let mut context = Context::from_waker(Waker::noop());
    let patience = Instant::now() + Duration::from_secs(60);
    while outputs(bus).len() < count && Instant::now() < patience {
        assert!(worker.as_mut().poll(&mut context).is_pending());
    }
}

/// Polls a worker so often that it would have taken a session.
fn poll_in_vain(worker: &mut Pin<Box<dyn Future<Output = DaemonEnd>>>) {
    let mut context = Context::from_waker(Waker::noop());
    (0..200).for_each(|_| assert!(worker.as_mut().poll(&mut context).is_pending()));
}

#[test]
fn worker_is_asked_before_it_is_given_its_first_session() {
    let moods: [fn(&Mood) -> &AtomicBool; 2] = [|mood| &mood.is_saturated, |mood| &mood.is_unhealthy];
    for takes_none in moods {
        let scratch = Scratch::new("workers-full");
        let config = || scratch.config().segment_bytes(2 << 20);
        let bus = open(config());
        let early = bus.start_daemon(Echo::new("early", 0), DaemonOptions::new().worker()).expect("starts");
        let (mut producer, route) = (bus.producer().expect("a producer"), bus.route_to(small()));
        let session = route.open_session(&mut producer, "chat-0").expect("opens");
        producer.emit(session, kinds::TOKEN, b"1 0").expect("emits");
        block_on(producer.flush()).expect("durable");
        assert!(early.drain(Duration::from_secs(60)).join().is_clean());
        producer.emit(session, kinds::TOKEN, b"1 1").expect("emits");
        drop((producer, route));
        block_on(bus.shutdown()).expect("ends");
        // A session waits now, also for the first worker of a process.
        let bus = open(config());
        let late = Echo::new("late", 1);
        takes_none(&late.mood).store(true, Ordering::Relaxed);
        let (mut late, mood) = polled(&bus, late);
        let (mut producer, route) = (bus.producer().expect("a producer"), bus.route_to(small()));
        let refused = route.open_session(&mut producer, "chat-1");
        assert!(matches!(refused, Err(RouteError::Saturated { .. })), "{refused:?}");
        poll_in_vain(&mut late);
        assert_eq!(outputs(&bus).len(), 1, "it has taken the session");
        takes_none(&mood).store(false, Ordering::Relaxed);
        poll_until(&mut late, &bus, 2);
        check(&outputs(&bus), 2, |_, _| true);
        route.open_session(&mut producer, "chat-1").expect("it is free");
    }
}

#[test]
fn worker_is_asked_before_it_takes_a_session_over() {
    let bus = open(tapeline::EventBusConfig::builder());
    let ((first, _), (mut second, mood)) = (polled(&bus, Echo::new("first", 0)), polled(&bus, Echo::new("second", 0)));
    let mut producer = bus.producer().expect("a producer");
    let session = bus.route_to(small()).open_session(&mut producer, "chat-0").expect("opens");
    producer.emit(session, kinds::TOKEN, b"1 0").expect("emits");
    block_on(producer.flush()).expect("durable");
    // It has said that it is free, and nothing has happened to it since.
    mood.is_saturated.store(true, Ordering::Relaxed);
    drop(first);
    poll_in_vain(&mut second);
    assert_eq!(outputs(&bus).len(), 0, "it has taken the session");
    mood.is_saturated.store(false, Ordering::Relaxed);
    poll_until(&mut second, &bus, 1);
    check(&outputs(&bus), 1, |_, _| true);
}

#[test]
fn idle_worker_that_becomes_full_is_given_none() {
    let bus = open(tapeline::EventBusConfig::builder());
    let echo = Echo::new("worker", 0);
    let mood = Arc::clone(&echo.mood);
    let worker = bus.start_daemon(echo, DaemonOptions::new().worker()).expect("starts");
    mood.is_saturated.store(true, Ordering::Relaxed);
    while worker.stats().saturation < 0.5 {
        std::thread::yield_now();
    }
    let refused = bus.route_to(small()).open_session(&mut bus.producer().expect("a producer"), "chat-0");
    assert!(matches!(refused, Err(RouteError::Saturated { .. })), "{refused:?}");
}

#[test]
fn saturation_that_is_none_counts_as_full_and_is_told() {
    struct Odd(f32);
    impl Daemon for Odd {
        fn name(&self) -> &str {
            "odd"
        }
        fn capabilities(&self) -> CapabilitySet {
            Echo::new("odd", 0).capabilities()
        }
        fn process(&mut self, _: &StoredEvent) -> DaemonResult {
            Ok(Vec::new())
        }
        fn saturation(&self) -> Option<f32> {
            Some(self.0)
        }
    }
    for saturation in [f32::NAN, -0.5, 1.5, f32::INFINITY, f32::NEG_INFINITY] {
        let bus = open(tapeline::EventBusConfig::builder());
        let worker = bus.start_daemon(Odd(saturation), DaemonOptions::new().worker()).expect("starts");
        let refused = bus.route_to(small()).open_session(&mut bus.producer().expect("a producer"), "chat-0");
        assert!(matches!(refused, Err(RouteError::Saturated { .. })), "{saturation}: {refused:?}");
        let stats = worker.stats();
        assert!(stats.saturation.to_bits() == 1.0_f32.to_bits(), "{stats:?}");
        let DaemonHealth::Degraded { reason } = &stats.health else { panic!("{stats:?}") };
        assert!(reason.contains(&format!("its saturation is {saturation}, no number from 0 to 1")), "{reason}");
        assert!(bus.prometheus().contains("tapeline_daemon_saturation{daemon=\"odd\"} 1"));
        let _ = worker.stop().join();
    }
    for saturation in [0.0, -0.0, 0.5] {
        let bus = open(tapeline::EventBusConfig::builder());
        let worker = bus.start_daemon(Odd(saturation), DaemonOptions::new().worker()).expect("starts");
        assert!(worker.stats().health.is_healthy());
        let mut producer = bus.producer().expect("a producer");
        bus.route_to(small()).open_session(&mut producer, "chat-0").expect("it is free");
    }
}

/// The worker that had the session dies without a word, with outputs in the log and events that it has not processed.
#[test]
fn session_of_a_dead_worker_goes_to_another_which_does_the_rest_once() {
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    let ((mut first, _), (mut second, _)) = (polled(&bus, Echo::new("first", 0)), polled(&bus, Echo::new("second", 0)));
    let mut producer = bus.producer().expect("a producer");
    let session = bus.route_to(small()).open_session(&mut producer, "chat-0").expect("opens");
    let mut emit = |range: std::ops::Range<u64>| {
        for number in range {
            producer.emit(session, kinds::TOKEN, format!("1 {number}").as_bytes()).expect("emits");
        }
        block_on(producer.flush()).expect("durable");
    };
    emit(0..10);
    poll_until(&mut first, &bus, 1);
    emit(10..20);
    poll_in_vain(&mut second);
    drop(first);
    poll_until(&mut second, &bus, 20);
    emit(20..30);
    poll_until(&mut second, &bus, 30);
    let outputs = outputs(&bus);
    check(&outputs, 30, |worker, _| worker == "first");
    let of_first = outputs.iter().filter(|done| done.worker == "first").count();
    assert!((1..=10).contains(&of_first), "{outputs:?}");
    assert!(outputs[of_first..].iter().all(|done| done.worker == "second"), "{outputs:?}");
}
