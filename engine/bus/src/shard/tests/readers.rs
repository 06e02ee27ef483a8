//! Readers against a plain model: over random operations, restarts and crashes of a simulated machine, a reader that
//! reads by pages, in order of time, or by subscription ends up with exactly what the log holds, and got a gap for
//! every event that it saw and that a crash took.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tapeline_reader::contents::Contents;
use tapeline_reader::{
    ConsumerError, EventId, Gap, GapReason, Replay, ReplayRequest, SessionId, StoredEvent, Visibility,
};

use tapeline_testing::{asked, seeds};

use super::*;
use crate::core::config::BatchConfig;
use crate::live::{Batches, ConsumeRequest, ConsumeResponse, Ordering, SubscribeRequest, Subscription};

/// The view that a reader has of each shard: payloads by sequence, holes as they were reported.
#[derive(Debug, Default)]
struct Model {
    shards: BTreeMap<u16, BTreeMap<u64, Vec<u8>>>,
    /// Of events that are still there, in the order they came.
    order: Vec<(u64, u16, u64)>,
}

impl Model {
    fn see(&mut self, seed: u64, event: &StoredEvent) {
        let shard = self.shards.entry(event.shard_id).or_default();
        let before = shard.insert(event.sequence.get(), event.raw.to_vec());
        assert!(before.is_none(), "seed {seed}: {} comes twice", event.id);
        self.order.push((event.insertion_ts, event.shard_id, event.sequence.get()));
    }

    fn lose(&mut self, seed: u64, gap: &Gap) {
        assert_eq!(gap.reason, GapReason::LostInCrash, "seed {seed}: {gap}");
        let shard = self.shards.entry(gap.shard_id).or_default();
        let lost = shard.split_off(&gap.from.get());
        assert!(
            lost.keys().all(|sequence| *sequence < gap.to.get()),
            "seed {seed}: more was lost than reported: {gap}"
        );
        self.order.retain(|(_, shard, sequence)| *shard != gap.shard_id || *sequence < gap.from.get());
    }

    fn take_page(&mut self, seed: u64, page: &ConsumeResponse) {
        assert!(page.failed_shards.is_empty(), "seed {seed}: {page:?}");
        page.gaps.iter().for_each(|gap| self.lose(seed, gap));
        page.events.iter().for_each(|event| self.see(seed, event));
    }
}

/// One reader: its model and its cursor.
struct Reader {
    model: Model,
    cursor: Option<String>,
    means: Means,
    visibility: Visibility,
    live: Option<Subscription>,
    batches: Option<Batches>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Means {
    Pages(Ordering),
    Subscription,
    Batches,
}

/// Runs the machine until the future is ready.
fn drive<T>(machine: &mut Machine, random: &mut Random, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(outcome);
        }
        if !machine.disk.is_on() {
            return None;
        }
        machine.turn(random);
    }
}

impl Reader {
    fn read(&mut self, machine: &mut Machine, random: &mut Random, seed: u64) {
        match self.means {
            Means::Pages(ordering) => {
                let request = ConsumeRequest {
                    from_id: self.cursor.clone(),
                    visibility: self.visibility,
                    ..ConsumeRequest::new(1 + random.below(30) as usize).ordering(ordering)
                };
                let pages = Arc::clone(&machine.pages);
                let page = drive(machine, random, pages.poll(&request));
                // No reader got the page that was read while the power failed.
                let Some(page) = page.filter(|_| machine.disk.is_on()) else { return };
                let page = page.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                self.model.take_page(seed, &page);
                self.cursor = page.next_id;
            }
            Means::Subscription => {
                let request = SubscribeRequest { cursor: self.cursor.clone(), ..SubscribeRequest::new() };
                let request = request.visibility(self.visibility);
                let live = self.live.get_or_insert_with(|| {
                    Subscription::new(Arc::clone(&machine.core), &request)
                        .unwrap_or_else(|error| panic!("seed {seed}: {error}"))
                });
                for _ in 0..random.below(40) {
                    match live.try_next() {
                        Some(Ok(event)) => self.model.see(seed, &event),
                        Some(Err(ConsumerError::Gap(gap))) => self.model.lose(seed, &gap),
                        Some(Err(_)) if !machine.disk.is_on() => break,
                        Some(Err(error)) => panic!("seed {seed}: {error}"),
                        None => break,
                    }
                }
                self.cursor = Some(live.cursor());
            }
            Means::Batches => {
                let request = SubscribeRequest { cursor: self.cursor.clone(), ..SubscribeRequest::new() };
                let request = request.visibility(self.visibility);
                let batches = self.batches.get_or_insert_with(|| {
                    // Due at once, or never.
                    let max_delay = Duration::from_nanos(if random.chance(5000) { 1 } else { u64::MAX });
                    let (min_size, max_size) = (1 + random.below(3) as usize, 3 + random.below(5) as usize);
                    let config = BatchConfig { min_size, max_size, max_delay, ..BatchConfig::default() };
                    Subscription::new(Arc::clone(&machine.core), &request)
                        .and_then(|subscription| subscription.batches(&config))
                        .unwrap_or_else(|error| panic!("seed {seed}: {error}"))
                });
                for _ in 0..random.below(10) {
                    match batches.try_next() {
                        Some(Ok(batch)) => {
                            assert!(!batch.is_empty() && batch.events[0].sequence == batch.sequence_start);
                            assert!(batch.events.iter().all(|event| event.shard_id == batch.shard_id));
                            batch.events.iter().for_each(|event| self.model.see(seed, event));
                        }
                        Some(Err(ConsumerError::Gap(gap))) => self.model.lose(seed, &gap),
                        Some(Err(_)) if !machine.disk.is_on() => break,
                        Some(Err(error)) => panic!("seed {seed}: {error}"),
                        None => break,
                    }
                }
                self.cursor = Some(batches.cursor());
            }
        }
    }
}

