//! A token that is not of the session and the log, or of what the log does not have any more, is refused by name.

use std::thread;

use futures_lite::future::block_on;
use tapeline::consumer::{ResumeToken, TokenFault};
use tapeline::error::ParseTokenError;
use tapeline::event::{Sequence, session_id};
use tapeline::{ConsumerError, EventBus, EventBusConfig, LogFiles, RawEvent, StoredEvent, kinds};
use tapeline_testing::{Random, seeds};

use super::{MILLI, chat_token, present, refusal, relay, restored};
use crate::scratch::{Scratch, open};

#[test]
fn tokens_of_what_is_not_there_are_refused_with_the_earliest() {
    let scratch = restored("relay-gone", &[(0, 100, 1_000), (0, 101, 1_020), (0, 105, 1_030), (1, 7, 1_010)]);
    let bus = open(scratch.config().num_shards(2));
    let earliest = Some(chat_token(0, 100, 1_000));
    assert_eq!(refusal(&bus, "chat", chat_token(0, 99, 990)), (TokenFault::Gone, earliest));
    assert_eq!(refusal(&bus, "chat", chat_token(1, 3, 990)), (TokenFault::Gone, earliest));
    let text = block_on(bus.relay("chat", Some(chat_token(0, 99, 990)))).expect_err("gone").to_string();
    assert!(text.contains("gone") && text.contains(&chat_token(0, 100, 1_000).to_string()), "{text}");
    assert_eq!(refusal(&bus, "other", chat_token(0, 100, 1_000)), (TokenFault::Foreign, None));
    for unknown in [chat_token(0, 100, 1_001), chat_token(7, 0, 1)] {
        assert_eq!(refusal(&bus, "chat", unknown), (TokenFault::Unknown, earliest), "{unknown}");
    }
    // Beyond where the run before this one ended: what a crash would have taken.
    let mut lost = relay(&bus, "chat", Some(chat_token(0, 5_000, 2_000)));
    let gap = block_on(lost.next()).expect("a gap").expect_err("a gap").to_string();
    assert!(gap.contains("sequences 106 to 5000 (4895 events): lost in a crash"), "{gap}");
    let rest = present(relay(&bus, "chat", Some(chat_token(1, 7, 1_010))));
    assert!(matches!(&rest[..], [Ok((0, 101)), Err(_), Ok((0, 105))]), "{rest:?}");
    assert!(matches!(block_on(bus.relay(0_u128, None)), Err(ConsumerError::NoSession)));
}

#[test]
fn token_of_another_log_is_called_unknown_and_no_crash() {
    let scratch = restored("relay-another-log", &[(0, 0, 1_000_000), (0, 1, 2_000_000)]);
    for _ in 0..2 {
        let bus = open(scratch.config().num_shards(1));
        bus.ingest_raw(RawEvent::from_str("x").with_session("chat")).expect("ingests");
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config().num_shards(1));
    let earliest = Some(chat_token(0, 0, 1_000_000));
    // In the midst of what this log wrote at that time, and after the present run's first event.
    bus.ingest_raw(RawEvent::from_str("x").with_session("chat")).expect("ingests");
    block_on(bus.flush()).expect("readable");
    let later = u64::MAX / MILLI;
    for token in [chat_token(0, 15, 1_500_000), chat_token(0, 1, 1_999_000), chat_token(0, 15, later)] {
        assert_eq!(refusal(&bus, "chat", token), (TokenFault::Unknown, earliest), "{token:?}");
    }
}

/// The token of the event that a new session gets.
fn token_of_new(bus: &EventBus) -> ResumeToken {
    bus.ingest_raw(RawEvent::from_str("x").with_session("chat")).expect("ingests");
    block_on(bus.flush()).expect("readable");
    all_present(bus).pop().expect("an event").token()
}

fn all_present(bus: &EventBus) -> Vec<StoredEvent> {
    let mut relay = relay(bus, "chat", None);
    std::iter::from_fn(|| relay.try_next()).map(|event| event.expect("an event")).collect()
}

