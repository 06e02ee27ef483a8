//! The adapter for Redis Streams, against redis-server.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod server;

use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::adapter::{
    Adapter, AdapterConfig, Batch, RedisAdapter, RedisAdapterConfig, RelayEnd, RelayHandle, RelayHealth, RelayOptions,
    RelayStats, conformance,
};
use tapeline::event::StoredEvent;
use tapeline::{AdapterError, BatchConfig, EventBus, EventBusConfig, RawEvent, ReplayRequest};
use tapeline_testing::Scratch;

use self::server::{Server, is_here};

const LONG: Duration = Duration::from_secs(120);

fn config(server: &Server) -> RedisAdapterConfig {
    RedisAdapterConfig::new(server.url()).timeouts(Duration::from_secs(2), Duration::from_millis(500))
}

fn adapter(config: RedisAdapterConfig) -> Box<dyn Adapter> {
    Box::new(RedisAdapter::new(config).expect("an adapter"))
}

/// A relay that repeats soon.
fn options() -> RelayOptions {
    named("redis")
}

fn named(name: &str) -> RelayOptions {
    let batch =
        BatchConfig { min_size: 100, max_size: 200, max_delay: Duration::from_millis(2), ..BatchConfig::default() };
    RelayOptions::new(name).batch(batch).pauses(Duration::from_millis(5), Duration::from_millis(50))
}

fn bus(scratch: &Scratch) -> EventBus {
    let config = EventBusConfig::builder().directory(scratch.path()).segment_bytes(4 << 20).num_shards(2).pinned(false);
    block_on(EventBus::new(config.build().expect("a configuration"))).expect("opens")
}

