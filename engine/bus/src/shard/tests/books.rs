//! The books: at every moment and in every mode, what was taken over is in a lane, in the log, or was dropped; and
//! readers get a report of every event that was dropped.

use std::collections::HashMap;
use std::time::Duration;

use tapeline_reader::note::DropNote;
use tapeline_reader::{DropReason, Drops};
use tapeline_storage::device::sim::Failure;
use tapeline_storage::format::SessionId;

use tapeline_testing::seeds;

use super::*;
use crate::core::config::BackpressureMode;

/// The outcomes of one producer's calls.
#[derive(Default)]
struct Calls {
    kept: u64,
    refused: u64,
    drops: Drops,
    /// Of each session, events that were kept, and those that are to be reported to readers: dropped by the call, or
    /// refused in a mode that reports that.
    kept_of: HashMap<SessionId, u64>,
    missing_of: HashMap<SessionId, u64>,
}

struct Bookkeeper {
    machine: Machine,
    calls: Vec<Calls>,
}

const MODES: [BackpressureMode; 6] = [
    BackpressureMode::FailProducer,
    BackpressureMode::FailAndReport,
    BackpressureMode::Block { deadline: Duration::ZERO },
    BackpressureMode::DropNewest,
    BackpressureMode::DropOldest,
    BackpressureMode::Sample { rate: 3 },
];

impl Bookkeeper {
    /// A machine with a producer of each mode.
    fn start(disk: &SimDisk, seed: u64, shards: u16) -> Option<Self> {
        let mut machine = Machine::start(disk, seed, shards)?;
        let producer = |mode| Producer::new(Arc::clone(&machine.core), ProducerOptions::new().backpressure_mode(mode));
        machine.producers = MODES.map(|mode| producer(mode).expect("producer")).into();
        let calls = MODES.map(|_| Calls::default()).into();
        Some(Self { machine, calls })
    }

    fn speak(&mut self, random: &mut Random) {
        let who = random.below(MODES.len() as u64) as usize;
        let (producer, calls) = (&mut self.machine.producers[who], &mut self.calls[who]);
        let payload = vec![who as u8; random.below(2000) as usize];
        let session = producer.session(1 + u128::from(random.below(SESSIONS)));
        // Now and then several at once.
        let outcome = if random.chance(1000) {
            let mut batch = producer.batch(session);
            let outcome = batch.push(Kind(who as u16), &payload).map(drop);
            outcome.and_then(|()| batch.publish().map(drop))
        } else {
            producer.emit(session, Kind(who as u16), &payload).map(drop)
        };
        match outcome {
            Ok(()) => calls.kept += 1,
            Err(IngestionError::Dropped { .. }) => calls.drops.newest += 1,
            Err(IngestionError::Sampled { .. }) => calls.drops.sampled += 1,
            Err(_) => calls.refused += 1,
        }
        let is_reported = |error: &IngestionError| {
            let is_full = matches!(
                error,
                IngestionError::Backpressure { .. }
                    | IngestionError::StorageFull { .. }
                    | IngestionError::Budget { .. }
                    | IngestionError::Lane { .. }
            );
            error.is_drop() || (MODES[who] == BackpressureMode::FailAndReport && is_full)
        };
        match &outcome {
            Ok(()) => *calls.kept_of.entry(session.id()).or_default() += 1,
            Err(error) if is_reported(error) => *calls.missing_of.entry(session.id()).or_default() += 1,
            Err(_) => {}
        }
    }

    /// Compares the books with what the calls came to.
    fn audit(&self, seed: u64) {
        let stats = self.machine.core.stats();
        assert!(stats.is_balanced(), "seed {seed}: {stats:?}");
        let sum = |number: fn(&Calls) -> u64| self.calls.iter().map(number).sum::<u64>();
        let (kept, newest, sampled) = (sum(|c| c.kept), sum(|c| c.drops.newest), sum(|c| c.drops.sampled));
        assert_eq!(stats.events_ingested, kept + newest + sampled, "seed {seed}");
        assert_eq!((stats.drops.newest, stats.drops.sampled), (newest, sampled), "seed {seed}");
        assert_eq!(stats.refusals.total(), sum(|c| c.refused), "seed {seed}");
        let lanes: Vec<_> =
            self.machine.core.shards().all().iter().flat_map(|shard| shard.lanes().stats(shard.id())).collect();
        let has_failed = self.machine.core.shards().views().any(|view| view.poison().is_some());
        for (producer, calls) in self.machine.producers.iter().zip(&self.calls) {
            let own = lanes.iter().filter(|lane| lane.producer == producer.id());
            let (ingested, refused) = own.fold((0, 0), |(ingested, refused), lane| {
                (ingested + lane.events_ingested, refused + lane.refusals.total())
            });
            assert_eq!(ingested, calls.kept + calls.drops.newest + calls.drops.sampled, "seed {seed}");
            // A producer has no lane to a shard that failed before its first event there.
            let is_lane_missing = has_failed && refused < calls.refused;
            assert!(refused == calls.refused || is_lane_missing, "seed {seed}: {refused} of {}", calls.refused);
        }
    }
}

