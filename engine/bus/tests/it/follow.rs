//! A follower of a log's files beside its writer: every durable event once, and every session in order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::consumer::GapReason;
use tapeline::event::Kind;
use tapeline::log::{FollowStart, LogFollower};
use tapeline::retention::RetentionPolicy;
use tapeline::{
    ConsumerError, EventBus, EventBusConfigBuilder, Filter, LogFiles, ReplayRequest, ScalingPolicy, StoredEvent, kinds,
};
use tapeline_testing::{Random, seed};

use crate::kill;
use crate::scratch::{Scratch, open};

const SESSIONS: u64 = 12;

fn follow(scratch: &Scratch, start: FollowStart) -> LogFollower {
    LogFollower::open(scratch.path(), start, &ReplayRequest::new()).expect("follows")
}

/// All that a look finds.
fn read(follower: &mut LogFollower) -> Vec<StoredEvent> {
    follower.look();
    std::iter::from_fn(|| follower.try_next()).map(|event| event.expect("an event")).collect()
}

/// Looks until nothing has come for so long that nothing can be hidden any more.
fn read_until_quiet(follower: &mut LogFollower) -> Vec<StoredEvent> {
    let mut found = Vec::new();
    let mut quiet = 0;
    while quiet < 70 {
        let more = read(follower);
        quiet = if more.is_empty() { quiet + 1 } else { 0 };
        found.extend(more);
    }
    found
}

fn number(event: &StoredEvent) -> u64 {
    u64::from_le_bytes(event.raw[..8].try_into().expect("a number"))
}

/// The next number of each session, as the writer has it or as a reader has seen it.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Numbers(BTreeMap<u128, u64>);

impl Numbers {
    fn see(&mut self, events: &[StoredEvent]) {
        for event in events {
            let next = self.0.entry(event.session.0).or_default();
            assert_eq!(number(event), *next, "session {}: lost, repeated or out of order", event.session);
            *next += 1;
        }
    }
}

/// The order of each session holds across what is missing.
fn assert_rising(events: &[StoredEvent]) {
    let mut last = BTreeMap::new();
    for event in events {
        let before = last.insert(event.session.0, number(event));
        assert!(before < Some(number(event)), "session {}: repeated or out of order", event.session);
    }
}

fn config(scratch: &Scratch, shards: u16) -> EventBusConfigBuilder {
    let brief = Duration::from_millis(1);
    let policy =
        ScalingPolicy { auto_scale: false, cooldown: brief, max_shards: 4, ..ScalingPolicy::default_for_cpus(4) };
    scratch.config().segment_bytes(2 << 20).num_shards(shards).scaling(policy)
}

fn emit(bus: &EventBus, numbers: &mut Numbers, random: &mut Random, count: u64) {
    let mut producer = bus.producer().expect("producer");
    for _ in 0..count {
        let session = 1 + u128::from(random.below(SESSIONS));
        let next = numbers.0.entry(session).or_default();
        let mut payload = next.to_le_bytes().to_vec();
        payload.resize(8 + random.below(20_000) as usize, 7);
        let session = producer.session(session);
        while producer.emit(session, kinds::TOKEN, &payload).is_err() {
            std::thread::yield_now();
        }
        *next += 1;
    }
    block_on(bus.flush()).expect("durable");
}

#[test]
fn follower_sees_each_durable_event_once_beside_a_changing_writer() {
    let seed = seed();
    assert_eq!(follow_a_busy_writer(seed, Trims::Never), 0);
    assert!(follow_a_busy_writer(seed, Trims::Sometimes) > 0, "seed {seed} trims nothing");
}

/// Says whether the writer removes old segments.
#[derive(PartialEq)]
enum Trims {
    Never,
    Sometimes,
}