fn say(bus: &EventBus, count: u64) {
    for number in 0..count {
        // Every byte value, at every place.
        let payload: Vec<u8> = (0..=u8::MAX).map(|byte| byte.wrapping_add(number as u8)).collect();
        bus.ingest_raw(RawEvent::from_bytes(payload).with_session(u128::from(number % 5 + 1))).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
}

fn wait(relay: &RelayHandle, mut holds: impl FnMut(&RelayStats) -> bool) {
    let begun = Instant::now();
    while !holds(&relay.stats()) {
        assert!(begun.elapsed() < LONG, "the relay does not come to that: {:?}", relay.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read(adapter: &dyn Adapter, shard: u16) -> Vec<StoredEvent> {
    let (mut events, mut from) = (Vec::new(), None);
    loop {
        let page = block_on(adapter.poll_shard(shard, from.as_deref(), 1000)).expect("reads");
        events.extend(page.events);
        from = page.next_id;
        if !page.has_more {
            return events;
        }
    }
}

/// Drains the relay, and expects of the server every event of the log, once and in order.
fn expect_all(bus: &EventBus, relay: &RelayHandle) {
    relay.drain(LONG);
    assert_eq!(relay.join(), RelayEnd::Drained, "{:?}", relay.stats());
    let stored = block_on(bus.replay_with(ReplayRequest::new())).expect("replays");
    let stored: Vec<StoredEvent> = stored.map(|event| event.expect("an event")).collect();
    let adapter = relay.adapter().expect("initialised");
    let found: Vec<Vec<StoredEvent>> = (0..2).map(|shard| read(&*adapter, shard)).collect();
    for shard in 0..2 {
        let mut expected: Vec<_> = stored.iter().filter(|event| event.shard_id == shard).cloned().collect();
        expected.sort_by_key(|event| event.sequence);
        assert!(found[usize::from(shard)] == expected, "shard {shard}: {} events", found[usize::from(shard)].len());
    }
}

#[test]
fn adapter_conforms() {
    if !is_here() {
        return;
    }
    let server = Server::start("redis-conforms", &[]);
    for pipeline_size in [1, 7, 1000] {
        let config = config(&server).prefix(format!("size-{pipeline_size}")).pipeline_size(pipeline_size);
        block_on(conformance::check(|| adapter(config.clone()))).expect("conforms");
    }
}

#[test]
fn server_that_is_killed_under_load_has_every_event_once() {
    if !is_here() {
        return;
    }
    let (mut server, scratch) = (Server::start("redis-kill", &[]), Scratch::new("redis-kill-log"));
    let bus = bus(&scratch);
    let relay = bus.start_relay(adapter(config(&server)), options()).expect("starts");
    for round in 0..4 {
        say(&bus, 500);
        let confirmed = relay.stats().events;
        say(&bus, 500);
        wait(&relay, |stats| stats.events > confirmed.min(round * 1000 + 400));
        server.kill();
        say(&bus, 200);
        server.run();
    }
    expect_all(&bus, &relay);
}

#[test]
fn server_that_stands_still_is_waited_for_no_longer_than_the_time_limit() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (Server::start("redis-stop", &[]), Scratch::new("redis-stop-log"));
    let bus = bus(&scratch);
    let relay = bus.start_relay(adapter(config(&server)), options()).expect("starts");
    say(&bus, 100);
    wait(&relay, |stats| stats.events > 0);
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

#[test]
fn server_out_of_memory_gets_the_rest_in_order_once_it_has_some() {
    if !is_here() {
        return;
    }
    let arguments = ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"];
    let (server, scratch) = (Server::start("redis-oom", &arguments), Scratch::new("redis-oom-log"));
    let bus = bus(&scratch);
    let relay = bus.start_relay(adapter(config(&server)), options()).expect("starts");
    say(&bus, 12_000);
    wait(&relay, |stats| matches!(&stats.health, RelayHealth::Retrying { reason } if reason.contains("OOM")));
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    expect_all(&bus, &relay);
    assert_eq!(relay.stats().dead_letters, 0);
}

#[test]
fn event_larger_than_the_server_takes_is_a_dead_letter() {
    if !is_here() {
        return;
    }
    // The smallest limit that the server knows.
    let server = Server::start("redis-large", &["--proto-max-bulk-len", "1048576"]);
    let scratch = Scratch::new("redis-large-log");
    let bus = bus(&scratch);
    for bytes in [10, (1 << 20) + 1, 1 << 20, 300_000, 20] {
        bus.ingest_raw(RawEvent::from_bytes(vec![b'x'; bytes]).with_session("s")).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let relay = bus.start_relay(adapter(config(&server)), options()).expect("starts");
    wait(&relay, |stats| (stats.events, stats.dead_letters) == (4, 1));
    // By the adapter's own limit.
    let limited = config(&server).prefix("limited").payload_bytes_max(299_999);
    let other = bus.start_relay(adapter(limited), named("limited"));
    let other = other.expect("starts");
    wait(&other, |stats| (stats.events, stats.dead_letters) == (2, 3));
}

#[test]
fn refused_credentials_are_reported_without_them() {
    if !is_here() {
        return;
    }
    let users = ["--user", "default", "off", "--user", "relay", "on", ">s3cr3t", "~tapeline:*", "+@all"];
    let server = Server::start("redis-acl", &users);
    let scratch = Scratch::new("redis-acl-log");
    let bus = bus(&scratch);
    say(&bus, 10);
    let with =
        |credentials: &str| RedisAdapterConfig::new(format!("redis://{credentials}@127.0.0.1:{}", server.port()));
    for (name, wrong) in [("password", "relay:wr0ng"), ("user", "wr0ng:s3cr3t"), ("none", ":wr0ng")] {
        let relay = bus.start_relay(adapter(with(wrong)), named(name)).expect("starts");
        wait(&relay, |stats| matches!(stats.health, RelayHealth::Unhealthy { .. }));
        let shown = format!("{:?} {}", relay.stats(), bus.prometheus());
        assert!(!shown.contains("wr0ng") && !shown.contains("s3cr3t"), "{shown}");
        relay.drain(Duration::ZERO);
    }
    // A user that may not write to these streams.
    let denied = adapter(with("relay:s3cr3t").prefix("other"));
    let relay = bus.start_relay(denied, named("denied")).expect("starts");
    wait(&relay, |stats| matches!(&stats.health, RelayHealth::Unhealthy { reason } if reason.contains("NOPERM")));
    relay.drain(Duration::ZERO);
    let relay = bus.start_relay(adapter(with("relay:s3cr3t")), options()).expect("starts");
    expect_all(&bus, &relay);
}

#[test]
fn server_that_comes_late_gets_everything() {
    if !is_here() {
        return;
    }
    let (mut server, scratch) = (Server::stopped("redis-late", &[]), Scratch::new("redis-late-log"));
    let settings = EventBusConfig::builder().directory(scratch.path()).num_shards(2).pinned(false);
    let settings = settings.adapter(AdapterConfig::Redis(config(&server))).build().expect("a configuration");
    let bus = block_on(EventBus::new(settings)).expect("opens without its backend");
    let relay = bus.relays().remove(0);
    say(&bus, 100);
    wait(&relay, |stats| matches!(&stats.health, RelayHealth::Retrying { reason } if reason.contains("connection")));
    server.run();
    expect_all(&bus, &relay);
    let no_url = EventBusConfig::builder().adapter(AdapterConfig::Redis(RedisAdapterConfig::new("http://secret@x")));
    let refused = block_on(EventBus::new(no_url.build().expect("a configuration"))).expect_err("no URL of Redis");
    assert!(matches!(refused, AdapterError::Config(_)) && !refused.to_string().contains("secret"), "{refused}");
}

#[test]
fn stream_with_a_limit_keeps_about_so_many_entries() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (Server::start("redis-maxlen", &[]), Scratch::new("redis-maxlen-log"));
    let bus = bus(&scratch);
    say(&bus, 5000);
    let relay = bus.start_relay(adapter(config(&server).max_stream_len(500)), options()).expect("starts");
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().events), (RelayEnd::Drained, 5000));
    let adapter = relay.adapter().expect("initialised");
    for shard in 0..2 {
        let kept = read(&*adapter, shard);
        assert!((500..1000).contains(&kept.len()), "{}", kept.len());
        // The adapter confirms an event that comes again after the stream was trimmed or deleted.
        let whole = block_on(bus.replay_with(ReplayRequest::new())).expect("replays");
        let first = whole.map(|event| event.expect("an event")).find(|event| event.shard_id == shard).expect("one");
        block_on(adapter.on_batch(std::sync::Arc::new(Batch::new(shard, vec![first])))).expect("confirmed");
        assert_eq!(read(&*adapter, shard), kept);
    }
}

#[test]
fn other_event_under_the_same_id_is_no_repeat() {
    if !is_here() {
        return;
    }
    let server = Server::start("redis-other", &[]);
    let scratch = Scratch::new("redis-other-log");
    let bus = bus(&scratch);
    say(&bus, 1);
    let stored = block_on(bus.replay_with(ReplayRequest::new())).expect("replays").next().expect("one").expect("event");
    let adapter = RedisAdapter::new(config(&server)).expect("an adapter");
    let store = |event: StoredEvent| block_on(adapter.on_batch(std::sync::Arc::new(Batch::new(0, vec![event]))));
    store(stored.clone()).expect("stored");
    store(stored.clone()).expect("a repeat");
    let other = StoredEvent { insertion_ts: stored.insertion_ts + 1, ..stored };
    assert!(matches!(store(other), Err(AdapterError::Serialization(_))));
}

#[test]
fn certificate_of_an_unknown_authority_is_refused() {
    let has_openssl = std::process::Command::new("openssl").arg("version").output().is_ok();
    if !is_here() || !has_openssl {
        return println!("NOT tested: openssl is missing");
    }
    let mut server = Server::stopped("redis-tls", &[]);
    let (authority, other) = (server.certify("server"), server.certify("other"));
    let plain = Server::stopped("redis-tls-port", &[]);
    let file = |name: &str| server.path().join(name).to_string_lossy().into_owned();
    let tls = [
        "--tls-port".to_owned(),
        plain.port().to_string(),
        "--tls-cert-file".to_owned(),
        file("server.pem"),
        "--tls-key-file".to_owned(),
        file("server.key"),
        "--tls-ca-cert-file".to_owned(),
        file("server.ca.pem"),
        "--tls-auth-clients".to_owned(),
        "no".to_owned(),
    ];
    server.arguments(&tls);
    server.run();
    let config = |host: &str| RedisAdapterConfig::new(format!("rediss://{host}:{}", plain.port()));
    let ping = |config: RedisAdapterConfig| {
        let mut adapter = RedisAdapter::new(config).expect("an adapter");
        block_on(adapter.init())
    };
    assert!(matches!(ping(config("localhost")), Err(AdapterError::Connection(_))), "no authority vouches for it");
    assert!(ping(config("localhost").root_certificates(other)).is_err(), "of another authority");
    ping(config("localhost").root_certificates(&authority)).expect("a known authority");
    assert!(ping(config("127.0.0.1").root_certificates(authority)).is_err(), "of another name");
    let missing = RedisAdapter::new(config("localhost").root_certificates("/no/such/file")).expect_err("no file");
    assert!(missing.to_string().contains("/no/such/file"), "{missing}");
}
