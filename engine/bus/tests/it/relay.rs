//! A relay gives each client every event of a session once, in order, however often the client breaks off and resumes
//! by a token, and ends with the session.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures_lite::Stream;
use futures_lite::future::block_on;
use tapeline::consumer::{Gap, GapReason, RelayEnd, TokenFault, Visibility};
use tapeline::error::ParseTokenError;
use tapeline::event::{Sequence, SessionOutcome, session_id};
use tapeline::log::{LogRestore, RestoredEvent};
use tapeline::{
    ConsumeRequest, ConsumerError, EventBus, EventBusConfig, LogFiles, Producer, RawEvent, RelayRequest, ResumeToken,
    ScalingPolicy, StoredEvent, SubscribeRequest, kinds,
};
use tapeline_testing::{Random, seeds};

use crate::scratch::{Scratch, open};

fn relay(bus: &EventBus, session: &str, after: Option<ResumeToken>) -> tapeline::Relay {
    block_on(bus.relay(session, after)).expect("relays")
}

/// All that a relay gives, to its end.
fn all(mut relay: tapeline::Relay) -> Vec<StoredEvent> {
    std::iter::from_fn(|| block_on(relay.next())).map(|event| event.expect("an event")).collect()
}

fn refusal(bus: &EventBus, session: &str, token: ResumeToken) -> (TokenFault, Option<ResumeToken>) {
    match block_on(bus.relay(session, Some(token))) {
        Err(ConsumerError::InvalidToken { fault, earliest }) => (fault, earliest),
        other => panic!("{other:?}"),
    }
}

fn payloads(events: &[StoredEvent]) -> Vec<&[u8]> {
    events.iter().map(|event| &event.raw[..]).collect()
}

fn by_hand(max_shards: u16) -> ScalingPolicy {
    let brief = Duration::from_millis(1);
    ScalingPolicy { auto_scale: false, cooldown: brief, max_shards, ..ScalingPolicy::default_for_cpus(max_shards) }
}

/// Changes the number of shards that take events, if it may.
fn scale(bus: &EventBus, random: &mut Random) {
    let _ = match random.below(2_u64) {
        0 => block_on(bus.manual_scale_up(1 + random.below(2_u16))),
        _ => block_on(bus.manual_scale_down(1 + random.below(2_u16))),
    };
}

/// Every token of the session's events is a place before exactly what follows.
fn check_every_token(bus: &EventBus, session: &str, events: &[StoredEvent]) {
    for (at, event) in events.iter().enumerate() {
        let text = event.token().to_string();
        let rest = all(relay(bus, session, Some(text.parse().expect("a token"))));
        let ids = |events: &[StoredEvent]| -> Vec<_> {
            events.iter().map(|event| (event.shard_id, event.sequence, event.insertion_ts)).collect()
        };
        assert_eq!(ids(&rest), ids(&events[at + 1..]), "after event {at}, {}", event.id);
    }
}

