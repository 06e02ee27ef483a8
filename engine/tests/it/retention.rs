//! What a log keeps, and for how long, as users set it.

use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::{
    AdapterError, ConfigError, ConsumeRequest, ConsumerError, EventBus, Gap, GapReason, LogFiles, ReplayRequest,
    RetentionPolicy, SubscribeRequest, TrimPlan, TrimReason, kinds, trim_log,
};

use crate::scratch::{Scratch, open};

/// Ingests, a session for each 4 MB, so that segments of 2 MiB are rolled.
fn fill(bus: &EventBus, megabytes: u64) {
    let mut producer = bus.producer().expect("producer");
    for number in 0..megabytes * 4 {
        let session = producer.session(&*format!("session {}", number / 16));
        producer.emit(session, kinds::TOKEN, &[number as u8; 250_000]).expect("emits");
        block_on(bus.flush()).expect("durable");
    }
}

/// Reads all there is: the holes that are told, and how many events.
fn read(bus: &EventBus) -> (Vec<Gap>, usize) {
    let page = block_on(bus.poll(ConsumeRequest::new(10_000))).expect("polls");
    (page.gaps, page.events.len())
}

#[test]
fn trimming_on_demand_says_what_goes_and_leaves_the_rest() {
    let scratch = Scratch::new("trim");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    fill(&bus, 12);
    let mut standing = block_on(bus.subscribe(SubscribeRequest::new())).expect("subscribes");
    let first = standing.try_next().expect("there").expect("an event");
    let policy = RetentionPolicy::new().max_segments(3);
    let before = read(&bus);
    let plan = bus.plan_trim(&policy).expect("plans");
    assert!(plan.removed.len() > 2 && plan.removed.iter().all(|segment| segment.reason == TrimReason::Segments));
    assert_eq!(read(&bus), before, "a plan changes nothing");
    let bases = |plan: &TrimPlan| plan.removed.iter().map(|segment| segment.base).collect::<Vec<_>>();
    assert_eq!(bases(&block_on(bus.trim(&policy)).expect("trims")), bases(&plan));
    let cut = plan.removed.last().expect("removed").end;
    let trimmed = |gap: &Gap| gap.reason == GapReason::Trimmed && gap.to == cut;
    // Who reads anew begins behind the hole; who stood before it is told.
    assert_eq!(read(&bus).1 as u64, before.1 as u64 - cut.get());
    let told = std::iter::from_fn(|| standing.try_next()).find_map(|event| match event {
        Err(ConsumerError::Gap(gap)) => Some(gap),
        Ok(event) => {
            assert!(event.sequence > first.sequence);
            None
        }
        Err(error) => panic!("{error}"),
    });
    assert!(told.as_ref().is_none_or(trimmed), "{told:?}");
    block_on(bus.shutdown()).expect("ends");
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert!(files.damage().is_empty(), "{:?}", files.damage());
    assert!(files.segments().iter().all(|segment| segment.base >= cut));
    let bus = open(scratch.config());
    assert_eq!(read(&bus).1 as u64, before.1 as u64 - cut.get());
}

#[test]
fn bus_keeps_to_its_policy_by_itself() {
    let scratch = Scratch::new("keeper");
    let most = 5 << 20;
    let policy = RetentionPolicy::new().max_bytes(most);
    let bus = open(scratch.config().segment_bytes(2 << 20).retention(policy.clone()));
    fill(&bus, 20);
    // It looks once a second.
    while !bus.plan_trim(&policy).expect("plans").removed.is_empty() {
        std::thread::yield_now();
    }
    block_on(bus.shutdown()).expect("ends");
    let bytes: u64 = LogFiles::open(scratch.path()).expect("opens").segments().iter().map(|it| it.bytes).sum();
    assert!(bytes <= most + (2 << 20), "{bytes}");
}

#[test]
fn old_events_go_and_those_that_a_cursor_waits_for_stay_if_asked() {
    let scratch = Scratch::new("age");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    fill(&bus, 8);
    let page = block_on(bus.poll(ConsumeRequest::new(10))).expect("polls");
    bus.save_cursor("relay", &page.next_id.expect("a cursor")).expect("saves");
    let policy = RetentionPolicy::new().max_age(Duration::from_nanos(1));
    let kept = bus.plan_trim(&policy.clone().keep_for_cursors(true)).expect("plans");
    assert!(kept.kept.iter().all(|kept| kept.cursor == "relay") && kept.kept.len() > 1, "{kept:?}");
    assert!(kept.removed.iter().all(|segment| segment.end.get() <= 10));
    let all = bus.plan_trim(&policy).expect("plans");
    assert_eq!(all.removed.len(), kept.kept.len() + kept.removed.len());
    assert!(all.removed.iter().all(|segment| segment.reason == TrimReason::Age));
    block_on(bus.trim(&policy)).expect("trims");
    // The reader is told, and goes on.
    let cursor = bus.load_cursor("relay").expect("reads").expect("a cursor");
    let page = block_on(bus.poll(ConsumeRequest::new(1000).from(cursor))).expect("polls");
    assert!(matches!(page.gaps[..], [Gap { reason: GapReason::Trimmed, .. }]), "{:?}", page.gaps);
}

#[test]
fn log_at_rest_is_trimmed_and_an_open_one_is_left_alone() {
    let scratch = Scratch::new("rest");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    fill(&bus, 8);
    let policy = RetentionPolicy::new().max_segments(1);
    let locked = trim_log(scratch.path(), &policy).expect_err("open");
    assert!(locked.to_string().contains("open in another process or bus"), "{locked}");
    block_on(bus.shutdown()).expect("ends");
    let files = LogFiles::open(scratch.path()).expect("opens");
    let plan = files.plan_trim(&policy).expect("plans");
    assert_eq!(trim_log(scratch.path(), &policy).expect("trims"), plan);
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert_eq!((files.segments().len(), plan.segments_left), (1, 1));
    let left = files.replay_with(&ReplayRequest::new()).expect("replays").filter(Result::is_ok).count() as u64;
    assert_eq!(left, 32 - plan.removed.last().expect("removed").end.get());
    assert!(matches!(
        trim_log(&scratch.path().join("none"), &policy),
        Err(ConsumerError::Adapter(AdapterError::Directory(_)))
    ));
    assert!(!scratch.path().join("none").exists());
}

#[test]
fn policies_that_say_nothing_are_refused() {
    let scratch = Scratch::new("policy");
    let invalid = |policy: RetentionPolicy| {
        matches!(scratch.config().retention(policy).build(), Err(ConfigError::InvalidValue(_)))
    };
    assert!(invalid(RetentionPolicy::new()));
    assert!(invalid(RetentionPolicy::new().max_age(Duration::ZERO)));
    assert!(invalid(RetentionPolicy::new().max_segments(0)));
    assert!(!invalid(RetentionPolicy::new().max_bytes(0)), "nothing sealed is kept");
    let memory = tapeline::EventBusConfig::builder().retention(RetentionPolicy::new().max_bytes(1)).build();
    assert!(matches!(memory, Err(ConfigError::InvalidValue(_))));
}
