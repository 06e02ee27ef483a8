//! Relays, and what reaches a backend that fails in every way.

mod backend;
mod kill;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::adapter::{AdapterConfig, MemoryAdapter, NoopAdapter, RelayEnd, RelayHealth, RelayOptions, relay_log};
use tapeline::consumer::Start;
use tapeline::retention::RetentionPolicy;
use tapeline::{
    AdapterError, BatchConfig, EventBus, EventBusConfig, Filter, LogFiles, RawEvent, ReplayRequest, ScalingPolicy,
    kinds,
};
use tapeline_testing::{Random, seeds};

use self::backend::{Answer, Backend, wait_stats};
use crate::scratch::{Scratch, open, wait_until_sealed};

const LONG: Duration = Duration::from_secs(60);

/// A relay that repeats soon, and has small batches.
fn soon(name: &str) -> RelayOptions {
    let batch =
        BatchConfig { min_size: 1, max_size: 16, max_delay: Duration::from_millis(1), ..BatchConfig::default() };
    let options = RelayOptions::new(name).batch(batch).timeout(Duration::from_millis(20));
    options.pauses(Duration::from_millis(1), Duration::from_millis(5))
}

fn say(bus: &EventBus, from: u64, count: u64) {
    for number in from..from + count {
        let event = RawEvent::from_str(&number.to_string()).with_session(u128::from(number % 7 + 1));
        bus.ingest_raw(event).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
}

/// The sequences of each shard of a log.
fn of_log(bus: &EventBus) -> BTreeMap<u16, Vec<u64>> {
    let mut shards = BTreeMap::<_, Vec<_>>::new();
    for event in block_on(bus.replay_with(ReplayRequest::new())).expect("replays") {
        let event = event.expect("an event");
        shards.entry(event.shard_id).or_default().push(event.sequence.get());
    }
    shards.values_mut().for_each(|sequences| sequences.sort_unstable());
    shards
}

#[test]
fn faulty_backend_gets_every_event_in_order_and_repeats_of_one_batch() {
    for seed in seeds(5) {
        let bus = open(EventBusConfig::builder().num_shards(2).pinned(false));
        let backend = Backend::faulty(seed);
        say(&bus, 0, 500);
        let relay = bus.start_relay(backend.adapter(), soon("faulty")).expect("starts");
        say(&bus, 500, 500);
        relay.drain(LONG);
        assert_eq!(relay.join(), RelayEnd::Drained);
        assert_eq!(backend.first_arrivals(), of_log(&bus), "seed {seed}");
        // An event comes again within the batch that was not confirmed, never after a later one of its shard was.
        let state = backend.lock();
        assert!(state.batch_len_max <= 16);
        let mut newest = BTreeMap::new();
        for event in &state.arrived {
            let newest = newest.entry(event.shard_id).or_insert(0);
            assert!(event.sequence.get() + 16 > *newest, "seed {seed}: {} after {newest}", event.sequence);
            *newest = event.sequence.get().max(*newest);
        }
        assert_eq!(state.ended, ["flush", "shutdown"]);
        let stats = relay.stats();
        assert!(stats.delivered.retries > 0 && !stats.is_running);
        assert_eq!(
            (stats.delivered.events, stats.dead_letters.written, stats.lag.events, stats.lag.time),
            (1000, 0, 0, Duration::ZERO)
        );
    }
}

#[test]
fn backlog_makes_large_batches_however_small_the_least_is() {
    let bus = open(EventBusConfig::builder().num_shards(1).pinned(false));
    let backend = Backend::reliable();
    say(&bus, 0, 1000);
    let batch = BatchConfig { min_size: 1, max_size: 100, ..BatchConfig::default() };
    let relay = bus.start_relay(backend.adapter(), RelayOptions::new("backlog").batch(batch)).expect("starts");
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().delivered.events), (RelayEnd::Drained, 1000));
    assert!(backend.lock().calls <= 20, "{} batches", backend.lock().calls);
}

