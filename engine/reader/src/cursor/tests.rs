//! A cursor comes back as it was, and is refused when it is not.

use super::*;

const LOG: LogId = LogId([7; 16]);

fn cursor(is_sweep: bool) -> Cursor {
    let position = |next, epoch| Position {
        next: Sequence::new(next),
        run: Run { epoch: Epoch::new(epoch), base: Sequence::new(next / 2) },
    };
    let frontier = Frontier { timestamp: u64::MAX - 1, shard: 3, sequence: Sequence::new(12) };
    let unread = [(0, Sequence::new(9)), (3, Sequence::new(1))].into();
    Cursor {
        positions: [(0, position(10, 77)), (3, position(u64::MAX, 0))].into(),
        sweep: is_sweep.then_some(SweepPosition { frontier, unread }),
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
            assert!(matches!(Cursor::decode(&text[..at], LOG), Err(CursorFault::Damaged(_))), "{at}");
        }
        assert_eq!(Cursor::decode(&text, LogId([8; 16])), Err(CursorFault::Foreign(LOG)));
        assert_eq!(Cursor::decode(&text.to_uppercase(), LOG).map(|_| ()), Ok(()));
    }
}

#[test]
fn cursor_of_another_version_is_named_as_such() {
    let mut bytes = unhex(&cursor(false).encode(LOG)).expect("digits");
    bytes.truncate(bytes.len() - CRC_BYTES);
    bytes[0] = VERSION + 1;
    bytes.extend(crc32c(&bytes).to_le_bytes());
    assert_eq!(Cursor::decode(&hex(&bytes), LOG), Err(CursorFault::Version(VERSION + 1)));
}
