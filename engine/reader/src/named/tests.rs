//! A name is a file name that cannot leave its directory.

use super::CursorStore;
use crate::error::ConsumerError;

#[test]
fn names_that_are_none_are_refused() {
    let store = CursorStore::new(None);
    for name in ["", ".", "..", ".hidden", "a/b", "a\0", "ä", "a b", "a.tmp", &"x".repeat(129)] {
        for refused in [store.save(name, "00"), store.load(name).map(drop), store.remove(name).map(drop)] {
            assert!(matches!(refused, Err(ConsumerError::CursorName(_))), "{name:?}");
        }
    }
    for name in ["a", "relay-7", "A_b.c", &"x".repeat(128)] {
        store.save(name, "00").expect("a name");
    }
    assert_eq!(store.names().expect("lists"), ["A_b.c", "a", "relay-7", &"x".repeat(128)]);
}
