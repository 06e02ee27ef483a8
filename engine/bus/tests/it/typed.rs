//! Typed payloads: what was put in is read where it lies, and nothing else passes for it.

use futures_lite::future::block_on;
use rkyv::{Archive, Serialize};
use tapeline::error::TypeError;
use tapeline::event::TypedPayload;
use tapeline::{ConsumeRequest, EventBusConfig, IngestionError, LogFiles, RawEvent, SubscribeRequest, kinds, rkyv};
use tapeline_testing::{Random, seed};

use crate::scratch::{Scratch, open};

#[derive(Archive, Serialize, Clone)]
#[rkyv(crate = rkyv)]
struct Step {
    index: u64,
    text: String,
    scores: Vec<f32>,
    bytes: Vec<u8>,
    wide: u128,
    next: Option<Box<Step2>>,
}

#[derive(Archive, Serialize, Clone)]
#[rkyv(crate = rkyv)]
struct Step2 {
    name: String,
}

impl TypedPayload for Step {
    const TYPE_NAME: &'static str = "test.Step.1";
}

impl TypedPayload for Step2 {
    const TYPE_NAME: &'static str = "test.Step2.1";
}

fn step(index: u64, bytes: usize) -> Step {
    Step {
        index,
        text: format!("step {index} is no short string"),
        scores: vec![0.5; index as usize % 9],
        bytes: vec![index as u8; bytes],
        wide: u128::from(index) << 70,
        next: index.is_multiple_of(2).then(|| Box::new(Step2 { name: format!("after {index}") })),
    }
}

fn check(found: &<Step as Archive>::Archived, index: u64, bytes: usize) {
    let expected = step(index, bytes);
    assert_eq!((found.index.to_native(), found.text.as_str()), (index, expected.text.as_str()));
    assert!(found.scores.iter().map(|score| score.to_native()).eq(expected.scores));
    assert!(found.bytes.as_slice() == expected.bytes && found.wide.to_native() == expected.wide);
    assert_eq!(found.next.as_ref().map(|next| next.name.as_str().to_owned()), expected.next.map(|next| next.name));
}

#[test]
fn values_of_every_size_come_back_from_memory_files_and_batches() {
    let scratch = Scratch::new("typed");
    {
        let bus = open(scratch.config());
        let mut producer = bus.producer().expect("producer");
        let session = producer.session("typed");
        for index in 0..2000 {
            loop {
                match producer.emit_archived(session, kinds::TOKEN, &step(index, index as usize * 3)) {
                    Ok(_) => break,
                    Err(IngestionError::Backpressure { .. }) => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        // A batch does not wait for room: the lane is empty before.
        block_on(producer.flush()).expect("flushes");
        let mut batch = producer.batch(session);
        for index in 2000..2100 {
            batch.push_archived(kinds::TOKEN, &step(index, index as usize * 3)).expect("pushes");
        }
        batch.publish().expect("publishes");
        drop(batch);
        let mut subscription = block_on(bus.subscribe(SubscribeRequest::new())).expect("subscribes");
        let mut index = 0;
        while index < 2100 {
            let batch = block_on(subscription.next_batch()).expect("goes on").expect("batch");
            for event in batch.events() {
                check(event.expect("event").access::<Step>().expect("typed"), index, index as usize * 3);
                index += 1;
            }
        }
        block_on(bus.shutdown()).expect("ends");
    }
    let files = LogFiles::open(scratch.path()).expect("opens");
    for (index, event) in files.replay("typed").expect("replays").enumerate() {
        check(event.expect("event").access::<Step>().expect("typed"), index as u64, index * 3);
    }
}

#[test]
fn another_type_and_no_type_are_refused() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("typed");
    producer.emit_archived(session, kinds::TOKEN, &step(1, 1)).expect("emits");
    producer.emit(session, kinds::TOKEN, b"{}").expect("emits");
    producer.emit(session, kinds::TOKEN, &[0; 64]).expect("emits");
    let page = block_on(bus.poll(ConsumeRequest::default())).expect("polls");
    let wrong = page.events[0].access::<Step2>().map(|_| ()).expect_err("another type");
    assert!(
        matches!(wrong, TypeError::WrongType { expected: "test.Step2.1", found } if Some(found) == page.events[0].type_tag())
    );
    assert!(page.events[1..].iter().all(|event| matches!(event.access::<Step>(), Err(TypeError::NotTyped))));
    let large = producer.emit_archived(session, kinds::TOKEN, &step(1, 65 << 20));
    assert!(matches!(large, Err(IngestionError::TooLarge { .. })), "{large:?}");
}

#[test]
fn archive_that_does_not_check_or_was_moved_is_refused() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("typed");
    producer.emit_archived(session, kinds::TOKEN, &step(1, 40)).expect("emits");
    let sound = block_on(bus.poll(ConsumeRequest::default())).expect("polls").events.remove(0);
    let (archive, trailer) = sound.raw.split_at(sound.raw.len() - 16);
    for payload in [[&vec![0xff; archive.len()], trailer].concat(), [b"x", archive, trailer].concat()] {
        producer.emit(session, kinds::TOKEN, &payload).expect("emits");
    }
    let mut events = block_on(bus.poll(ConsumeRequest::default())).expect("polls").events;
    assert!(matches!(events[1].access::<Step>(), Err(TypeError::Invalid(_))));
    // Payloads of a page begin at multiples of 16.
    events[2].raw = std::mem::take(&mut events[2].raw).into_bytes().slice(1..).into();
    assert_eq!(events[2].raw, sound.raw);
    assert!(matches!(events[2].access::<Step>(), Err(TypeError::Misaligned)));
}

#[test]
fn forged_payloads_are_errors_and_never_more() {
    let mut random = Random::new(seed());
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("typed");
    producer.emit_archived(session, kinds::TOKEN, &step(6, 40)).expect("emits");
    let sound = block_on(bus.poll(ConsumeRequest::default())).expect("polls").events[0].raw.to_vec();
    for _ in 0..5_000 {
        let mut forged = sound.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(forged.len());
            forged[at] ^= 1 << random.below(8);
        }
        forged.truncate(if random.below(4) == 0 { random.below(forged.len()) } else { forged.len() });
        while bus.ingest_raw(RawEvent::from_bytes(forged.clone()).with_session("typed")).is_err() {
            std::thread::yield_now();
        }
    }
    let page = block_on(bus.poll(ConsumeRequest::new(10_000))).expect("polls");
    assert_eq!(page.events.len(), 5_001);
    let refused = page.events.iter().filter(|event| event.access::<Step>().is_err()).count();
    assert!((1_000..5_001).contains(&refused), "{refused}");
}
