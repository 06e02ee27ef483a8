//! The tests that every backend passes, and the steps of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::adapter::{
    Adapter, AdapterFuture, Batch, RelayEnd, RelayHandle, RelayHealth, RelayOptions, RelayStats, ShardPollResult,
    conformance, relay_log,
};
use tapeline::config::{RetentionPolicy, ScalingPolicy};
use tapeline::event::{SessionMetadata, StoredEvent};
use tapeline::{BatchConfig, EventBus, EventBusConfig, EventBusConfigBuilder, RawEvent, ReplayRequest, kinds};
use tapeline_testing::server::Server;
use tapeline_testing::{Scratch, asked};

use super::{Backend, is_here, start, stopped};

pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A relay that repeats soon.
pub(crate) fn named(name: &str) -> RelayOptions {
    let batch =
        BatchConfig { min_size: 100, max_size: 200, max_delay: Duration::from_millis(2), ..BatchConfig::default() };
    RelayOptions::new(name).batch(batch).pauses(Duration::from_millis(5), Duration::from_millis(50))
}

fn settings(scratch: &Scratch) -> EventBusConfigBuilder {
    EventBusConfig::builder().directory(scratch.path()).segment_bytes(4 << 20).num_shards(2).pinned(false)
}

fn open(settings: EventBusConfigBuilder) -> EventBus {
    block_on(EventBus::new(settings.build().expect("a configuration"))).expect("opens")
}

pub(crate) fn bus(scratch: &Scratch) -> EventBus {
    open(settings(scratch))
}