/// The parts of the logs that are of one producer.
#[derive(Default)]
struct Written {
    events: u64,
    events_of: HashMap<SessionId, u64>,
    reported: Drops,
    /// Events of each session that notes report as evicted, and as missing for another reason.
    evicted_of: HashMap<SessionId, u64>,
    missing_of: HashMap<SessionId, u64>,
    /// Reported events of sessions that are not named.
    others: u64,
}

/// The parts of the logs of each producer.
fn contents(views: &[Arc<LogView>], producers: &[u64]) -> Vec<Written> {
    let mut all: Vec<_> = producers.iter().map(|_| Written::default()).collect();
    for view in views {
        let mut reader = LogReader::new(Arc::clone(view), view.trimmed());
        while let Step::Block(block) = reader.step().expect("reads") {
            for record in block.records() {
                let record = record.expect("record");
                let Some(note) = DropNote::read(&record) else {
                    let written = &mut all[usize::from(record.kind().0)];
                    written.events += 1;
                    *written.events_of.entry(record.session()).or_default() += 1;
                    continue;
                };
                let who = producers.iter().position(|id| *id == note.producer).expect("a producer");
                let Written { reported, evicted_of, missing_of, others, .. } = &mut all[who];
                reported.count(note.reason, note.sessions.events());
                *others += note.sessions.others();
                let of = if note.reason == DropReason::Oldest { evicted_of } else { missing_of };
                for (session, events) in note.sessions.named() {
                    *of.entry(*session).or_default() += events;
                }
            }
        }
    }
    all
}

/// Runs a machine whose disk is at times slow, full or broken. Returns what was dropped, and how
/// many refusals were reported.
fn run(seed: u64) -> (Drops, u64) {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(seed, Faults::default());
    let mut books = Bookkeeper::start(&disk, seed, 1 + random.below(2) as u16).expect("starts");
    let breaks = random.chance(2000);
    for _ in 0..600 {
        match random.below(100) {
            // Shards that seldom come to their turn have full lanes.
            0..92 => books.speak(&mut random),
            92..98 => books.machine.turn(&mut random),
            98 if !breaks => {
                let full = Failure { nth: disk.writes() + 1, errno: libc::ENOSPC };
                disk.set_faults(Faults { failing_write: Some(full), ..Faults::default() });
            }
            98 => disk.set_faults(Faults { write_error: 2_000, ..Faults::default() }),
            _ => {}
        }
        books.audit(seed);
    }
    books.machine.finish();
    books.audit(seed);
    let (stats, mut refusals) = (books.machine.core.stats(), 0);
    let views: Vec<_> = books.machine.core.shards().views().collect();
    if views.iter().all(|view| view.poison().is_none()) {
        let producers: Vec<_> = books.machine.producers.iter().map(Producer::id).collect();
        let written = contents(&views, &producers);
        let mut all = Drops::default();
        for (who, (calls, written)) in books.calls.iter().zip(written).enumerate() {
            let Written { events, reported, mut events_of, evicted_of, missing_of, others, .. } = written;
            assert_eq!(reported.newest, calls.drops.newest, "seed {seed}: {:?}", MODES[who]);
            assert_eq!(reported.sampled, calls.drops.sampled, "seed {seed}: {:?}", MODES[who]);
            assert_eq!(events + reported.oldest, calls.kept, "seed {seed}: {:?}", MODES[who]);
            all += reported;
            // There are fewer sessions than a note names.
            let are_named = MODES[who] != BackpressureMode::DropOldest || others == 0;
            assert!(are_named, "seed {seed}: {others} events of sessions that are not named");
            for (session, evicted) in evicted_of {
                *events_of.entry(session).or_default() += evicted;
            }
            assert_eq!(events_of, calls.kept_of, "seed {seed}: {:?}", MODES[who]);
            if MODES[who] == BackpressureMode::FailAndReport {
                // The last ones are the producer's still.
                let refused_of = |session| calls.missing_of.get(session).copied().unwrap_or_default();
                assert!(missing_of.iter().all(|(session, events)| *events <= refused_of(session)), "seed {seed}");
                refusals += missing_of.values().sum::<u64>();
            } else if others == 0 {
                assert_eq!(missing_of, calls.missing_of, "seed {seed}: {:?}", MODES[who]);
            }
        }
        assert_eq!((stats.drops, stats.lanes.events, stats.events_committing()), (all, 0, 0), "seed {seed}");
    }
    (stats.drops, refusals)
}

#[test]
fn books_add_up_at_every_moment_in_every_mode() {
    let (mut drops, mut refusals) = (Drops::default(), 0);
    for seed in seeds(300) {
        let (dropped, refused) = run(seed);
        drops += dropped;
        refusals += refused;
    }
    assert!(drops.newest > 100 && drops.oldest > 100 && drops.sampled > 100 && refusals > 100, "{drops:?} {refusals}");
}
