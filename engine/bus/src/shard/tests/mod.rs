//! The simulation host: shards, lanes and logs of a simulated machine on one thread, from one seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tapeline_reader::timestamp::Clock;
use tapeline_storage::device::Doorbell;
use tapeline_storage::device::sim::{Faults, Random, SimDisk};
use tapeline_storage::format::{Eras, Kind, LogId, LogShard, Sequence};
use tapeline_storage::log::{BatchOptions, Chore, ChoreDone, LogMemory, LogOptions, LogView, recover};
use tapeline_storage::read::{LogReader, Step, open_shard};

use tapeline_testing::{asked, seeds};

use super::facts::ShardReport;
use super::{Background, Shard, ShardControl};
use crate::bus_core::{BusCore, LogIdentity, LogLifetime, OpenedLog};
use crate::core::budget::{MemoryBudget, MemoryShare};
use crate::core::config::{EventBusConfig, LimitsConfig};
use crate::core::error::IngestionError;
use crate::ingest::{Producer, ProducerOptions, Ticket};
use crate::live::Pages;

mod books;
mod closing;
mod moves;
mod readers;
mod relays;
mod retention;
mod shortage;
mod taps;

const LOG: LogId = LogId([9; 16]);
const SESSIONS: u64 = 4;

/// Runs chores on the simulated thread, a turn later.
#[derive(Default)]
struct Inline(VecDeque<Chore>);

impl Background for Inline {
    fn run(&mut self, chore: Chore) {
        self.0.push_back(chore);
    }

    fn done(&mut self) -> Option<ChoreDone> {
        Some(self.0.pop_front()?.run())
    }
}

/// The events of a producer in one session: the ticket of each, and the number of those acknowledged.
#[derive(Default)]
struct Said {
    tickets: Vec<Ticket>,
    acknowledged: usize,
}

struct Machine {
    disk: SimDisk,
    core: Arc<BusCore>,
    pages: Arc<Pages>,
    shards: Vec<Shard<Inline>>,
    producers: Vec<Producer>,
    said: BTreeMap<(u64, u64), Said>,
    now: u64,
}

fn directory_name(shard: u16) -> String {
    format!("shard-{shard:04}")
}

fn options(shard: u16, seed: u64) -> LogOptions {
    let small = LogOptions::new(LogShard::new(LOG, shard), seed);
    let batch = BatchOptions { events_min: 2, events_max: 6, delay_ns: 20_000, window_ns: Some(50_000) };
    LogOptions {
        segment_bytes: 20 * 4096,
        block_bytes: 4 * 4096,
        large_payload_bytes_max: 50_000,
        memory: LogMemory { blocks: 4, ..small.memory },
        batch,
        repack_saves_bytes: 4096,
        ..small
    }
}

/// Some openings of one log, of which each but the last may crash.
struct Openings {
    disk: SimDisk,
    seed: u64,
    shards: u16,
    count: u64,
}

impl Openings {
    fn is_last(&self, opening: u64) -> bool {
        opening + 1 == self.count
    }

    /// The machine of an opening, unless that crashes before there is one.
    fn start(&mut self, opening: u64, random: &mut Random) -> Option<Machine> {
        let crash_at = (!self.is_last(opening) && random.chance(7000)).then(|| 1 + random.below(120));
        self.disk = self.disk.reboot(Faults { crash_at, ..Faults::default() });
        // Another seed each time: epochs of two openings differ.
        Machine::start(&self.disk, self.seed.wrapping_mul(1000) + opening, self.shards)
    }

    /// Ends the machine in good order, or leaves it as it is. The last one ends in good order.
    fn end(&self, opening: u64, machine: &mut Machine, random: &mut Random) {
        if self.is_last(opening) || (machine.disk.is_on() && random.chance(5000)) {
            // The end of a shard waits for its device: it is to come.
            self.disk.set_faults(Faults::default());
            machine.finish();
        }
    }
}

impl Machine {
    fn start(disk: &SimDisk, seed: u64, shards: u16) -> Option<Self> {
        Self::start_with(disk, seed, shards, shards)
    }

