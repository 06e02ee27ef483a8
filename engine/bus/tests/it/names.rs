//! Every reader says how the session of an event is called, whichever way it reads and wherever it begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_lite::future::block_on;
use tapeline::adapter::{Adapter, MemoryAdapter, RelayEnd, RelayOptions};
use tapeline::consumer::{Ordering, RelayRequest};
use tapeline::event::{EventView, SESSION_NAME_BYTES_MAX, SessionId, SessionMetadata, SessionOutcome};
use tapeline::log::{FollowStart, LogFollower};
use tapeline::retention::RetentionPolicy;
use tapeline::{
    ConsumeRequest, ConsumerError, EventBus, EventBusConfig, IngestionError, LogFiles, ReplayRequest, StoredEvent,
    SubscribeRequest, kinds,
};

use crate::scratch::{Scratch, open, wait_until_sealed};

/// Sessions with a name; another has none.
const NAMED: [&str; 3] = ["chat-1", "chat-2", "größer"];

/// The names that the events of a session have to have, whatever its reader has met.
fn expected(event: &StoredEvent) -> Option<&'static str> {
    NAMED.into_iter().find(|name| tapeline::event::session_id(name) == event.session)
}

fn check<'a>(events: impl IntoIterator<Item = &'a StoredEvent>, what: &str) {
    let mut named = 0;
    for event in events {
        assert_eq!(event.session_name(), expected(event), "{what}: {event:?}");
        named += usize::from(event.session_name().is_some());
    }
    assert!(named > 0, "{what}: none has a name");
}

/// Events of named sessions, and of one without a name, in turns.
fn say(bus: &EventBus, rounds: usize, bytes: usize) {
    let mut producer = bus.producer().expect("a producer");
    for _ in 0..rounds {
        for name in NAMED {
            producer.emit(producer.session(name), kinds::TOKEN, &vec![7; bytes]).expect("emits");
        }
        producer.emit(producer.session(SessionId(7)), kinds::TOKEN, b"no name").expect("emits");
    }
    block_on(bus.flush()).expect("durable");
}

fn open_sessions(bus: &EventBus) {
    let mut producer = bus.producer().expect("a producer");
    for name in NAMED {
        producer.open_session(name).expect("opens");
    }
    block_on(bus.flush()).expect("durable");
}

/// Waits until a reader that begins after the openings knows the names: the last segments of the run before have got
/// their indexes.
fn wait_until_known(bus: &EventBus) {
    let start = block_on(bus.poll(ConsumeRequest::new(100_000))).expect("a page").events.len() / 2;
    let cursor = block_on(bus.poll(ConsumeRequest::new(start))).expect("a page").next_id.expect("a cursor");
    let is_known = |event: &StoredEvent| event.session_name() == expected(event);
    let rest = || block_on(bus.poll(ConsumeRequest::new(100_000).from(&cursor))).expect("a page").events;
    while !rest().iter().all(is_known) {
        std::thread::yield_now();
    }
}

