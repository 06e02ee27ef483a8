//! Taps: consumers that emit what they derive from events, together with their position.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::bus::ProducerOptions;
use tapeline::config::BackpressureMode;
use tapeline::consumer::{Start, Visibility};
use tapeline::event::{SessionId, StoredEvent};
use tapeline::log::{LogRestore, RestoredEvent, plan_repair, repair_log};
use tapeline::retention::RetentionPolicy;
use tapeline::{
    ConsumeRequest, EventBus, IngestionError, LogFiles, ReplayRequest, SubscribeRequest, Subscription, kinds,
};
use tapeline_testing::asked;

use crate::scratch::{Scratch, open, wait_until_sealed};

const NAME: &str = "tap";
const INPUTS: u128 = 4;
const OUTPUTS: u128 = 100;
const DIRECTORY: &str = "TAPELINE_TAP_DIRECTORY";

fn inputs(bus: &EventBus) -> Subscription {
    let mut request = SubscribeRequest::new().visibility(Visibility::Durable);
    request.sessions = Some((1..=INPUTS).map(SessionId).collect());
    if let Some(cursor) = bus.load_cursor(NAME).expect("loads") {
        request = request.from(cursor);
    }
    block_on(bus.subscribe(request)).expect("subscribes")
}

fn text(event: &StoredEvent) -> String {
    format!("{}-{}", event.shard_id, event.sequence)
}

/// Emits one event for each input, up to `most` inputs at a time, into a session that depends on the inputs.
fn tap(bus: &EventBus, subscription: &mut Subscription, most: usize) {
    let mut producer = bus.producer().expect("producer");
    let first = block_on(subscription.next()).expect("goes on").expect("event");
    let session = producer.session(OUTPUTS + u128::from(first.sequence.get() % 3));
    let mut batch = producer.batch(session);
    batch.push(kinds::DRIFT, text(&first).as_bytes()).expect("pushes");
    for _ in 1..most {
        let Some(event) = subscription.try_next() else { break };
        batch.push(kinds::DRIFT, text(&event.expect("event")).as_bytes()).expect("pushes");
    }
    batch.with_cursor(NAME, &subscription.cursor()).expect("a cursor").publish().expect("publishes");
}

fn say(bus: &EventBus, count: u64) {
    let mut producer = bus.producer().expect("producer");
    for number in 0..count {
        let session = producer.session(u128::from(number) % INPUTS + 1);
        let payload = vec![7; number as usize * 37 % 900];
        while producer.emit(session, kinds::TOKEN, &payload).is_err() {
            std::thread::yield_now();
        }
    }
}

/// Expects an output for each input that the cursor covers, and no other.
fn compare(log: &LogFiles) -> u64 {
    let all = |request: ReplayRequest| log.replay_with(&request).expect("replays").map(|event| event.expect("event"));
    let (mut outputs, mut inputs) = (BTreeMap::new(), Vec::new());
    for event in all(ReplayRequest::new()) {
        match event.kind {
            kinds::DRIFT => *outputs.entry(event.raw.to_string()).or_insert(0) += 1,
            _ => inputs.push(event),
        }
    }
    let cursor = log.load_cursor(NAME).expect("loads");
    let named = log.cursors().expect("lists");
    assert_eq!(named.first().map(|named| named.cursor.clone()), cursor);
    let positions = tapeline_reader::cursor::Cursor::decode(&cursor.unwrap_or_default(), log.log_id());
    let positions = positions.unwrap_or_default().positions;
    inputs.retain(|event| positions.get(&event.shard_id).is_some_and(|position| event.sequence < position.next));
    let expected: BTreeMap<_, _> = inputs.iter().map(|event| (text(event), 1)).collect();
    assert_eq!(outputs, expected, "outputs and inputs differ");
    outputs.len() as u64
}

/// The process that is killed: ingests, and derives an event of each.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let config = tapeline::EventBusConfig::builder().directory(directory).segment_bytes(2 << 20);
    let bus = open(config.num_shards(3));
    let mut subscription = inputs(&bus);
    std::thread::scope(|scope| {
        scope.spawn(|| say(&bus, u64::MAX));
        println!("begins");
        for number in 1.. {
            tap(&bus, &mut subscription, number % 7 + 1);
        }
    });
}