    /// A machine with so many shards, of which so many take events.
    fn start_with(disk: &SimDisk, seed: u64, shards: u16, active: u16) -> Option<Self> {
        let start = |shard| {
            let recovered = recover(disk.directory(&directory_name(shard)), options(shard, seed)).ok()?;
            let log = recovered.start(Box::new(disk.device(4)));
            let doorbell = Doorbell::new().expect("doorbell");
            let view = Arc::clone(log.view());
            let control = ShardControl::new(view, doorbell, ShardReport::default(), MemoryShare::default());
            Some(Shard::new(Arc::new(control), log, Inline::default()))
        };
        let shards: Vec<_> = (0..shards).map(start).collect::<Option<_>>()?;
        let config = EventBusConfig {
            num_shards: active,
            limits: LimitsConfig { lane_bytes: 64 << 10, ring_buffer_capacity: 1024, ..LimitsConfig::default() },
            ..EventBusConfig::default()
        };
        let controls = shards.iter().map(|shard| Arc::clone(&shard.control)).collect();
        let lifetime = LogLifetime { created: 0, opened: Clock::global().now() };
        let log = OpenedLog { identity: LogIdentity { id: LOG, lifetime }, ..OpenedLog::default() };
        let memory = MemoryBudget::new(config.memory_budget());
        let core = Arc::new(BusCore::new(&config, memory, controls, log));
        let producers =
            (0..2).map(|_| Producer::new(Arc::clone(&core), ProducerOptions::new()).expect("producer")).collect();
        let pages = Arc::new(Pages::new(Arc::clone(&core)));
        Some(Self { disk: disk.clone(), core, pages, shards, producers, said: BTreeMap::new(), now: 1 })
    }

    /// One random thing happens.
    fn step(&mut self, random: &mut Random) {
        match random.below(10) {
            0..=4 => self.speak(random),
            5..=8 => self.turn(random),
            _ => self.look(),
        }
    }

    /// Some shard makes a turn.
    fn turn(&mut self, random: &mut Random) {
        let at = random.below(self.shards.len() as u64) as usize;
        self.now += 1_000 + random.below(10_000);
        self.shards[at].turn(self.now);
        if random.chance(3000) {
            self.shards[at].nap(self.now, std::time::Duration::ZERO);
        }
    }

    /// All shards end in good order.
    fn finish(&mut self) {
        let mut now = self.now;
        for shard in &mut self.shards {
            shard.finish(|| {
                now += 1_000_000;
                now
            });
            shard.control().set_stopped();
        }
        self.now = now;
    }

