//! A schedule: some lives of a bus on one log, one after the other.

use std::path::Path;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::config::{Driver, Durability};
use tapeline::log::trim_log;
use tapeline::retention::RetentionPolicy;
use tapeline::seam::Machine;
use tapeline::{BackpressureMode, EventBus, EventBusConfig, LogFiles, ScalingPolicy};
use tapeline_storage::device::sim::Random;

use super::ledger::{Expect, Ledger};
use super::one_life::Life;
use super::surroundings::{Belongings, Busy, eventually};
use super::{memory, openings, victim};
use crate::runner::{directory, note, step};

pub(super) type Outcome = Result<(), String>;

/// Most shards that a bus may have.
pub(super) const SHARDS_MAX: u16 = 3;

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
    let shards = 1 + random.below(u64::from(SHARDS_MAX)) as u16;
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
        let cooldown = Duration::from_millis(1);
        let policy = ScalingPolicy { max_shards: SHARDS_MAX, cooldown, ..ScalingPolicy::default() };
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