#[test]
fn relay_that_is_cut_off_anywhere_goes_on_where_the_backend_confirmed() {
    for seed in seeds(3) {
        let (scratch, mut random) = (Scratch::new("relay-cut"), Random::new(seed));
        let backend = Backend::reliable();
        let (mut said, mut cuts) = (0, 0);
        while cuts < 6 {
            let bus = open(scratch.config().num_shards(2).pinned(false));
            let relay = bus.start_relay(backend.adapter(), soon("cut")).expect("starts");
            // Confirms some calls, then stores what comes and never answers: as a process that dies before it knows.
            let mut left = random.below(12u32);
            backend.answer(move || {
                left = left.saturating_sub(1);
                if left > 0 { Answer::Store } else { Answer::StorePart }
            });
            say(&bus, said, 100);
            (said, cuts) = (said + 100, cuts + 1);
            relay.drain(Duration::from_millis(random.below(20)));
            let _ = relay.join();
        }
        backend.answer(|| Answer::Store);
        let bus = open(scratch.config().num_shards(2).pinned(false));
        let relay = bus.start_relay(backend.adapter(), soon("cut")).expect("starts");
        relay.drain(LONG);
        assert_eq!(relay.join(), RelayEnd::Drained);
        assert_eq!(backend.first_arrivals(), of_log(&bus), "seed {seed}");
    }
}

#[test]
fn event_that_the_backend_refuses_is_a_dead_letter_and_the_rest_goes_on() {
    let scratch = Scratch::new("relay-poison");
    let bus = open(scratch.config());
    let backend = Backend::reliable();
    backend.lock().poison = Some(b"poison");
    for number in 0..200 {
        let payload = if number % 50 == 13 { "poison".to_owned() } else { number.to_string() };
        bus.ingest_raw(RawEvent::from_bytes(payload).with_session("s").with_kind(kinds::TOKEN)).expect("taken");
    }
    let relay = bus.start_relay(backend.adapter(), soon("poison")).expect("starts");
    wait_stats(&relay, |stats| stats.delivered.events == 196 && stats.dead_letters.written == 4);
    let expected: Vec<u64> = (0..200).filter(|number| number % 50 != 13).collect();
    assert_eq!(backend.first_arrivals()[&0], expected);
    let file = scratch.path().join("relays/poison/dead-letters.jsonl");
    let letters = std::fs::read_to_string(&file).expect("a file");
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let ids: Vec<_> = letters.iter().map(|letter| letter["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids, [13, 63, 113, 163].map(|sequence| format!("{}-0-{sequence}", bus.log_id())));
    assert!(letters.iter().all(|letter| letter["reason"] == "it is poison" && letter["text"] == "poison"));

    // The backend has changed its mind about none of them, then about all.
    relay.redrive();
    wait_stats(&relay, |stats| stats.dead_letters.written == 8);
    assert_eq!((relay.stats().dead_letters.redriven, backend.lock().redriven.len()), (0, 0));
    wait_stats(&relay, |stats| stats.dead_letters.waiting == 4);
    backend.lock().poison = None;
    relay.redrive();
    wait_stats(&relay, |stats| stats.dead_letters.redriven == 4 && stats.dead_letters.waiting == 0);
    let redriven: Vec<u64> = backend.lock().redriven.iter().map(|event| event.sequence.get()).collect();
    assert_eq!(redriven, [13, 63, 113, 163]);
    assert!(!file.exists());
    let events: Vec<_> = block_on(bus.replay("s")).expect("replays").map(|event| event.expect("an event")).collect();
    assert_eq!(backend.lock().redriven[0], events[13]);
}

#[test]
fn dead_letters_are_in_the_file_that_is_set_or_in_memory() {
    let scratch = Scratch::new("relay-letters");
    let file = scratch.path().join("elsewhere/refused.jsonl");
    for (name, options) in [("file", soon("file").dead_letters(&file)), ("memory", soon("memory"))] {
        // Without a directory, a log has no other place for them.
        let bus = open(EventBusConfig::builder());
        let backend = Backend::reliable();
        backend.lock().poison = Some(b"poison");
        bus.ingest_raw(RawEvent::from_str("poison")).expect("taken");
        let relay = bus.start_relay(backend.adapter(), options).expect("starts");
        wait_stats(&relay, |stats| stats.dead_letters.waiting == 1);
        assert_eq!(file.exists(), name == "file");
        backend.lock().poison = None;
        relay.redrive();
        wait_stats(&relay, |stats| stats.dead_letters.redriven == 1 && stats.dead_letters.waiting == 0);
        assert!(!file.exists());
    }
}

#[test]
fn pauses_are_those_that_are_set() {
    let bus = open(EventBusConfig::builder());
    let mut refusals = 100;
    let backend = Backend::new(move || {
        refusals -= 1;
        if refusals >= 0 { Answer::Refuse } else { Answer::Store }
    });
    say(&bus, 0, 1);
    // Pauses of the default would take a quarter of an hour.
    let relay = bus.start_relay(backend.adapter(), soon("short")).expect("starts");
    wait_stats(&relay, |stats| stats.delivered.events == 1);
    assert_eq!(relay.stats().delivered.retries, 100);
    // One without an end is not begun again.
    let backend = Backend::new(|| Answer::Refuse);
    let options = soon("long").pauses(Duration::MAX, Duration::MAX);
    let relay = bus.start_relay(backend.adapter(), options).expect("starts");
    wait_stats(&relay, |stats| stats.delivered.retries == 1);
    relay.drain(Duration::from_millis(300));
    assert_eq!((relay.join(), backend.lock().calls), (RelayEnd::GraceOver, 1));
}

#[test]
fn backend_that_hangs_holds_up_no_ingest_and_no_end() {
    let scratch = Scratch::new("relay-hang");
    let bus = open(scratch.config());
    let backend = Backend::new(|| Answer::Hang);
    let hanging = RelayOptions::new("hanging").drain(Duration::from_millis(50));
    let relay = bus.start_relay(backend.adapter(), hanging).expect("starts");
    say(&bus, 0, 1);
    backend.wait(|state| state.calls == 1);
    say(&bus, 1, 20_000);
    assert_eq!(bus.stats().events_durable, 20_001);
    wait_stats(&relay, |stats| stats.lag.time > Duration::ZERO && stats.lag.events > 0);
    assert_eq!((relay.stats().delivered.events, relay.stats().health), (0, RelayHealth::Starting));
    let begun = Instant::now();
    block_on(bus.shutdown_via_ref()).expect("ends");
    assert_eq!(relay.join(), RelayEnd::GraceOver);
    assert!(begun.elapsed() < Duration::from_secs(20), "the time limit of an answer, 30 s, is not waited for");
    drop(bus);
    // All of it comes after the next start.
    backend.answer(|| Answer::Store);
    let bus = open(scratch.config());
    let relay = bus.start_relay(backend.adapter(), RelayOptions::new("hanging")).expect("starts");
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().delivered.events), (RelayEnd::Drained, 20_001));
}