/// Reads in every way from events on that come after the openings.
fn read_in_every_way(bus: &EventBus, what: &str) {
    let all = block_on(bus.poll(ConsumeRequest::new(100_000))).expect("a page").events;
    let middle = &all[all.len() / 2];
    let time = middle.insertion_ts;
    for ordering in [Ordering::None, Ordering::InsertionTs] {
        let first = ConsumeRequest::new(all.len() / 2).ordering(ordering);
        let page = block_on(bus.poll(first)).expect("a page");
        let rest = ConsumeRequest::new(100_000).ordering(ordering).from(page.next_id.expect("a cursor"));
        check(&block_on(bus.poll(rest)).expect("a page").events, &format!("{what}, pages in {ordering:?}"));
    }
    let replay = block_on(bus.replay_with(ReplayRequest::new().since(time))).expect("replays");
    check(&replay.map(|event| event.expect("an event")).collect::<Vec<_>>(), &format!("{what}, replay"));
    let since = || SubscribeRequest::new().start(tapeline::consumer::Start::Time(time));
    let mut copied = block_on(bus.subscribe(since())).expect("subscribes");
    let copied: Vec<_> = std::iter::from_fn(|| copied.try_next()).map(|event| event.expect("an event")).collect();
    check(&copied, &format!("{what}, subscription"));
    let mut borrowed = block_on(bus.subscribe(since())).expect("subscribes");
    let mut names = BTreeMap::new();
    while let Some(batch) = borrowed.try_next_batch() {
        let batch = batch.expect("a batch");
        let name = |event: EventView<'_>| ((event.shard_id(), event.sequence()), event.session_name());
        names.extend(batch.events().map(|event| name(event.expect("an event"))));
    }
    let name = |event: &StoredEvent| ((event.shard_id, event.sequence), expected(event).map(Into::into));
    let of_copies: BTreeMap<_, Option<Arc<str>>> = copied.iter().map(name).collect();
    names.retain(|place, _| of_copies.contains_key(place));
    assert_eq!(names, of_copies, "{what}, views");
    for name in NAMED {
        let of_name: Vec<_> = all.iter().filter(|event| expected(event) == Some(name)).collect();
        let token = of_name[of_name.len() / 2].token();
        let mut relay = block_on(bus.relay_with(RelayRequest::new(name).after(token))).expect("relays");
        let next = block_on(relay.next()).expect("an event").expect("an event");
        assert_eq!(next.session_name(), Some(name), "{what}, relay");
    }
}

#[test]
fn events_of_a_bus_in_memory_have_the_names_of_their_sessions() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    open_sessions(&bus);
    say(&bus, 50, 10);
    read_in_every_way(&bus, "in memory");
}

#[test]
fn names_are_found_in_live_segments_after_a_restart_and_after_a_trim() {
    let scratch = Scratch::new("names-in-views");
    let config = || scratch.config().num_shards(2).segment_bytes(2 << 20);
    let bus = open(config());
    open_sessions(&bus);
    say(&bus, 50, 10);
    read_in_every_way(&bus, "live");
    block_on(bus.shutdown()).expect("ends");

    let bus = open(config());
    say(&bus, 50, 10);
    wait_until_known(&bus);
    read_in_every_way(&bus, "after a restart");
    say(&bus, 50, 40_000);
    wait_until_sealed(&bus);
    let plan = block_on(bus.trim(&RetentionPolicy::new().max_segments(1))).expect("trims");
    assert!(plan.names_lost.is_none() && !plan.removed.is_empty(), "{plan:?}");
    say(&bus, 50, 10);
    block_on(bus.shutdown()).expect("ends");

    let bus = open(config());
    say(&bus, 50, 10);
    wait_until_known(&bus);
    read_in_every_way(&bus, "after a trim");
    let time =
        block_on(bus.replay("chat-2")).expect("replays").last().expect("an event").expect("an event").insertion_ts;
    let log = LogFiles::open(scratch.path()).expect("opens");
    let events: Vec<_> = log.replay_with(&ReplayRequest::new().since(time)).expect("replays").collect();
    check(&events.into_iter().map(|event| event.expect("an event")).collect::<Vec<_>>(), "files");
    let mut follower = LogFollower::open(scratch.path(), FollowStart::Latest, &ReplayRequest::new()).expect("follows");
    say(&bus, 5, 10);
    follower.look();
    let followed: Vec<_> = std::iter::from_fn(|| follower.try_next()).map(|event| event.expect("an event")).collect();
    check(&followed, "a follower");
}

/// Sessions beyond those that a reader knows at a time.
const MANY: usize = 5000;

fn check_many(events: impl IntoIterator<Item = Result<StoredEvent, ConsumerError>>, what: &str) {
    let mut tokens = 0;
    for event in events.into_iter().map(|event| event.expect("an event")).filter(|event| event.kind == kinds::TOKEN) {
        assert_eq!(event.session_name(), Some(event.raw.to_string().as_str()), "{what}: {event:?}");
        tokens += 1;
    }
    assert!(tokens >= MANY, "{what}: {tokens}");
}

