//! The adapter for NATS JetStream, against nats-server.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../backend/mod.rs"]
mod backend;
mod options;

use std::future::Future;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use futures_lite::future::block_on;
use tapeline::adapter::{
    Adapter, AdapterConfig, Batch, JetStreamAdapter, JetStreamAdapterConfig, JetStreamCreation, JetStreamDiscard,
    Layout, RelayEnd, RelayHealth, conformance,
};
use tapeline::{AdapterError, RawEvent};
use tapeline_testing::Scratch;
use tapeline_testing::server::{Program, Server};

use self::backend::{Backend, LONG, bus, expect_all, named, of_log, read, say, suite, wait};

/// nats-server.
struct Nats;

impl Backend for Nats {
    const PROGRAM: Program = Program::Nats;
    const DURABLE: &'static [&'static str] = &[];

    fn config(port: u16) -> AdapterConfig {
        AdapterConfig::JetStream(settings(port))
    }

    fn adapter(port: u16) -> Box<dyn Adapter> {
        adapter(settings(port))
    }
}

suite!(Nats);

fn is_here() -> bool {
    backend::is_here::<Nats>()
}

fn settings(port: u16) -> JetStreamAdapterConfig {
    let config = JetStreamAdapterConfig::new(format!("nats://127.0.0.1:{port}"));
    config.timeouts(Duration::from_secs(2), Duration::from_secs(1))
}

fn config(server: &Server) -> JetStreamAdapterConfig {
    settings(server.port())
}

fn start(name: &str, arguments: &[&str]) -> Server {
    backend::start::<Nats>(name, arguments)
}

fn adapter(config: JetStreamAdapterConfig) -> Box<dyn Adapter> {
    Box::new(JetStreamAdapter::new(config).expect("an adapter"))
}

/// One with a file of settings, in which `DIR` stands for its directory.
fn with_settings(name: &str, text: &str) -> Server {
    let mut server = backend::stopped::<Nats>(name, &[]);
    let file = server.path().join("nats.conf");
    std::fs::write(&file, text.replace("DIR", &server.path().to_string_lossy())).expect("writes");
    server.arguments(&["-c".to_owned(), file.to_string_lossy().into_owned()]);
    server
}

/// Does something with a client of its own, as an operator would.
fn operate<F: Future>(server: &Server, work: impl FnOnce(Context) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = async_nats::connect(format!("127.0.0.1:{}", server.port())).await.expect("connects");
        work(jetstream::new(client)).await
    })
}

#[test]
fn adapter_conforms_with_every_layout() {
    if !is_here() {
        return;
    }
    let server = start("conforms-layouts", &[]);
    for pipeline_size in [1, 7, 1000] {
        for layout in [Layout::PerShard, Layout::PerSession, Layout::PerKind] {
            let prefix = format!("size-{pipeline_size}.{layout:?}");
            let config = config(&server).prefix(prefix).pipeline_size(pipeline_size).mapping(layout);
            block_on(conformance::check(|| adapter(config.clone()))).expect("conforms");
        }
    }
}

#[test]
fn stream_at_its_limit_gets_the_rest_in_order_once_there_is_room() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("full", &[]), Scratch::new("full-log"));
    let bus = bus(&scratch);
    // Where the large event does not fit, the small ones after it would.
    for bytes in [10_000, 10_000, 60_000, 10, 10, 10, 60_000, 10] {
        bus.ingest_raw(RawEvent::from_bytes(vec![b'x'; bytes]).with_session("s")).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let (shard, all) = (0..2).map(|shard| (shard, of_log(&bus, shard))).find(|(_, all)| !all.is_empty()).expect("one");
    let config = config(&server).max_bytes(70_000).discard(JetStreamDiscard::New).log(all[0].id.log);
    let relay = bus.start_relay(adapter(config), named("relay")).expect("starts");
    let stored = || relay.adapter().map(|adapter| read(&*adapter, shard)).unwrap_or_default();
    for fits in [0..2, 2..6] {
        wait(&relay, |_| stored() == all[fits.clone()]);
        let retries = relay.stats().delivered.retries;
        let is_full = |reason: &str| reason.contains("maximum bytes exceeded");
        wait(&relay, |stats| {
            let is_waiting = matches!(&stats.health, RelayHealth::Retrying { reason } if is_full(reason));
            is_waiting && stats.delivered.retries > retries + 1
        });
        assert_eq!(stored(), all[fits], "nothing after the event that does not fit");
        operate(&server, async |context| {
            context.get_stream("tapeline").await.expect("a stream").purge().await.expect("purges");
        });
    }
    relay.drain(LONG);
    assert_eq!(
        (relay.join(), relay.stats().delivered.events, relay.stats().dead_letters.written),
        (RelayEnd::Drained, 8, 0)
    );
    assert_eq!(stored(), all[6..]);
}