fn start(directory: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", "taps::child", "--nocapture", "--test-threads=1"]).env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts")
}

#[test]
fn killed_process_loses_nothing_of_a_tap_and_repeats_nothing() {
    let rounds = asked("TAPELINE_KILLS").unwrap_or(6);
    let scratch = Scratch::new("tap-kill");
    let mut before = 0;
    for round in 0..rounds {
        let mut child = start(scratch.path());
        // Until it has got somewhere, further in each round.
        let is_further =
            || LogFiles::open(scratch.path()).is_ok_and(|log| log.load_cursor(NAME).is_ok_and(|it| it.is_some()));
        while !is_further() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(round * 7919 % 60));
        child.kill().expect("kills");
        child.wait().expect("ends");
        // As it lies, then after recovery.
        let covered = compare(&LogFiles::open(scratch.path()).expect("opens"));
        assert!(covered >= before, "round {round}: {covered} after {before}");
        drop(open(scratch.config().num_shards(3)));
        before = compare(&LogFiles::open(scratch.path()).expect("opens"));
        // The kernel completes writes that were in flight when it killed the process: some after the first look.
        assert!(before >= covered, "round {round}: {covered}, and {before} after recovery");
    }
    assert!(before > rounds, "the taps got something done");
}

/// The cursor of a number of inputs that were read.
fn cursor_after(bus: &EventBus, events: usize) -> String {
    let page = block_on(bus.poll(ConsumeRequest::new(events))).expect("polls");
    page.next_id.expect("a cursor")
}

fn publish(bus: &EventBus, session: u128, output: &[u8], cursor: &str) {
    let mut producer = bus.producer().expect("producer");
    let session = producer.session(session);
    let mut batch = producer.batch(session);
    batch.push(kinds::DRIFT, output).expect("pushes");
    batch.with_cursor(NAME, cursor).expect("a cursor").publish().expect("publishes");
}

#[test]
fn the_newest_of_file_and_log_is_the_cursor_over_restarts_and_trims() {
    let scratch = Scratch::new("tap-newest");
    let config = || scratch.config().num_shards(2).segment_bytes(2 << 20);
    let bus = open(config());
    say(&bus, 20);
    let cursors: Vec<_> = (0..=6).map(|number| cursor_after(&bus, 1 + number)).collect();
    let expect = |bus: &EventBus, cursor: Option<&String>| {
        assert_eq!(bus.load_cursor(NAME).expect("loads").as_ref(), cursor);
        let listed = bus.cursors().expect("lists");
        assert_eq!(listed.first().map(|named| &named.cursor), cursor);
        let log = LogFiles::open(scratch.path()).expect("opens");
        assert_eq!(log.load_cursor(NAME).expect("loads").as_ref(), cursor);
    };
    bus.save_cursor(NAME, &cursors[0]).expect("saves");
    expect(&bus, Some(&cursors[0]));
    // In both shards: those of each session are in one.
    for number in 0..8 {
        publish(&bus, 200 + number, b"output", &cursors[1 + number as usize % 2]);
    }
    expect(&bus, Some(&cursors[2]));
    bus.save_cursor(NAME, &cursors[3]).expect("saves");
    expect(&bus, Some(&cursors[3]));
    publish(&bus, 201, b"output", &cursors[4]);
    expect(&bus, Some(&cursors[4]));
    assert!(bus.remove_cursor(NAME).expect("removes") && !bus.remove_cursor(NAME).expect("is gone"));
    expect(&bus, None);
    drop(bus);
    let bus = open(config());
    expect(&bus, None);
    assert!(LogFiles::open(scratch.path()).expect("opens").cursors().expect("lists").is_empty());
    publish(&bus, 200, b"output", &cursors[5]);
    // As an operator does beside the bus.
    bus.load_cursor(NAME).expect("is durable");
    let log = LogFiles::open(scratch.path()).expect("opens");
    log.save_cursor(NAME, &cursors[1]).expect("saves");
    expect(&bus, Some(&cursors[1]));
    publish(&bus, 201, b"output", &cursors[6]);
    drop(bus);
    // A trim takes the segments of the note.
    let bus = open(config());
    expect(&bus, Some(&cursors[6]));
    publish(&bus, 200, b"output", &cursors[2]);
    for _ in 0..3 {
        say(&bus, 9000);
    }
    block_on(bus.flush()).expect("flushes");
    wait_until_sealed(&bus);
    let plan = block_on(bus.trim(&RetentionPolicy::new().max_age(Duration::from_nanos(1)))).expect("trims");
    assert!(plan.removed.len() > 2, "{plan:?}");
    expect(&bus, Some(&cursors[2]));
    drop(bus);
    expect(&open(config()), Some(&cursors[2]));
}

