//! Shards come and go under load: nothing is lost, and every session stays in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::config::OverloadThresholds;
use tapeline::event::Kind;
use tapeline::{
    AdapterError, BackpressureMode, ConsumeRequest, EventBus, EventBusConfig, EventBusConfigBuilder, LogFiles,
    ScalingError, ScalingPolicy, StoredEvent, SubscribeRequest,
};

use crate::scratch::Scratch;

const SESSIONS: u64 = 16;

fn by_hand(max_shards: u16) -> ScalingPolicy {
    let brief = Duration::from_millis(1);
    ScalingPolicy { auto_scale: false, cooldown: brief, max_shards, ..ScalingPolicy::default_for_cpus(max_shards) }
}

fn open(config: EventBusConfigBuilder) -> EventBus {
    block_on(EventBus::new(config.build().expect("a configuration"))).expect("a bus")
}

/// The next number of each producer in each session.
#[derive(Default)]
struct Order(BTreeMap<(u64, u64), u64>);

impl Order {
    fn see(&mut self, event: &StoredEvent) {
        let number = |at: usize| u64::from_le_bytes(event.raw[at..at + 8].try_into().expect("a number"));
        let next = self.0.entry((number(0), number(8))).or_default();
        assert_eq!(number(16), *next, "producer {}, session {}", number(0), number(8));
        *next += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Ingests until `stop` is set, now and then in batches. Returns how many events.
fn speak(bus: &EventBus, who: u64, stop: &AtomicBool) -> u64 {
    let mut producer = bus.producer().expect("a producer");
    let mut sessions: Vec<_> = (0..SESSIONS).map(|session| producer.session(1 + u128::from(session))).collect();
    let mut spoken = 0;
    while !stop.load(Ordering::Relaxed) {
        let (session, number) = (spoken % SESSIONS, spoken / SESSIONS);
        let payload = [who, session, number].map(u64::to_le_bytes).concat();
        if spoken % 1000 < SESSIONS {
            // Tokens that are made anew and such that are kept.
            sessions[session as usize] = producer.session(1 + u128::from(session));
        }
        match spoken % 7 {
            0 => {
                let mut batch = producer.batch(sessions[session as usize]);
                batch.push(Kind(1), &payload).expect("room");
                thread::yield_now();
                batch.publish().expect("published");
            }
            _ => drop(producer.emit(sessions[session as usize], Kind(1), &payload).expect("taken")),
        }
        spoken += 1;
        if spoken % 64 == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
    spoken
}

/// Changes the shards `changes` times while two producers speak and a subscriber follows. Returns the events ingested.
fn change_under_load(bus: &EventBus, changes: usize, max_shards: u16) -> u64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut live = block_on(bus.subscribe(SubscribeRequest::new())).expect("a subscription").blocking();
        let stop = &stop;
        let speakers: Vec<_> = (0..2).map(|who| scope.spawn(move || speak(bus, who, stop))).collect();
        let reader = scope.spawn(move || {
            let mut order = Order::default();
            loop {
                match live.next_timeout(Duration::from_millis(100)) {
                    Some(event) => order.see(&event.expect("an event")),
                    None if stop.load(Ordering::Relaxed) => return order.total(),
                    None => {}
                }
            }
        });
        for change in 0..changes {
            thread::sleep(Duration::from_millis(3));
            let active = bus.num_shards();
            let outcome = match (change % 3, active) {
                (0, _) if active > 1 => block_on(bus.manual_scale_down(1 + change as u16 % 2)),
                _ if active < max_shards => block_on(bus.manual_scale_up(1 + change as u16 % 2)),
                _ => block_on(bus.manual_scale_down(max_shards)),
            };
            assert!(!outcome.expect("a change").is_empty());
        }
        stop.store(true, Ordering::Relaxed);
        let spoken: Vec<u64> = speakers.into_iter().map(|speaker| speaker.join().expect("no panic")).collect();
        let seen = reader.join().expect("no panic");
        assert!(seen >= spoken.iter().sum::<u64>(), "live: {seen} of {spoken:?}");
        spoken.iter().sum()
    })
}

