//! Numbers that never contradict each other, beside readers that look at the newest events all the time.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_lite::future::block_on;
use tapeline::config::Durability;
use tapeline::consumer::Start;
use tapeline::event::Sequence;
use tapeline::{ConsumeRequest, EventBus, ReplayRequest, kinds};

use crate::scratch::{Scratch, open};

const ROUNDS: u32 = 8;
const READERS: u32 = 6;
const EVENTS: u64 = 5_000;

/// Looks at the last events until `stop`.
fn look(bus: &EventBus, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let newest = bus.shard_stats()[0].events_appended.saturating_sub(2);
        let request = ConsumeRequest::new(1).start(Start::Sequences(vec![(0, Sequence::new(newest))]));
        for _ in 0..50 {
            let _ = block_on(bus.poll(request.clone()));
        }
    }
}

/// Has the readers stop, also where an assertion fails: they would be waited for without end.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ingests events, looking at the numbers meanwhile. Returns how many were taken.
fn ingest(bus: &EventBus) -> u64 {
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    let mut taken = 0;
    for number in 0..EVENTS {
        taken += u64::from(producer.emit(session, kinds::TOKEN, &[7; 500]).is_ok());
        if number % 64 == 0 {
            let shard = &bus.shard_stats()[0];
            assert!(shard.events_durable <= shard.events_appended, "{shard:?}");
            let stats = bus.stats();
            assert!(stats.events_committing() <= EVENTS, "{stats:?}");
        }
    }
    taken
}

#[test]
fn shutdown_beside_busy_readers_hides_nothing() {
    for round in 0..ROUNDS {
        let scratch = Scratch::new("watermarks");
        let bus = open(scratch.config().durability(Durability::PageCache));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            (0..READERS).for_each(|_| drop(scope.spawn(|| look(&bus, &stop))));
            let stopper = Stopper(&stop);
            let taken = ingest(&bus);
            block_on(bus.shutdown_via_ref()).expect("ends");
            drop(stopper);
            let shard = &bus.shard_stats()[0];
            assert_eq!((shard.events_appended, shard.events_durable), (taken, taken), "round {round}");
            let replay = block_on(bus.replay_with(ReplayRequest::new())).expect("replays");
            assert_eq!(replay.filter(Result::is_ok).count() as u64, taken, "round {round}");
            assert!(bus.stats().is_balanced(), "round {round}: {:?}", bus.stats());
        });
    }
}
