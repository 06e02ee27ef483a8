//! Filters and listings by the capabilities of sessions' sources say what a pass over all events says.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::capability::{CapabilitySet, RequiredCapability};
use tapeline::config::BatchConfig;
use tapeline::event::{EventId, SessionId, SessionMetadata};
use tapeline::log::{FollowStart, LogFollower, SessionOpening, trim_log};
use tapeline::retention::RetentionPolicy;
use tapeline::{
    ConsumeRequest, EventBus, Filter, LogFiles, Ordering, ReplayRequest, StoredEvent, SubscribeRequest, kinds, pred,
    require, require_axis, require_axis_value,
};
use tapeline_testing::{Random, seed};

use crate::scratch::{Scratch, open, wait_until_sealed};

const SESSIONS: usize = 24;

/// A payload that opens a session, or says something else about it.
fn statement(random: &mut Random, session: usize) -> String {
    let model = random.pick(&["llama-7b", "llama-70b", "mistral"]);
    match random.below(6) {
        0 => format!(r#"{{"type":"session.open","name":"{session}","model":"{model}"}}"#),
        1 => format!(r#"{{"name":"{session}","model":"{model}","labels":{{"zone":"eu"}}}}"#),
        2 => format!(r#"{{"type":"session.open","name":"{session}","tags":["software.model:{model}","devices.mic"]}}"#),
        3 => format!(r#"{{"type":"session.open","tags":["devices.camera"],"pad":"{}"}}"#, "x".repeat(600)),
        4 => r#"{"type":"session.close"}"#.to_owned(),
        _ => "no JSON".to_owned(),
    }
}

fn fill(bus: &EventBus, random: &mut Random) {
    let mut producer = bus.producer().expect("producer");
    for _ in 0..4000 {
        // Two sessions are never opened.
        let session = random.below(SESSIONS);
        let token = producer.session(SessionId(session as u128 + 1));
        if session > 1 && random.below(40) == 0 {
            producer.emit(token, kinds::SESSION, statement(random, session).as_bytes()).expect("emits");
        }
        producer.emit(token, kinds::TOKEN, &[7; 4000]).expect("emits");
    }
    block_on(producer.flush()).expect("durable");
}

fn requirements() -> Vec<RequiredCapability> {
    vec![
        require!("software.model=llama-7b"),
        require_axis!("devices"),
        require_axis_value!("software", "model"),
        pred!(and [prefix "software.model", "llama-", not exists "devices.mic"]).into(),
        pred!(or [metadata_equals "zone", "eu", not exists "software.model"]).into(),
    ]
}

/// The events that a filter takes, by a pass over all of them.
fn expected(events: &[StoredEvent], wanted: &RequiredCapability) -> BTreeSet<EventId> {
    let mut openings = HashMap::<SessionId, SessionOpening>::new();
    let takes = |event: &&StoredEvent| {
        let opening = openings.entry(event.session).or_default();
        if event.kind == kinds::SESSION {
            opening.amend(SessionOpening::parse(&event.raw));
        }
        event.kind == kinds::TOKEN && wanted.evaluate(&opening.metadata.capabilities())
    };
    events.iter().filter(takes).map(|event| event.id).collect()
}

fn filter(wanted: &RequiredCapability) -> Filter {
    let filter = Filter::and([Filter::kind(kinds::TOKEN), Filter::source(wanted.clone())]);
    assert_eq!(Filter::from_json(&filter.to_json()).as_ref(), Ok(&filter));
    filter
}

/// The ids of the pages from a cursor on.
fn paged(bus: &EventBus, request: &ConsumeRequest, mut cursor: Option<String>) -> BTreeSet<EventId> {
    let mut ids = BTreeSet::new();
    loop {
        let mut request = request.clone();
        request.from_id = cursor;
        let page = block_on(bus.poll(request)).expect("a page");
        ids.extend(page.events.iter().map(|event| event.id));
        if !page.has_more {
            return ids;
        }
        cursor = page.next_id;
    }
}

#[test]
fn readers_take_the_events_whose_last_opening_meets_the_requirement() {
    let mut random = Random::new(seed());
    let scratch = Scratch::in_memory("sources");
    let bus = open(scratch.config().num_shards(2));
    fill(&bus, &mut random);
    block_on(bus.shutdown()).expect("ends");
    let bus = open(scratch.config().num_shards(2));
    fill(&bus, &mut random);

    let log = LogFiles::open(scratch.path()).expect("opens");
    assert!(log.segments().len() > 4, "{:?}", log.segments());
    let events: Vec<_> = log.replay_all().expect("replays").map(|event| event.expect("an event")).collect();
    for wanted in requirements() {
        let all = expected(&events, &wanted);
        assert!(!all.is_empty() && all.len() < events.len(), "{wanted}");
        let request = ReplayRequest::new().filter(filter(&wanted));
        let replayed: BTreeSet<_> =
            log.replay_with(&request).expect("replays").map(|event| event.expect("an event").id).collect();
        assert!(replayed == all, "replayed, {wanted}");
        for ordering in [Ordering::None, Ordering::InsertionTs] {
            let request = ConsumeRequest::new(700).filter(filter(&wanted)).ordering(ordering);
            assert!(paged(&bus, &request, None) == all, "pages {ordering:?}, {wanted}");
        }

        // From somewhere in the middle on.
        let mut reader = block_on(bus.subscribe(SubscribeRequest::new())).expect("subscribes");
        let mut read = BTreeSet::new();
        for _ in 0..random.below(events.len()) {
            read.insert(reader.try_next().expect("more").expect("an event").id);
        }
        let cursor = reader.cursor();
        let rest: BTreeSet<_> = all.difference(&read).copied().collect();
        let request = SubscribeRequest::new().filter(filter(&wanted)).from(cursor.clone());
        let mut subscription = block_on(bus.subscribe(request)).expect("subscribes");
        let subscribed: BTreeSet<_> =
            std::iter::from_fn(|| subscription.try_next()).map(|event| event.expect("an event").id).collect();
        assert!(subscribed == rest, "subscribed, {wanted}");
        assert!(
            paged(&bus, &ConsumeRequest::new(700).filter(filter(&wanted)), Some(cursor.clone())) == rest,
            "{wanted}"
        );
        let request = ReplayRequest::new().filter(filter(&wanted));
        let mut follower = LogFollower::open(scratch.path(), FollowStart::Cursor(cursor), &request).expect("follows");
        let mut followed = BTreeSet::new();
        while follower.look() {
            followed.extend(std::iter::from_fn(|| follower.try_next()).map(|event| event.expect("an event").id));
        }
        assert!(followed == rest, "followed, {wanted}");

        let sessions: Vec<_> = block_on(bus.sessions_where(wanted.clone())).expect("sessions");
        assert_eq!(log.sessions_where(wanted.clone()).expect("sessions").len(), sessions.len(), "{wanted}");
        let mut last: HashMap<_, SessionOpening> = HashMap::new();
        for event in events.iter() {
            let said = SessionOpening::parse(if event.kind == kinds::SESSION { &event.raw } else { b"" });
            last.entry(event.session).or_default().amend(said);
        }
        last.retain(|_, opening| wanted.evaluate(&opening.metadata.capabilities()));
        let found: BTreeSet<_> = sessions.iter().map(|summary| summary.session).collect();
        assert_eq!(found, last.keys().copied().collect(), "{wanted}");
    }
}

#[test]
fn sources_are_known_in_memory_and_before_anything_is_durable() {
    let scratch = Scratch::in_memory("sources-appended");
    let slow = BatchConfig { max_delay: Duration::from_secs(3600), ..BatchConfig::default() };
    for bus in [open(tapeline::EventBusConfig::builder()), open(scratch.config().batch(slow))] {
        let mut producer = bus.producer().expect("producer");
        let chat = producer.open_session_with("chat", &SessionMetadata::new().model("llama-7b")).expect("opens");
        let llama = SubscribeRequest::live().filter(filter(&require!("software.model=llama-7b")));
        let mut subscription = block_on(bus.subscribe(llama)).expect("subscribes");
        producer.emit(chat, kinds::TOKEN, b"later").expect("emits");
        let event = block_on(subscription.next()).expect("an event").expect("readable");
        assert_eq!(event.raw, b"later"[..]);
        assert_eq!(block_on(bus.sessions_where(require!("software.model=llama-7b"))).expect("sessions").len(), 1);
    }
}

#[test]
fn sources_stay_known_when_their_openings_are_trimmed() {
    let scratch = Scratch::in_memory("sources-trimmed");
    let bus = open(scratch.config().num_shards(1));
    let mut producer = bus.producer().expect("producer");
    let tags = SessionMetadata::new().model("llama-7b").tag("hardware.gpu=h100".parse().expect("a tag"));
    let chat = producer.open_session_with("chat", &tags).expect("opens");
    for _ in 0..4000 {
        producer.emit(chat, kinds::TOKEN, &[7; 4000]).expect("emits");
    }
    block_on(producer.flush()).expect("durable");
    wait_until_sealed(&bus);
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    trim_log(scratch.path(), &RetentionPolicy::new().max_bytes(6 << 20)).expect("trims");

    let bus = open(scratch.config().num_shards(1));
    let count = |wanted| {
        let replay = block_on(bus.replay_with(ReplayRequest::new().filter(Filter::source(wanted)))).expect("replays");
        replay.filter(Result::is_ok).count()
    };
    let left = block_on(bus.replay("chat")).expect("replays").filter(Result::is_ok).count();
    assert!(left > 0 && left < 4000);
    assert_eq!(count(require!("hardware.gpu=h100")), left);
    assert_eq!(count(require!("software.model=mistral")), 0);
    assert_eq!(block_on(bus.sessions_where(require!("software.model=llama-7b"))).expect("sessions").len(), 1);
}

#[test]
fn openings_that_no_segment_holds_yet_are_known() {
    let scratch = Scratch::new("source-unwritten");
    for round in 0..30 {
        // Each bus begins a segment, once it has something to write.
        let bus = open(scratch.config().num_shards(1));
        let mut producer = bus.producer().expect("producer");
        let name = format!("chat-{round}");
        let session = producer.open_session_with(&name, &SessionMetadata::new().model("llama-7b")).expect("opens");
        let found = block_on(bus.sessions_where(require!("software.model=llama-7b"))).expect("lists");
        assert_eq!(found.len(), round + 1);
        let request = SubscribeRequest::live().filter(Filter::source(require!("software.model=llama-7b")));
        let mut events = block_on(bus.subscribe(request)).expect("subscribes");
        producer.emit(session, kinds::TOKEN, b"hello").expect("emits");
        producer.emit(producer.session("end"), kinds::TOKEN, b"other").expect("emits");
        block_on(producer.flush()).expect("durable");
        let found = std::iter::from_fn(|| events.try_next()).map(|event| event.expect("event").session);
        assert_eq!(found.collect::<Vec<_>>(), [session.id()], "round {round}");
    }
}

/// The tokens that a reader with these capabilities gets, from a start or the end of a log on.
fn suiting(bus: &EventBus, tags: &[&str]) -> BTreeSet<String> {
    let capabilities = CapabilitySet::parse(tags.iter().copied()).expect("tags");
    let request = ReplayRequest::new().filter(Filter::and([Filter::kind(kinds::TOKEN), Filter::suits(capabilities)]));
    let events = block_on(bus.replay_with(request)).expect("replays");
    events.map(|event| event.expect("an event").raw_str().expect("text").to_owned()).collect()
}

#[test]
fn consumers_get_what_their_capabilities_suit_and_what_requires_nothing() {
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    let say = |producer: &mut tapeline::Producer, name: &str, metadata: &SessionMetadata| {
        let session = producer.open_session_with(name, metadata).expect("opens");
        producer.emit(session, kinds::TOKEN, name.as_bytes()).expect("emits");
    };
    say(&mut producer, "large", &SessionMetadata::new().requires(require!("hardware.gpu.vram_gb >= 48")));
    say(&mut producer, "small", &SessionMetadata::new().requires(require!("hardware.gpu.vram_gb <= 24")));
    say(&mut producer, "any", &SessionMetadata::new());
    say(&mut producer, "typo", &SessionMetadata::new().label(SessionMetadata::REQUIRES, "hardware.gpu > 48"));
    producer.emit(producer.session("never opened"), kinds::TOKEN, b"never opened").expect("emits");
    block_on(producer.flush()).expect("readable");
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(suiting(&bus, &[]), texts(&["any", "never opened"]));
    assert_eq!(suiting(&bus, &["hardware.gpu.vram_gb=80"]), texts(&["any", "large", "never opened"]));
    assert_eq!(suiting(&bus, &["hardware.gpu.vram_gb=24"]), texts(&["any", "small", "never opened"]));

    // A subscription that begins after the openings; a later one takes the requirement away.
    let capabilities = CapabilitySet::parse(["hardware.gpu.vram_gb=24"]).expect("tags");
    let live = SubscribeRequest::live().kind(kinds::TOKEN).filter(Filter::suits(capabilities));
    let mut events = block_on(bus.subscribe(live)).expect("subscribes");
    for name in ["large", "small"] {
        producer.emit(producer.session(name), kinds::TOKEN, name.as_bytes()).expect("emits");
    }
    say(&mut producer, "large", &SessionMetadata::new());
    let mut next = || block_on(events.next()).expect("goes on").expect("an event").raw;
    // Of two shards, in whichever order.
    let both = BTreeSet::from([next(), next()].map(|raw| raw.to_vec()));
    assert_eq!(both, [b"small".to_vec(), b"large".to_vec()].into());
}

#[test]
fn sessions_state_the_capabilities_of_the_producer_that_opens_them() {
    let worker =
        CapabilitySet::parse(["hardware.gpu=h100", "devices.camera"]).expect("tags").with_metadata("zone", "eu");
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    producer.set_capabilities(worker.clone());
    producer.open_session("plain").expect("opens");
    producer.open_session_with("of a zone", &SessionMetadata::new().model("m").label("zone", "us")).expect("opens");
    producer.reopen_session("by id", &SessionMetadata::new()).expect("opens");
    bus.producer().expect("a producer").open_session("of another").expect("opens");
    // A shard-local task states those of its producer.
    let of_task = worker.clone();
    let task = bus.run_on_shard(1, move |mut context| async move {
        context.producer().set_capabilities(of_task);
        context.producer().open_session("of a task").map(drop)
    });
    block_on(task.expect("runs")).expect("ends").expect("opens");
    producer.set_capabilities(CapabilitySet::new());
    producer.open_session("of nothing").expect("opens");
    let named = |wanted: RequiredCapability| {
        let found = block_on(bus.sessions_where(wanted)).expect("sessions");
        found.into_iter().map(|summary| summary.name.unwrap_or_default()).collect::<BTreeSet<_>>()
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(named(require!("hardware.gpu=h100")), texts(&["", "of a task", "of a zone", "plain"]));
    assert_eq!(named(pred!(metadata_equals "zone", "eu").into()), texts(&["", "of a task", "plain"]));
}
