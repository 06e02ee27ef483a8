//! A schedule: some lives of a bus on one log, one after the other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use tapeline::config::{Driver, Durability};
use tapeline::consumer::Start;
use tapeline::log::trim_log;
use tapeline::retention::RetentionPolicy;
use tapeline::seam::{self, Machine, Step};
use tapeline::{
    BackpressureMode, ConsumeRequest, EventBus, EventBusConfig, IngestionError, LogFiles, RawEvent, ScalingPolicy,
    SubscribeRequest,
};
use tapeline_storage::device::sim::Random;

use super::drops::{Part, drop_all};
use super::ledger::{Expect, Ledger, Reader, Stream, payload};
use super::producers::{self, Trouble};
use super::scarcity::{self, Scarce, Shortage};
use super::surroundings::{Belongings, Busy, Fork, Limit, TASKS, eventually};
use super::{clocks, memory, neighbour, openings, victim, wakers};
use crate::runner::{ON_PURPOSE, directory, note, step};

type Outcome = Result<(), String>;

/// Runs the schedule of a seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    memory::stock();
    let machine = (random.below(3) == 0).then(Machine::replace_real);
    let path = directory(random.below(2) == 0);
    // What a process keeps once it had a bus is there before.
    drop(block_on(EventBus::new(EventBusConfig::default())).map_err(|error| error.to_string())?);
    let before = Belongings::now();
    lives(&path, &before, machine, &mut random)
}

pub(crate) fn configuration(path: &Path, random: &mut Random) -> EventBusConfig {
    let shards = 1 + random.below(3) as u16;
    let mut config = EventBusConfig::builder()
        .directory(path)
        .num_shards(shards)
        .durability([Durability::Durable, Durability::PageCache][random.below(2) as usize])
        .driver([Driver::Auto, Driver::Blocking][random.below(2) as usize])
        .segment_bytes(2 << 20)
        .memory_bytes(4 << 20)
        .lane_bytes(64 << (10 + random.below(3)))
        .ring_buffer_capacity(1024)
        .memory_budget(64 << 20);
    if random.below(2) == 0 {
        config = config.backpressure_mode(BackpressureMode::Block { deadline: Duration::from_secs(30) });
    }
    if random.below(4) == 0 {
        let policy = ScalingPolicy { max_shards: 3, cooldown: Duration::from_millis(1), ..ScalingPolicy::default() };
        config = config.scaling(policy);
    }
    config.build().expect("a configuration")
}

fn lives(path: &Path, before: &Belongings, machine: Option<&'static Machine>, random: &mut Random) -> Outcome {
    let ledger = Ledger::default();
    let mut words = Vec::new();
    for number in 0..1 + random.below(3) {
        let busy = match random.below(3) {
            0 => Busy::start(1 + random.below(4), random.below(2) == 0),
            _ => Busy::default(),
        };
        if path.exists() && random.below(3) == 0 {
            openings::fail(path, &configuration(path, random), random)?;
        }
        if random.below(6) == 0 {
            words.push(format!("{number}: killed"));
            note(&words.join("; "));
            victim::kill_one(path, &ledger, &format!("killed-{number}"), random)?;
            ledger.check(path, Expect::Acknowledged)?;
            let bus = open(configuration(path, random))?;
            drop(bus);
            ledger.adopt(path)?;
        }
        let config = configuration(path, random);
        let mut life = Life { machine, ..Life::open(path, &ledger, number, config)? };
        words.push(format!("{number}: {:?}", life.config_words()));
        note(&words.join("; "));
        for _ in 0..random.below(9) {
            life.act(random)?;
        }
        let expect = life.end(random)?;
        drop(busy);
        step("nothing is left");
        before.are_all()?;
        step("compare");
        ledger.check(path, expect)?;
        if expect == Expect::Acknowledged {
            step("recover");
            drop(open(configuration(path, random))?);
            ledger.check(path, expect)?;
            ledger.adopt(path)?;
        }
        step("the lock is free");
        // A tidying thread that a shutdown abandoned has it until it gets a core.
        eventually(|| {
            let trimmed = trim_log(path, &RetentionPolicy::new().max_bytes(u64::MAX));
            trimmed.err().map(|error| format!("not free: {error}"))
        })?;
    }
    step("verify");
    let files = LogFiles::open(path).map_err(|error| error.to_string())?;
    let damage = files.verify(|_| {}).damage;
    if damage.is_empty() { Ok(()) } else { Err(format!("{damage:?}")) }
}

