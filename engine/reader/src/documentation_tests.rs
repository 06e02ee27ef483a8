//! The tables of docs/ that list what the code has: each item has its row, and each row its item.

use std::collections::BTreeSet;
use std::io;

use tapeline_testing::tables::{rows, variant};

use crate::cursor::CursorFault;
use crate::gap::{DropReason, DroppedSessions, GapReason};
use crate::session::TokenFault;
use crate::{
    AdapterError, ConfigError, DirectoryError, Filter, Kind, LogId, OpenError, Poison, RestoreError, ScalingError,
    Sequence, kinds,
};

const CONSUMERS: &str = include_str!("../../../docs/CONSUMERS.md");
const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");

#[test]
fn reasons_of_gaps_have_rows() {
    let reasons = [
        GapReason::Trimmed,
        GapReason::Lost,
        GapReason::Overflow {
            events: 1,
            reason: DropReason::Newest,
            producer: 0,
            sessions: DroppedSessions::default(),
        },
        GapReason::Dropped,
        GapReason::Corrupt(String::new()),
        GapReason::LostInCrash,
    ];
    let names = reasons.iter().map(|reason| match reason {
        // A new reason is a new element above, and a row.
        GapReason::Trimmed
        | GapReason::Lost
        | GapReason::Overflow { .. }
        | GapReason::Dropped
        | GapReason::Corrupt(_)
        | GapReason::LostInCrash => variant(reason),
    });
    assert_eq!(rows(CONSUMERS, "| reason | means |"), names.collect());
}

#[test]
fn faults_of_tokens_have_rows() {
    let faults = [TokenFault::Foreign, TokenFault::Gone, TokenFault::Unknown];
    let names = faults.iter().map(|fault| match fault {
        // A new fault is a new element above, and a row.
        TokenFault::Foreign | TokenFault::Gone | TokenFault::Unknown => variant(fault),
    });
    assert_eq!(rows(CONSUMERS, "| token fault |"), names.collect());
}

#[test]
fn faults_of_cursors_have_rows() {
    let faults = [
        CursorFault::Damaged(String::new()),
        CursorFault::Version(0),
        CursorFault::Foreign(LogId([0; 16])),
        CursorFault::Expired(0),
        CursorFault::OtherOrdering,
    ];
    let names = faults.iter().map(|fault| match fault {
        // A new fault is a new element above, and a row.
        CursorFault::Damaged(_)
        | CursorFault::Version(_)
        | CursorFault::Foreign(_)
        | CursorFault::Expired(_)
        | CursorFault::OtherOrdering => variant(fault),
    });
    let cursors = &CONSUMERS[CONSUMERS.find("## Cursors").expect("a section")..];
    assert_eq!(rows(cursors, "| fault |"), names.collect());
}

#[test]
fn kinds_have_rows() {
    let named = (0..kinds::RESERVED.start).filter_map(|kind| kinds::name(Kind(kind)));
    let names = named.filter(|&name| name != "unspecified").map(str::to_uppercase);
    assert_eq!(rows(CONSUMERS, "| `kinds::` |"), names.collect());
}

/// One of each, of those whose answers depend on what is in them one of each answer.
fn adapter_errors() -> Vec<AdapterError> {
    let refused = || io::Error::from_raw_os_error(libc::EAGAIN);
    let poison = Poison {
        shard_id: 0,
        operation: "write",
        place: String::new(),
        errno: None,
        message: String::new(),
        durable: Sequence::ZERO,
    };
    vec![
        ConfigError::InvalidValue(String::new()).into(),
        DirectoryError::Locked { path: "log".into() }.into(),
        DirectoryError::NotALog { path: "log".into() }.into(),
        DirectoryError::Io { operation: "open", path: "log".into(), source: refused() }.into(),
        OpenError::ForeignName { path: String::new() }.into(),
        OpenError::Io { operation: "open", path: String::new(), source: refused() }.into(),
        AdapterError::Restore { shard_id: 0, source: RestoreError::TooLarge { bytes: 2, max: 1 } },
        AdapterError::ReservedKind { kind: kinds::RESERVED.start },
        AdapterError::Poisoned(Box::new(poison)),
        AdapterError::StorageFull { shard_id: 0 },
        AdapterError::HeldUp { shard_id: 0, trouble: Box::default() },
        AdapterError::Dropped { shard_id: 0 },
        ScalingError::InCooldown.into(),
        ScalingError::Disabled.into(),
        AdapterError::Fatal { shard_id: 0, message: String::new() },
        AdapterError::Panicked { message: String::new() },
        AdapterError::NoDescriptor { shard_id: 0, source: refused() },
        AdapterError::NoThread { purpose: "retention", source: refused() },
        AdapterError::NoTaskThread { shard_id: 0, source: refused() },
        AdapterError::Budget { shard_id: 0, bytes: 2, left: 1 },
        AdapterError::NoShard { shard_id: 1, shards: 1 },
        AdapterError::ForeignTicket { shard_id: 0 },
        AdapterError::OnShard { call: "shutdown" },
        AdapterError::TaskRuns { shard_id: 0 },
        AdapterError::NotEnded { shards: Vec::new() },
        AdapterError::Transient(String::new()),
        AdapterError::Backpressure(String::new()),
        AdapterError::Connection(String::new()),
        AdapterError::Serialization(String::new()),
        AdapterError::Denied(String::new()),
        AdapterError::NotFound(String::new()),
        AdapterError::Shutdown,
        AdapterError::Forked,
    ]
}