#[test]
fn a_batch_of_a_cursor_alone_counts_after_a_saved_one() {
    let scratch = Scratch::new("tap-alone");
    let bus = open(scratch.config());
    say(&bus, 4);
    let (early, late) = (cursor_after(&bus, 1), cursor_after(&bus, 2));
    publish(&bus, OUTPUTS, b"1", &early);
    bus.save_cursor(NAME, &early).expect("saves");
    let mut producer = bus.producer().expect("producer");
    let session = producer.session(OUTPUTS);
    producer.batch(session).with_cursor(NAME, &late).expect("a cursor").publish().expect("publishes");
    assert_eq!(bus.load_cursor(NAME).expect("loads").as_ref(), Some(&late));
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    let bus = open(scratch.config());
    assert_eq!(bus.load_cursor(NAME).expect("loads"), Some(late));
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn the_file_of_a_removed_cursor_goes_with_the_look_at_its_notes() {
    let scratch = Scratch::new("tap-removed");
    let file = scratch.path().join("cursors").join(NAME);
    let bus = open(scratch.config());
    say(&bus, 4);
    publish(&bus, OUTPUTS, b"1", &cursor_after(&bus, 1));
    assert!(bus.remove_cursor(NAME).expect("removes") && file.exists(), "it outweighs the note in the log");
    block_on(bus.shutdown()).expect("ends");
    for _ in 0..2 {
        let bus = open(scratch.config());
        assert_eq!(bus.load_cursor(NAME).expect("loads"), None);
        assert!(!file.exists(), "nothing looks at that note any more");
        block_on(bus.shutdown()).expect("ends");
    }
}

#[test]
fn cursor_of_a_tap_outlives_damage_and_loss_of_the_file_noted() {
    let scratch = Scratch::new("tap-noted");
    let noted = scratch.path().join("cursors").join(".noted");
    let bus = open(scratch.config().num_shards(2));
    say(&bus, 20);
    let cursors: Vec<_> = (1..=3).map(|events| cursor_after(&bus, events)).collect();
    bus.save_cursor(NAME, &cursors[0]).expect("saves");
    publish(&bus, 201, b"output", &cursors[1]);
    assert_eq!(bus.load_cursor(NAME).expect("loads").as_ref(), Some(&cursors[1]));
    let whole = std::fs::read(&noted).expect("there");
    drop(bus);
    let of_files = || LogFiles::open(scratch.path()).expect("opens").load_cursor(NAME).expect("loads");
    let half = whole[..whole.len() / 2].to_vec();
    for damaged in [half, Vec::new(), b"\xff\xfe".to_vec(), vec![b'0'; 9 << 20]] {
        std::fs::write(&noted, damaged).expect("writes");
        assert_eq!(of_files().as_ref(), Some(&cursors[1]));
        assert_eq!(plan_repair(scratch.path(), |_| ()).expect("plans"), []);
    }
    std::fs::remove_file(&noted).expect("removes");
    assert_eq!(of_files().as_ref(), Some(&cursors[0]), "what the log says is not looked for");
    let [step] = &repair_log(scratch.path(), |_| ()).expect("repairs")[..] else { panic!("one step") };
    assert_eq!((step.shard_id, step.action.name()), (None, "expect_cursors"));
    assert_eq!(of_files().as_ref(), Some(&cursors[1]));
    assert_eq!(plan_repair(scratch.path(), |_| ()).expect("plans"), []);
    // A bus finds them by the indexes, and writes the cursors' files.
    std::fs::remove_file(&noted).expect("removes");
    while !noted.exists() {
        // Until its segment has an index.
        block_on(open(scratch.config().num_shards(2)).shutdown()).expect("ends");
    }
    let bus = open(scratch.config().num_shards(2));
    assert_eq!(bus.load_cursor(NAME).expect("loads").as_ref(), Some(&cursors[1]));
    publish(&bus, 200, b"output", &cursors[2]);
    drop(bus);
    assert_eq!(of_files().as_ref(), Some(&cursors[2]));
}

#[test]
fn cursor_of_a_tap_is_no_part_of_an_export_and_its_events_are() {
    let scratch = Scratch::new("tap-export");
    let bus = open(scratch.config().num_shards(1));
    say(&bus, 20);
    let cursor = cursor_after(&bus, 5);
    publish(&bus, OUTPUTS, b"output", &cursor);
    bus.load_cursor(NAME).expect("is durable");
    drop(bus);
    let copy = Scratch::new("tap-import");
    let log = LogFiles::open(scratch.path()).expect("opens");
    let mut restore = LogRestore::create(copy.path(), None).expect("creates");
    for event in log.replay_all().expect("replays") {
        let StoredEvent { shard_id, sequence, insertion_ts, session, kind, raw, .. } = event.expect("an event");
        let event = RestoredEvent { shard_id, sequence, insertion_ts, session, kind, payload: &raw };
        restore.append(&event).expect("appends");
    }
    restore.finish().expect("ends");
    // A cursor is bound to its log: a tap of the copy begins anew, and finds what was derived.
    let bus = open(copy.config().num_shards(1));
    assert_eq!(bus.load_cursor(NAME).expect("loads"), None);
    assert_eq!(block_on(bus.replay(OUTPUTS)).expect("replays").filter(Result::is_ok).count(), 1);
    let other = cursor_after(&bus, 3);
    publish(&bus, OUTPUTS, b"another", &other);
    assert_eq!(bus.load_cursor(NAME).expect("loads"), Some(other));
}

#[test]
fn retention_keeps_what_the_cursor_of_a_tap_has_not_covered() {
    let scratch = Scratch::new("tap-retention");
    let bus = open(scratch.config().num_shards(1).segment_bytes(2 << 20));
    say(&bus, 9000);
    let cursor = cursor_after(&bus, 10);
    publish(&bus, OUTPUTS, b"output", &cursor);
    say(&bus, 9000);
    block_on(bus.flush()).expect("flushes");
    wait_until_sealed(&bus);
    let policy = RetentionPolicy::new().max_age(Duration::from_nanos(1)).keep_for_cursors();
    let plan = block_on(bus.trim(&policy)).expect("trims");
    assert!(plan.removed.is_empty(), "{plan:?}");
    assert!(plan.kept.iter().any(|kept| kept.cursor == NAME), "{plan:?}");
    let end = cursor_after(&bus, 100_000);
    publish(&bus, OUTPUTS, b"output", &end);
    bus.load_cursor(NAME).expect("is durable");
    assert!(!block_on(bus.trim(&policy)).expect("trims").removed.is_empty());
}

#[test]
fn batches_that_cannot_be_one_with_their_cursor_are_refused() {
    let scratch = Scratch::new("tap-refused");
    for config in [scratch.config(), tapeline::EventBusConfig::builder()] {
        let bus = open(config.lane_bytes(4 << 20));
        say(&bus, 10);
        let cursor = cursor_after(&bus, 1);
        let mut producer = bus.producer().expect("producer");
        let session = producer.session(OUTPUTS);
        let mut batch = producer.batch(session);
        assert!(matches!(batch.with_cursor("../meta", &cursor), Err(IngestionError::Cursor { .. })));
        assert!(matches!(batch.with_cursor(NAME, "00"), Err(IngestionError::Cursor { .. })));
        // One that fills a block is taken; a byte more is not.
        let record = serde_json::json!({"type": "cursor", "name": NAME, "cursor": cursor}).to_string().len();
        let rest = (1 << 20) - 80 - 3 * 2 - (record.next_multiple_of(16) + 32) - 2 * 32;
        let largest = rest / 2 / 16 * 16;
        for (bytes, fits) in [(largest, true), (largest + 16, false)] {
            (0..2).for_each(|_| batch.push(kinds::DRIFT, &vec![1; bytes]).expect("pushes"));
            let outcome = batch.with_cursor(NAME, &cursor).expect("a cursor").publish();
            match outcome {
                Ok(Some(_)) => assert!(fits),
                Err(error) => assert!(!fits && matches!(error, IngestionError::BatchTooLarge { .. }), "{error}"),
                outcome => panic!("{outcome:?}"),
            }
        }
        drop(batch);
        // Nothing of what was refused is left.
        publish(&bus, OUTPUTS, b"after", &cursor);
        let outputs = block_on(bus.replay(OUTPUTS)).expect("replays").map(|event| event.expect("event").raw.len());
        assert_eq!(outputs.collect::<Vec<_>>(), [largest, largest, 5]);
        let mut dropping = bus
            .producer_with(ProducerOptions::new().backpressure_mode(BackpressureMode::DropOldest))
            .expect("producer");
        let session = dropping.session(OUTPUTS);
        assert!(matches!(dropping.batch(session).with_cursor(NAME, &cursor), Err(IngestionError::CursorMode)));
        assert_eq!(bus.load_cursor(NAME).expect("loads"), Some(cursor));
    }
}

#[test]
fn a_bus_that_has_ended_takes_neither_events_nor_cursor_of_a_batch() {
    let scratch = Scratch::new("tap-ended");
    for config in [scratch.config(), tapeline::EventBusConfig::builder()] {
        let bus = open(config);
        say(&bus, 10);
        let cursor = cursor_after(&bus, 1);
        let mut producer = bus.producer().expect("producer");
        let session = producer.session(OUTPUTS);
        let mut batch = producer.batch(session);
        batch.push(kinds::DRIFT, b"derived").expect("pushes");
        batch.with_cursor(NAME, &cursor).expect("a cursor");
        block_on(bus.shutdown_via_ref()).expect("ends");
        let outcome = batch.publish();
        assert!(matches!(outcome, Err(IngestionError::ShuttingDown)), "{outcome:?}");
        assert!(matches!(batch.with_cursor(NAME, &cursor), Err(IngestionError::ShuttingDown)));
        assert_eq!(batch.publish().expect("there is nothing to publish"), None);
        drop(batch);
        assert!(bus.stats().is_balanced(), "{:?}", bus.stats());
        assert_eq!(bus.load_cursor(NAME).expect("loads"), None);
    }
    let bus = open(scratch.config());
    assert_eq!(bus.load_cursor(NAME).expect("loads"), None);
    assert_eq!(block_on(bus.replay(OUTPUTS)).expect("replays").count(), 0);
}

#[test]
fn readers_get_the_events_of_a_tap_and_nothing_of_its_cursor() {
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    say(&bus, 10);
    let cursor = cursor_after(&bus, 1);
    (0..50).for_each(|number| publish(&bus, OUTPUTS + number % 3, b"output", &cursor));
    let mut producer = bus.producer().expect("producer");
    let session = producer.session(1);
    // Of a tap that has derived nothing from its inputs.
    let ticket = producer.batch(session).with_cursor(NAME, &cursor).expect("a cursor").publish().expect("publishes");
    block_on(producer.durable(ticket.expect("a ticket"))).expect("is durable");
    let page = block_on(bus.poll(ConsumeRequest::new(1000))).expect("polls");
    assert_eq!((page.events.len(), page.gaps.len()), (60, 0));
    let stats = bus.stats();
    assert!(stats.is_balanced() && stats.notes == 51 && stats.events_ingested == 60, "{stats:?}");
    assert_eq!(block_on(bus.sessions()).expect("lists").len(), 7);
    let request = SubscribeRequest::new().start(Start::Earliest);
    let mut subscription = block_on(bus.subscribe(request)).expect("subscribes");
    assert_eq!(std::iter::from_fn(|| subscription.try_next()).filter(|event| event.is_ok()).count(), 60);
}