#[test]
fn readers_of_files_name_more_sessions_than_they_know_at_a_time() {
    let scratch = Scratch::new("many-names");
    let config = || scratch.config().segment_bytes(16 << 20);
    let bus = open(config());
    let mut producer = bus.producer().expect("a producer");
    let long = "long".repeat(200);
    let names: Vec<_> =
        (0..MANY).map(|at| if at % 50 == 0 { format!("{long}{at}") } else { format!("s{at}") }).collect();
    for name in &names {
        producer.open_session(name).expect("opens");
    }
    block_on(bus.flush()).expect("durable");
    let middle =
        block_on(bus.poll(ConsumeRequest::new(MANY))).expect("a page").events.last().expect("an event").insertion_ts;
    for name in names.iter().chain(&names) {
        producer.emit(producer.session(name), kinds::TOKEN, name.as_bytes()).expect("emits");
    }
    block_on(bus.flush()).expect("durable");
    let read = |what: &str| {
        let log = LogFiles::open(scratch.path()).expect("opens");
        check_many(log.replay_all().expect("replays"), &format!("{what}, all"));
        let rest = ReplayRequest::new().since(middle + 1);
        check_many(log.replay_with(&rest).expect("replays"), &format!("{what}, the second part"));
        let start = FollowStart::Earliest;
        let mut follower = LogFollower::open(scratch.path(), start, &ReplayRequest::new()).expect("follows");
        follower.look();
        check_many(std::iter::from_fn(|| follower.try_next()), &format!("{what}, a follower"));
    };
    read("live");
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    let bus = open(config());
    wait_until_sealed(&bus);
    read("sealed");
    block_on(bus.shutdown()).expect("ends");
}

/// Most bytes of an opening that an index repeats, without those around its name.
const REPEATED: usize = 512 - br#"{"type":"session.open","name":""}"#.len();

/// Names around every bound, of sessions that were opened in every way.
fn names_of_all_lengths() -> Vec<String> {
    let lengths = [1, REPEATED - 1, REPEATED, REPEATED + 1, SESSION_NAME_BYTES_MAX - 1, SESSION_NAME_BYTES_MAX];
    let long_facts = ["facts", "facts and a close", "facts after an event", "facts in another turn"];
    lengths.into_iter().map(|bytes| "n".repeat(bytes)).chain(long_facts.map(Into::into)).collect()
}

/// Opens them, closes each second one of the long ones, and has each say its name afterwards.
fn open_all_lengths(bus: &EventBus, names: &[String]) {
    let mut producer = bus.producer().expect("a producer");
    let long = SessionMetadata::new().label("fact", "f".repeat(600));
    for name in names {
        let session = producer.session(name);
        if name == "facts after an event" {
            producer.emit(session, kinds::UNSPECIFIED, b"before").expect("emits");
            // In a block of its own.
            block_on(bus.flush()).expect("durable");
        }
        if name == "facts in another turn" {
            let (session, _) = producer.reopen_session(session.id(), &SessionMetadata::new()).expect("opens");
            producer.close_session(session, SessionOutcome::Stopped).expect("closes");
        }
        let facts = if name.starts_with("facts") { long.clone() } else { SessionMetadata::new() };
        let session = producer.open_session_with(name, &facts).expect("opens");
        if name.len() % 2 == 1 || name == "facts and a close" {
            producer.close_session(session, SessionOutcome::Finished).expect("closes");
            producer.reopen_session(session.id(), &SessionMetadata::new()).expect("opens");
        }
    }
    for name in names {
        producer.emit(producer.session(name), kinds::TOKEN, name.as_bytes()).expect("emits");
    }
    block_on(bus.flush()).expect("durable");
}

