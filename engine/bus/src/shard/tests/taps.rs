//! Taps: after a crash at any moment, a cursor covers exactly the batches that are in the log. And batches without a
//! cursor that are published as one: the log has a number of whole ones.

use tapeline_reader::cursor::Cursor;
use tapeline_reader::note::CursorNote;
use tapeline_storage::format::LogShard;
use tapeline_storage::log::Position;

use super::*;
use crate::bus_core::TapBatch;

/// The kind of the events of taps.
const KIND: Kind = Kind(77);

/// The company of a batch's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Cursor,
    Nothing,
}

/// A consumer that publishes batches. The number of the next batch is its cursor's position in shard 0.
struct Tap {
    name: String,
    with: With,
    last_group: Option<TapBatch>,
    producer: Producer,
    last: Option<Ticket>,
    /// Events of each batch.
    batches: Vec<u64>,
    /// Batches that were acknowledged.
    acknowledged: usize,
}

fn cursor(batch: u64) -> String {
    let position = Position { next: Sequence::new(batch), ..Position::default() };
    Cursor { positions: [(0, position)].into(), sweep: None }.encode(LOG)
}

impl Tap {
    fn new(core: &Arc<BusCore>, with: With) -> Self {
        let producer = Producer::new(Arc::clone(core), ProducerOptions::new()).expect("producer");
        let (last, last_group, batches) = (None, None, Vec::new());
        Self { name: "tap".into(), with, last_group, producer, last, batches, acknowledged: 0 }
    }

    /// Publishes a batch of a few events, or of none with its cursor alone.
    fn publish(&mut self, machine: &mut Machine, random: &mut Random) {
        let session = self.producer.session(100 + u128::from(random.below(4)));
        // The one thread there is must not wait for the shards that it steps.
        let is_elsewhere = |last: &Ticket| last.shard_id != session.shard_id();
        if self.last.as_ref().filter(|last| is_elsewhere(last)).is_some_and(|last| !self.producer.is_durable(*last)) {
            return;
        }
        let least = u64::from(self.with == With::Nothing);
        let (events, number) = (least + random.below(5), self.batches.len() as u64);
        let mut batch = self.producer.batch(session);
        for event in 0..events {
            let mut payload = [number, event].map(u64::to_le_bytes).concat();
            payload.resize(16 + random.below(2000) as usize, 7);
            if batch.push(KIND, &payload).is_err() {
                return;
            }
        }
        let published = match self.with {
            With::Cursor => batch.with_cursor(&self.name, &cursor(number + 1)).expect("a cursor").publish(),
            With::Nothing => batch.publish_as_one(&self.name, &mut self.last_group).map(Some),
        };
        match published {
            Ok(ticket) => {
                self.last = ticket;
                self.batches.push(events);
            }
            Err(IngestionError::Backpressure { .. } | IngestionError::Poisoned(_)) => {}
            Err(error) => panic!("{error}"),
        }
        let stats = machine.core.stats();
        assert!(stats.is_balanced(), "{stats:?}");
    }

    fn look(&mut self) {
        if self.last.is_some_and(|last| self.producer.is_durable(last)) {
            self.acknowledged = self.batches.len();
        }
    }
}

/// The number of batches that the newest cursor of each name in the log covers, and the events of each batch.
fn covered(views: &[Arc<LogView>]) -> (BTreeMap<String, u64>, BTreeMap<u64, u64>) {
    let (mut cursors, mut events) = (BTreeMap::new(), BTreeMap::new());
    for view in views {
        let mut reader = LogReader::new(Arc::clone(view), Sequence::ZERO);
        while let Step::Block(block) = reader.step().expect("reads") {
            for record in block.records() {
                let record = record.expect("record");
                if let Some(note) = CursorNote::read(&record) {
                    let batch = Cursor::decode(&note.cursor, LOG).expect("a cursor").positions[&0].next.get();
                    let newest = cursors.entry(note.name).or_insert(0);
                    *newest = batch.max(*newest);
                } else if record.kind() == KIND {
                    let batch = u64::from_le_bytes(record.payload()[..8].try_into().expect("a number"));
                    *events.entry(batch).or_insert(0) += 1;
                }
            }
        }
    }
    (cursors, events)
}

/// Runs a seeded machine until its power fails. Returns the number of batches in the log.
fn crash(seed: u64, with: With) -> u64 {
    let mut random = Random::new(seed);
    let shards = 1 + random.below(3) as u16;
    let faults = Faults { crash_at: Some(1 + random.below(150)), ..Faults::default() };
    let disk = SimDisk::new(seed, faults);
    let mut tap = None;
    if let Some(mut machine) = Machine::start(&disk, seed, shards) {
        let tap = tap.insert(Tap::new(&machine.core, with));
        for _ in 0..400 {
            if random.chance(2500) {
                tap.publish(&mut machine, &mut random)
            } else {
                machine.step(&mut random)
            }
            if !machine.disk.is_on() {
                break;
            }
        }
        tap.look();
    }
    let disk = disk.reboot(Faults::default());
    let view = |shard| {
        if random.chance(5000) {
            open_shard(&disk.directory(&directory_name(shard)), LogShard::new(LOG, shard)).expect("reads").0
        } else {
            let recovered = recover(disk.directory(&directory_name(shard)), options(shard, seed + 1));
            Arc::clone(recovered.expect("recovers").view())
        }
    };
    let views: Vec<_> = (0..shards).map(view).collect();
    let (cursors, events) = covered(&views);
    let Some(tap) = tap else { return 0 };
    let covered = match with {
        With::Cursor => cursors.get(&tap.name).copied().unwrap_or(0),
        With::Nothing => events.last_key_value().map_or(0, |(last, _)| last + 1),
    };
    let expected = (0..covered).map(|batch| (batch, tap.batches[batch as usize])).filter(|(_, events)| *events > 0);
    assert!(
        events.into_iter().eq(expected),
        "seed {seed}, {with:?}: the log has other batches than the first {covered}"
    );
    assert!(covered >= tap.acknowledged as u64, "seed {seed}: {} acknowledged, {covered} found", tap.acknowledged);
    covered
}

#[test]
fn crashes_lose_nothing_of_a_tap_but_whole_batches_with_their_cursors() {
    let rounds = asked("TAPELINE_CRASHES").unwrap_or(500);
    let covered: u64 = seeds(rounds).map(|seed| crash(seed, With::Cursor)).sum();
    println!("{covered} batches covered by the cursors that {rounds} crashes left");
    assert!(covered > rounds, "the taps get something done before the crash");
}

#[test]
fn crashes_lose_nothing_of_batches_that_are_one_but_whole_ones() {
    let rounds = asked("TAPELINE_CRASHES").unwrap_or(500);
    let found: u64 = seeds(rounds).map(|seed| crash(seed, With::Nothing)).sum();
    assert!(found > rounds, "batches are published before the crash");
}