fn run(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let shards = 1 + random.below(3) as u16;
    let disk = SimDisk::new(seed, Faults::default());
    let means =
        [Means::Pages(Ordering::None), Means::Pages(Ordering::InsertionTs), Means::Subscription, Means::Batches];
    let reader = |(means, visibility)| {
        let (model, cursor, live, batches) = (Model::default(), None, None, None);
        Reader { model, cursor, means, visibility, live, batches }
    };
    let mut readers: Vec<_> = means
        .into_iter()
        .flat_map(|means| [(means, Visibility::Appended), (means, Visibility::Durable)])
        .map(reader)
        .collect();
    let mut openings = Openings { disk, seed, shards, count: 1 + random.below(4) };
    for opening in 0..openings.count {
        let Some(mut machine) = openings.start(opening, &mut random) else { continue };
        for _ in 0..random.below(200) {
            match random.below(4) {
                0 => {
                    let at = random.below(readers.len() as u64) as usize;
                    readers[at].read(&mut machine, &mut random, seed);
                }
                _ => machine.step(&mut random),
            }
            if !machine.disk.is_on() {
                break;
            }
        }
        openings.end(opening, &mut machine, &mut random);
        if openings.is_last(opening) {
            // Their drop reports the end of the log to followers: batches wait for nothing more.
            machine.shards.clear();
            let mut quiet = 0;
            while quiet < 20 {
                let before: usize = readers.iter().map(|reader| reader.model.order.len()).sum();
                readers.iter_mut().for_each(|reader| reader.read(&mut machine, &mut random, seed));
                let after: usize = readers.iter().map(|reader| reader.model.order.len()).sum();
                quiet = if before == after { quiet + 1 } else { 0 };
            }
            compare(seed, &machine, &readers);
            compare_sessions(seed, &machine, &mut random);
        }
        for reader in &mut readers {
            (reader.live, reader.batches) = (None, None);
        }
    }
    readers.iter().map(|reader| reader.model.order.len()).sum()
}