pub(crate) fn say(bus: &EventBus, count: u64) {
    for number in 0..count {
        // Every byte value, at every place.
        let payload: Vec<u8> = (0..=u8::MAX).map(|byte| byte.wrapping_add(number as u8)).collect();
        bus.ingest_raw(RawEvent::from_bytes(payload).with_session(u128::from(number % 5 + 1))).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
}

pub(crate) fn wait(relay: &RelayHandle, mut holds: impl FnMut(&RelayStats) -> bool) {
    let begun = Instant::now();
    while !holds(&relay.stats()) {
        assert!(begun.elapsed() < LONG, "the relay does not come to that: {:?}", relay.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads a shard. A machine under load may take longer for an answer than the short limits of these tests allow.
pub(crate) fn read(adapter: &dyn Adapter, shard: u16) -> Vec<StoredEvent> {
    let (mut events, mut from, begun) = (Vec::new(), None, Instant::now());
    loop {
        let page = match block_on(adapter.poll_shard(shard, from.as_deref(), 1000)) {
            Err(error) if error.is_retryable() && begun.elapsed() < LONG => continue,
            answer => answer.expect("reads"),
        };
        events.extend(page.events);
        from = page.next_id;
        if !page.has_more {
            return events;
        }
    }
}

/// The events of a log, by shard, in order.
pub(crate) fn of_log(bus: &EventBus, shard: u16) -> Vec<StoredEvent> {
    let stored = block_on(bus.replay_with(ReplayRequest::new())).expect("replays");
    let mut events: Vec<_> = stored.map(|event| event.expect("an event")).filter(|e| e.shard_id == shard).collect();
    events.sort_by_key(|event| event.sequence);
    events
}

/// Drains the relay, and expects of the server every event of the log's first shards, once and in order.
pub(crate) fn expect_all(bus: &EventBus, relay: &RelayHandle) {
    expect_of(bus, relay, 2);
}

fn expect_of(bus: &EventBus, relay: &RelayHandle, shards: u16) {
    relay.drain(LONG);
    assert_eq!(relay.join(), RelayEnd::Drained, "{:?}", relay.stats());
    let adapter = relay.adapter().expect("initialised");
    for shard in 0..shards {
        let (found, expected) = (read(&*adapter, shard), of_log(bus, shard));
        assert!(found == expected, "shard {shard}: {} events, not {}", found.len(), expected.len());
    }
}

/// Makes a function a test of each backend, named for the property.
macro_rules! suite {
    ($backend:ty, $($property:ident)*) => {
        $(
            #[test]
            fn $property() {
                backend::$property::<$backend>();
            }
        )*

        /// The process of `process_that_is_killed_after_a_confirmation_repeats_nothing`.
        #[test]
        fn child() {
            backend::child::<$backend>();
        }
    };
    ($backend:ty) => {
        suite! {
            $backend,
            adapter_conforms
            server_that_is_killed_under_load_has_every_event_once
            server_that_stands_still_is_waited_for_no_longer_than_the_time_limit
            server_that_comes_late_gets_everything
            other_event_under_the_same_id_is_no_repeat
            process_that_is_killed_after_a_confirmation_repeats_nothing
            shards_that_come_and_go_are_relayed_whole
            retention_that_overtakes_the_relay_leaves_a_counted_gap
            names_of_sessions_come_back_whatever_they_hold
            faults_one_after_the_other_lose_and_repeat_nothing
        }
    };
}
pub(crate) use suite;

pub(crate) fn adapter_conforms<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let server = start::<B>("conforms", &[]);
    block_on(conformance::check(|| B::adapter(server.port()))).expect("conforms");
}

pub(crate) fn server_that_is_killed_under_load_has_every_event_once<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (mut server, scratch) = (start::<B>("kill", &[]), Scratch::new("kill-log"));
    let bus = bus(&scratch);
    let relay = bus.start_relay(B::adapter(server.port()), named("relay")).expect("starts");
    for round in 0..4 {
        say(&bus, 500);
        let confirmed = relay.stats().delivered.events;
        say(&bus, 500);
        wait(&relay, |stats| stats.delivered.events > confirmed.min(round * 1000 + 400));
        server.kill();
        say(&bus, 200);
        server.run();
    }
    expect_all(&bus, &relay);
}

pub(crate) fn server_that_stands_still_is_waited_for_no_longer_than_the_time_limit<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (server, scratch) = (start::<B>("stop", &[]), Scratch::new("stop-log"));
    let bus = bus(&scratch);
    let relay = bus.start_relay(B::adapter(server.port()), named("relay")).expect("starts");
    say(&bus, 100);
    wait(&relay, |stats| stats.delivered.events > 0);
    server.signal("-STOP");
    say(&bus, 2000);
    wait(&relay, |stats| matches!(stats.health, RelayHealth::Retrying { .. }));
    assert_eq!(bus.stats().events_durable, 2100);
    let adapter = relay.adapter().expect("initialised");
    assert!(!block_on(adapter.is_healthy()));
    server.signal("-CONT");
    expect_all(&bus, &relay);
    assert!(block_on(adapter.is_healthy()));
}

pub(crate) fn server_that_comes_late_gets_everything<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (mut server, scratch) = (stopped::<B>("late", &[]), Scratch::new("late-log"));
    let bus = open(settings(&scratch).adapter(B::config(server.port())));
    let relay = bus.relays().remove(0);
    say(&bus, 100);
    wait(&relay, |stats| matches!(&stats.health, RelayHealth::Retrying { reason } if reason.contains("connection")));
    server.run();
    expect_all(&bus, &relay);
}

pub(crate) fn other_event_under_the_same_id_is_no_repeat<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (server, scratch) = (start::<B>("other", &[]), Scratch::new("other-log"));
    let bus = bus(&scratch);
    say(&bus, 600);
    let adapter = B::adapter(server.port());
    let stored = of_log(&bus, 0);
    let store = |events: Vec<StoredEvent>| block_on(adapter.on_batch(Arc::new(Batch::new(0, events))));
    store(stored.clone()).expect("stored");
    store(stored.clone()).expect("a repeat");
    for at in [0, stored.len() / 2, stored.len() - 1] {
        let mut other = stored.clone();
        other[at].insertion_ts += 1;
        let part = other.split_off(at / 2);
        assert!(matches!(store(part), Err(tapeline::AdapterError::Serialization(_))), "event {at}");
    }
}

/// The process that dies after its backend has confirmed the third batch, before the cursor is stored.
struct DiesAfterConfirming {
    adapter: Box<dyn Adapter>,
    batches: AtomicUsize,
}