#[test]
fn error_that_an_operator_has_to_mend_drops_nothing_and_shows() {
    let bus = open(EventBusConfig::builder());
    let backend = Backend::new(|| Answer::Deny);
    backend.lock().inits = 3;
    say(&bus, 0, 10);
    let relay = bus.start_relay(backend.adapter(), soon("denied")).expect("starts");
    let denied = "the backend refuses: the password is wrong";
    wait_stats(&relay, |stats| stats.health == RelayHealth::Unhealthy { reason: denied.into() });
    assert!(relay.stats().delivered.retries >= 4 && !block_on(relay.is_healthy()));
    let metrics = bus.prometheus();
    assert!(metrics.contains("tapeline_relay_healthy{relay=\"denied\",adapter=\"backend\"} 0\n"), "{metrics}");
    backend.answer(|| Answer::Store);
    wait_stats(&relay, |stats| stats.delivered.events == 10);
    assert!(block_on(relay.is_healthy()) && block_on(bus.is_healthy()));
    assert!(bus.prometheus().contains("tapeline_relay_events_total{relay=\"denied\",adapter=\"backend\"} 10\n"));
}

#[test]
fn paused_relay_calls_nothing_until_it_is_resumed() {
    let bus = open(EventBusConfig::builder());
    let backend = Backend::reliable();
    let relay = bus.start_relay(backend.adapter(), soon("paused")).expect("starts");
    relay.pause();
    wait_stats(&relay, |stats| stats.is_paused);
    let calls = backend.lock().calls;
    say(&bus, 0, 100);
    relay.redrive();
    assert_eq!(backend.lock().calls, calls);
    relay.resume();
    wait_stats(&relay, |stats| stats.delivered.events == 100 && !stats.is_paused);
    // The end does not wait for a pause to end.
    relay.pause();
    say(&bus, 100, 1);
    relay.drain(LONG);
    assert_eq!(relay.join(), RelayEnd::GraceOver);
}

