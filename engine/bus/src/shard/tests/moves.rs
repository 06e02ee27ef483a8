//! Sessions move from shard to shard while they are written, read live, paged, replayed, and over restarts: each stays
//! whole and in order.

use futures_lite::future::block_on;
use tapeline_reader::{Replay, ReplayRequest, Start, StoredEvent};
use tapeline_storage::format::Era;

use tapeline_testing::seeds;

use super::*;
use crate::live::{ConsumeRequest, Ordering, SubscribeRequest, Subscription};
use crate::routing::Change;

const SHARDS: u16 = 3;

/// The events that a reader has seen of each producer in each session.
#[derive(Default)]
struct Seen(BTreeMap<(u64, u64), u64>);

impl Seen {
    fn see(&mut self, event: &StoredEvent, context: &str) {
        let number = |at: usize| u64::from_le_bytes(event.raw[at..at + 8].try_into().expect("a number"));
        let next = self.0.entry((number(0), number(8))).or_default();
        assert_eq!(number(16), *next, "{context}: producer {}, session {}", number(0), number(8));
        *next += 1;
    }
}

struct Mover {
    machine: Machine,
    eras: Eras,
    change: Option<Change>,
    live: Subscription,
    live_seen: Seen,
    cursor: Option<String>,
    paged_seen: Seen,
    changes: usize,
}

/// The state that outlives a restart.
#[derive(Default)]
struct Past {
    eras: Eras,
    said: BTreeMap<(u64, u64), Said>,
}

impl Mover {
    fn start(disk: &SimDisk, seed: u64, past: Past, random: &mut Random) -> Self {
        let active = 1 + random.below(u64::from(SHARDS)) as u16;
        let mut machine = Machine::start_with(disk, seed, SHARDS, active).expect("starts");
        machine.said = past.said;
        let mut eras = past.eras;
        let starts = machine.core.shards().views().map(|view| view.appended()).collect();
        eras.begin(Era { active, starts });
        machine.core.set_eras(eras.clone());
        let live = subscribe(&machine);
        let (live_seen, paged_seen) = (Seen::default(), Seen::default());
        Self { machine, eras, change: None, live, live_seen, cursor: None, paged_seen, changes: 0 }
    }

    fn step(&mut self, random: &mut Random, context: &str) {
        match random.below(100) {
            0..65 => self.machine.speak(random),
            65..72 => self.speak_in_a_batch(random),
            72..84 => self.machine.turn(random),
            84..88 => self.begin_change(random),
            88..97 => self.read_live(random, context),
            _ => self.read_page(random, context),
        }
        self.end_change();
    }

