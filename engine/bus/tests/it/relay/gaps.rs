//! A client that resumes learns which events it does not get, once, and of its own session's shards alone.

use std::thread;

use futures_lite::future::block_on;
use tapeline::consumer::{Gap, GapReason, ResumeToken};
use tapeline::event::SessionOutcome;
use tapeline::{ConsumeRequest, ConsumerError, EventBusConfig, Producer, kinds};

use super::{by_hand, chat_token, present, refusal, relay, restored};
use crate::scratch::open;

#[test]
fn earliest_token_is_accepted_and_tells_what_may_be_missing() {
    let scratch = restored("relay-earliest", &[(0, 100, 1_000), (0, 101, 1_020), (0, 105, 1_030), (1, 7, 1_010)]);
    let bus = open(scratch.config().num_shards(2));
    let (_, earliest) = refusal(&bus, "chat", chat_token(0, 99, 990));
    let rest = present(relay(&bus, "chat", earliest));
    // Trimmed events of the other shard may have come after it.
    let [Err(trimmed), Ok((1, 7)), Ok((0, 101)), Err(_), Ok((0, 105))] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!((trimmed.shard_id, trimmed.to.get()), (1, 7));
    assert_eq!(present(relay(&bus, "chat", trimmed.token))[0], Ok((1, 7)), "it is reported once");
}

#[test]
fn client_that_breaks_off_at_a_gap_resumes_after_it() {
    let holes = [(0, 10, 1_000), (0, 14, 1_020), (1, 5, 1_010), (1, 9, 1_030), (0, 17, 1_040)];
    let scratch = restored("relay-gap-tokens", &holes);
    let bus = open(scratch.config().num_shards(2));
    let whole = present(relay(&bus, "chat", None));
    assert_eq!(whole.iter().filter(|item| item.is_err()).count(), 3, "{whole:?}");
    for (at, item) in whole.iter().enumerate() {
        let Err(gap) = item else { continue };
        let token: ResumeToken = gap.token.expect("a token").to_string().parse().expect("text");
        let rest = present(relay(&bus, "chat", Some(token)));
        let events = |items: &[Result<(u16, u64), Gap>]| items.iter().filter_map(|item| item.clone().ok()).collect();
        let (left, rest_events): (Vec<_>, Vec<_>) = (events(&whole[at + 1..]), events(&rest));
        assert_eq!(rest_events, left, "after {gap}");
    }
}

#[test]
fn client_gets_gaps_of_the_shards_that_its_session_was_in_and_no_others() {
    let bus = open(EventBusConfig::builder().num_shards(1).memory_bytes(4 << 20).scaling(by_hand(2)));
    let mut producer = bus.producer().expect("a producer");
    let names: Vec<_> = (0..9).map(|number| format!("chat-{number}")).collect();
    let emit = |producer: &mut Producer, name: &str, payload: &[u8]| {
        while producer.emit(producer.session(name), kinds::TOKEN, payload).is_err() {
            thread::yield_now();
        }
    };
    names.iter().for_each(|name| emit(&mut producer, name, b"before"));
    let mut relays: Vec<_> = names.iter().map(|name| relay(&bus, name, None)).collect();
    relays.iter_mut().for_each(|relay| drop(block_on(relay.next()).expect("one").expect("an event")));
    block_on(bus.manual_scale_up(1)).expect("another shard");
    // All that was before the change goes, and some of what is after it in both shards.
    for _ in 0..200 {
        names.iter().for_each(|name| emit(&mut producer, name, &[7; 50_000]));
    }
    block_on(bus.flush()).expect("readable");
    let (mut moved, mut gaps) = (0, 0);
    for (name, relay) in names.iter().zip(relays) {
        let shard = producer.session(name).shard_id();
        moved += shard;
        let items = present(relay);
        for gap in items.iter().filter_map(|item| item.as_ref().err()) {
            assert!([0, shard].contains(&gap.shard_id), "{name} in {shard}: {gap}");
            let rest = present(self::relay(&bus, name, gap.token));
            assert_eq!(rest.last(), items.last(), "{name} after {gap}");
            gaps += 1;
        }
        assert!(items.iter().flatten().all(|(of, _)| *of == shard), "{name}");
    }
    assert!((2..8).contains(&moved) && gaps >= 9, "{moved} {gaps}");
}

#[test]
fn client_of_a_run_whose_clock_was_ahead_misses_nothing_of_the_next() {
    const YEAR_2100: u64 = 4_102_444_800_000;
    let scratch = restored("relay-ahead", &[(0, 0, YEAR_2100), (0, 1, YEAR_2100 + 1)]);
    for opening in 0..3_u64 {
        let bus = open(scratch.config().num_shards(1));
        let mut producer = bus.producer().expect("a producer");
        for number in 0..5 {
            producer
                .emit(producer.session("chat"), kinds::TOKEN, &(opening * 5 + number).to_le_bytes())
                .expect("emits");
        }
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config().num_shards(1));
    // Of the first run, at a sequence that the third has given again.
    let items = present(relay(&bus, "chat", Some(chat_token(0, 13, YEAR_2100 + 2_000))));
    let (Err(gap), events) = items.split_first().map(|(gap, events)| (gap.clone(), events)).expect("a gap") else {
        panic!("{items:?}")
    };
    assert_eq!((gap.reason, gap.from.get()), (GapReason::LostInCrash, 2));
    assert_eq!(events, (2..17).map(|sequence| Ok((0, sequence))).collect::<Vec<_>>());
    assert_eq!(present(relay(&bus, "chat", gap.token)), events, "after the gap");
}

#[test]
fn relay_ends_although_the_close_is_gone() {
    let bus = open(EventBusConfig::builder().memory_bytes(4 << 20));
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    let mut relay = relay(&bus, "chat", None);
    block_on(relay.next()).expect("the open").expect("an event");
    producer.emit(chat, kinds::TOKEN, b"1").expect("emits");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    let (other, page) = (producer.session("other"), [0; 64 << 10]);
    while !block_on(bus.poll(ConsumeRequest::default().session("chat"))).expect("a page").events.is_empty() {
        while producer.emit(other, kinds::TOKEN, &page).is_err() {
            thread::yield_now();
        }
    }
    let mut items = 0;
    while let Some(item) = block_on(relay.next()) {
        assert!(matches!(item, Err(ConsumerError::Gap(_))), "{item:?}");
        items += 1;
    }
    assert!(items > 0, "what is gone is reported");
}