#[test]
fn relay_delivers_what_it_selects_and_its_cursor_passes_the_rest() {
    let bus = open(EventBusConfig::builder());
    let backend = Backend::reliable();
    let emit = |session: &str, kind, payload: &str| {
        bus.ingest_raw(RawEvent::from_str(payload).with_session(session).with_kind(kind)).expect("taken");
    };
    emit("a", kinds::TOOL_CALL, r#"{"n":1}"#);
    let middle = {
        block_on(bus.flush()).expect("durable");
        let last = block_on(bus.replay("a")).expect("replays").last().expect("one").expect("an event");
        last.insertion_ts + 1
    };
    emit("a", kinds::TOOL_CALL, r#"{"n":2}"#);
    emit("b", kinds::TOOL_CALL, r#"{"n":2}"#);
    emit("a", kinds::TOKEN, r#"{"n":2}"#);
    emit("a", kinds::TOOL_CALL, r#"{"n":3}"#);
    let options = soon("selective").start(Start::Time(middle)).session("a").kind(kinds::TOOL_CALL);
    let relay = bus.start_relay(backend.adapter(), options.filter(Filter::eq("n", 2))).expect("starts");
    wait_stats(&relay, |stats| stats.delivered.events == 1);
    for _ in 0..1000 {
        emit("b", kinds::TOKEN, "left out");
    }
    block_on(bus.flush()).expect("durable");
    let lag = || bus.cursors().expect("lists").first().expect("one").lag_events;
    let begun = Instant::now();
    while lag() > 0 {
        assert!(begun.elapsed() < LONG, "the cursor stays");
        std::thread::yield_now();
    }
    assert_eq!((relay.stats().delivered.events, backend.first_arrivals()[&0].len()), (1, 1));
}

#[test]
fn what_retention_removes_is_a_counted_gap_or_stays_for_the_relay() {
    let everything = RetentionPolicy::new().max_age(Duration::from_nanos(1));
    for keeps in [false, true] {
        let scratch = Scratch::new("relay-retention");
        let bus = open(scratch.config().segment_bytes(2 << 20));
        let backend = Backend::new(|| Answer::Refuse);
        let relay = bus.start_relay(backend.adapter(), soon("kept")).expect("starts");
        let mut producer = bus.producer().expect("producer");
        let session = producer.session("s");
        for _ in 0..2000u32 {
            while producer.emit(session, kinds::TOKEN, &[7; 4000]).is_err() {
                std::thread::yield_now();
            }
        }
        block_on(bus.flush()).expect("durable");
        wait_until_sealed(&bus);
        let policy = RetentionPolicy { keep_for_cursors: keeps, ..everything.clone() };
        let plan = block_on(bus.trim(&policy)).expect("trims");
        assert_eq!(plan.removed.is_empty(), keeps);
        backend.answer(|| Answer::Store);
        relay.drain(LONG);
        assert_eq!(relay.join(), RelayEnd::Drained);
        let stats = relay.stats();
        assert_eq!(stats.delivered.events + stats.missed.events, 2000, "{stats:?}");
        assert_eq!((stats.missed.gaps, stats.missed.events > 0), (u64::from(!keeps), !keeps));
    }
}

#[test]
fn sessions_that_move_between_shards_arrive_in_order() {
    let policy =
        ScalingPolicy { auto_scale: false, cooldown: Duration::from_nanos(1), ..ScalingPolicy::default_for_cpus(4) };
    let bus = open(EventBusConfig::builder().scaling(policy).pinned(false));
    let backend = Backend::faulty(7);
    let relay = bus.start_relay(backend.adapter(), soon("moved")).expect("starts");
    let mut said = 0;
    for step in 0..6 {
        say(&bus, said, 200);
        said += 200;
        match step % 2 {
            0 => drop(block_on(bus.manual_scale_up(3)).expect("scales")),
            _ => drop(block_on(bus.manual_scale_down(3)).expect("scales")),
        }
    }
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().delivered.events), (RelayEnd::Drained, said));
    let (state, mut known) = (backend.lock(), BTreeSet::new());
    let mut sessions = BTreeMap::<_, Vec<u64>>::new();
    for event in state.arrived.iter().filter(|event| known.insert(event.dedup_id())) {
        sessions.entry(event.session).or_default().push(event.raw.to_string().parse().expect("a number"));
    }
    assert!(state.arrived.iter().any(|event| event.shard_id > 0), "sessions moved");
    assert!(sessions.values().all(|numbers| numbers.is_sorted()), "{sessions:?}");
    assert_eq!(sessions.values().map(Vec::len).sum::<usize>() as u64, said);
}

#[test]
fn bus_opens_with_an_adapter_whose_backend_is_not_there_yet() {
    let backend = Backend::reliable();
    backend.lock().inits = 2;
    let bus = block_on(EventBus::new_with_adapter(EventBusConfig::default(), backend.adapter())).expect("opens");
    assert_eq!(bus.adapter_name(), "backend");
    say(&bus, 0, 10);
    block_on(bus.shutdown()).expect("ends");
    assert_eq!(backend.first_arrivals()[&0].len(), 10);
    assert_eq!(backend.lock().ended, ["flush", "shutdown"]);
}

#[test]
fn configuration_names_the_adapter_and_the_time_limit_of_its_answers() {
    let bus = open(EventBusConfig::builder().adapter(AdapterConfig::Memory));
    say(&bus, 0, 10);
    let relay = bus.relays().remove(0);
    wait_stats(&relay, |stats| stats.delivered.events == 10);
    assert_eq!((bus.adapter_name(), relay.name()), ("memory", "memory"));
    let page = block_on(relay.adapter().expect("initialised").poll_shard(0, None, 100)).expect("reads");
    assert_eq!(page.events.len(), 10);

    let bus = open(EventBusConfig::builder());
    assert!(bus.adapter_name() == "noop" && bus.relays().is_empty());
    let both = EventBusConfig::builder().adapter(AdapterConfig::Memory).build().expect("a configuration");
    let refused = block_on(EventBus::new_with_adapter(both, Box::new(NoopAdapter::new())));
    assert!(matches!(refused, Err(AdapterError::Config(_))));

    let limit = EventBusConfig::builder().adapter_timeout(Duration::from_millis(5)).build().expect("a configuration");
    let hanging = Backend::new(|| Answer::Hang);
    let bus = block_on(EventBus::new_with_adapter(limit, hanging.adapter())).expect("opens");
    say(&bus, 0, 1);
    let reason = "no answer within 5ms".to_owned();
    wait_stats(&bus.relays()[0], |stats| stats.health == RelayHealth::Retrying { reason: reason.clone() });
    drop(bus);
    assert!(EventBusConfig::builder().adapter_timeout(Duration::ZERO).build().is_err());
}

#[test]
fn a_name_has_one_relay_at_a_time_in_all_processes() {
    let scratch = Scratch::new("relay-names");
    let bus = open(scratch.config());
    let start = |name: &str| bus.start_relay(Box::new(NoopAdapter::new()), RelayOptions::new(name));
    let relay = start("one").expect("starts");
    let other = start("other").expect("starts");
    let refused = start("one").expect_err("runs already").to_string();
    assert!(refused.contains("a relay \"one\" of this log runs already"), "{refused}");
    let elsewhere = || relay_log(scratch.path(), Box::new(NoopAdapter::new()), RelayOptions::new("one"));
    assert!(elsewhere().is_err());
    relay.drain(LONG);
    assert_eq!(relay.join(), RelayEnd::Drained);
    let elsewhere = elsewhere().expect("starts");
    assert!(start("one").is_err());
    elsewhere.drain(LONG);
    assert_eq!(elsewhere.join(), RelayEnd::Drained);
    start("one").expect("starts");
    for name in ["", "a/b", ".hidden"] {
        assert!(matches!(start(name), Err(AdapterError::Config(_))), "{name:?}");
    }
    block_on(bus.shutdown_via_ref()).expect("ends");
    assert_eq!(other.join(), RelayEnd::BusEnded);
    assert!(matches!(start("late"), Err(AdapterError::Shutdown)));
}

#[test]
fn relay_follows_a_log_that_another_opener_writes() {
    let scratch = Scratch::new("relay-log");
    let bus = open(scratch.config().num_shards(2).pinned(false));
    let backend = Backend::faulty(3);
    say(&bus, 0, 300);
    let relay = relay_log(scratch.path(), backend.adapter(), soon("log")).expect("starts");
    say(&bus, 300, 300);
    wait_stats(&relay, |stats| stats.delivered.events == 600);
    relay.drain(LONG);
    assert_eq!(relay.join(), RelayEnd::Drained);
    let cursor = |log: &LogFiles| log.cursors().expect("lists").remove(0);
    assert_eq!(cursor(&LogFiles::open(scratch.path()).expect("opens")).lag_events, 0);
    // The next one goes on, and so would a relay of the bus.
    say(&bus, 600, 100);
    let relay = bus.start_relay(backend.adapter(), soon("log")).expect("starts");
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().delivered.events), (RelayEnd::Drained, 100));
    assert_eq!(backend.first_arrivals(), of_log(&bus));
    drop(bus);
    // A log that goes away ends its relay.
    let relay = relay_log(scratch.path(), Box::new(MemoryAdapter::new()), soon("gone")).expect("starts");
    wait_stats(&relay, |stats| stats.delivered.events == 700);
    // A relay that is paused writes nothing to the directory while it is removed.
    relay.pause();
    wait_stats(&relay, |stats| stats.is_paused);
    std::fs::remove_dir_all(scratch.path()).expect("removes");
    relay.resume();
    assert_eq!(relay.join(), RelayEnd::LogGone);
    let missing = relay_log(scratch.path(), Box::new(NoopAdapter::new()), soon("gone")).expect_err("no log");
    assert!(matches!(missing, AdapterError::Directory(_)), "{missing}");
}