impl Adapter for DiesAfterConfirming {
    fn name(&self) -> &'static str {
        "dies"
    }

    fn init(&mut self) -> AdapterFuture<'_> {
        self.adapter.init()
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        Box::pin(async move {
            self.adapter.on_batch(batch).await?;
            if self.batches.fetch_add(1, Ordering::Relaxed) == 2 {
                // As kill -9: no destructor runs.
                std::process::abort();
            }
            Ok(())
        })
    }

    fn poll_shard<'a>(
        &'a self,
        shard: u16,
        from_id: Option<&'a str>,
        limit: usize,
    ) -> AdapterFuture<'a, ShardPollResult> {
        self.adapter.poll_shard(shard, from_id, limit)
    }
}

const DIRECTORY: &str = "TAPELINE_BACKEND_DIRECTORY";
const PORT: &str = "TAPELINE_BACKEND_PORT";

/// The process that is killed: relays a log that its parent writes.
pub(crate) fn child<B: Backend>() {
    let (Ok(directory), Ok(port)) = (std::env::var(DIRECTORY), std::env::var(PORT)) else { return };
    let adapter = B::adapter(port.parse().expect("a port"));
    let adapter = Box::new(DiesAfterConfirming { adapter, batches: AtomicUsize::new(0) });
    let relay = relay_log(directory.as_ref(), adapter, named("relay")).expect("starts");
    relay.drain(LONG);
    relay.join();
}

pub(crate) fn process_that_is_killed_after_a_confirmation_repeats_nothing<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (server, scratch) = (start::<B>("process", &[]), Scratch::new("process-log"));
    let bus = bus(&scratch);
    for _ in 0..asked("TAPELINE_KILLS").unwrap_or(3) {
        say(&bus, 1500);
        let mut command = std::process::Command::new(std::env::current_exe().expect("own path"));
        command.args(["--exact", "child", "--nocapture"]);
        command.env(DIRECTORY, scratch.path()).env(PORT, server.port().to_string());
        let output = command.output().expect("runs");
        assert!(!output.status.success(), "it was to die: {}", String::from_utf8_lossy(&output.stdout));
    }
    let relay = bus.start_relay(B::adapter(server.port()), named("relay")).expect("starts");
    expect_all(&bus, &relay);
}

pub(crate) fn shards_that_come_and_go_are_relayed_whole<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (server, scratch) = (start::<B>("shards", &[]), Scratch::new("shards-log"));
    let scaling =
        ScalingPolicy { auto_scale: false, cooldown: Duration::from_nanos(1), ..ScalingPolicy::default_for_cpus(4) };
    let bus = open(settings(&scratch).num_shards(1).scaling(scaling));
    let relay = bus.start_relay(B::adapter(server.port()), named("relay")).expect("starts");
    for step in 0..4 {
        say(&bus, 300);
        match step % 2 {
            0 => drop(block_on(bus.manual_scale_up(3)).expect("scales")),
            _ => drop(block_on(bus.manual_scale_down(3)).expect("scales")),
        }
    }
    assert!(!of_log(&bus, 3).is_empty(), "sessions moved");
    expect_of(&bus, &relay, 4);
}

pub(crate) fn retention_that_overtakes_the_relay_leaves_a_counted_gap<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (server, scratch) = (start::<B>("retention", &[]), Scratch::new("retention-log"));
    let bus = open(settings(&scratch).num_shards(1).segment_bytes(2 << 20));
    let relay = bus.start_relay(B::adapter(server.port()), named("relay")).expect("starts");
    say(&bus, 100);
    wait(&relay, |stats| stats.delivered.events == 100);
    server.signal("-STOP");
    let everything = RetentionPolicy::new().max_age(Duration::from_nanos(1));
    let mut total = 100;
    let begun = Instant::now();
    loop {
        say(&bus, 10_000);
        total += 10_000;
        if !block_on(bus.trim(&everything)).expect("trims").removed.is_empty() {
            break;
        }
        assert!(begun.elapsed() < LONG, "no segment goes");
    }
    server.signal("-CONT");
    relay.drain(LONG);
    assert_eq!(relay.join(), RelayEnd::Drained, "{:?}", relay.stats());
    let (stats, adapter) = (relay.stats(), relay.adapter().expect("initialised"));
    let found = read(&*adapter, 0);
    assert!(found.is_sorted_by_key(|event| event.sequence), "order");
    assert_eq!(found.len() as u64 + stats.missed.events, total, "{stats:?}");
    assert!(stats.missed.gaps > 0 && stats.missed.events > 0, "{stats:?}");
}

