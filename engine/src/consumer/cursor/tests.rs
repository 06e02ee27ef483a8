//! A cursor comes back as it was, and is refused when it is not.

use futures_lite::future::block_on;

use super::*;
use crate::error::ConsumerError;
use crate::{ConsumeRequest, EventBus, EventBusConfig, kinds};

const LOG: LogId = LogId([7; 16]);

fn cursor(is_sweep: bool) -> Cursor {
    let place = |next, epoch| Place {
        next: Sequence::new(next),
        run: Run { epoch: Epoch::new(epoch), base: Sequence::new(next / 2) },
    };
    let frontier = Frontier { timestamp: u64::MAX - 1, shard: 3, sequence: Sequence::new(12) };
    let unread = [(0, Sequence::new(9)), (3, Sequence::new(1))].into();
    Cursor {
        places: [(0, place(10, 77)), (3, place(u64::MAX, 0))].into(),
        sweep: is_sweep.then_some(SweepPlace { frontier, unread }),
    }
}

#[test]
fn text_is_read_back() {
    for cursor in [cursor(false), cursor(true), Cursor::default()] {
        assert_eq!(Cursor::decode(&cursor.encode(LOG), LOG), Ok(cursor));
    }
}

#[test]
fn every_change_of_the_text_is_noticed() {
    for text in [cursor(false).encode(LOG), cursor(true).encode(LOG)] {
        for at in 0..text.len() {
            let other = if &text[at..=at] == "0" { "1" } else { "0" };
            let changed = [&text[..at], other, &text[at + 1..]].concat();
            assert!(changed == text || Cursor::decode(&changed, LOG).is_err(), "{at}");
            assert!(Cursor::decode(&text[..at], LOG).is_err(), "{at}");
        }
        assert_eq!(Cursor::decode(&text, LogId([8; 16])), Err(CursorFault::Foreign(LOG)));
        assert_eq!(Cursor::decode(&text.to_uppercase(), LOG).map(|_| ()), Ok(()));
    }
}

#[test]
fn cursor_of_a_run_that_is_gone_is_expired_and_names_the_earliest() {
    let config = EventBusConfig::builder().memory_bytes(4 << 20).build().expect("configuration");
    let bus = block_on(EventBus::new(config)).expect("opens");
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    for _ in 0..200_000 {
        while producer.emit(session, kinds::TOKEN, &[0; 64]).is_err() {
            std::thread::yield_now();
        }
    }
    block_on(bus.flush()).expect("flushes");
    let run = Run { epoch: Epoch::new(99), base: Sequence::ZERO };
    let gone = Cursor { places: [(0, Place { next: Sequence::new(5), run })].into(), sweep: None };
    let request = ConsumeRequest::default().from(gone.encode(bus.log_id()));
    match block_on(bus.poll(request)) {
        Err(ConsumerError::InvalidCursor { fault: CursorFault::Expired(0), earliest }) => {
            let page = block_on(bus.poll(ConsumeRequest::default().from(earliest))).expect("polls");
            assert!(!page.events.is_empty() && page.gaps.is_empty());
        }
        other => panic!("{other:?}"),
    }
}
