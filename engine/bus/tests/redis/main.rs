//! The adapter for Redis Streams, against redis-server.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../backend/mod.rs"]
mod backend;
mod layouts;
mod options;

use std::process::Command;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::adapter::{
    Adapter, AdapterConfig, Batch, Layout, RedisAdapter, RedisAdapterConfig, RelayEnd, RelayHealth, conformance,
};
use tapeline::{AdapterError, EventBus, EventBusConfig, RawEvent};
use tapeline_testing::Scratch;
use tapeline_testing::server::{Program, Server};

use self::backend::{Backend, LONG, bus, expect_all, named, of_log, read, say, suite, wait};

/// redis-server.
struct Redis;

impl Backend for Redis {
    const PROGRAM: Program = Program::Redis;
    const DURABLE: &'static [&'static str] = &["--appendonly", "yes", "--appendfsync", "always"];

    fn config(port: u16) -> AdapterConfig {
        AdapterConfig::Redis(settings(port))
    }

    fn adapter(port: u16) -> Box<dyn Adapter> {
        adapter(settings(port))
    }
}

suite!(Redis);

fn is_here() -> bool {
    backend::is_here::<Redis>()
}

fn settings(port: u16) -> RedisAdapterConfig {
    let config = RedisAdapterConfig::new(format!("redis://127.0.0.1:{port}"));
    config.timeouts(Duration::from_secs(2), Duration::from_millis(500))
}

fn config(server: &Server) -> RedisAdapterConfig {
    settings(server.port())
}

fn start(name: &str, arguments: &[&str]) -> Server {
    backend::start::<Redis>(name, arguments)
}

fn adapter(config: RedisAdapterConfig) -> Box<dyn Adapter> {
    Box::new(RedisAdapter::new(config).expect("an adapter"))
}

#[test]
fn adapter_conforms_with_transactions_of_any_size_in_every_layout() {
    if !is_here() {
        return;
    }
    let server = start("conforms-sizes", &[]);
    for pipeline_size in [1, 7, 1000] {
        for layout in [Layout::PerShard, Layout::PerSession, Layout::PerKind] {
            let prefix = format!("size-{pipeline_size}:{layout:?}");
            let config = RedisAdapterConfig::new(server.url()).prefix(prefix).pipeline_size(pipeline_size);
            block_on(conformance::check(|| adapter(config.clone().mapping(layout)))).expect("conforms");
        }
    }
}

#[test]
fn server_out_of_memory_gets_the_rest_in_order_once_it_has_some() {
    if !is_here() {
        return;
    }
    let arguments = ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"];
    let (server, scratch) = (start("oom", &arguments), Scratch::new("redis-oom-log"));
    let bus = bus(&scratch);
    let relay = bus.start_relay(adapter(config(&server)), named("redis")).expect("starts");
    say(&bus, 12_000);
    wait(&relay, |stats| matches!(&stats.health, RelayHealth::Retrying { reason } if reason.contains("OOM")));
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    expect_all(&bus, &relay);
    assert_eq!(relay.stats().dead_letters.written, 0);
}

#[test]
fn event_larger_than_the_server_takes_is_a_dead_letter() {
    if !is_here() {
        return;
    }
    // The smallest limit that the server knows.
    let server = start("large", &["--proto-max-bulk-len", "1048576"]);
    let scratch = Scratch::new("redis-large-log");
    let bus = bus(&scratch);
    for bytes in [10, (1 << 20) + 1, 1 << 20, 300_000, 20] {
        bus.ingest_raw(RawEvent::from_bytes(vec![b'x'; bytes]).with_session("s")).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let relay = bus.start_relay(adapter(config(&server)), named("redis")).expect("starts");
    wait(&relay, |stats| (stats.delivered.events, stats.dead_letters.written) == (4, 1));
    // By the adapter's own limit.
    let limited = config(&server).prefix("limited").payload_bytes_max(299_999);
    let other = bus.start_relay(adapter(limited), named("limited"));
    let other = other.expect("starts");
    wait(&other, |stats| (stats.delivered.events, stats.dead_letters.written) == (2, 3));
}

#[test]
fn refused_credentials_are_reported_without_them() {
    if !is_here() {
        return;
    }
    let users = ["--user", "default", "off", "--user", "relay", "on", ">s3cr3t", "~tapeline:*", "+@all"];
    let server = start("acl", &users);
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
    let relay = bus.start_relay(adapter(with("relay:s3cr3t")), named("redis")).expect("starts");
    expect_all(&bus, &relay);
}

#[test]
fn url_of_another_service_is_refused_without_its_credentials() {
    let no_url = EventBusConfig::builder().adapter(AdapterConfig::Redis(RedisAdapterConfig::new("http://secret@x")));
    let refused = block_on(EventBus::new(no_url.build().expect("a configuration"))).expect_err("no URL of Redis");
    assert!(matches!(refused, AdapterError::Config(_)) && !refused.to_string().contains("secret"), "{refused}");
}

#[test]
fn stream_with_a_limit_keeps_about_so_many_entries() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("maxlen", &[]), Scratch::new("redis-maxlen-log"));
    let bus = bus(&scratch);
    say(&bus, 5000);
    let relay = bus.start_relay(adapter(config(&server).max_stream_len(500)), named("redis")).expect("starts");
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().delivered.events), (RelayEnd::Drained, 5000));
    let adapter = relay.adapter().expect("initialised");
    for shard in 0..2 {
        let kept = read(&*adapter, shard);
        assert!((500..1000).contains(&kept.len()), "{}", kept.len());
        // The adapter confirms an event that comes again after the stream was trimmed or deleted.
        let first = of_log(&bus, shard).remove(0);
        block_on(adapter.on_batch(std::sync::Arc::new(Batch::new(shard, vec![first])))).expect("confirmed");
        assert_eq!(read(&*adapter, shard), kept);
    }
}

#[test]
fn certificate_of_an_unknown_authority_is_refused() {
    let has_openssl = Command::new("openssl").arg("version").output().is_ok();
    if !is_here() || !has_openssl {
        return println!("NOT tested: openssl is missing");
    }
    let mut server = backend::stopped::<Redis>("tls", &[]);
    let (authority, other) = (server.certify("server"), server.certify("other"));
    let plain = backend::stopped::<Redis>("tls-port", &[]);
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