    fn speak(&mut self, random: &mut Random) {
        let who = random.below(self.producers.len() as u64);
        let session = 1 + random.below(SESSIONS);
        let said = self.said.entry((who, session)).or_default();
        let mut payload = [who, session, said.tickets.len() as u64].map(u64::to_le_bytes).concat();
        // One in thirty does not fit the lane, and gets a block for itself.
        let bytes = if random.chance(333) { 33_000 + random.below(12_000) } else { 24 + random.below(2000) };
        payload.resize(bytes as usize, who as u8);
        let producer = &mut self.producers[who as usize];
        let token = producer.session(u128::from(session));
        match producer.emit(token, Kind(who as u16), &payload) {
            Ok(ticket) => said.tickets.push(ticket),
            Err(IngestionError::Backpressure { .. } | IngestionError::Poisoned(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Notes what is acknowledged.
    fn look(&mut self) {
        for ((who, _), said) in &mut self.said {
            let producer = &self.producers[*who as usize];
            said.acknowledged = said.tickets.iter().take_while(|ticket| producer.is_durable(**ticket)).count();
        }
    }
}

/// The numbers each producer's events have in each session, in the order they are found.
fn found(views: &[Arc<LogView>]) -> BTreeMap<(u64, u64), Vec<u64>> {
    let mut found: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
    for view in views {
        let mut reader = LogReader::new(Arc::clone(view), Sequence::ZERO);
        while let Step::Block(block) = reader.step().expect("reads") {
            for record in block.records() {
                let record = record.expect("record");
                let number = |at: usize| u64::from_le_bytes(record.payload()[at..at + 8].try_into().expect("a number"));
                assert_eq!((record.session().0 as u64, u64::from(record.kind().0)), (number(8), number(0)));
                assert!(record.payload()[24..].iter().all(|&byte| byte == number(0) as u8), "part of an event");
                found.entry((number(0), number(8))).or_default().push(number(16));
            }
        }
    }
    found
}

/// Runs a seeded machine until its power fails; everything acknowledged must be found, once and in order.
fn crash(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let shards = 1 + random.below(2) as u16;
    let faults = Faults { crash_at: Some(1 + random.below(150)), ..Faults::default() };
    let disk = SimDisk::new(seed, faults);
    let mut said = BTreeMap::new();
    if let Some(mut machine) = Machine::start(&disk, seed, shards) {
        for _ in 0..400 {
            machine.step(&mut random);
            if !machine.disk.is_on() {
                break;
            }
        }
        machine.look();
        said = machine.said;
    }
    let disk = disk.reboot(Faults::default());
    // Half of the machines are looked at as they lie, half after recovery.
    let views: Vec<_> = (0..shards)
        .map(|shard| {
            if random.chance(5000) {
                open_shard(&disk.directory(&directory_name(shard)), LogShard::new(LOG, shard)).expect("reads").0
            } else {
                let directory = disk.directory(&directory_name(shard));
                Arc::clone(recover(directory, options(shard, seed + 1)).expect("recovers").view())
            }
        })
        .collect();
    let found = found(&views);
    for (key, numbers) in &found {
        let said = said.get(key).unwrap_or_else(|| panic!("seed {seed}: {key:?} never spoke"));
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "seed {seed}: {key:?} out of order: {numbers:?}");
        assert!(numbers.len() <= said.tickets.len(), "seed {seed}: {key:?} invented");
    }
    for (key, said) in &said {
        let found = found.get(key).map_or(0, Vec::len);
        assert!(
            said.acknowledged <= found,
            "seed {seed}: {key:?} lost: {} acknowledged, {found} found",
            said.acknowledged
        );
    }
    said.values().map(|said| said.acknowledged).sum()
}

#[test]
fn crashes_lose_nothing_acknowledged_invent_nothing_and_keep_order() {
    let rounds = asked("TAPELINE_CRASHES").unwrap_or(2000);
    let acknowledged: usize = seeds(rounds).map(crash).sum();
    println!("{acknowledged} events acknowledged before {rounds} crashes");
    assert!(acknowledged as u64 > rounds, "the machines get something done before they crash");
}

#[test]
fn poisoned_shard_refuses_and_wakes_waiters() {
    let disk = SimDisk::new(1, Faults::default());
    let mut machine = Machine::start(&disk, 1, 1).expect("starts");
    let mut random = Random::new(1);
    machine.speak(&mut random);
    disk.set_faults(Faults { write_error: 10_000, ..Faults::default() });
    for _ in 0..1000 {
        machine.now += 100_000;
        machine.shards[0].turn(machine.now);
        machine.shards[0].nap(machine.now, std::time::Duration::ZERO);
    }
    let producer = &mut machine.producers[0];
    let token = producer.session(1);
    assert!(matches!(producer.emit(token, Kind(0), b"x"), Err(IngestionError::Poisoned(_))));
    let ticket = *machine.said.values().flat_map(|said| &said.tickets).next().expect("a ticket");
    let who = machine.said.keys().next().expect("who").0 as usize;
    assert!(matches!(machine.producers[who].wait_durable(ticket), Err(crate::AdapterError::Poisoned(_))));
}

#[test]
fn finished_shard_has_taken_everything_or_refused_it() {
    for seed in seeds(200) {
        let disk = SimDisk::new(seed, Faults::default());
        let mut machine = Machine::start(&disk, seed, 1).expect("starts");
        let mut random = Random::new(seed);
        for _ in 0..random.below(120) {
            machine.step(&mut random);
        }
        let mut now = machine.now;
        let Machine { shards, producers, .. } = &mut machine;
        shards[0].finish(|| {
            // The lanes are closed, and what is in them is not taken yet.
            for producer in producers.iter_mut() {
                let token = producer.session(1);
                assert!(producer.emit(token, Kind(0), b"late").is_err(), "seed {seed}");
            }
            now += 1_000_000;
            now
        });
        machine.shards[0].control().set_stopped();
        machine.look();
        let (view, _) = open_shard(&disk.directory(&directory_name(0)), LogShard::new(LOG, 0)).expect("reads");
        let found = found(&[view]);
        for (key, said) in &machine.said {
            assert_eq!(said.acknowledged, said.tickets.len(), "seed {seed}");
            assert_eq!(found.get(key).map_or(0, Vec::len), said.tickets.len(), "seed {seed}: {key:?}");
        }
        let token = machine.producers[0].session(1);
        let refused = machine.producers[0].emit(token, Kind(0), b"late");
        assert!(matches!(refused, Err(IngestionError::ShuttingDown)), "{refused:?}");
    }
}
