//! A client that breaks off and resumes by a token gets what follows it, and all of it, wherever the session has moved
//! meanwhile.

use std::collections::BTreeMap;
use std::thread;

use futures_lite::future::block_on;
use tapeline::event::{Sequence, SessionOutcome, session_id};
use tapeline::log::{LogRestore, RestoredEvent};
use tapeline::{EventBus, LogFiles, Producer, StoredEvent, kinds};
use tapeline_testing::{Random, seeds};

use super::{all, by_hand, check_every_token, payloads, relay, restored};
use crate::scratch::{Scratch, open};

/// Changes the number of shards that take events, if it may.
fn scale(bus: &EventBus, random: &mut Random) {
    let _ = match random.below(2_u64) {
        0 => block_on(bus.manual_scale_up(1 + random.below(2_u16))),
        _ => block_on(bus.manual_scale_down(1 + random.below(2_u16))),
    };
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

#[test]
fn relay_of_a_restored_log_names_its_session() {
    let scratch = Scratch::new("relay-restored-names");
    let mut restore = LogRestore::create(scratch.path(), None).expect("creates");
    let opening: &[u8] = br#"{"type":"session.open","name":"chat"}"#;
    let events = [(0, 0, kinds::SESSION, opening), (0, 1, kinds::TOKEN, &b"1"[..]), (1, 0, kinds::TOKEN, &b"2"[..])];
    for (insertion_ts, (shard_id, sequence, kind, payload)) in (10..).zip(events) {
        let (sequence, session) = (Sequence::new(sequence), session_id("chat"));
        let event = RestoredEvent { shard_id, sequence, insertion_ts, session, kind, payload };
        restore.append(&event).expect("appends");
    }
    restore.finish().expect("durable");
    let bus = open(scratch.config().num_shards(2));
    bus.close_session("chat", SessionOutcome::Finished).expect("closes");
    let whole = all(relay(&bus, "chat", None));
    assert_eq!(whole.len(), events.len() + 1);
    assert!(whole.iter().all(|event| event.session_name() == Some("chat")), "{whole:?}");
}