#[test]
fn sessions_stay_whole_and_in_order_while_shards_come_and_go() {
    let scratch = Scratch::new("moves");
    let config = || {
        scratch
            .config()
            .scaling(by_hand(3))
            .memory_bytes(4 << 20)
            .lane_bytes(1 << 20)
            .backpressure_mode(BackpressureMode::Block { deadline: Duration::from_secs(20) })
    };
    let bus = open(config());
    let spoken = change_under_load(&bus, 40, 3);
    let mut order = Order::default();
    let mut cursor = None;
    loop {
        let request = ConsumeRequest { from_id: cursor, ..ConsumeRequest::new(777) };
        let page = block_on(bus.poll(request)).expect("a page");
        page.events.iter().for_each(|event| order.see(event));
        cursor = page.next_id;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(order.total(), spoken);
    let stats = bus.stats();
    assert!(stats.is_balanced() && stats.events_ingested == spoken, "{stats:?}");
    block_on(bus.shutdown()).expect("shuts down");
    let mut replayed = Order::default();
    let files = LogFiles::open(scratch.path()).expect("a log");
    files.replay_all().expect("a replay").for_each(|event| replayed.see(&event.expect("an event")));
    assert_eq!(replayed.total(), spoken);
    // Another process, with another number of shards, goes on.
    let bus = open(config().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    for (key, next) in &order.0 {
        let payload = [key.0, key.1, *next].map(u64::to_le_bytes).concat();
        let session = producer.session(1 + u128::from(key.1));
        producer.emit(session, Kind(1), &payload).expect("taken");
    }
    for session in 0..SESSIONS {
        let mut one = Order::default();
        let replay = block_on(bus.replay(1 + u128::from(session))).expect("a replay");
        replay.for_each(|event| one.see(&event.expect("an event")));
        assert_eq!(
            one.total(),
            order.0.iter().filter(|(key, _)| key.1 == session).map(|(_, next)| next + 1).sum::<u64>()
        );
    }
}

#[test]
fn retired_shard_keeps_its_events_and_comes_back() {
    let bus = open(EventBusConfig::builder().scaling(by_hand(2)));
    assert_eq!((bus.num_shards(), bus.is_dynamic_scaling_enabled()), (1, true));
    assert!(matches!(block_on(bus.manual_scale_down(1)), Err(AdapterError::Scaling(ScalingError::AtMinShards(1)))));
    assert_eq!(block_on(bus.manual_scale_up(5)).expect("grows"), [1]);
    assert!(matches!(block_on(bus.manual_scale_up(1)), Err(AdapterError::Scaling(ScalingError::AtMaxShards(2)))));
    let mut producer = bus.producer().expect("a producer");
    let on_second = (1..).map(|id: u128| producer.session(id)).find(|session| session.shard_id() == 1).expect("one");
    producer.emit(on_second, Kind(1), b"before").expect("taken");
    thread::sleep(Duration::from_millis(5));
    assert_eq!(block_on(bus.manual_scale_down(1)).expect("shrinks"), [1]);
    let ticket = producer.emit(on_second, Kind(1), b"after").expect("taken");
    assert_eq!((ticket.shard_id, bus.num_shards()), (0, 1));
    let active: Vec<_> = bus.shard_stats().iter().map(|shard| shard.is_active).collect();
    assert_eq!(active, [true, false]);
    let replayed = block_on(bus.replay(on_second.id())).expect("a replay");
    let payloads: Vec<_> = replayed.map(|event| event.expect("an event").raw.to_vec()).collect();
    assert_eq!(payloads, [b"before".to_vec(), b"after".to_vec()]);
    assert_eq!(block_on(bus.manual_scale_up(1)).expect("grows again"), [1]);
    assert_eq!(producer.emit(on_second, Kind(1), b"again").expect("taken").shard_id, 1);
    let metrics = bus.shard_metrics().expect("a policy");
    assert_eq!(bus.shard_metrics().expect("the same").len(), metrics.len(), "looking changes nothing");
}

#[test]
fn change_of_the_shards_that_fails_says_why_and_the_bus_goes_on() {
    let scratch = Scratch::new("scaling-fails");
    let bus = open(scratch.config().scaling(by_hand(2)));
    let failure = |outcome: Result<Vec<u16>, AdapterError>| match outcome {
        Err(AdapterError::Scaling(error)) => error,
        other => panic!("{other:?}"),
    };
    // Files stand where the shard's directory and the file of the eras would be.
    let (shard, eras) = (scratch.path().join("shard-0001"), scratch.path().join("eras"));
    std::fs::write(&shard, "").expect("writes");
    let error = failure(block_on(bus.manual_scale_up(1)));
    assert!(matches!(&error, ScalingError::ShardCreationFailed(why) if why.contains("shard-0001")), "{error}");
    assert_eq!(bus.num_shards(), 1);
    std::fs::remove_file(&shard).expect("removed");
    let _ = std::fs::remove_file(&eras);
    std::fs::create_dir_all(eras.join("taken")).expect("made");
    let error = failure(block_on(bus.manual_scale_up(1)));
    assert!(matches!(&error, ScalingError::NotKept(why) if why.contains("eras")), "{error}");
    assert_eq!(bus.num_shards(), 2, "the change holds for this bus");
    let ticket = bus.ingest_raw(tapeline::RawEvent::from_str("x")).expect("taken");
    assert!(ticket.shard_id < 2);
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn bus_without_a_policy_says_so() {
    let bus = open(EventBusConfig::builder().with_dynamic_scaling().without_scaling());
    assert!(bus.shard_metrics().is_none() && !bus.is_dynamic_scaling_enabled());
    bus.start_scaling_monitor();
    assert!(matches!(block_on(bus.manual_scale_up(1)), Err(AdapterError::Scaling(ScalingError::Disabled))));
}

#[test]
fn shards_come_by_themselves_under_load_and_go_when_it_is_over() {
    let policy = ScalingPolicy {
        // Any stream at all is too much for one shard.
        overload: OverloadThresholds { event_rate_threshold: 2_000.0, ..OverloadThresholds::default() },
        metrics_window: Duration::from_millis(8),
        cooldown: Duration::from_millis(20),
        scale_down_delay: Duration::from_millis(50),
        ..ScalingPolicy::default_for_cpus(2)
    };
    let asleep = open(EventBusConfig::builder().scaling(ScalingPolicy { auto_scale: false, ..policy.clone() }));
    let bus = open(EventBusConfig::builder().scaling(policy));
    let load = |bus: &EventBus, events: u128| {
        let mut producer = bus.producer().expect("a producer");
        for number in 0..events {
            let session = producer.session(1 + number % 100);
            producer.emit(session, Kind(1), b"busy").expect("taken");
            if number % 16 == 0 {
                thread::sleep(Duration::from_micros(100));
            }
            if bus.num_shards() > 1 {
                return;
            }
        }
    };
    load(&bus, 1_000_000);
    assert_eq!(bus.num_shards(), 2);
    load(&asleep, 10_000);
    assert_eq!(asleep.num_shards(), 1);
    asleep.start_scaling_monitor();
    load(&asleep, 1_000_000);
    assert_eq!(asleep.num_shards(), 2, "it was woken");
    while bus.num_shards() > 1 {
        thread::yield_now();
    }
    assert!(bus.stats().is_balanced());
}