#[test]
fn relay_replays_goes_on_live_and_ends_with_the_session() {
    let scratch = Scratch::new("relay-live");
    for visibility in [Visibility::Appended, Visibility::Durable] {
        let bus = open(scratch.config().num_shards(2));
        let name = format!("chat-{visibility:?}");
        let mut producer = bus.producer().expect("a producer");
        let chat = producer.open_session(&name).expect("opens");
        for number in 0..10_u64 {
            producer.emit(chat, kinds::TOKEN, &number.to_le_bytes()).expect("emits");
        }
        let mut relay = block_on(bus.relay_with(RelayRequest::new(&name).visibility(visibility))).expect("relays");
        for _ in 0..11 {
            block_on(relay.next()).expect("goes on").expect("an event");
        }
        assert!(relay.try_next().is_none(), "nothing more is there yet");
        thread::scope(|scope| {
            scope.spawn(|| {
                let other = producer.session("another");
                for number in 10..500_u64 {
                    producer.emit(chat, kinds::TOKEN, &number.to_le_bytes()).expect("emits");
                    producer.emit(other, kinds::TOKEN, b"not for this client").expect("emits");
                }
                producer.close_session(chat, SessionOutcome::Finished).expect("closes");
                producer.emit(other, kinds::TOKEN, b"goes on").expect("emits");
            });
            let live = all(relay);
            let numbers: Vec<_> = (10..500_u64).map(u64::to_le_bytes).collect();
            assert_eq!(payloads(&live[..490]), numbers.iter().map(|bytes| &bytes[..]).collect::<Vec<_>>());
            assert_eq!(payloads(&live[490..]), [br#"{"type":"session.close","outcome":"finished"}"#]);
        });
    }
}

#[test]
fn clients_that_break_off_at_random_get_everything_once() {
    let scratch = Scratch::new("relay-drops");
    for seed in seeds(2) {
        let bus = open(scratch.config().num_shards(1).scaling(by_hand(4)));
        let names: Vec<_> = (0..8).map(|number| format!("chat-{seed}-{number}")).collect();
        thread::scope(|scope| {
            let clients = names.iter().zip(0_u64..).map(|(name, client)| {
                let bus = &bus;
                scope.spawn(move || {
                    let mut random = Random::new(seed ^ client << 8);
                    let (mut seen, mut last) = (Vec::new(), None::<String>);
                    loop {
                        let token = last.as_ref().map(|text| text.parse().expect("a token"));
                        let mut relay = relay(bus, name, token);
                        let mut is_over = false;
                        for _ in 0..1 + random.below(30_u64) {
                            let Some(event) = block_on(relay.next()) else {
                                is_over = true;
                                break;
                            };
                            let event = event.expect("an event");
                            last = Some(event.token().to_string());
                            seen.push(event.raw.to_vec());
                        }
                        if is_over {
                            return seen;
                        }
                    }
                })
            });
            let clients: Vec<_> = clients.collect();
            let mut random = Random::new(seed);
            let mut producer = bus.producer().expect("a producer");
            let sessions: Vec<_> = names.iter().map(|name| producer.open_session(name).expect("opens")).collect();
            for number in 0..400_u64 {
                for session in &sessions {
                    producer.emit(*session, kinds::TOKEN, &number.to_le_bytes()).expect("emits");
                }
                if random.below(40_u64) == 0 {
                    scale(&bus, &mut random);
                }
            }
            sessions.iter().for_each(|session| {
                producer.close_session(*session, SessionOutcome::Finished).expect("closes");
            });
            for client in clients {
                let seen = client.join().expect("no panic");
                assert_eq!(seen.len(), 402, "{seed}");
                let expected = (0..400_u64).map(u64::to_le_bytes);
                assert!(seen[1..401].iter().cloned().eq(expected.map(|number| number.to_vec())), "{seed}");
            }
        });
    }
}

/// Sessions that moved often, over restarts with other numbers of shards. Returns the events of each.
fn wander(scratch: &Scratch, random: &mut Random) -> BTreeMap<String, Vec<StoredEvent>> {
    let names: Vec<_> = (0..6).map(|number| format!("wanderer-{number}")).collect();
    let mut next = 0_u64;
    for opening in 0..4 {
        let shards = 1 + random.below(4_u16);
        let bus = open(scratch.config().num_shards(shards).scaling(by_hand(4)));
        let mut producers = [(); 2].map(|()| bus.producer().expect("a producer"));
        for _ in 0..8 {
            for _ in 0..random.below(5_u64) {
                for name in &names {
                    let producer: &mut Producer = &mut producers[random.below(2_usize)];
                    let session = producer.session(name);
                    producer.emit(session, kinds::TOKEN, &next.to_le_bytes()).expect("emits");
                    next += 1;
                }
            }
            scale(&bus, random);
        }
        if opening == 3 {
            for name in &names {
                bus.close_session(name, SessionOutcome::Stopped).expect("closes");
            }
        }
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config().num_shards(2));
    names.into_iter().map(|name| (name.clone(), all(relay(&bus, &name, None)))).collect()
}

#[test]
fn tokens_survive_moves_restarts_and_the_import_of_an_export() {
    let mut moves = 0;
    for seed in seeds(3) {
        let (scratch, restored) = (Scratch::new("relay-moves"), Scratch::new("relay-import"));
        let mut random = Random::new(seed);
        let sessions = wander(&scratch, &mut random);
        let shards =
            |events: &[StoredEvent]| events.windows(2).filter(|two| two[0].shard_id != two[1].shard_id).count();
        moves += sessions.values().map(|events| shards(events)).sum::<usize>();
        let bus = open(scratch.config().num_shards(3));
        for (name, events) in &sessions {
            let mut numbers =
                events[..events.len() - 1].iter().map(|event| u64::from_le_bytes(event.raw[..].try_into().unwrap()));
            assert!(numbers.by_ref().is_sorted(), "seed {seed}");
            check_every_token(&bus, name, events);
        }
        block_on(bus.shutdown()).expect("ends");

        let mut restore = LogRestore::create(restored.path(), None).expect("creates");
        for event in LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays") {
            let StoredEvent { shard_id, sequence, insertion_ts, session, kind, raw, .. } = event.expect("an event");
            let event = RestoredEvent { shard_id, sequence, insertion_ts, session, kind, payload: &raw };
            restore.append(&event).expect("appends");
        }
        restore.finish().expect("durable");
        let bus = open(restored.config().num_shards(2));
        for (name, events) in &sessions {
            assert_eq!(payloads(&all(relay(&bus, name, None))), payloads(events), "seed {seed}");
            check_every_token(&bus, name, events);
        }
    }
    assert!(moves > 0, "sessions move");
}

#[test]
fn closed_session_ends_every_relay_and_a_turn_that_follows_is_another() {
    let scratch = Scratch::new("relay-turns");
    let mut ends = Vec::new();
    for turn in 0..3_u64 {
        let bus = open(scratch.config());
        let mut producer = bus.producer().expect("a producer");
        let chat = producer.open_session("chat").expect("opens");
        producer.emit(chat, kinds::TOKEN, &turn.to_le_bytes()).expect("emits");
        producer.close_session(chat, SessionOutcome::Finished).expect("closes");
        // Of each turn up to now, then of the one after it.
        let mut after = None;
        for number in 0..=turn {
            let events = all(relay(&bus, "chat", after));
            assert_eq!(events.len(), 3, "turn {number} of {turn}");
            assert_eq!(&events[1].raw[..], number.to_le_bytes());
            after = Some(events[2].token());
        }
        assert_eq!(all(relay(&bus, "chat", after)), [], "the last turn is over, and there is no other");
        ends.push(after.expect("a token"));
        let nobody = producer.open_session("nobody").expect("opens");
        producer.close_session(nobody, SessionOutcome::Failed).expect("closes");
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config());
    assert_eq!(all(relay(&bus, "chat", Some(ends[1]))).len(), 3);
    assert_eq!(all(relay(&bus, "chat", Some(ends[2]))), [], "it is known to be over after a restart, too");
}

#[test]
fn subscription_until_its_sessions_close_hands_out_nothing_after_it() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    let sessions = ["a", "b", "c"].map(|name| producer.open_session(name).expect("opens"));
    for (round, session) in [(0, 0), (1, 1), (2, 0)] {
        producer.emit(sessions[session], kinds::TOKEN, &[round]).expect("emits");
    }
    for session in [1, 0] {
        producer.close_session(sessions[session], SessionOutcome::Finished).expect("closes");
    }
    producer.open_session("a").expect("opens again");
    producer.emit(sessions[0], kinds::TOKEN, b"another turn").expect("emits");
    let tokens = SubscribeRequest::new().session("a").session("b").kind(kinds::TOKEN).until_close();
    let one_by_one = block_on(bus.subscribe(tokens.clone())).expect("subscribes").blocking();
    assert_eq!(one_by_one.filter_map(Result::ok).count(), 3);
    let mut borrowed = block_on(bus.subscribe(tokens.clone())).expect("subscribes");
    let mut found = 0;
    while let Some(batch) = block_on(borrowed.next_batch()) {
        found += batch.expect("a batch").events().count();
    }
    assert_eq!(found, 3);
    // In both ways by turns: what was copied and not handed out is read again, the close among it.
    let mut mixed = block_on(bus.subscribe(tokens)).expect("subscribes");
    let mut found = 0;
    while let Some(event) = block_on(mixed.next()) {
        event.expect("an event");
        found += 1;
        let batch = block_on(mixed.next_batch());
        found += batch.map_or(0, |batch| batch.expect("a batch").events().count());
    }
    assert_eq!(found, 3);
    let refused = block_on(bus.subscribe(SubscribeRequest::new().until_close()));
    assert!(matches!(refused, Err(ConsumerError::NoSession)), "{refused:?}");
}

