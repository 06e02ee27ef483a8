//! Openings that fail, each for a reason that goes away again.

use std::fs;
use std::path::{Path, PathBuf};

use futures_lite::future::{block_on, poll_once};
use tapeline::{AdapterError, EventBus, EventBusConfig};
use tapeline_storage::device::sim::Random;

use super::scarcity::Scarce;
use crate::runner::step;

/// A thing that keeps a log from opening, until it is dropped.
struct Hindrance {
    path: PathBuf,
    /// The contents before.
    before: Option<Vec<u8>>,
}

impl Hindrance {
    fn new(path: PathBuf, harmed: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let before = fs::read(&path).ok();
        fs::write(&path, harmed(before.clone().unwrap_or_default())).expect("written");
        Self { path, before }
    }

    /// Bytes that do not check.
    fn damage(path: PathBuf, at: usize) -> Self {
        Self::new(path, |mut bytes| {
            bytes.resize(bytes.len().max(at + 1), 0);
            bytes[at] ^= 0x55;
            bytes
        })
    }

    fn go(self) {
        match self.before {
            Some(bytes) => fs::write(&self.path, bytes).expect("written"),
            None => fs::remove_file(&self.path).expect("removed"),
        }
    }
}

fn open(config: &EventBusConfig) -> Result<EventBus, AdapterError> {
    block_on(EventBus::new(config.clone()))
}

/// Tries to open the log while something keeps it from that; afterwards it opens as before.
pub(crate) fn fail(path: &Path, config: &EventBusConfig, random: &mut Random) -> Result<(), String> {
    let shard = path.join("shard-0000");
    match random.below(8) {
        0 => hindered("eras are damaged", Hindrance::damage(path.join("eras"), 9), config),
        1 => hindered("meta is damaged", Hindrance::damage(path.join("meta"), 17), config),
        2 => hindered("a foreign segment", Hindrance::damage(shard.join("00000000000099999999.seg"), 4000), config),
        3 => hindered("gaps are damaged", damaged_gaps(&shard), config),
        4 | 5 => scarcity(config, random),
        6 => locked(config),
        _ => abandoned(config, random),
    }
}

fn damaged_gaps(shard: &Path) -> Hindrance {
    Hindrance::new(shard.join("gaps"), |_| vec![7; 8192])
}

fn hindered(why: &str, hindrance: Hindrance, config: &EventBusConfig) -> Result<(), String> {
    step(&format!("opening that fails: {why}"));
    let outcome = open(config).map(drop);
    hindrance.go();
    match outcome {
        Ok(()) => Err(format!("opened, although {why}")),
        Err(_) => Ok(()),
    }
}

/// A bus that opens with little to spare is as good as any.
fn scarcity(config: &EventBusConfig, random: &mut Random) -> Result<(), String> {
    let scarce = match random.below(2) {
        0 => Scarce::Descriptors(random.below(30)),
        _ => Scarce::Bytes(random.below(64 << 20)),
    };
    step(&format!("opening with {scarce:?}"));
    let limit = scarce.limit();
    let outcome = open(config);
    drop(limit);
    outcome.map_or(Ok(()), |bus| block_on(bus.shutdown()).map_err(|error| format!("opened with {scarce:?}: {error}")))
}

/// Of two that open at once, one succeeds, and the other gets the reason.
fn locked(config: &EventBusConfig) -> Result<(), String> {
    step("two openings at once");
    let other = config.clone();
    let other = std::thread::spawn(move || open(&other));
    let outcomes = [open(config), other.join().map_err(|_| "an opening panicked")?];
    match &outcomes {
        [Ok(_), Ok(_)] => Err("two have the log open".into()),
        [Err(first), Err(second)] => Err(format!("neither opened: {first}; {second}")),
        [Ok(_), Err(error)] | [Err(error), Ok(_)] if error.is_retryable() => Ok(()),
        [_, _] => Err("the other was not refused because the log is locked".into()),
    }
}

/// A future that is dropped before it is ready.
fn abandoned(config: &EventBusConfig, random: &mut Random) -> Result<(), String> {
    step("an opening that is abandoned");
    for _ in 0..1 + random.below(3) {
        let opening = EventBus::new(config.clone());
        block_on(async { drop(poll_once(opening).await) });
    }
    Ok(())
}