/// Threads of an opening that was abandoned, or the ring of a process that was killed, may hold the lock for a while.
pub(crate) fn open(config: EventBusConfig) -> Result<EventBus, String> {
    step("open");
    let mut opened = None;
    eventually(|| {
        let outcome = block_on(EventBus::new(config.clone()));
        let is_held = outcome.as_ref().err().filter(|error| error.is_retryable()).map(|error| format!("held: {error}"));
        opened = Some(outcome);
        is_held
    })?;
    opened
        .map_or_else(|| Err("no outcome".into()), |outcome| outcome.map_err(|error| format!("does not open: {error}")))
}

/// One life of a bus.
struct Life<'l> {
    bus: Arc<EventBus>,
    path: &'l Path,
    ledger: &'l Ledger,
    number: u64,
    streams: u64,
    trouble: Trouble,
    producers: Vec<std::thread::JoinHandle<Outcome>>,
    parts: Vec<Part>,
    forks: Vec<Fork>,
    /// A thread reads until the bus ends.
    is_followed: bool,
    memory_at_rest: u64,
    /// The machine whose clocks the process has, if they can be set.
    machine: Option<&'static Machine>,
}

impl<'l> Life<'l> {
    fn open(path: &'l Path, ledger: &'l Ledger, number: u64, config: EventBusConfig) -> Result<Self, String> {
        let bus = Arc::new(open(config)?);
        Ok(Self {
            memory_at_rest: bus.stats().memory_bytes,
            bus,
            path,
            ledger,
            number,
            streams: 0,
            trouble: Trouble::default(),
            producers: Vec::new(),
            parts: Vec::new(),
            forks: Vec::new(),
            is_followed: false,
            machine: None,
        })
    }

    fn config_words(&self) -> String {
        let shard = &self.bus.shard_stats()[0];
        format!("{} shards, {}", self.bus.num_shards(), shard.device)
    }

    fn stream(&mut self) -> Arc<Stream> {
        self.streams += 1;
        self.ledger.stream(format!("{}-{}", self.number, self.streams))
    }

    fn act(&mut self, random: &mut Random) -> Outcome {
        match random.below(22) {
            0..=3 => self.start_producers(random),
            4 => self.ingest(random)?,
            5 => self.flush()?,
            6 => self.task(random)?,
            7 => self.read(random)?,
            8 => self.curse_a_waker(random)?,
            9 => self.fork(random)?,
            10 => self.few_descriptors(random)?,
            11 => self.scale(random),
            12 => self.second_opener()?,
            13 => self.trim(random)?,
            14 => self.keep_a_part(random),
            15 => self.spoil(random)?,
            16 => self.many_producers()?,
            17 | 18 => self.scarcity(random)?,
            19 => self.happen(random)?,
            20 => self.neighbour()?,
            _ => self.lose_a_thread(random)?,
        }
        Ok(())
    }

    fn start_producers(&mut self, random: &mut Random) {
        step("start producers");
        for _ in 0..1 + random.below(3) {
            let stream = self.stream();
            self.producers.extend(producers::spawn(&self.bus, stream, random.next_u64(), self.trouble.clone()));
        }
    }

