//! A name is a file name that cannot leave its directory.

use super::CursorStore;
use super::saved::SavedCursor;
use crate::error::ConsumerError;

#[test]
fn names_that_are_none_are_refused() {
    let store = CursorStore::new(None);
    let cursor = || SavedCursor { cursor: Some("00".to_owned()), since: None };
    for name in ["", ".", "..", ".hidden", "a/b", "a\0", "ä", "a b", "a.tmp", &"x".repeat(129)] {
        for refused in [store.save(name, cursor()), store.load(name).map(drop), store.remove(name).map(drop)] {
            assert!(matches!(refused, Err(ConsumerError::CursorName(_))), "{name:?}");
        }
    }
    for name in ["a", "relay-7", "A_b.c", &"x".repeat(128)] {
        store.save(name, cursor()).expect("a name");
    }
    assert_eq!(store.names().expect("lists"), ["A_b.c", "a", "relay-7", &"x".repeat(128)]);
}