/// Returns how many segments the writer removed.
fn follow_a_busy_writer(seed: u64, trims: Trims) -> usize {
    let mut random = Random::new(seed);
    let scratch = Scratch::new("follow");
    let mut trimmed = 0;
    let mut shards = 1;
    let mut written = Numbers::default();
    let mut bus = open(config(&scratch, shards));
    let (mut first, mut seen) = (follow(&scratch, FollowStart::Earliest), Numbers::default());
    for _ in 0..60 {
        match random.below(10) {
            0 => {
                block_on(bus.shutdown()).expect("ends");
                shards = 1 + random.below(3) as u16;
                bus = open(config(&scratch, shards));
            }
            1 => drop(block_on(bus.manual_scale_up(1 + random.below(2) as u16))),
            2 => drop(block_on(bus.manual_scale_down(1))),
            3 if trims == Trims::Sometimes => {
                // What it has not read would be a gap.
                seen.see(&read_until_quiet(&mut first));
                let policy = RetentionPolicy::new().max_segments(1 + random.below(6) as usize);
                trimmed += block_on(bus.trim(&policy)).expect("trims").removed.len();
            }
            3 => {
                // Another that goes on where this one stands.
                let cursor = first.cursor();
                first = follow(&scratch, FollowStart::Cursor(cursor));
            }
            _ => {
                let count = random.below(120);
                emit(&bus, &mut written, &mut random, count);
            }
        }
        if random.below(3) > 0 {
            seen.see(&read(&mut first));
        }
    }
    seen.see(&read_until_quiet(&mut first));
    assert_eq!(seen, written, "seed {seed}, beside the writer");
    block_on(bus.shutdown()).expect("ends");
    assert_eq!(read_until_quiet(&mut first).len(), 0, "seed {seed}");
    let late = read_until_quiet(&mut follow(&scratch, FollowStart::Earliest));
    match trims {
        Trims::Never => {
            let mut numbers = Numbers::default();
            numbers.see(&late);
            assert_eq!(numbers, written, "seed {seed}, when all was written");
        }
        Trims::Sometimes => assert_rising(&late),
    }
    trimmed
}

#[test]
fn follower_outlives_writers_that_are_killed() {
    outlive_killed_writers(&Scratch::new("follow-kill"), 5, false);
    outlive_killed_writers(&Scratch::new("follow-kill-cached"), 2, true);
}

fn outlive_killed_writers(scratch: &Scratch, rounds: u64, page_cache: bool) {
    drop(open(scratch.config().num_shards(2)));
    let mut follower = follow(scratch, FollowStart::Latest);
    let mut found: BTreeMap<u128, u64> = BTreeMap::new();
    for round in 0..rounds {
        let mut child = kill::start(scratch.path(), round, page_cache);
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
        let reports = lines.filter_map(|line| line.strip_prefix("durable ").and_then(|text| text.parse::<u64>().ok()));
        let mut acknowledged = 0;
        let mut see = |events: Vec<StoredEvent>| {
            for event in events {
                let next = found.entry(event.session.0).or_insert_with(|| number(&event));
                assert_eq!(number(&event), *next, "round {round}: lost, repeated or out of order");
                *next += 2;
            }
        };
        for (at, durable) in reports.enumerate() {
            acknowledged = durable;
            see(read(&mut follower));
            if at as u64 == 3 + round * 7919 % 17 {
                child.kill().expect("kills");
            }
        }
        child.wait().expect("ends");
        see(read_until_quiet(&mut follower));
        for name in ["a", "b"] {
            let session = tapeline::event::session_id(&format!("{round}-{name}")).0;
            let seen = found.get(&session).copied().unwrap_or_default();
            assert!(seen >= acknowledged, "round {round}: {seen} of {acknowledged} acknowledged");
        }
    }
}

#[test]
fn starts_are_where_they_say() {
    let scratch = Scratch::new("follow-starts");
    let mut random = Random::new(7);
    let mut numbers = Numbers::default();
    let bus = open(config(&scratch, 3));
    for _ in 0..8 {
        emit(&bus, &mut numbers, &mut random, 60);
    }
    let _named = bus.producer().expect("producer").open_session("named").expect("opens");
    block_on(bus.flush()).expect("durable");
    let all: Vec<_> = LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays").collect();
    let all: Vec<StoredEvent> = all.into_iter().map(|event| event.expect("an event")).collect();
    assert_eq!(all.last().map(|event| event.kind), Some(kinds::SESSION));
    assert_eq!(read(&mut follow(&scratch, FollowStart::Earliest)), all);
    assert_eq!(read(&mut follow(&scratch, FollowStart::Latest)), []);
    let (half, last) = (all[all.len() / 2].insertion_ts, all.len() - 1);
    let since: Vec<_> = all.iter().filter(|event| event.insertion_ts >= half).cloned().collect();
    assert_eq!(read(&mut follow(&scratch, FollowStart::Time(half))).len(), since.len());
    // The event that opened a session does not count, and comes along.
    for count in [0, 1, 2, 100, last, last + 5] {
        let found = read(&mut follow(&scratch, FollowStart::Last(count)));
        assert_eq!(found, all[if count == 0 { last + 1 } else { last.saturating_sub(count) }..], "{count}");
    }
    let only = ReplayRequest::new().session(5u128).filter(Filter::kinds([kinds::TOKEN]));
    let of_session: Vec<_> = all.iter().filter(|event| event.session.0 == 5).cloned().collect();
    let mut follower = LogFollower::open(scratch.path(), FollowStart::Last(4), &only).expect("follows");
    assert_eq!(read(&mut follower), of_session[of_session.len() - 4..]);
    let nothing = ReplayRequest::new().filter(Filter::kinds([Kind(4711)]));
    let mut follower = LogFollower::open(scratch.path(), FollowStart::Last(4), &nothing).expect("follows");
    assert_eq!(read_until_quiet(&mut follower), []);
    let broken = LogFollower::open(scratch.path(), FollowStart::Cursor("00".into()), &only);
    assert!(matches!(broken, Err(ConsumerError::InvalidCursor { .. })), "{broken:?}");
    assert!(LogFollower::open(&scratch.path().join("none"), FollowStart::Latest, &only).is_err());
}