/// A log of one session, "chat", restored from events: shard, sequence, time in milliseconds.
fn restored(name: &str, events: &[(u16, u64, u64)]) -> Scratch {
    let scratch = Scratch::new(name);
    let mut restore = LogRestore::create(scratch.path(), None).expect("creates");
    for &(shard_id, sequence, time) in events {
        let (sequence, insertion_ts) = (Sequence::new(sequence), time * MILLI);
        let (session, kind, payload) = (session_id("chat"), kinds::TOKEN, &time.to_le_bytes());
        let event = RestoredEvent { shard_id, sequence, insertion_ts, session, kind, payload };
        restore.append(&event).expect("appends");
    }
    restore.finish().expect("durable");
    scratch
}

const MILLI: u64 = 1_000_000;

fn chat_token(shard: u16, sequence: u64, time: u64) -> ResumeToken {
    ResumeToken::new(session_id("chat"), shard, Sequence::new(sequence), time * MILLI)
}

/// The items that a relay has now, to its end or to where nothing is ready: places, and gaps with their tokens.
fn present(mut relay: tapeline::Relay) -> Vec<Result<(u16, u64), Gap>> {
    std::iter::from_fn(|| relay.try_next())
        .map(|item| match item {
            Ok(event) => Ok((event.shard_id, event.sequence.get())),
            Err(ConsumerError::Gap(gap)) => Err(gap),
            Err(error) => panic!("{error}"),
        })
        .collect()
}

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
    assert!(gap.contains("sequences 106 to 5001: lost in a crash"), "{gap}");
    let rest = present(relay(&bus, "chat", Some(chat_token(1, 7, 1_010))));
    assert!(matches!(&rest[..], [Ok((0, 101)), Err(_), Ok((0, 105))]), "{rest:?}");
    assert!(matches!(block_on(bus.relay(0_u128, None)), Err(ConsumerError::NoSession)));
}

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
fn order_of_a_restored_log_resumes_whatever_the_order_of_its_times() {
    // Shards that are not in order of time, and two events of the same time and sequence.
    let disordered = [(0, 0, 15), (0, 1, 30), (0, 2, 40), (1, 0, 10), (1, 1, 50), (1, 2, 20), (1, 3, 60), (2, 0, 10)];
    let ties = [(0, 0, 10), (0, 1, 20), (1, 0, 10), (1, 1, 20), (2, 0, 20), (2, 1, 20)];
    for (name, events) in [("relay-disorder", &disordered[..]), ("relay-ties", &ties)] {
        let scratch = restored(name, events);
        let bus = open(scratch.config().num_shards(3));
        bus.close_session("chat", SessionOutcome::Finished).expect("closes");
        let whole = all(relay(&bus, "chat", None));
        assert_eq!(whole.len(), events.len() + 1);
        check_every_token(&bus, "chat", &whole);
    }
    for seed in seeds(20) {
        let mut random = Random::new(seed);
        let events: Vec<_> = (0..3).flat_map(|shard| (0..12).map(move |at| (shard, at))).collect();
        let events: Vec<_> =
            events.into_iter().map(|(shard, at)| (shard, at, 100 + at * 5 + random.below(30_u64))).collect();
        let scratch = restored("relay-random-times", &events);
        let bus = open(scratch.config().num_shards(3));
        bus.close_session("chat", SessionOutcome::Finished).expect("closes");
        let whole = all(relay(&bus, "chat", None));
        assert_eq!(whole.len(), events.len() + 1, "seed {seed}");
        check_every_token(&bus, "chat", &whole);
    }
}

