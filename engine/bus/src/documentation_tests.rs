//! The tables of docs/ that list what the code has: each item has its row, and each row its item.

use std::collections::BTreeSet;
use std::fmt::Debug;

use tapeline_reader::RetentionPolicy;

use crate::core::config::{BackpressureMode, BatchConfig, EventBusConfig, ScalingPolicy};
use crate::live::SlowReader;

const CONSUMERS: &str = include_str!("../../../docs/CONSUMERS.md");
const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");

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

/// The names of a structure's fields.
fn fields(value: &impl Debug) -> Names {
    let text = format!("{value:#?}");
    let own = |line: &&str| line.starts_with("    ") && !line[4..].starts_with([' ', '}', ']', ')']);
    text.lines().filter(own).filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn settings_have_rows() {
    let config = EventBusConfig::default();
    let settings = fields(&config).into_iter().chain(fields(&config.log)).filter(|name| name != "log");
    assert_eq!(rows(OPERATIONS, "| setting | default | range |"), settings.collect());
    assert_eq!(rows(OPERATIONS, "| setting | default | does |"), fields(&config.placement));
    assert_eq!(rows(OPERATIONS, "| field | default | higher, or `true` |"), fields(&BatchConfig::default()));
    assert_eq!(rows(OPERATIONS, "| field | default | higher | lower |"), fields(&ScalingPolicy::default()));
    assert_eq!(rows(OPERATIONS, "| limit |"), fields(&RetentionPolicy::new()));
}

#[test]
fn modes_of_back_pressure_have_rows() {
    let modes = [
        BackpressureMode::FailProducer,
        BackpressureMode::Block { deadline: std::time::Duration::ZERO },
        BackpressureMode::DropNewest,
        BackpressureMode::DropOldest,
        BackpressureMode::Sample { rate: 1 },
    ];
    let names = modes.iter().map(|mode| match mode {
        // A new mode is a new element above, and a row.
        BackpressureMode::FailProducer
        | BackpressureMode::Block { .. }
        | BackpressureMode::DropNewest
        | BackpressureMode::DropOldest
        | BackpressureMode::Sample { .. } => variant(mode),
    });
    assert_eq!(rows(OPERATIONS, "| mode |"), names.collect());
}

#[test]
fn rules_for_slow_readers_have_rows() {
    let rules = [SlowReader::Replay, SlowReader::Drop { lag_events: 1 }, SlowReader::Fail { lag_events: 1 }];
    assert_eq!(rows(CONSUMERS, "| `SlowReader` |"), rules.iter().map(variant).collect());
}