#[test]
fn what_is_missing_comes_in_its_place() {
    let scratch = Scratch::new("follow-damage");
    let mut random = Random::new(8);
    let mut numbers = Numbers::default();
    let bus = open(scratch.config().segment_bytes(2 << 20));
    for _ in 0..12 {
        emit(&bus, &mut numbers, &mut random, 60);
    }
    let mut follower = follow(&scratch, FollowStart::Earliest);
    let first = follower.try_next().expect("one").expect("an event");
    assert_eq!(number(&first), 0);
    block_on(bus.shutdown()).expect("ends");
    let segments = LogFiles::open(scratch.path()).expect("opens").segments();
    assert!(segments.len() > 3 && segments.iter().all(|segment| segment.sealed));
    let path = |at: usize| scratch.path().join("shard-0000").join(&segments[at].file);
    // One segment with a damaged first block, after the header page.
    let mut bytes = std::fs::read(path(2)).expect("reads");
    bytes[4096 + 200] ^= 1;
    std::fs::write(path(2), bytes).expect("writes");
    let mut gaps = Vec::new();
    let mut seen = 1;
    follower.look();
    while let Some(event) = follower.try_next() {
        match event {
            Ok(event) => {
                assert!(event.sequence.get() >= seen);
                seen = event.sequence.get() + 1;
            }
            Err(ConsumerError::Gap(gap)) => {
                assert_eq!(gap.from.get(), seen, "after what comes before it");
                seen = gap.to.get();
                gaps.push(gap);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(seen, segments.last().expect("one").end.get());
    assert!(
        matches!(gaps[..], [ref gap] if gap.from == segments[2].base && matches!(gap.reason, GapReason::Corrupt(_)))
    );
}

#[test]
fn named_cursors_of_a_log_are_kept_beside_its_writer() {
    let scratch = Scratch::new("follow-cursors");
    let mut random = Random::new(9);
    let mut numbers = Numbers::default();
    let bus = open(scratch.config().num_shards(2));
    emit(&bus, &mut numbers, &mut random, 100);
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert_eq!(files.cursors().expect("lists"), []);
    let mut follower = follow(&scratch, FollowStart::Earliest);
    (0..40).for_each(|_| drop(follower.try_next()));
    files.save_cursor("reader", &follower.cursor()).expect("saves");
    files
        .save_cursor("start", &files.cursor_at(&tapeline::consumer::Start::Earliest).expect("a position"))
        .expect("saves");
    files.save_cursor("end", &files.cursor_at(&tapeline::consumer::Start::Latest).expect("a position")).expect("saves");
    let lags: Vec<_> =
        files.cursors().expect("lists").into_iter().map(|named| (named.name, named.lag_events)).collect();
    let expected = [("end", 0), ("reader", 60), ("start", 100)].map(|(name, lag)| (name.to_owned(), lag));
    assert_eq!(lags, expected);
    // The bus finds them.
    let named = bus.cursors().expect("lists");
    assert_eq!(named.iter().map(|named| (named.name.clone(), named.lag_events)).collect::<Vec<_>>(), expected);
    let cursor = bus.load_cursor("reader").expect("loads").expect("is there");
    let page = block_on(bus.poll(tapeline::ConsumeRequest::new(1000).from(cursor))).expect("polls");
    assert_eq!(page.events.len(), 60);
    assert!(files.remove_cursor("start").expect("removes") && !files.remove_cursor("start").expect("is gone"));
    assert_eq!(bus.load_cursor("start").expect("loads"), None);
    assert!(matches!(files.save_cursor("x", "00"), Err(ConsumerError::InvalidCursor { .. })));
}