/// Reads a relay to its end. Returns the number of its events, and the most that it had ready without a break.
fn read_in_a_task(mut relay: tapeline::Relay) -> (usize, usize) {
    let (mut at_once, mut most, mut all) = (0, 0, 0);
    block_on(std::future::poll_fn(|context| match Pin::new(&mut relay).poll_next(context) {
        Poll::Pending => {
            most = most.max(std::mem::take(&mut at_once));
            Poll::Pending
        }
        Poll::Ready(None) => {
            most = most.max(at_once);
            Poll::Ready(())
        }
        Poll::Ready(Some(item)) => {
            item.expect("an event");
            (at_once, all) = (at_once + 1, all + 1);
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }));
    (all, most)
}

#[test]
fn relay_lets_other_tasks_run_in_every_era_of_a_log() {
    let events: Vec<_> = (0..4_000).map(|at| ((at % 2) as u16, at / 2, 1_000 + at)).collect();
    let scratch = restored("relay-stints", &events);
    let bus = open(scratch.config().num_shards(2));
    bus.close_session("chat", SessionOutcome::Finished).expect("closes");
    let (all, most) = read_in_a_task(relay(&bus, "chat", None));
    assert_eq!(all, events.len() + 1);
    assert!(most <= 32, "restored: {most} events without a break");

    let scratch = Scratch::new("relay-stints-eras");
    let bus = open(scratch.config().num_shards(1).scaling(by_hand(2)));
    let mut producer = bus.producer().expect("a producer");
    for number in 0..4_000_u64 {
        if number == 2_000 {
            block_on(bus.manual_scale_up(1)).expect("another shard");
        }
        producer.emit(producer.session("chat"), kinds::TOKEN, &number.to_le_bytes()).expect("emits");
    }
    producer.close_session(producer.session("chat"), SessionOutcome::Finished).expect("closes");
    let (all, most) = read_in_a_task(relay(&bus, "chat", None));
    assert_eq!(all, 4_001);
    assert!(most <= 32, "changed: {most} events without a break");
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
fn relay_says_how_it_ended() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    let mut closed = relay(&bus, "chat", None);
    block_on(closed.next()).expect("the open").expect("an event");
    assert_eq!((closed.end(), closed.has_ended()), (None, false));
    block_on(closed.next()).expect("the close").expect("an event");
    assert!(block_on(closed.next()).is_none());
    assert_eq!(closed.end(), Some(RelayEnd::Closed));
    producer.open_session("other").expect("opens");
    let mut other = relay(&bus, "other", None);
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    block_on(other.next()).expect("the open").expect("an event");
    assert!(block_on(other.next()).is_none());
    assert_eq!((other.end(), other.has_ended()), (Some(RelayEnd::Shutdown), true));
}

#[test]
fn relay_of_a_session_that_has_not_begun_waits_for_it_and_can_be_dropped() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    assert_eq!(block_on(bus.session("chat")).expect("looks"), None);
    let mut dropped = relay(&bus, "chat", None);
    assert!(block_on(futures_lite::future::poll_once(dropped.next())).is_none(), "it waits");
    drop(dropped);
    let mut waiting = relay(&bus, "chat", None);
    assert!(waiting.try_next().is_none() && !waiting.has_ended());
    thread::scope(|scope| {
        let client = scope.spawn(|| all(waiting).len());
        let mut producer = bus.producer().expect("a producer");
        let chat = producer.open_session("chat").expect("opens");
        producer.close_session(chat, SessionOutcome::Finished).expect("closes");
        assert_eq!(client.join().expect("no panic"), 2);
    });
}

