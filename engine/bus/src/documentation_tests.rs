//! The tables of docs/ that list what the code has: each item has its row, and each row its item.

use std::collections::BTreeSet;

use tapeline_reader::RetentionPolicy;
use tapeline_testing::tables::{fields, rows, variant};

use crate::core::config::{BackpressureMode, BatchConfig, EventBusConfig, ScalingPolicy};
use crate::live::SlowReader;

const CONSUMERS: &str = include_str!("../../../docs/CONSUMERS.md");
const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");
const EXAMPLES: &str = include_str!("../examples/README.md");

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

#[test]
fn examples_have_rows() {
    let names = EXAMPLES.lines().filter_map(|line| line.strip_prefix("| [")?.split_once(']'));
    let rows: BTreeSet<String> = names.map(|(name, _)| name.to_owned()).collect();
    let directory = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).expect("a directory");
    let files = directory.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let programs: BTreeSet<String> = files.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)).collect();
    assert_eq!(rows, programs);
}