#[test]
fn token_of_another_log_is_refused_by_a_new_one() {
    let scratch = Scratch::new("relay-new-log");
    let before = open(scratch.config().num_shards(1));
    let old = token_of_new(&before);
    block_on(before.shutdown()).expect("ends");
    std::fs::remove_dir_all(scratch.path()).expect("removed");
    let new = open(scratch.config().num_shards(1));
    assert_eq!(refusal(&new, "chat", old), (TokenFault::Unknown, None), "of the log that was here");
    let elsewhere = Scratch::new("relay-elsewhere");
    let other = open(elsewhere.config().num_shards(1));
    let later = token_of_new(&other);
    assert_eq!(refusal(&new, "chat", later), (TokenFault::Unknown, None), "of another log beside it");
    let own = token_of_new(&new);
    for token in [old, later] {
        assert_eq!(refusal(&new, "chat", token), (TokenFault::Unknown, Some(own)));
    }
    block_on(new.shutdown()).expect("ends");
    let again = open(scratch.config().num_shards(1));
    assert_eq!(refusal(&again, "chat", token_of_new(&other)), (TokenFault::Unknown, Some(own)), "later than its last");
}

#[test]
fn bus_in_memory_says_gone_once_it_let_events_go() {
    let bus = open(EventBusConfig::builder().num_shards(1).memory_bytes(4 << 20));
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.session("chat");
    producer.emit(chat, kinds::TOKEN, b"first").expect("emits");
    let first = block_on(relay(&bus, "chat", None).next()).expect("one").expect("an event").token();
    assert!(relay(&bus, "chat", Some(first)).try_next().is_none());
    for _ in 0..200 {
        while producer.emit(chat, kinds::TOKEN, &[7; 100_000]).is_err() {
            thread::yield_now();
        }
    }
    let (fault, earliest) = refusal(&bus, "chat", first);
    assert_eq!(fault, TokenFault::Gone);
    let earliest = earliest.expect("some event is left");
    assert!(block_on(bus.relay("chat", Some(earliest))).is_ok());
}

#[test]
fn nothing_but_a_token_of_the_session_is_accepted() {
    let scratch = Scratch::new("relay-forged");
    for opening in 0..2 {
        let bus = open(scratch.config().num_shards(2));
        let mut producer = bus.producer().expect("a producer");
        for number in 0..50_u64 {
            for name in ["mine", "yours"] {
                producer.emit(producer.session(name), kinds::TOKEN, &number.to_le_bytes()).expect("emits");
            }
        }
        if opening == 0 {
            block_on(bus.shutdown()).expect("ends");
        }
    }
    let bus = open(scratch.config().num_shards(2));
    let mine: Vec<_> = LogFiles::open(scratch.path()).unwrap().replay("mine").unwrap().map(Result::unwrap).collect();
    for event in &mine {
        assert_eq!(refusal(&bus, "yours", event.token()).0, TokenFault::Foreign);
    }
    for seed in seeds(2) {
        let mut random = Random::new(seed);
        for _ in 0..2_000 {
            let token = random.pick(&mine).token().to_string();
            let mut bytes = token.clone().into_bytes();
            for _ in 0..1 + random.below(3_u64) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(3_u64) {
                    0 => bytes[at] ^= 1 << random.below(7_u64),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, random.next_u64() as u8 & 0x7f),
                }
            }
            let text = String::from_utf8(bytes).expect("ASCII");
            let parsed: Result<ResumeToken, ParseTokenError> = text.parse();
            assert!(text == token || parsed.is_err(), "seed {seed}: {text}");
        }
        // Composed, with a checksum that matches: refused, or a crash is reported; never another session's events.
        for _ in 0..300 {
            let event = random.pick(&mine);
            let sequence = Sequence::new(random.below(120_u64));
            let time = event.insertion_ts.wrapping_add(random.below(3_u64)).wrapping_sub(1);
            let token = ResumeToken::new(event.session, random.below(3_u16), sequence, time);
            let Ok(mut relay) = block_on(bus.relay("mine", Some(token))) else { continue };
            while let Some(item) = relay.try_next() {
                assert!(item.map_or(true, |event| event.session == session_id("mine")), "seed {seed}");
            }
        }
    }
}
