//! Streams for each session, and for each kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::adapter::{Adapter, AdapterConfig, Batch, EventMapping, Layout, RelayEnd};
use tapeline::event::{SessionId, StoredEvent};
use tapeline::{AdapterError, RawEvent, kinds};
use tapeline_testing::Scratch;
use tapeline_testing::server::Program;

use super::{adapter, config, is_here, settings, start};
use crate::backend::{self, Backend, LONG, bus, expect_all, named, of_log, read, say, suite};

/// redis-server, with a stream for each session.
struct PerSession;

impl Backend for PerSession {
    const PROGRAM: Program = Program::Redis;
    const DURABLE: &'static [&'static str] = super::Redis::DURABLE;

    fn config(port: u16) -> AdapterConfig {
        AdapterConfig::Redis(settings(port).mapping(Layout::PerSession))
    }

    fn adapter(port: u16) -> Box<dyn Adapter> {
        adapter(settings(port).mapping(Layout::PerSession))
    }
}

suite! {
    PerSession,
    server_that_is_killed_under_load_has_every_event_once
    other_event_under_the_same_id_is_no_repeat
    shards_that_come_and_go_are_relayed_whole
    names_of_sessions_come_back_whatever_they_hold
    faults_one_after_the_other_lose_and_repeat_nothing
}

fn store(adapter: &dyn Adapter, events: &[StoredEvent]) {
    let batch = Batch::new(events[0].shard_id, events.to_vec());
    block_on(adapter.on_batch(Arc::new(batch))).expect("stored");
}

/// The sequences in the stream of a session or a kind.
fn sequences(server: &tapeline_testing::server::Server, stream: &str) -> Vec<u64> {
    let entries = server.cli(&["--raw", "XRANGE", stream, "-", "+"]);
    let ids = entries.lines().filter_map(|line| line.strip_suffix("-0")?.parse::<u64>().ok());
    ids.map(|number| number - 1).collect()
}

#[test]
fn each_session_has_a_stream_in_order_and_its_shard_comes_back_whole() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("sessions", &[]), Scratch::new("redis-sessions-log"));
    let bus = bus(&scratch);
    say(&bus, 1000);
    let relay = bus.start_relay(PerSession::adapter(server.port()), named("redis")).expect("starts");
    expect_all(&bus, &relay);
    for shard in 0..2 {
        let mut sessions = BTreeMap::<SessionId, Vec<u64>>::new();
        for event in of_log(&bus, shard) {
            sessions.entry(event.session).or_default().push(event.sequence.get());
        }
        for (session, expected) in sessions {
            assert_eq!(sequences(&server, &format!("tapeline:{}:{shard}:{session}", bus.log_id())), expected);
        }
    }
}

#[test]
fn each_kind_has_a_stream_in_order_and_its_shard_comes_back_whole() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("kinds", &[]), Scratch::new("redis-kinds-log"));
    let bus = bus(&scratch);
    for number in 0..300u64 {
        let kind = [kinds::TOKEN, kinds::TOOL_CALL, kinds::RETRY][number as usize % 3];
        let event = RawEvent::from_str(&number.to_string()).with_session(u128::from(number % 5 + 1)).with_kind(kind);
        bus.ingest_raw(event).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let relay = bus.start_relay(adapter(config(&server).mapping(Layout::PerKind)), named("redis")).expect("starts");
    expect_all(&bus, &relay);
    for shard in 0..2 {
        let calls = of_log(&bus, shard).into_iter().filter(|event| event.kind == kinds::TOOL_CALL);
        let stream = format!("tapeline:{}:{shard}:{}", bus.log_id(), kinds::TOOL_CALL.0);
        assert_eq!(sequences(&server, &stream), calls.map(|event| event.sequence.get()).collect::<Vec<_>>());
    }
}

#[test]
fn shard_of_many_sessions_is_in_order_however_its_batches_were_cut() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("cuts", &[]), Scratch::new("redis-cuts-log"));
    let bus = bus(&scratch);
    for number in 0..2000u64 {
        let event = RawEvent::from_str(&number.to_string()).with_session(u128::from(number * 7 % 400 + 1));
        bus.ingest_raw(event).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let events = of_log(&bus, 0);
    assert!(events.len() > 600, "{}", events.len());
    let adapter = adapter(config(&server).mapping(Layout::PerSession).pipeline_size(90));
    store(&*adapter, &events[..200]);
    // As after a restart with other limits, twice: a part of what was confirmed comes again, and more with it.
    store(&*adapter, &events[50..250]);
    store(&*adapter, &events[120..130]);
    store(&*adapter, &events[130..131]);
    for event in &events[249..290] {
        store(&*adapter, std::slice::from_ref(event));
    }
    store(&*adapter, &events[280..]);
    for limit in [1, 3, 89, 90, 91, 1000, events.len(), events.len() + 1] {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let page = block_on(adapter.poll_shard(0, from.as_deref(), limit)).expect("reads");
            assert!(page.events.len() == limit || !page.has_more, "{} events of {limit}", page.events.len());
            found.extend(page.events);
            from = page.next_id;
            if !page.has_more {
                break;
            }
        }
        assert!(found == events, "pages of {limit}: {} events, not {}", found.len(), events.len());
    }
}