/// Every reader has what the log has.
fn compare(seed: u64, machine: &Machine, readers: &[Reader]) {
    let views: Vec<_> = machine.core.shards().views().collect();
    let mut log = Model::default();
    for event in Replay::new(LOG, views, &ReplayRequest::new()).expect("replays") {
        log.see(seed, &event.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    log.shards.retain(|_, events| !events.is_empty());
    for reader in readers {
        let mut seen: BTreeMap<_, _> = reader.model.shards.clone();
        seen.retain(|_, events| !events.is_empty());
        assert_eq!(seen, log.shards, "seed {seed}: {:?} {:?}", reader.means, reader.visibility);
        if reader.means == Means::Pages(Ordering::InsertionTs) {
            assert!(reader.model.order.is_sorted(), "seed {seed}: {:?}", reader.model.order);
        }
    }
}

/// Sessions and kinds as indexes list them, and as they are.
fn compare_contents(seed: u64, views: &[Arc<LogView>], all: &[StoredEvent]) {
    let mut contents = Contents::default();
    views.iter().for_each(|view| contents.add_shard(view).expect("reads"));
    let mut expected: BTreeMap<_, (u64, u64, u64, u64)> = BTreeMap::new();
    for event in all {
        let (events, bytes, first, last) = expected.entry(event.session).or_insert((0, 0, u64::MAX, 0));
        (*events, *bytes) = (*events + 1, *bytes + event.raw.len() as u64);
        (*first, *last) = (event.insertion_ts.min(*first), event.insertion_ts.max(*last));
    }
    let found = contents.into_sessions();
    assert!(found.is_sorted_by_key(|summary| summary.first_insertion_ts), "seed {seed}");
    let found =
        found.into_iter().map(|it| (it.session, (it.events, it.bytes, it.first_insertion_ts, it.last_insertion_ts)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "seed {seed}");
}

/// A reader that asks for some sessions gets what a look at every event finds: segments and blocks are passed over
/// rightly.
fn compare_sessions(seed: u64, machine: &Machine, random: &mut Random) {
    let views: Vec<_> = machine.core.shards().views().collect();
    let all: Vec<_> = Replay::new(LOG, views.clone(), &ReplayRequest::new()).expect("replays").flatten().collect();
    compare_contents(seed, &views, &all);
    let known: BTreeSet<_> = all.iter().map(|event| event.session).collect();
    for _ in 0..5 {
        let mut asked: Vec<_> = known.iter().copied().filter(|_| random.chance(3000)).collect();
        asked.extend(random.chance(2000).then_some(SessionId(0xdead)));
        // In each shard's own order: how shards are merged depends on what else there is.
        let by_shard = |mut ids: Vec<EventId>| {
            ids.sort_by_key(|id| id.shard_id);
            ids
        };
        let expected = all.iter().filter(|event| asked.contains(&event.session)).map(|event| event.id).collect();
        let expected = by_shard(expected);
        let request = ReplayRequest { sessions: Some(asked.clone()), ..ReplayRequest::new() };
        let replay = Replay::new(LOG, views.clone(), &request).expect("replays");
        let replayed = by_shard(replay.map(|event| event.expect("event").id).collect());
        assert_eq!(replayed, expected, "seed {seed}: replay of {asked:?}");
        let request = SubscribeRequest { sessions: Some(asked.clone()), ..SubscribeRequest::new() };
        let mut live = Subscription::new(Arc::clone(&machine.core), &request).expect("subscribes");
        let followed = std::iter::from_fn(|| live.try_next()).map(|event| event.expect("event").id).collect();
        assert_eq!(by_shard(followed), expected, "seed {seed}: subscription to {asked:?}");
    }
}

#[test]
fn readers_see_what_the_log_holds_through_restarts_and_crashes() {
    let rounds = asked("TAPELINE_CRASHES").unwrap_or(2000).min(2000) / 4;
    let seen: usize = seeds(rounds).map(run).sum();
    assert!(seen as u64 > rounds, "readers get something to see");
}

#[test]
fn shards_whose_files_cannot_be_read_are_named_and_read_once_they_can() {
    let disk = SimDisk::new(3, Faults::default());
    let mut random = Random::new(3);
    let mut machine = Machine::start(&disk, 1, 2).expect("starts");
    for _ in 0..200 {
        machine.speak(&mut random);
        machine.turn(&mut random);
    }
    machine.finish();
    let events = found(&machine.core.shards().views().collect::<Vec<_>>()).values().map(Vec::len).sum::<usize>();
    // Opened anew, nothing of it is in memory.
    let mut machine = Machine::start(&disk, 2, 2).expect("starts again");
    let (core, pages) = (Arc::clone(&machine.core), Arc::clone(&machine.pages));
    let mut subscription = Subscription::new(Arc::clone(&core), &SubscribeRequest::new()).expect("subscribes");
    let before = subscription.cursor();
    for ordering in [Ordering::None, Ordering::InsertionTs] {
        let request = ConsumeRequest::new(1000).ordering(ordering);
        disk.set_faults(Faults { call_error: 10_000, ..Faults::default() });
        let page = drive(&mut machine, &mut random, pages.poll(&request)).expect("power").expect("polls");
        let failed: Vec<_> = page.failed_shards.iter().map(|failure| failure.shard_id).collect();
        assert_eq!((page.events.len(), failed.len(), page.has_more), (0, 2, false), "{ordering:?} {failed:?}");
        disk.set_faults(Faults::default());
        let request = request.from(page.next_id.expect("a cursor"));
        let page = drive(&mut machine, &mut random, pages.poll(&request)).expect("power").expect("polls");
        assert_eq!((page.events.len(), page.failed_shards.len()), (events, 0), "{ordering:?}");
    }
    disk.set_faults(Faults { call_error: 10_000, ..Faults::default() });
    for _ in 0..2 {
        assert!(matches!(subscription.try_next(), Some(Err(ConsumerError::Read(_)))), "each shard says so once");
    }
    assert!(subscription.try_next().is_none());
    assert_eq!(subscription.cursor(), before);
}
