//! The contents of a log under the limits that users set.

use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::consumer::{Gap, GapReason};
use tapeline::event::SessionMetadata;
use tapeline::log::{trim_log, trim_log_without_names};
use tapeline::retention::{RetentionPolicy, TrimPlan, TrimReason};
use tapeline::{
    AdapterError, ConfigError, ConsumeRequest, ConsumerError, EventBus, LogFiles, ReplayRequest, SubscribeRequest,
    kinds,
};

use crate::scratch::{Scratch, open, wait_until_sealed};

/// Ingests, a session for each 4 MB, so that segments of 2 MiB are rolled.
fn fill(bus: &EventBus, megabytes: u64) {
    let mut producer = bus.producer().expect("producer");
    for number in 0..megabytes * 4 {
        let session = producer.session(&*format!("session {}", number / 16));
        producer.emit(session, kinds::TOKEN, &[number as u8; 250_000]).expect("emits");
        block_on(bus.flush()).expect("durable");
    }
    wait_until_sealed(bus);
}

/// Reads all there is: the holes that are reported, and how many events.
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
    // A reader that reads anew begins after the hole; one that was before it gets a gap.
    assert_eq!(read(&bus).1 as u64, before.1 as u64 - cut.get());
    let reported = std::iter::from_fn(|| standing.try_next()).find_map(|event| match event {
        Err(ConsumerError::Gap(gap)) => Some(gap),
        Ok(event) => {
            assert!(event.sequence > first.sequence);
            None
        }
        Err(error) => panic!("{error}"),
    });
    assert!(reported.as_ref().is_none_or(trimmed), "{reported:?}");
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
    let kept = bus.plan_trim(&policy.clone().keep_for_cursors()).expect("plans");
    assert!(kept.kept.iter().all(|kept| kept.cursor == "relay") && kept.kept.len() > 1, "{kept:?}");
    assert!(kept.removed.iter().all(|segment| segment.end.get() <= 10));
    let all = bus.plan_trim(&policy).expect("plans");
    assert_eq!(all.removed.len(), kept.kept.len() + kept.removed.len());
    assert!(all.removed.iter().all(|segment| segment.reason == TrimReason::Age));
    block_on(bus.trim(&policy)).expect("trims");
    // The reader gets a gap, and goes on.
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

/// One session over several segments of 2 MiB, and a short one in the first.
fn fill_long_session(bus: &EventBus, name: &str) {
    let mut producer = bus.producer().expect("producer");
    let (long, short) = (producer.open_session(name), producer.open_session("short"));
    let (long, short) = (long.expect("opens"), short.expect("opens"));
    producer.emit(short, kinds::TOKEN, b"once").expect("emits");
    for number in 0..40u8 {
        producer.emit(long, kinds::TOKEN, &[number; 250_000]).expect("emits");
        block_on(bus.flush()).expect("durable");
    }
    wait_until_sealed(bus);
}

fn names(path: &std::path::Path) -> Vec<Option<String>> {
    LogFiles::open(path).expect("opens").sessions().expect("lists").into_iter().map(|session| session.name).collect()
}

#[test]
fn names_outlive_the_segments_that_gave_them() {
    // An index repeats short openings; the others are looked for in the blocks.
    for (name, by_bus) in [("chat".to_owned(), true), ("chat".to_owned(), false), ("größer ".repeat(100), false)] {
        let scratch = Scratch::new("names");
        let bus = open(scratch.config().segment_bytes(2 << 20));
        fill_long_session(&bus, &name);
        let policy = RetentionPolicy::new().max_segments(2);
        if by_bus {
            assert_eq!(block_on(bus.trim(&policy)).expect("trims").names_lost, None);
        }
        block_on(bus.shutdown()).expect("ends");
        if !by_bus {
            let plan = trim_log(scratch.path(), &policy).expect("trims");
            assert!(!plan.removed.is_empty() && plan.names_lost.is_none(), "{plan:?}");
        }
        assert_eq!(names(scratch.path()), [Some(name.clone())], "by the bus: {by_bus}");
        // A second trim, and a reopening, change nothing.
        trim_log(scratch.path(), &RetentionPolicy::new().max_segments(1)).expect("trims");
        block_on(open(scratch.config()).shutdown()).expect("ends");
        let files = LogFiles::open(scratch.path()).expect("opens");
        assert_eq!(files.session_names().into_iter().collect::<Vec<_>>(), [(tapeline::event::session_id(&name), name)]);
    }
}

