//! The tables of docs/ that list what the code has: each item has its row, and each row its item.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::cursor::CursorFault;
use crate::gap::GapReason;
use crate::note::DropReason;
use crate::{Kind, LogId, kinds};

const CONSUMERS: &str = include_str!("../../../docs/CONSUMERS.md");

type Names = BTreeSet<String>;

/// The first words of the first cells of the table that begins with this header.
fn rows(page: &str, header: &str) -> Names {
    let table =
        page.lines().skip_while(|line| !line.starts_with(header)).skip(2).take_while(|line| line.starts_with('|'));
    let cell = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let word = |cell: String| cell.chars().skip_while(|c| !c.is_alphabetic()).take_while(is_of_name).collect();
    table.map(cell).map(word).collect()
}

fn is_of_name(c: &char) -> bool {
    c.is_alphanumeric() || *c == '_'
}

/// The name of a variant.
fn variant(value: &impl Debug) -> String {
    format!("{value:?}").chars().take_while(is_of_name).collect()
}

#[test]
fn reasons_of_gaps_have_rows() {
    let reasons = [
        GapReason::Trimmed,
        GapReason::Lost,
        GapReason::Overflow { events: 1, reason: DropReason::Newest, producer: 0 },
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
    assert_eq!(rows(CONSUMERS, "| fault |"), names.collect());
}

#[test]
fn kinds_have_rows() {
    let named = (0..kinds::RESERVED.start).filter_map(|kind| kinds::name(Kind(kind)));
    let names = named.filter(|&name| name != "unspecified").map(str::to_uppercase);
    assert_eq!(rows(CONSUMERS, "| `kinds::` |"), names.collect());
}
