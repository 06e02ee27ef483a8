//! Settings of the adapter that have no test elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;
use futures_lite::future::block_on;
use nkeys::KeyPair;
use tapeline::adapter::{
    Adapter, Batch, EventMapping, JetStreamAdapter, JetStreamAdapterConfig, JetStreamDiscard, Layout,
};
use tapeline::event::StoredEvent;
use tapeline::{AdapterError, RawEvent, kinds};
use tapeline_testing::Scratch;
use tapeline_testing::server::Server;

use super::{adapter, config, is_here, operate, start, with_settings};
use crate::backend::{bus, expect_all, named, of_log, say};

/// Longer than a test may take.
const EVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(200);

fn store(adapter: &dyn Adapter, events: &[StoredEvent]) -> Result<(), AdapterError> {
    block_on(adapter.on_batch(std::sync::Arc::new(Batch::new(events[0].shard_id, events.to_vec()))))
}

fn init(config: JetStreamAdapterConfig) -> Result<(), AdapterError> {
    block_on(JetStreamAdapter::new(config).expect("an adapter").init())
}

#[test]
fn stream_is_made_with_the_settings_that_are_asked_for() {
    if !is_here() {
        return;
    }
    let server = start("made", &[]);
    let hour = Duration::from_secs(3600);
    let asked = config(&server).prefix("a.b").stream_name("other").max_messages(7).max_bytes(1 << 20).max_age(hour);
    init(asked.dedup_window(Duration::from_secs(60)).discard(JetStreamDiscard::New)).expect("makes it");
    let found = operate(&server, async |context| {
        context.get_stream("other").await.expect("a stream").cached_info().config.clone()
    });
    assert_eq!(found.subjects, ["a.b.>"]);
    assert_eq!((found.max_messages, found.max_bytes, found.max_age), (7, 1 << 20, hour));
    assert_eq!((found.duplicate_window, found.discard), (Duration::from_secs(60), DiscardPolicy::New));
    assert_eq!(found.num_replicas, 1);
    // One server has no second one for a copy.
    let refused = init(config(&server).prefix("copies").replicas(3)).expect_err("no cluster");
    assert!(refused.to_string().contains("replicas"), "{refused}");
}

#[test]
fn subjects_and_headers_are_those_of_the_mapping() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("mapping", &[]), Scratch::new("mapping-log"));
    let bus = bus(&scratch);
    for payload in [r#"{"user":{"tenant":"a b\n"},"n":7}"#, "no JSON"] {
        bus.ingest_raw(RawEvent::from_str(payload).with_session(5u128).with_kind(kinds::TOOL_CALL)).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let shard = (0..2).find(|shard| !of_log(&bus, *shard).is_empty()).expect("one");
    for (layout, part) in [(Layout::PerSession, format!(".{:032x}", 5)), (Layout::PerKind, ".3".to_owned())] {
        let mapping = EventMapping::from(layout).constant("Region", "eu 1").payload("tenant", "user.tenant");
        let prefix = format!("{layout:?}");
        let adapter = adapter(config(&server).prefix(&prefix).mapping(mapping.payload("n", "n")));
        let relay = bus.start_relay(adapter, named(&prefix)).expect("starts");
        expect_all(&bus, &relay);
        let [first, second] = operate(&server, async |context| {
            let stream = context.get_stream(&prefix).await.expect("a stream");
            [stream.get_raw_message(1).await.expect("one"), stream.get_raw_message(2).await.expect("another")]
        });
        assert_eq!(&*first.subject, format!("{prefix}.{}.{shard}{part}", bus.log_id()));
        let header = |name: &str| first.headers.get(name).map(|value| value.as_str().to_owned());
        assert_eq!(header("Region").as_deref(), Some("eu 1"));
        // A header has no line ends.
        assert_eq!((header("tenant").as_deref(), header("n").as_deref()), (Some("a%20b%0A"), Some("7")));
        assert!(second.headers.get("tenant").is_none() && second.headers.get("Region").is_some());
    }
}

#[test]
fn no_more_messages_than_asked_for_are_on_their_way() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("pipeline", &[]), Scratch::new("pipeline-log"));
    let bus = bus(&scratch);
    say(&bus, 100);
    let events = of_log(&bus, 0);
    let adapter = adapter(config(&server).timeouts(EVER, SOON).pipeline_size(10));
    store(&*adapter, &events[..1]).expect("stored");
    server.signal("-STOP");
    store(&*adapter, &events[1..]).expect_err("no acknowledgement");
    server.signal("-CONT");
    let messages = || {
        operate(&server, async |context| {
            context.get_stream("tapeline").await.expect("a stream").cached_info().state.messages
        })
    };
    let mut stored = messages();
    while stored < 11 {
        stored = messages();
    }
    assert_eq!(stored, 11, "one, and ten that were sent before the first of them was acknowledged");
}