#[test]
fn relay_without_a_token_begins_with_the_first_turn_there_is() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    for turn in 0..3_u8 {
        let chat = producer.open_session("chat").expect("opens");
        producer.emit(chat, kinds::TOKEN, &[turn]).expect("emits");
        if turn < 2 {
            producer.close_session(chat, SessionOutcome::Finished).expect("closes");
        }
    }
    let mut after = None;
    for turn in 0..2_u8 {
        let events = all(relay(&bus, "chat", after));
        assert_eq!((events.len(), &events[1].raw[..]), (3, &[turn][..]));
        after = Some(events[2].token());
    }
    let mut running = relay(&bus, "chat", after);
    assert_eq!(&block_on(running.next()).expect("the open").expect("an event").kind, &kinds::SESSION);
    assert_eq!(block_on(running.next()).expect("one").expect("an event").raw[..], [2]);
    assert!(running.try_next().is_none() && !running.has_ended());
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

#[test]
fn client_of_a_turn_that_runs_gets_it_to_its_close() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    let closed = all(relay(&bus, "chat", None)).pop().expect("the close").token();
    producer.open_session("chat").expect("opens");
    producer.emit(chat, kinds::TOKEN, b"1").expect("emits");
    block_on(producer.flush()).expect("readable");
    let mut relay = relay(&bus, "chat", Some(closed));
    block_on(relay.next()).expect("the open").expect("an event");
    assert_eq!(&block_on(relay.next()).expect("one").expect("an event").raw[..], b"1");
    assert!(relay.try_next().is_none());
    producer.emit(chat, kinds::TOKEN, b"2").expect("emits");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    assert_eq!(all(relay).len(), 2);
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