    /// Several events at once; the shards may change while they are not published.
    fn speak_in_a_batch(&mut self, random: &mut Random) {
        let (who, session) = (random.below(self.machine.producers.len() as u64), 1 + random.below(SESSIONS));
        let said = self.machine.said.entry((who, session)).or_default();
        let mut producer = self.machine.producers.remove(who as usize);
        let token = producer.session(u128::from(session));
        let mut batch = producer.batch(token);
        let mut pushed = 0;
        for _ in 0..random.below(5) {
            let payload = [who, session, (said.tickets.len() + pushed) as u64].map(u64::to_le_bytes).concat();
            pushed += usize::from(batch.push(Kind(who as u16), &payload).is_ok());
        }
        if random.chance(5000) && self.change.is_none() {
            self.change = Some(Change::begin(
                self.machine.core.route(),
                self.machine.core.shards().all(),
                1 + random.below(u64::from(SHARDS)) as u16,
            ));
        }
        match batch.publish() {
            Ok(Some(ticket)) => said.tickets.extend(std::iter::repeat_n(ticket, pushed)),
            Ok(None) => assert_eq!(pushed, 0),
            Err(IngestionError::Backpressure { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        drop(batch);
        self.machine.producers.insert(who as usize, producer);
    }

    fn begin_change(&mut self, random: &mut Random) {
        if self.change.is_none() {
            let active = 1 + random.below(u64::from(SHARDS)) as u16;
            self.change = Some(Change::begin(self.machine.core.route(), self.machine.core.shards().all(), active));
        }
    }

    fn end_change(&mut self) {
        if let Some(change) = self.change.take_if(|change| change.era().is_some())
            && let Some(era) = change.era()
        {
            self.eras.begin(era);
            self.machine.core.set_eras(self.eras.clone());
            change.end();
            self.changes += 1;
        }
    }

    fn read_live(&mut self, random: &mut Random, context: &str) {
        for _ in 0..random.below(30) {
            match self.live.try_next() {
                Some(event) => self.live_seen.see(&event.expect("an event"), context),
                None => return,
            }
        }
    }

    fn read_page(&mut self, random: &mut Random, context: &str) {
        // The lanes are emptied first: there is nothing to wait for while no shard makes a turn.
        while self.change.is_some() || self.machine.core.stats().lanes.bytes > 0 {
            self.machine.turn(random);
            self.end_change();
        }
        let request =
            ConsumeRequest { from_id: self.cursor.take(), ..ConsumeRequest::new(1 + random.below(40) as usize) };
        let page = block_on(self.machine.pages.poll(&request)).expect("a page");
        page.events.iter().for_each(|event| self.paged_seen.see(event, context));
        self.cursor = page.next_id;
    }

    /// Reads all that is left, in every way; ends the machine.
    fn finish(mut self, context: &str) -> Past {
        let mut random = Random::new(1);
        while self.change.is_some() {
            self.machine.turn(&mut random);
            self.end_change();
        }
        self.machine.finish();
        while let Some(event) = self.live.try_next() {
            self.live_seen.see(&event.expect("an event"), context);
        }
        loop {
            let request = ConsumeRequest { from_id: self.cursor.take(), ..ConsumeRequest::new(50) };
            let page = block_on(self.machine.pages.poll(&request)).expect("a page");
            page.events.iter().for_each(|event| self.paged_seen.see(event, context));
            self.cursor = page.next_id;
            if !page.has_more {
                break;
            }
        }
        let mut replayed = Seen::default();
        let views = self.machine.core.shards().views().collect();
        let replay = Replay::new(LOG, views, &ReplayRequest::new()).expect("a replay");
        replay.with_eras(self.machine.core.eras()).for_each(|event| replayed.see(&event.expect("an event"), context));
        let mut timed = Seen::default();
        let request = ConsumeRequest::new(usize::MAX).start(Start::Earliest).ordering(Ordering::InsertionTs);
        let page = block_on(self.machine.pages.poll(&request)).expect("a page");
        page.events.iter().for_each(|event| timed.see(event, context));
        for (way, seen) in
            [("live", &self.live_seen), ("pages", &self.paged_seen), ("replay", &replayed), ("time", &timed)]
        {
            for (key, said) in &self.machine.said {
                assert_eq!(
                    seen.0.get(key).copied().unwrap_or(0),
                    said.tickets.len() as u64,
                    "{context}: {way}: {key:?}"
                );
            }
        }
        Past { eras: self.eras, said: self.machine.said }
    }
}

fn subscribe(machine: &Machine) -> Subscription {
    Subscription::new(Arc::clone(&machine.core), &SubscribeRequest::new()).expect("a subscription")
}

/// Runs a machine until its power fails while sessions move. What is left of each is a prefix, and all that was
/// acknowledged. Returns how many changes there were.
fn crash(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(seed, Faults::default());
    let mut mover = Mover::start(&disk, seed, Past::default(), &mut random);
    disk.set_faults(Faults { crash_at: Some(disk.steps() + 1 + random.below(300)), ..Faults::default() });
    for _ in 0..2000 {
        match random.below(100) {
            0..60 => mover.machine.speak(&mut random),
            60..70 => mover.speak_in_a_batch(&mut random),
            70..95 => mover.machine.turn(&mut random),
            _ => mover.begin_change(&mut random),
        }
        mover.end_change();
        if !disk.is_on() {
            break;
        }
    }
    mover.machine.look();
    let Mover { machine, mut eras, changes, .. } = mover;
    let disk = disk.reboot(Faults::default());
    let recovered = |shard| {
        let directory = disk.directory(&directory_name(shard));
        Arc::clone(recover(directory, options(shard, seed + 1)).expect("recovers").view())
    };
    let views: Vec<_> = (0..SHARDS).map(recovered).collect();
    eras.begin(Era { active: 1, starts: views.iter().map(|view| view.appended()).collect() });
    let mut found = Seen::default();
    let replay = Replay::new(LOG, views, &ReplayRequest::new()).expect("a replay").with_eras(Arc::new(eras));
    // Each number follows the one before: nothing is missing in the midst, whatever shard it was in.
    replay.for_each(|event| found.see(&event.expect("an event"), &format!("seed {seed}")));
    for (key, said) in &machine.said {
        let found = found.0.get(key).copied().unwrap_or(0);
        assert!(
            said.acknowledged as u64 <= found,
            "seed {seed}: {key:?}: {} acknowledged, {found} found",
            said.acknowledged
        );
    }
    changes
}

#[test]
fn crashes_leave_a_prefix_of_sessions_that_move() {
    let changes: usize = (0..400).map(crash).sum();
    assert!(changes > 200, "{changes} changes");
}

#[test]
fn sessions_stay_in_order_whatever_shards_they_move_to() {
    let mut changes = 0;
    for seed in seeds(150) {
        let mut random = Random::new(seed);
        let mut disk = SimDisk::new(seed, Faults::default());
        let mut past = Past::default();
        for run in 0..3 {
            let context = format!("seed {seed}, run {run}");
            let mut mover = Mover::start(&disk, seed, past, &mut random);
            for _ in 0..300 {
                mover.step(&mut random, &context);
            }
            changes += mover.changes;
            past = mover.finish(&context);
            disk = disk.reboot(Faults::default());
        }
    }
    assert!(changes > 500, "{changes} changes");
}