#[test]
fn each_stream_keeps_about_its_limit_and_goes_with_its_time() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("bounds", &[]), Scratch::new("redis-bounds-log"));
    let bus = bus(&scratch);
    say(&bus, 5000);
    for layout in [Layout::PerShard, Layout::PerSession] {
        let bounded = config(&server).prefix(format!("{layout:?}")).mapping(layout).max_stream_len(200);
        let relay = bus.start_relay(
            adapter(bounded.expire_after(Duration::from_secs(3600)).pipeline_size(10)),
            named(&format!("{layout:?}")),
        );
        let relay = relay.expect("starts");
        relay.drain(LONG);
        assert_eq!(relay.join(), RelayEnd::Drained, "{:?}", relay.stats());
        let keys = server.cli(&["KEYS", &format!("{layout:?}:*")]);
        let keys: Vec<&str> = keys.lines().collect();
        // Five sessions on two shards, and an index of each.
        assert_eq!(keys.len(), if layout == Layout::PerShard { 2 } else { 7 }, "{keys:?}");
        for key in keys {
            let number = |command: &str| server.cli(&[command, key]).parse::<i64>().expect("a number");
            assert!((1..400).contains(&number("XLEN")), "{key}: {}", number("XLEN"));
            assert!((1..=3_600_000).contains(&number("PTTL")), "{key}: {}", number("PTTL"));
        }
        // The events whose streams and spans are there, in order.
        let adapter = relay.adapter().expect("initialised");
        for shard in 0..2 {
            let (found, all) = (read(&*adapter, shard), of_log(&bus, shard));
            assert!(found.len() >= 200 && found.len() < all.len(), "{}", found.len());
            assert!(found.is_sorted_by_key(|event| event.sequence) && found.iter().all(|event| all.contains(event)));
        }
    }
    // A consumer that is done with a session removes its stream: the others come back.
    let relay = bus.start_relay(adapter(config(&server).mapping(Layout::PerSession)), named("all")).expect("starts");
    expect_all(&bus, &relay);
    let gone = SessionId(3);
    for shard in 0..2 {
        let _ = server.cli(&["DEL", &format!("tapeline:{}:{shard}:{gone}", bus.log_id())]);
        let mut left = of_log(&bus, shard);
        left.retain(|event| event.session != gone);
        assert!(read(&*relay.adapter().expect("initialised"), shard) == left);
    }
    assert_eq!(server.cli(&["--raw", "PTTL", &format!("tapeline:{}:0:index", bus.log_id())]), "-1");
}

#[test]
fn further_fields_are_in_the_entries_and_read_back_without_them() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("fields", &[]), Scratch::new("redis-fields-log"));
    let bus = bus(&scratch);
    for payload in [r#"{"user":{"tenant":"acme \u00e9\n"},"n":7}"#, "no JSON", r#"{"user":{"tenant":null}}"#] {
        bus.ingest_raw(RawEvent::from_str(payload).with_session("s")).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let mapping = EventMapping::new().constant("region", "eu 1").payload("tenant", "user.tenant").payload("n", "n");
    let relay = bus.start_relay(adapter(config(&server).mapping(mapping)), named("redis")).expect("starts");
    expect_all(&bus, &relay);
    let shard = (0..2).find(|shard| !of_log(&bus, *shard).is_empty()).expect("one");
    let stream = format!("tapeline:{}:{shard}", bus.log_id());
    let entries = server.cli(&["--json", "XRANGE", &stream, "-", "+"]);
    assert_eq!(entries.matches(r#""region","eu 1""#).count(), 3, "{entries}");
    assert_eq!(entries.matches(r#""tenant","#).count(), 1, "{entries}");
    assert!(entries.contains("\"tenant\",\"acme \u{e9}\\n\"") && entries.contains(r#""n","7""#), "{entries}");
}

#[test]
fn streams_of_another_layout_are_refused_when_they_are_listed() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("other-layout", &[]), Scratch::new("redis-other-layout-log"));
    let bus = bus(&scratch);
    say(&bus, 20);
    for (prefix, layout, other) in
        [("shards", Layout::PerShard, Layout::PerKind), ("sessions", Layout::PerSession, Layout::PerShard)]
    {
        let of = |layout: Layout| adapter(config(&server).prefix(prefix).mapping(layout));
        for shard in 0..2 {
            store(&*of(layout), &of_log(&bus, shard));
        }
        assert_eq!(block_on(of(layout).stored()).expect("lists").len(), 2);
        let refused = block_on(of(other).stored()).expect_err("of another layout");
        assert!(matches!(&refused, AdapterError::Denied(reason) if reason.contains("layout")), "{refused}");
    }
    // Streams of others are none of these.
    assert!(!server.cli(&["XADD", "shards:of:another", "*", "a", "b"]).is_empty());
    assert_eq!(block_on(adapter(config(&server).prefix("shards")).stored()).expect("lists").len(), 2);
}