#[test]
fn each_time_limit_holds_by_itself() {
    if !is_here() {
        return;
    }
    let server = start("limits", &[]);
    let connected = adapter(config(&server).timeouts(EVER, SOON));
    assert!(block_on(connected.is_healthy()));
    server.signal("-STOP");
    // The kernel still takes connections for the server.
    let refused = init(config(&server).timeouts(SOON, EVER)).expect_err("no connection in time");
    assert!(matches!(refused, AdapterError::Connection(_)), "{refused}");
    assert!(!block_on(connected.is_healthy()), "no answer in time");
    server.signal("-CONT");
}

#[test]
fn log_to_read_is_the_one_that_is_set() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("log", &[]), Scratch::new("log-log"));
    let bus = bus(&scratch);
    say(&bus, 20);
    store(&*adapter(config(&server)), &of_log(&bus, 0)).expect("stored");
    let poll = |config: JetStreamAdapterConfig| block_on(adapter(config).poll_shard(0, None, 100));
    assert_eq!(poll(config(&server).log(bus.log_id())).expect("reads").events, of_log(&bus, 0));
    let unknown = poll(config(&server)).expect_err("it knows no log");
    assert!(matches!(&unknown, AdapterError::Denied(reason) if reason.contains("::log")), "{unknown}");
}

#[test]
fn token_opens_a_server_that_asks_for_one() {
    if !is_here() {
        return;
    }
    let mut server = with_settings("token", "authorization { token: s3cr3t }");
    server.run();
    let with =
        |credentials: &str| JetStreamAdapterConfig::new(format!("nats://{credentials}127.0.0.1:{}", server.port()));
    init(with("").token("s3cr3t")).expect("the token");
    init(with("s3cr3t@")).expect("the token in the URL");
    let refused = init(with("").token("wr0ng")).expect_err("another token");
    assert!(matches!(refused, AdapterError::Denied(_)) && !refused.to_string().contains("wr0ng"), "{refused}");
}

/// A server whose users are known by signed claims, and the credentials of one of them.
fn server_of_an_operator() -> (Server, PathBuf) {
    let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
    let [account, system] = [KeyPair::new_account(), KeyPair::new_account()];
    let unlimited = r#""subs":-1,"data":-1,"payload":-1"#;
    let connections = r#""conn":-1,"imports":-1,"exports":-1,"wildcards":true"#;
    let storage = r#","mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1"#;
    let account_of = |account: &KeyPair, storage: &str| {
        let limits = format!(r#""limits":{{{unlimited},{connections}{storage}}},"type":"account","version":2"#);
        format!("{}: {}", account.public_key(), claims(&operator, account, &limits))
    };
    let settings = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n{}\n}}",
        claims(&operator, &operator, r#""type":"operator","version":2"#),
        system.public_key(),
        account_of(&account, storage),
        account_of(&system, "")
    );
    let server = with_settings("claims", &settings);
    let file = server.path().join("user.creds");
    let of_user = claims(&account, &user, &format!(r#"{unlimited},"type":"user","version":2"#));
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().expect("a seed")
    );
    std::fs::write(&file, text).expect("writes");
    (server, file)
}

/// Claims about a key, signed by another.
fn claims(issuer: &KeyPair, subject: &KeyPair, nats: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (issuer_key, key) = (issuer.public_key(), subject.public_key());
    let body = format!(
        r#"{{"jti":"{key}","iat":1700000000,"iss":"{issuer_key}","name":"test","sub":"{key}","nats":{{{nats}}}}}"#
    );
    let parts = [r#"{"typ":"JWT","alg":"ed25519-nkey"}"#, &body].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = parts.join(".");
    let signature = issuer.sign(signed.as_bytes()).expect("signs");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature))
}

#[test]
fn credentials_file_opens_a_server_of_an_operator() {
    if !is_here() {
        return;
    }
    let (mut server, file) = server_of_an_operator();
    server.run();
    let base = || config(&server);
    init(base()).expect_err("no credentials");
    init(base().credentials_file(file)).expect("the credentials");
}