#[test]
fn close_that_was_handed_out_stays_known_when_later_events_are_read_again() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let [a, b] = ["a", "b"].map(|name| producer.open_session(name).expect("opens"));
    producer.close_session(a, SessionOutcome::Finished).expect("closes");
    block_on(producer.flush()).expect("a block");
    let request = SubscribeRequest::new().session("a").session("b").until_close();
    let mut events = block_on(bus.subscribe(request)).expect("subscribes");
    for _ in 0..3 {
        block_on(events.next()).expect("one").expect("an event");
    }
    // Two events of one block, of which the second is read again.
    let mut batch = producer.batch(b);
    for _ in 0..2 {
        batch.push(kinds::TOKEN, b"1").expect("room");
    }
    batch.publish().expect("publishes");
    drop(batch);
    block_on(producer.flush()).expect("another block");
    block_on(events.next()).expect("one").expect("an event");
    assert_eq!(block_on(events.next_batch()).expect("a batch").expect("events").events().count(), 1);
    producer.close_session(b, SessionOutcome::Finished).expect("closes");
    assert_eq!(block_on(events.next_batch()).expect("a batch").expect("events").events().count(), 1);
    assert!(events.has_ended(), "both sessions are closed");
}

#[test]
fn subscription_that_starts_after_the_close_ends_at_once() {
    let scratch = Scratch::new("until-closed-before");
    let bus = open(scratch.config());
    let mut producer = bus.producer().expect("a producer");
    let [a, b] = ["a", "b"].map(|name| producer.open_session(name).expect("opens"));
    producer.close_session(a, SessionOutcome::Finished).expect("closes");
    producer.emit(b, kinds::TOKEN, b"1").expect("emits");
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    // This process has not closed it.
    let bus = open(scratch.config());
    let late = |name: &str| SubscribeRequest::live().session(name).until_close();
    let mut of_closed = block_on(bus.subscribe(late("a"))).expect("subscribes");
    assert!(block_on(of_closed.next()).is_none() && of_closed.has_ended());
    let mut both = block_on(bus.subscribe(late("a").session("b"))).expect("subscribes");
    assert!(both.try_next().is_none() && !both.has_ended(), "the other one goes on");
    bus.close_session("b", SessionOutcome::Finished).expect("closes");
    assert_eq!(block_on(both.next()).expect("the close").expect("an event").session, session_id("b"));
    assert!(block_on(both.next()).is_none());
    let (_, opened) = bus.begin_session("a", &Default::default()).expect("opens");
    block_on(bus.readable(opened)).expect("readable");
    let mut reopened = block_on(bus.subscribe(late("a"))).expect("subscribes");
    assert!(reopened.try_next().is_none() && !reopened.has_ended());
}