#[test]
fn stream_with_a_limit_drops_its_oldest_and_knows_them_again() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("limit", &[]), Scratch::new("limit-log"));
    let bus = bus(&scratch);
    say(&bus, 5000);
    let relay = bus.start_relay(adapter(config(&server).max_messages(500)), named("relay")).expect("starts");
    relay.drain(LONG);
    assert_eq!((relay.join(), relay.stats().delivered.events), (RelayEnd::Drained, 5000));
    let adapter = relay.adapter().expect("initialised");
    let kept: Vec<_> = (0..2).map(|shard| read(&*adapter, shard)).collect();
    assert_eq!(kept.iter().map(Vec::len).sum::<usize>(), 500);
    for shard in 0..2 {
        let all = of_log(&bus, shard);
        assert!(all.ends_with(&kept[usize::from(shard)]));
        let first_kept = all.len() - kept[usize::from(shard)].len();
        for again in [&all[..1], &all[first_kept - 10..all.len().min(first_kept + 10)]] {
            block_on(adapter.on_batch(Arc::new(Batch::new(shard, again.to_vec())))).expect("confirmed");
        }
        assert_eq!(read(&*adapter, shard), kept[usize::from(shard)]);
    }
}

#[test]
fn messages_of_others_in_between_neither_lose_nor_reorder_any() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("between", &[]), Scratch::new("between-log"));
    let bus = bus(&scratch);
    let relay = bus.start_relay(adapter(config(&server)), named("relay")).expect("starts");
    say(&bus, 1);
    // The stream is there.
    wait(&relay, |stats| stats.delivered.events == 1);
    for _ in 0..20 {
        say(&bus, 200);
        operate(&server, async |context| {
            let message = context.publish("tapeline.of.another", "no event".into()).await.expect("publishes");
            message.await.expect("is stored");
        });
    }
    expect_all(&bus, &relay);
}