pub(crate) fn names_of_sessions_come_back_whatever_they_hold<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let (server, scratch) = (start::<B>("names", &[]), Scratch::new("names-log"));
    let bus = bus(&scratch);
    for name in ["plain", " 50 % ", "two\r\nNats-Msg-Id: lines", "\u{e9}t\u{e9}\0"] {
        bus.open_session_with(name, &SessionMetadata::default()).expect("opens");
        bus.ingest_raw(RawEvent::from_str(name).with_session(name)).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let relay = bus.start_relay(B::adapter(server.port()), named("relay")).expect("starts");
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().dead_letters.written), (RelayEnd::Drained, 0));
    let adapter = relay.adapter().expect("initialised");
    let stored: Vec<_> = (0..2).flat_map(|shard| read(&*adapter, shard)).filter(|e| e.kind != kinds::SESSION).collect();
    assert_eq!(stored.len(), 4);
    for event in stored {
        assert_eq!(event.session_name().map(str::as_bytes), Some(&event.raw[..]));
    }
}

/// A fault while events are on their way.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The server is killed, and connections are refused for twice as long as other faults last.
    Refused,
    StandsStill,
    /// The server is killed, and starts again at once.
    Killed,
    /// The relay ends where it is, and another goes on.
    RelayEnds,
}

/// Events of the short form, and seconds of each of its faults. `scripts/crash relay` asks for more of both.
const FAULTS_EVENTS: u64 = 12_000;
const FAULTS_SECONDS: u64 = 0;

pub(crate) fn faults_one_after_the_other_lose_and_repeat_nothing<B: Backend>() {
    if !is_here::<B>() {
        return;
    }
    let events = asked("TAPELINE_RELAY_EVENTS").unwrap_or(FAULTS_EVENTS);
    let length = Duration::from_secs(asked("TAPELINE_RELAY_SECONDS").unwrap_or(FAULTS_SECONDS));
    let (mut server, scratch) = (start::<B>("faults", &[]), Scratch::new("faults-log"));
    let bus = bus(&scratch);
    let faults = [Fault::Refused, Fault::RelayEnds, Fault::StandsStill, Fault::Killed];
    let faults: Vec<_> = faults.iter().cycle().take(3 * faults.len()).collect();
    let again = |server: &Server| bus.start_relay(B::adapter(server.port()), named("relay")).expect("starts");
    let mut relay = again(&server);
    for fault in &faults {
        let confirmed = relay.stats().delivered.events;
        say(&bus, events / faults.len() as u64);
        wait(&relay, |stats| stats.delivered.events > confirmed);
        let (is_retrying, begun) = (|stats: &RelayStats| stats.health != RelayHealth::Healthy, Instant::now());
        match fault {
            Fault::RelayEnds => {
                relay.drain(Duration::ZERO);
                relay.join();
                relay = again(&server);
            }
            Fault::Killed => {
                server.kill();
                server.run();
            }
            Fault::Refused | Fault::StandsStill => {
                let is_refused = matches!(fault, Fault::Refused);
                if is_refused {
                    server.kill()
                } else {
                    server.signal("-STOP")
                }
                say(&bus, 1);
                wait(&relay, is_retrying);
                std::thread::sleep(if is_refused { 2 * length } else { length });
                if is_refused { server.run() } else { server.signal("-CONT") }
            }
        }
        println!("{fault:?}: {:?}, {} events confirmed", begun.elapsed(), relay.stats().delivered.events);
    }
    expect_all(&bus, &relay);
    println!("{} events, each once and in order", bus.stats().events_durable);
}