#[test]
fn what_the_last_opening_says_outlives_many_segments_that_go_at_once() {
    let scratch = Scratch::new("many-go");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    let mut producer = bus.producer().expect("a producer");
    for turn in 0..30 {
        if turn < 25 {
            let facts = SessionMetadata::new().model(format!("model-{turn}"));
            producer.open_session_with("chat", &facts).expect("opens");
        }
        for _ in 0..2 {
            producer.emit(producer.session("chat"), kinds::UNSPECIFIED, &vec![7; 900_000]).expect("emits");
            block_on(bus.flush()).expect("durable");
        }
    }
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    let plan = trim_log(scratch.path(), &RetentionPolicy::new().max_segments(2)).expect("trims");
    assert!(plan.removed.len() > 20, "{plan:?}");
    let bus = open(scratch.config());
    let chat = block_on(bus.session("chat")).expect("reads").expect("it is there");
    assert_eq!((chat.name.as_deref(), chat.metadata.model.as_deref()), (Some("chat"), Some("model-24")));
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn names_beyond_the_files_bound_cost_the_oldest_of_them() {
    let scratch = Scratch::new("too-many-names");
    let bus = open(scratch.config().segment_bytes(32 << 20));
    let mut producer = bus.producer().expect("a producer");
    let names: Vec<_> = (0..4300).map(|number| format!("{number:04}{}", "n".repeat(4000))).collect();
    let sessions: Vec<_> = names.iter().map(|name| producer.open_session(name).expect("opens")).collect();
    block_on(bus.flush()).expect("durable");
    let filler = producer.session("filler");
    for _ in 0..16 {
        producer.emit(filler, kinds::UNSPECIFIED, &vec![7; 1_000_000]).expect("emits");
        block_on(bus.flush()).expect("durable");
    }
    for session in sessions {
        producer.emit(session, kinds::TOKEN, b"late").expect("emits");
    }
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    let plan = trim_log(scratch.path(), &RetentionPolicy::new().max_segments(1)).expect("trims");
    assert!(!plan.removed.is_empty() && plan.names_lost.is_none(), "{plan:?}");
    let files = LogFiles::open(scratch.path()).expect("opens");
    let (kept, damage) = (files.session_names(), files.names_damage());
    assert!(damage.is_none() && (4000..4300).contains(&kept.len()), "{damage:?}: {} of {}", kept.len(), names.len());
}

#[test]
fn names_go_with_the_last_event_of_their_session() {
    let scratch = Scratch::new("names-go");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    (0..4).for_each(|number| fill_long_session(&bus, &format!("session {number}")));
    block_on(bus.shutdown()).expect("ends");
    let before = names(scratch.path()).len();
    trim_log(scratch.path(), &RetentionPolicy::new().max_segments(2)).expect("trims");
    let files = LogFiles::open(scratch.path()).expect("opens");
    let (sessions, named) = (files.sessions().expect("lists"), files.session_names());
    assert!(sessions.len() < before && sessions.iter().all(|session| session.name.is_some()), "{sessions:?}");
    assert!(sessions.iter().all(|session| named.contains_key(&session.session)) && named.len() == sessions.len());
}

#[test]
fn names_that_do_not_check_are_reported_and_the_log_works_without() {
    let scratch = Scratch::new("names-damaged");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    fill_long_session(&bus, "chat");
    block_on(bus.shutdown()).expect("ends");
    trim_log(scratch.path(), &RetentionPolicy::new().max_segments(2)).expect("trims");
    let file = scratch.path().join("names");
    let whole = std::fs::read(&file).expect("there");
    for damaged in [whole[..whole.len() - 1].to_vec(), Vec::new(), vec![0; 17 << 20]] {
        std::fs::write(&file, damaged).expect("writes");
        let files = LogFiles::open(scratch.path()).expect("opens");
        assert!(files.names_damage().is_some_and(|what| what.contains("names")), "{:?}", files.names_damage());
        assert_eq!(names(scratch.path()), [None]);
        block_on(open(scratch.config()).shutdown()).expect("a bus does not look at it");
    }
    // The next trim replaces it.
    trim_log(scratch.path(), &RetentionPolicy::new().max_segments(1)).expect("trims");
    assert_eq!(LogFiles::open(scratch.path()).expect("opens").names_damage(), None);
}

#[test]
fn names_that_cannot_be_kept_hold_no_space() {
    let scratch = Scratch::new("names-refused");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    fill_long_session(&bus, "chat");
    // No file can take the name of a directory that holds something.
    std::fs::create_dir_all(scratch.path().join("names").join("in the way")).expect("creates");
    let plan = block_on(bus.trim(&RetentionPolicy::new().max_segments(2))).expect("trims");
    assert!(plan.names_lost.as_ref().is_some_and(|why| why.contains("names")), "{:?}", plan.names_lost);
    block_on(bus.shutdown()).expect("ends");
    assert!(LogFiles::open(scratch.path()).expect("opens").segments().len() <= 3);
}

#[test]
fn names_are_lost_by_a_trim_of_a_log_at_rest_only_if_that_is_asked_for() {
    let scratch = Scratch::new("names-required");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    fill_long_session(&bus, "chat");
    block_on(bus.shutdown()).expect("ends");
    let before = LogFiles::open(scratch.path()).expect("opens").segments();
    std::fs::create_dir_all(scratch.path().join("names").join("in the way")).expect("creates");
    let policy = RetentionPolicy::new().max_segments(1);
    let error = trim_log(scratch.path(), &policy).expect_err("no place for the names");
    assert!(matches!(&error, ConsumerError::NamesLost { reason } if reason.contains("names")), "{error}");
    assert_eq!(LogFiles::open(scratch.path()).expect("opens").segments(), before, "nothing has changed");
    let plan = trim_log_without_names(scratch.path(), &policy).expect("trims");
    assert!(plan.names_lost.is_some() && LogFiles::open(scratch.path()).expect("opens").segments().len() == 1);
}

#[test]
fn cursor_that_cannot_be_read_holds_everything_and_the_plan_says_why() {
    let scratch = Scratch::new("torn-cursor");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    fill(&bus, 6);
    let latest = block_on(bus.poll(ConsumeRequest::new(10_000))).expect("polls").next_id.expect("a cursor");
    bus.save_cursor("relay", &latest).expect("saves");
    let policy = RetentionPolicy::new().max_segments(1).keep_for_cursors();
    let plan = bus.plan_trim(&policy).expect("plans");
    assert!(!plan.removed.is_empty() && plan.kept.is_empty(), "the relay has read everything");
    let file = scratch.path().join("cursors").join("relay");
    // Another version, with a checksum that is right, is as unreadable to this build as half of a file.
    let torn = [&b""[..], b"00ff", b"\xff\xfe", &latest.as_bytes()[..latest.len() / 2]];
    for text in torn {
        std::fs::write(&file, text).expect("writes");
        let plan = bus.plan_trim(&policy).expect("plans");
        assert!(plan.removed.is_empty(), "{text:?}");
        let kept = plan.kept.first().expect("is held");
        assert!(kept.cursor == "relay" && kept.cursor_fault.as_ref().is_some_and(|fault| !fault.is_empty()));
        let [listed] = &bus.cursors().expect("lists")[..] else { panic!("one cursor") };
        assert!(listed.fault.is_some() && listed.lag_events == bus.stats().events_appended, "{listed:?}");
    }
    bus.save_cursor("relay", &latest).expect("saves over it");
    let again = bus.plan_trim(&policy).expect("plans");
    assert_eq!((again.removed.len(), again.kept.len()), (plan.removed.len(), 0));
}