#[test]
fn event_larger_than_the_server_takes_is_a_dead_letter() {
    if !is_here() {
        return;
    }
    let mut server = with_settings("large", "max_payload: 100000");
    server.run();
    let scratch = Scratch::new("large-log");
    let bus = bus(&scratch);
    for bytes in [10, 100_001, 99_000, 100_000, 300_000, 20] {
        bus.ingest_raw(RawEvent::from_bytes(vec![b'x'; bytes]).with_session("s")).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let relay = bus.start_relay(adapter(config(&server)), named("relay")).expect("starts");
    // The headers count, too.
    wait(&relay, |stats| (stats.delivered.events, stats.dead_letters.written) == (3, 3));
    let adapter = relay.adapter().expect("initialised");
    let sizes = (0..2).flat_map(|shard| read(&*adapter, shard)).map(|event| event.raw.len());
    assert_eq!(sizes.collect::<Vec<_>>(), [10, 99_000, 20]);
}

#[test]
fn refused_credentials_are_reported_without_them() {
    if !is_here() {
        return;
    }
    let mut server = with_settings(
        "users",
        "authorization { users = [
            { user: relay, password: \"s3cr3t:%\", permissions: {
                publish: [\"$JS.API.>\", \"tapeline.>\"], subscribe: \"_INBOX.>\" } }
            { user: reader, password: s3cr3t, permissions: {
                publish: \"$JS.API.>\", subscribe: \"_INBOX.>\" } }
        ] }",
    );
    server.run();
    let scratch = Scratch::new("users-log");
    let bus = bus(&scratch);
    say(&bus, 10);
    let with = |credentials: &str| {
        let config = JetStreamAdapterConfig::new(format!("nats://{credentials}127.0.0.1:{}", server.port()));
        config.timeouts(Duration::from_secs(2), Duration::from_secs(1))
    };
    let wrong = [with("relay:wr0ng@"), with("wr0ng:s3cr3t@"), with("wr0ng@"), with("").token("wr0ng"), with("")];
    for (number, config) in wrong.into_iter().enumerate() {
        let relay = bus.start_relay(adapter(config), named(&format!("wrong-{number}"))).expect("starts");
        wait(&relay, |stats| matches!(stats.health, RelayHealth::Unhealthy { .. }));
        let shown = format!("{:?} {}", relay.stats(), bus.prometheus());
        assert!(!shown.contains("wr0ng") && !shown.contains("s3cr3t"), "{shown}");
        relay.drain(Duration::ZERO);
    }
    // A user that may not publish to these subjects.
    let relay = bus.start_relay(adapter(with("reader:s3cr3t@")), named("denied")).expect("starts");
    wait(&relay, |stats| matches!(&stats.health, RelayHealth::Unhealthy { reason } if reason.contains("ermission")));
    relay.drain(Duration::ZERO);
    let missing = adapter(with("").credentials_file("/no/such/file.creds"));
    let relay = bus.start_relay(missing, named("missing")).expect("starts");
    wait(&relay, |stats| matches!(&stats.health, RelayHealth::Unhealthy { reason } if reason.contains("/no/such")));
    relay.drain(Duration::ZERO);
    let allowed = adapter(with("").user_and_password("relay", "s3cr3t:%"));
    let relay = bus.start_relay(allowed, named("relay")).expect("starts");
    expect_all(&bus, &relay);
    let mut in_url = JetStreamAdapter::new(with("relay:s3cr3t%3A%25@")).expect("an adapter");
    block_on(in_url.init()).expect("the same credentials");
}

#[test]
fn stream_with_other_settings_is_left_as_it_is() {
    if !is_here() {
        return;
    }
    let server = start("settings", &[]);
    let init = |config: JetStreamAdapterConfig| block_on(JetStreamAdapter::new(config).expect("an adapter").init());
    let base = || config(&server).max_age(Duration::from_secs(3600)).max_messages(1000);
    init(base()).expect("creates it");
    init(base()).expect("finds it");
    let others = [
        ("max_age", base().max_age(Duration::from_secs(60))),
        ("max_messages", base().max_messages(1001)),
        ("max_bytes", base().max_bytes(1 << 20)),
        ("discard", base().discard(JetStreamDiscard::New)),
        ("dedup_window", base().dedup_window(Duration::from_secs(5))),
        ("replicas", base().replicas(3)),
        ("subjects", base().prefix("other").stream_name("tapeline")),
    ];
    for (setting, other) in others {
        let refused = init(other).expect_err(setting);
        assert!(matches!(&refused, AdapterError::Denied(reason) if reason.contains(setting)), "{refused}");
    }
    // Subjects that another stream has.
    assert!(matches!(init(base().stream_name("second")), Err(AdapterError::Denied(_))));
    init(base()).expect("it is as it was");
    // An operator's stream is taken as it is, and none is made.
    let of_operator = |prefix: &str| config(&server).prefix(prefix).creation(JetStreamCreation::Operator);
    init(of_operator("tapeline").max_messages(7)).expect("takes it");
    init(base()).expect("it is as it was");
    let missing = init(of_operator("absent")).expect_err("none is there");
    assert!(matches!(&missing, AdapterError::NotFound(reason) if reason.contains("absent")), "{missing}");
}

#[test]
fn server_without_jetstream_says_so() {
    if !is_here() {
        return;
    }
    let mut plain = with_settings("plain", "accounts { A { users = [ { user: relay, password: s3cr3t } ] } }");
    plain.run();
    let config = JetStreamAdapterConfig::new(format!("nats://relay:s3cr3t@127.0.0.1:{}", plain.port()));
    let refused = block_on(JetStreamAdapter::new(config).expect("an adapter").init()).expect_err("no JetStream");
    assert!(refused.to_string().to_lowercase().contains("jetstream"), "{refused}");
}

#[test]
fn certificate_of_an_unknown_authority_is_refused() {
    let has_openssl = Command::new("openssl").arg("version").output().is_ok();
    if !is_here() || !has_openssl {
        return println!("NOT tested: openssl is missing");
    }
    let settings = "tls { cert_file: \"DIR/server.pem\", key_file: \"DIR/server.key\" }";
    let mut server = with_settings("tls", settings);
    let (authority, other) = (server.certify("server"), server.certify("other"));
    server.run();
    let config = |host: &str| JetStreamAdapterConfig::new(format!("tls://{host}:{}", server.port()));
    let init = |config: JetStreamAdapterConfig| block_on(JetStreamAdapter::new(config).expect("an adapter").init());
    assert!(matches!(init(config("localhost")), Err(AdapterError::Connection(_))), "no authority vouches for it");
    assert!(init(config("localhost").root_certificates(other)).is_err(), "of another authority");
    init(config("localhost").root_certificates(&authority)).expect("a known authority");
    assert!(init(config("127.0.0.1").root_certificates(&authority)).is_err(), "of another name");
    let missing = JetStreamAdapter::new(config("localhost").root_certificates("/no/such/file")).expect_err("no file");
    assert!(missing.to_string().contains("/no/such/file"), "{missing}");
    // Certificates are asked for, and the server has none.
    let plain = start("tls-none", &[]);
    let plain = JetStreamAdapterConfig::new(format!("nats://localhost:{}", plain.port()));
    assert!(init(plain.clone().root_certificates(&authority)).is_err(), "no TLS");
}