    /// By the calling thread's own producer, or by that of a thread that ends.
    fn ingest(&mut self, random: &mut Random) -> Outcome {
        step("ingest");
        let (stream, bus, count) = (self.stream(), Arc::clone(&self.bus), random.below(300));
        let work = move || {
            for number in 0..count {
                let event = || RawEvent::from_bytes(payload(number)).with_session(stream.name.as_str());
                match bus.ingest_raw(event()) {
                    Ok(_) => stream.take(1),
                    Err(IngestionError::Backpressure { .. } | IngestionError::Budget { .. }) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            Ok(())
        };
        let outcome = match random.below(2) {
            0 => work(),
            _ => std::thread::spawn(work).join().unwrap_or(Ok(())),
        };
        self.forgive(outcome)
    }

    /// A failure that the schedule brought about is none.
    fn forgive(&self, outcome: Outcome) -> Outcome {
        if self.trouble.is_here() { Ok(()) } else { outcome }
    }

    fn flush(&mut self) -> Outcome {
        step("flush");
        let taken = self.ledger.taken();
        match producers::through_shortages(|| block_on(self.bus.flush())) {
            Ok(()) => {
                Ledger::acknowledge(taken);
                Ok(())
            }
            Err(error) => self.forgive(Err(format!("flush: {error}"))),
        }
    }

    /// Work on a shard's thread: it ends, panics, or goes on for as long as the bus does.
    fn task(&mut self, random: &mut Random) -> Outcome {
        step("a task on a shard");
        let shard = random.below(u64::from(self.bus.num_shards())) as u16;
        TASKS.fetch_add(1, Ordering::Relaxed);
        let (kind, stream) = (random.below(4), self.stream());
        let task = self.bus.run_on_shard(shard, move |mut context| async move {
            let session = context.session(stream.name.as_str());
            for number in 0..200 {
                if context.emit(session, tapeline::kinds::TOKEN, &payload(number)).is_err() {
                    break;
                }
                stream.take(1);
                context.yield_now().await;
            }
            match kind {
                0 => std::panic::panic_any(format!("{ON_PURPOSE}: a task")),
                1 => std::future::pending::<()>().await,
                _ => {}
            }
        });
        let task = match task {
            Ok(task) => task,
            Err(error) => return self.forgive(Err(format!("run_on_shard: {error}"))),
        };
        if kind == 1 {
            self.parts.push(Box::new(task));
            return Ok(());
        }
        match (task.join(), kind) {
            (Err(tapeline::error::TaskError::Panicked(_)), 0) | (Ok(()), 2 | 3) => Ok(()),
            (outcome, _) => self.forgive(Err(format!("a task of kind {kind} ended with {outcome:?}"))),
        }
    }

    /// A reader from the beginning to what there is now, or to the end of the bus.
    fn read(&mut self, random: &mut Random) -> Outcome {
        step("a reader");
        let subscription = block_on(self.bus.subscribe(SubscribeRequest::new()));
        let mut events = match subscription {
            Ok(events) => events,
            Err(error) => return self.forgive(Err(format!("subscribe: {error}"))),
        };
        let mut reader = Reader::default();
        if random.below(2) == 0 {
            while let Some(event) = events.try_next() {
                match event {
                    Ok(event) => reader.take(&event)?,
                    Err(error) => {
                        self.forgive(Err(format!("a reader: {error}")))?;
                        break;
                    }
                }
            }
            self.parts.push(Box::new(events));
            return Ok(());
        }
        let mut events = events.blocking();
        self.producers.push(std::thread::spawn(move || {
            for event in &mut events {
                match event {
                    Ok(event) => reader.take(&event)?,
                    // A shard that is poisoned ends its readers with an error.
                    Err(_) => return Ok(()),
                }
            }
            Ok(())
        }));
        self.is_followed = true;
        Ok(())
    }

    /// A waker of a user's executor that panics at one of the calls to it.
    fn curse_a_waker(&mut self, random: &mut Random) -> Outcome {
        let call = wakers::draw(random);
        step(&format!("a waker that panics at {call:?}"));
        let subscription = block_on(self.bus.subscribe(SubscribeRequest::live()));
        let Ok(mut events) = subscription else { return Ok(()) };
        wakers::poll(std::pin::pin!(events.next()), call);
        self.parts.push(Box::new(events));
        let request = ConsumeRequest::new(10).start(Start::Latest).wait(Duration::from_secs(1));
        wakers::poll(std::pin::pin!(self.bus.poll(request)), call);
        wakers::poll(std::pin::pin!(self.bus.flush()), call);
        let stream = self.stream();
        let Ok(mut producer) = self.bus.producer() else { return Ok(()) };
        let session = producer.session(stream.name.as_str());
        if let Ok(ticket) = producer.emit(session, tapeline::kinds::TOKEN, &payload(0)) {
            stream.take(1);
            wakers::poll(std::pin::pin!(producer.durable(ticket)), call);
        }
        self.parts.push(Box::new(producer));
        Ok(())
    }

    /// The process runs out of descriptors or memory in the middle of calls; afterwards everything goes on.
    fn scarcity(&mut self, random: &mut Random) -> Outcome {
        let stream = self.stream();
        for _ in 0..1 + random.below(6) {
            let scarce = Scarce::draw(random);
            step(&format!("{scarce:?} to spare"));
            let shortage = Shortage::begin(scarce);
            let part = scarcity::ask(&self.bus, &shortage, &stream, random);
            if random.below(2) == 0 {
                drop(shortage);
            }
            if random.below(4) == 0 {
                self.parts.extend(part);
            }
        }
        self.flush()?;
        self.forgive(scarcity::is_over(&self.bus))
    }

    /// The machine is suspended, or becomes another one.
    fn happen(&mut self, random: &mut Random) -> Outcome {
        let Some(machine) = self.machine else { return Ok(()) };
        step("the clocks jump");
        let may_be_ahead = clocks::happen(machine, random);
        self.start_producers(random);
        let request = ConsumeRequest::new(10).start(Start::Latest).wait(Duration::from_millis(20));
        let page = block_on(self.bus.poll(request)).map(drop).map_err(|error| format!("poll: {error}"));
        self.forgive(page)?;
        self.flush()?;
        if may_be_ahead || random.below(2) == 0 {
            return Ok(());
        }
        step("the clock keeps up");
        self.forgive(clocks::keep_up(machine))
    }

    fn neighbour(&mut self) -> Outcome {
        if self.trouble.is_here() { Ok(()) } else { neighbour::visit(self.path, self.ledger) }
    }

    /// A thread of the bus panics: everyone who waits learns of it, and nothing is acknowledged after it.
    fn lose_a_thread(&mut self, random: &mut Random) -> Outcome {
        let lost = [Step::Turn, Step::Turn, Step::Chore, Step::ChoreDone, Step::ShardEnd][random.below(5) as usize];
        step(&format!("a thread panics: {lost:?}"));
        self.trouble.begin();
        seam::plan(self.bus.log_id(), lost, || std::panic::panic_any(format!("{ON_PURPOSE}: a thread of the bus")));
        self.start_producers(random);
        self.ingest(random)?;
        self.flush()?;
        if random.below(2) == 0 { self.task(random) } else { Ok(()) }
    }

    fn fork(&mut self, random: &mut Random) -> Outcome {
        step("fork");
        if random.below(2) == 0 {
            self.forks.push(Fork::start(|| None));
            return Ok(());
        }
        let bus = Arc::clone(&self.bus);
        let child = Fork::start(move || {
            let is_refused = matches!(bus.ingest_raw(RawEvent::from_str("child")), Err(IngestionError::Forked))
                && matches!(bus.producer(), Err(IngestionError::Forked))
                && block_on(bus.flush()).is_err()
                && bus.run_on_shard(0, |_| async {}).is_err();
            drop(bus);
            Some(is_refused)
        });
        child.outcome()
    }

    /// The process runs out of descriptors while events come; afterwards everything goes on.
    fn few_descriptors(&mut self, random: &mut Random) -> Outcome {
        step("few descriptors");
        let shortage = Shortage::begin(Scarce::Descriptors(random.below(4)));
        self.start_producers(random);
        let stream = self.stream();
        let mut producer = match self.bus.producer() {
            Ok(producer) => producer,
            Err(error) => return self.forgive(Err(error.to_string())),
        };
        let session = producer.session(stream.name.as_str());
        // A producer waits for room, which comes once the shard has another segment.
        shortage.pass();
        for number in 0..random.below(20_000) {
            match producer.emit(session, tapeline::kinds::TOKEN, &payload(number)) {
                Ok(_) => stream.take(1),
                Err(_) => break,
            }
        }
        drop(shortage);
        step("descriptors are there again");
        self.flush()
    }

    fn scale(&mut self, random: &mut Random) {
        step("scale");
        let _ = match random.below(2) {
            0 => block_on(self.bus.manual_scale_up(1)),
            _ => block_on(self.bus.manual_scale_down(1)),
        };
    }

    fn second_opener(&mut self) -> Outcome {
        step("a second opener");
        let config = EventBusConfig::builder().directory(self.path).build().expect("a configuration");
        match block_on(EventBus::new(config)) {
            Ok(_) => Err("two have the log open".into()),
            Err(error) if error.is_retryable() => Ok(()),
            Err(error) => Err(format!("a second opener gets: {error}")),
        }
    }

    fn trim(&mut self, random: &mut Random) -> Outcome {
        step("trim nothing");
        let policy = RetentionPolicy::new().max_segments(10_000 + random.below(2) as usize);
        let outcome = block_on(self.bus.trim(&policy)).map(drop).map_err(|error| format!("trim: {error}"));
        self.forgive(outcome)
    }

    /// Something of the bus that is dropped with it.
    fn keep_a_part(&mut self, random: &mut Random) {
        step("keep a part");
        let part: Option<Part> = match random.below(4) {
            0 => self.bus.producer().ok().map(|producer| Box::new(producer) as Part),
            1 => block_on(self.bus.subscribe(SubscribeRequest::live())).ok().map(|events| Box::new(events) as Part),
            2 => block_on(self.bus.poll(ConsumeRequest::new(10))).ok().map(|page| Box::new(page) as Part),
            _ => {
                let bus = Arc::clone(&self.bus);
                let mut flush = Box::pin(async move { bus.flush().await });
                let _ = block_on(poll_once(&mut flush));
                Some(Box::new(flush))
            }
        };
        self.parts.extend(part);
    }

    /// Producers until memory is short; with them gone it is there again.
    fn many_producers(&mut self) -> Outcome {
        step("many producers");
        let mut producers = Vec::new();
        for number in 0..400u128 {
            let Ok(mut producer) = self.bus.producer() else { break };
            let session = producer.session(number + 1);
            match producer.emit(session, tapeline::kinds::TOKEN, b"{}") {
                Ok(_) => producers.push(producer),
                Err(IngestionError::Budget { .. }) => break,
                Err(error) => return self.forgive(Err(format!("producer {number}: {error}"))),
            }
        }
        Ok(())
    }

    /// The kernel refuses to write beyond some place of each file, for a while: the log of a shard may be poisoned.
    fn spoil(&mut self, random: &mut Random) -> Outcome {
        step("writes fail");
        self.trouble.begin();
        let limit = Limit::file_bytes(random.below(1 << 20));
        self.start_producers(random);
        self.flush()?;
        drop(limit);
        self.flush()
    }

    /// Ends the bus in one of many ways. Returns what must be in the log.
    fn end(mut self, random: &mut Random) -> Result<Expect, String> {
        let mut expect = if self.trouble.is_here() { Expect::Acknowledged } else { Expect::Everything };
        if random.below(2) == 0 && !self.is_followed {
            self.join_producers()?;
            self.rest(random)?;
        }
        if random.below(2) == 0 {
            step("shut down");
            match block_on(self.bus.shutdown_via_ref()) {
                Ok(()) => expect = Expect::Everything,
                Err(error) => self.forgive(Err(format!("shutdown: {error}")))?,
            }
            self.join_producers()?;
            if !self.bus.stats().is_balanced() {
                self.forgive(Err(format!("the books after the end: {:?}", self.bus.stats())))?;
            }
        }
        let Self { bus, producers, parts, forks, .. } = self;
        let log = bus.log_id();
        drop_all(bus, parts, random);
        step("join producers");
        producers.into_iter().try_for_each(join)?;
        seam::forget(log);
        // A child that lives on keeps nothing: the next opening finds the log free. It ends with this process.
        std::mem::forget(forks);
        Ok(expect)
    }

    fn join_producers(&mut self) -> Outcome {
        step("join producers");
        std::mem::take(&mut self.producers).into_iter().try_for_each(join)
    }

    /// Nothing is being ingested: the books add up, and lanes without a producer are gone.
    fn rest(&mut self, random: &mut Random) -> Outcome {
        step("at rest");
        self.flush()?;
        let stats = self.bus.stats();
        if !stats.is_balanced() {
            return self.forgive(Err(format!("the books at rest: {stats:?}")));
        }
        if !self.parts.is_empty() || random.below(2) == 0 {
            return Ok(());
        }
        step("memory is back");
        let most = self.memory_at_rest + (12 << 20);
        let bus = Arc::clone(&self.bus);
        eventually(|| {
            let taken =
                (1..=20u128).all(|session| bus.ingest_raw(RawEvent::from_str("x").with_session(session)).is_ok());
            let flushed = block_on(bus.flush()).is_ok();
            let memory = bus.stats().memory_bytes;
            (taken && flushed && memory > most).then(|| format!("{memory} bytes of memory at rest, {most} expected"))
        })
    }
}

fn join(thread: std::thread::JoinHandle<Outcome>) -> Outcome {
    // The hook reports a panic that was not meant.
    thread.join().unwrap_or(Ok(()))
}