/// The name in the table. A new variant is a new element above, and a row.
fn row_of(error: &AdapterError) -> String {
    match error {
        AdapterError::Config(_)
        | AdapterError::Directory(_)
        | AdapterError::Open(_)
        | AdapterError::Restore { .. }
        | AdapterError::ReservedKind { .. }
        | AdapterError::Poisoned(_)
        | AdapterError::StorageFull { .. }
        | AdapterError::HeldUp { .. }
        | AdapterError::Dropped { .. }
        | AdapterError::Scaling(_)
        | AdapterError::Fatal { .. }
        | AdapterError::Panicked { .. }
        | AdapterError::NoDescriptor { .. }
        | AdapterError::NoThread { .. }
        | AdapterError::NoTaskThread { .. }
        | AdapterError::Budget { .. }
        | AdapterError::NoShard { .. }
        | AdapterError::ForeignTicket { .. }
        | AdapterError::OnShard { .. }
        | AdapterError::TaskRuns { .. }
        | AdapterError::NotEnded { .. }
        | AdapterError::Transient(_)
        | AdapterError::Backpressure(_)
        | AdapterError::Connection(_)
        | AdapterError::Serialization(_)
        | AdapterError::Denied(_)
        | AdapterError::NotFound(_)
        | AdapterError::Shutdown
        | AdapterError::Forked => variant(error),
    }
}

/// Reads a cell of the table: yes, no, or `None` if it depends.
fn answer(cell: &str) -> Option<bool> {
    match cell.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[test]
fn errors_of_the_bus_have_rows_that_say_what_they_answer() {
    let errors = adapter_errors();
    assert_eq!(rows(OPERATIONS, "| `AdapterError` |"), errors.iter().map(row_of).collect());
    for error in &errors {
        let name = format!("| `{}` | ", row_of(error));
        let row = OPERATIONS.lines().find_map(|line| line.strip_prefix(&name)).expect("a row");
        let cells: Vec<_> = row.split('|').take(2).map(answer).collect();
        let answers = [error.is_retryable(), error.is_fatal()];
        let agrees = |(cell, answer): (&Option<bool>, &bool)| cell.is_none_or(|cell| cell == *answer);
        assert!(cells.iter().zip(&answers).all(agrees), "{error:?} is {answers:?}; its row is {row}");
        assert!(!(error.is_retryable() && error.is_fatal()), "{error:?} is both");
        assert_eq!(error.is_shutdown(), matches!(error, AdapterError::Shutdown));
    }
    // What depends on more than the variant answers both ways.
    let answers = |name: &str| {
        let of_name = errors.iter().filter(|error| row_of(error) == name);
        of_name.map(|error| (error.is_retryable(), error.is_fatal())).collect::<BTreeSet<_>>()
    };
    assert_eq!(answers("Directory"), [(true, false), (false, true)].into());
    assert_eq!(answers("Open"), [(true, false), (false, true)].into());
    assert_eq!(answers("Scaling"), [(true, false), (false, false)].into());
}

#[test]
fn the_page_has_the_grammar_of_filters_and_each_of_its_examples_is_one() {
    assert!(CONSUMERS.contains(Filter::GRAMMAR), "docs/CONSUMERS.md has filter/grammar.md word for word");
    let examples = Filter::GRAMMAR.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let examples: Vec<_> = examples.expect("a block of examples").lines().collect();
    assert!(examples.len() >= 4);
    for example in examples {
        Filter::from_json(example)
            .and_then(|filter| filter.compile())
            .unwrap_or_else(|error| panic!("{example}: {error}"));
    }
    // The rows, with values for their letters.
    let values = [
        (", ..", ""),
        ("{..}", r#"{"path":p,"value":v}"#),
        (":p", r#":"a""#),
        (":v", ":1"),
        ("[v", "[1"),
        (":F", r#":{"$kind":1}"#),
        ("[F", r#"[{"$kind":1}"#),
        (":S", r#":"run-7""#),
        ("[S", r#"["run-7""#),
        (":n", ":1"),
        ("[n", "[1"),
        (":t", ":1"),
    ];
    let rows = Filter::GRAMMAR.lines().filter(|line| line.starts_with("| `"));
    let terms = rows.flat_map(|row| row.split('|').nth(1).expect("a cell").split('`').skip(1).step_by(2));
    let terms: Vec<_> = terms.filter(|term| term.starts_with('{')).collect();
    assert!(terms.len() >= 15, "{terms:?}");
    for term in terms {
        let json = values.iter().fold(term.to_owned(), |json, (letter, value)| json.replace(letter, value));
        Filter::from_json(&json).unwrap_or_else(|error| panic!("{term}: {json}: {error}"));
    }
}
