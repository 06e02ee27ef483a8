//! Settings of the adapter that have no test elsewhere, and the step after a transaction that is refused.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::adapter::{Adapter, Batch, RedisAdapterConfig};
use tapeline::event::StoredEvent;
use tapeline::{AdapterError, RawEvent};
use tapeline_testing::Scratch;
use tapeline_testing::server::Server;

use super::{adapter, config, is_here, start};
use crate::backend::{bus, of_log, read, say};

/// Longer than a test may take.
const EVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(100);

fn store(adapter: &dyn Adapter, events: &[StoredEvent]) -> Result<(), AdapterError> {
    block_on(adapter.on_batch(Arc::new(Batch::new(events[0].shard_id, events.to_vec()))))
}

/// The transactions that a server has carried out.
fn transactions(server: &Server) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_exec:calls="));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn transaction_adds_no_more_events_than_it_may() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("pipeline", &[]), Scratch::new("redis-pipeline-log"));
    let bus = bus(&scratch);
    say(&bus, 100);
    let events = of_log(&bus, 0);
    for (size, count) in [(7, events.len().div_ceil(7)), (1000, 1)] {
        let before = transactions(&server);
        store(&*adapter(config(&server).prefix(format!("{size}")).pipeline_size(size)), &events).expect("stored");
        assert_eq!(transactions(&server) - before, count as u64);
    }
}

#[test]
fn events_after_a_refused_transaction_are_not_added() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("refused", &[]), Scratch::new("redis-refused-log"));
    let bus = bus(&scratch);
    for bytes in [10, (1 << 20) + 1, 20] {
        bus.ingest_raw(RawEvent::from_bytes(vec![b'x'; bytes]).with_session("s")).expect("taken");
    }
    block_on(bus.flush()).expect("durable");
    let events = (0..2).map(|shard| of_log(&bus, shard)).find(|events| events.len() == 3).expect("one shard");
    let adapter = adapter(config(&server).pipeline_size(1));
    assert!(block_on(adapter.is_healthy()));
    // The adapter has asked for the limit already.
    assert_eq!(server.cli(&["CONFIG", "SET", "proto-max-bulk-len", "1048576"]), "OK");
    store(&*adapter, &events).expect_err("the server does not take the second");
    assert_eq!(server.cli(&["CONFIG", "SET", "proto-max-bulk-len", "10485760"]), "OK");
    assert!(read(&*adapter, events[0].shard_id) == events[..1], "no event without those before it");
    store(&*adapter, &events).expect("stored");
    assert!(read(&*adapter, events[0].shard_id) == events);
}

#[test]
fn each_time_limit_holds_by_itself() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("limits", &[]), Scratch::new("redis-limits-log"));
    let bus = bus(&scratch);
    say(&bus, 20);
    let connected = adapter(config(&server).timeouts(EVER, SOON));
    assert!(block_on(connected.is_healthy()));
    server.signal("-STOP");
    // The kernel still takes connections for the server.
    let mut other = adapter(config(&server).timeouts(SOON, EVER));
    let refused = block_on(other.init()).expect_err("no connection in time");
    assert!(refused.is_retryable(), "{refused}");
    let refused = store(&*connected, &of_log(&bus, 0)).expect_err("no answer in time");
    assert!(refused.is_retryable(), "{refused}");
    server.signal("-CONT");
}

#[test]
fn log_to_read_is_the_one_that_is_set() {
    if !is_here() {
        return;
    }
    let (server, scratch) = (start("log", &[]), Scratch::new("redis-log-log"));
    let bus = bus(&scratch);
    say(&bus, 20);
    store(&*adapter(config(&server)), &of_log(&bus, 0)).expect("stored");
    let poll = |config: RedisAdapterConfig| block_on(adapter(config).poll_shard(0, None, 100));
    assert_eq!(poll(config(&server).log(bus.log_id())).expect("reads").events, of_log(&bus, 0));
    let unknown = poll(config(&server)).expect_err("it knows no log");
    assert!(
        matches!(&unknown, AdapterError::Denied(reason) if reason.contains("RedisAdapterConfig::log")),
        "{unknown}"
    );
}

#[test]
fn address_may_name_a_database_and_a_socket() {
    if !is_here() {
        return;
    }
    let (mut server, scratch) = (super::backend::stopped::<super::Redis>("url", &[]), Scratch::new("redis-url-log"));
    let socket = server.path().join("socket").to_string_lossy().into_owned();
    server.arguments(&["--unixsocket".to_owned(), socket.clone()]);
    server.run();
    let bus = bus(&scratch);
    say(&bus, 20);
    store(&*adapter(RedisAdapterConfig::new(format!("{}/3", server.url()))), &of_log(&bus, 0)).expect("stored");
    assert_eq!((server.cli(&["DBSIZE"]), server.cli(&["-n", "3", "DBSIZE"])), ("0".into(), "1".into()));
    store(&*adapter(RedisAdapterConfig::new(format!("redis+unix://{socket}"))), &of_log(&bus, 0)).expect("stored");
    assert_eq!(server.cli(&["DBSIZE"]), "1");
}
