//! Every reader reports unreadable events in their place, and reads those after them.

use std::os::unix::fs::FileExt;

use futures_lite::future::block_on;
use tapeline::consumer::{Gap, GapReason};
use tapeline::{ConsumeRequest, ConsumerError, LogFiles, Ordering, ReplayRequest, SubscribeRequest, kinds};

use crate::scratch::{Scratch, open};

const EVENTS: u64 = 60;

/// A log of one sealed segment with several blocks, of which a byte in the middle is another.
fn damaged(scratch: &Scratch) {
    let config = || scratch.config().segment_bytes(16 << 20);
    let bus = open(config());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    for number in 0..EVENTS {
        let mut payload = vec![number as u8; 100_000];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        producer.emit(session, kinds::TOKEN, &payload).expect("emits");
        block_on(producer.flush()).expect("flushes");
    }
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    let segment = LogFiles::open(scratch.path()).expect("opens").segments().remove(0);
    assert!(segment.sealed && segment.end.get() == EVENTS);
    let path = scratch.path().join("shard-0000").join(&segment.file);
    let file = std::fs::File::options().read(true).write(true).open(path).expect("opens");
    let at = segment.bytes / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("reads");
    file.write_all_at(&[!byte[0]], at).expect("writes");
}

/// The numbers that were read, and the one gap.
fn check(numbers: &[u64], gaps: &[Gap]) {
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let Gap { shard_id, from, to, reason, .. } = &gaps[0];
    assert!(matches!(reason, GapReason::Corrupt(what) if what.contains("offset")), "{reason:?}");
    assert!(*shard_id == 0 && 0 < from.get() && from < to && to.get() < EVENTS, "{gaps:?}");
    let expected: Vec<u64> = (0..from.get()).chain(to.get()..EVENTS).collect();
    assert_eq!(numbers, expected);
}

fn number(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().expect("a number"))
}

#[test]
fn damage_is_a_gap_for_every_reader() {
    let scratch = Scratch::new("damage");
    damaged(&scratch);
    let bus = open(scratch.config());
    for ordering in [Ordering::None, Ordering::InsertionTs] {
        let (mut numbers, mut gaps, mut request) = (Vec::new(), Vec::new(), ConsumeRequest::new(7).ordering(ordering));
        loop {
            let page = block_on(bus.poll(request)).expect("polls");
            assert!(page.failed_shards.is_empty());
            numbers.extend(page.events.iter().map(|event| number(&event.raw)));
            gaps.extend(page.gaps);
            if !page.has_more {
                break;
            }
            request = ConsumeRequest::new(7).ordering(ordering).from(page.next_id.expect("a cursor"));
        }
        check(&numbers, &gaps);
    }
    let subscription = &mut block_on(bus.subscribe(SubscribeRequest::new())).expect("subscribes");
    let readers: [Box<dyn Iterator<Item = Result<_, ConsumerError>>>; 3] = [
        Box::new(std::iter::from_fn(|| subscription.try_next())),
        Box::new(block_on(bus.replay("s")).expect("replays")),
        Box::new(LogFiles::open(scratch.path()).expect("opens").replay_with(&ReplayRequest::new()).expect("replays")),
    ];
    for reader in readers {
        let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
        for event in reader {
            match event {
                Ok(event) => numbers.push(number(&event.raw)),
                Err(ConsumerError::Gap(gap)) => gaps.push(gap),
                Err(error) => panic!("{error}"),
            }
        }
        check(&numbers, &gaps);
    }
}