/// The tokens are named after their sessions by readers that begin with the first of them.
fn check_tokens(bus: &EventBus, names: &[String], what: &str) {
    let all = block_on(bus.poll(ConsumeRequest::new(100_000))).expect("a page").events;
    let openings = all.iter().position(|event| event.kind == kinds::TOKEN).expect("a token");
    let cursor = block_on(bus.poll(ConsumeRequest::new(openings))).expect("a page").next_id.expect("a cursor");
    let rest = || block_on(bus.poll(ConsumeRequest::new(100_000).from(&cursor))).expect("a page").events;
    // The last segment of a process before may have no index yet.
    while what.starts_with("after") && rest().iter().any(|event| event.session_name().is_none()) {
        std::thread::yield_now();
    }
    let mut live = block_on(bus.subscribe(SubscribeRequest::new().from(&cursor))).expect("subscribes");
    let followed = std::iter::from_fn(|| live.try_next()).map(|event| event.expect("an event"));
    for events in [rest(), followed.collect()] {
        assert_eq!(events.len(), names.len(), "{what}");
        for event in events {
            let name = event.session_name().map(str::as_bytes);
            assert_eq!(name, Some(&event.raw[..]), "{what}: of {} bytes", event.raw.len());
        }
    }
}

#[test]
fn names_of_every_length_are_found_and_longer_ones_refused() {
    let scratch = Scratch::new("long-names");
    let names = names_of_all_lengths();
    let check = |bus: &EventBus, what: &str| {
        check_tokens(bus, &names, what);
        let listed = block_on(bus.sessions()).expect("lists");
        for name in &names {
            let summary = block_on(bus.session(name)).expect("reads").expect("it is there");
            assert_eq!(summary.name.as_ref(), Some(name), "{what}: of {} bytes", name.len());
            assert!(listed.contains(&summary), "{what}: {name} is not listed as it is");
            let log = LogFiles::open(scratch.path()).expect("opens");
            assert_eq!(log.session_names().get(&summary.session), Some(name), "{what}: of {} bytes", name.len());
        }
    };
    let bus = open(scratch.config());
    open_all_lengths(&bus, &names);
    check(&bus, "live");
    let longer = "n".repeat(SESSION_NAME_BYTES_MAX + 1);
    let refused = bus.open_session_with(&longer, &SessionMetadata::new());
    assert!(matches!(refused, Err(IngestionError::NameTooLong { bytes: 4097, max: 4096 })), "{refused:?}");
    block_on(bus.shutdown()).expect("ends");
    let bus = open(scratch.config());
    check(&bus, "after a restart");
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn forgotten_names_are_read_where_they_were_written() {
    let scratch = Scratch::new("dropped-names");
    for config in [EventBusConfig::builder(), scratch.config()] {
        let bus = open(config);
        // The memory of names holds some 370 of these.
        let names: Vec<_> = (0..500).map(|number| format!("{number}{}", "n".repeat(4000))).collect();
        open_all_lengths(&bus, &names);
        check_tokens(&bus, &names, "live");
    }
}

#[test]
fn openings_that_a_reader_passes_name_sessions_for_later_readers_too() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("chat-1");
    producer.emit(session, kinds::SESSION, br#"{"type":"session.open","name":"chat-1"}"#).expect("emits");
    producer.emit(session, kinds::TOKEN, b"1").expect("emits");
    let page = block_on(bus.poll(ConsumeRequest::new(1))).expect("a page");
    assert_eq!(page.events[0].session_name(), Some("chat-1"), "the opening itself");
    let rest = ConsumeRequest::new(10).from(page.next_id.expect("a cursor"));
    check(&block_on(bus.poll(rest)).expect("a page").events, "the next page");
    let of_tokens = ConsumeRequest::new(10).kind(kinds::TOKEN);
    check(&block_on(bus.poll(of_tokens)).expect("a page").events, "openings that were not asked for");
}

#[test]
fn adapters_and_json_have_the_names() {
    let bus = open(EventBusConfig::builder());
    open_sessions(&bus);
    say(&bus, 5, 10);
    let adapter = MemoryAdapter::new();
    let relay = bus.start_relay(Box::new(adapter.clone()), RelayOptions::new("names")).expect("starts");
    relay.drain(std::time::Duration::from_secs(60));
    assert_eq!(relay.join(), RelayEnd::Drained);
    let events = block_on(adapter.poll_shard(0, None, 1000)).expect("a page").events;
    check(&events, "an adapter");
    for event in &events {
        let json: serde_json::Value = serde_json::to_value(event).expect("serialises");
        assert_eq!(json.get("session_name").and_then(|name| name.as_str()), expected(event));
    }
}
