//! The tables of docs/ that list what the code has: each item has its row, and each row its item.

use std::collections::BTreeSet;
use std::path::Path;

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
    let settings = fields(&config).into_iter().chain(fields(&config.limits)).chain(fields(&config.log));
    let settings = settings.filter(|name| name != "limits" && name != "log");
    assert_eq!(rows(OPERATIONS, "| setting | default | range |"), settings.collect());
    assert_eq!(rows(OPERATIONS, "| setting | default | does |"), fields(&config.placement));
    assert_eq!(rows(OPERATIONS, "| field | default | higher, or `true` |"), fields(&BatchConfig::default()));
    let policy = ScalingPolicy::default();
    let thresholds = fields(&policy).into_iter().chain(fields(&policy.overload)).filter(|name| name != "overload");
    assert_eq!(rows(OPERATIONS, "| field | default | higher | lower |"), thresholds.collect());
    assert_eq!(rows(OPERATIONS, "| limit |"), fields(&RetentionPolicy::new()));
}

#[test]
fn modes_of_back_pressure_have_rows() {
    let modes = [
        BackpressureMode::FailProducer,
        BackpressureMode::FailAndReport,
        BackpressureMode::Block { deadline: std::time::Duration::ZERO },
        BackpressureMode::DropNewest,
        BackpressureMode::DropOldest,
        BackpressureMode::Sample { rate: 1 },
    ];
    let names = modes.iter().map(|mode| match mode {
        // A new mode is a new element above, and a row.
        BackpressureMode::FailProducer
        | BackpressureMode::FailAndReport
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

/// The names of the tests in the files below a directory.
fn tests_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            tests_below(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&entry).expect("text");
            let tests = ["#[test]\n", "#[tokio::test]\n"].into_iter().flat_map(|mark| text.split(mark).skip(1));
            let name = |test: &str| Some(test.split_once("fn ")?.1.split_once('(')?.0.to_owned());
            found.extend(tests.filter_map(name));
        }
    }
}

#[test]
fn guarantees_name_tests_that_there_are() {
    let mut tests = BTreeSet::new();
    for directory in ["src", "tests"] {
        tests_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut tests);
    }
    let table = CONSUMERS.lines().skip_while(|line| !line.starts_with("| guarantee |")).skip(2);
    let rows: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 20, "{}", rows.len());
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let named: Vec<_> = cells.last().expect("a cell").split('`').skip(1).step_by(2).collect();
        let unknown: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
        assert!(cells.len() == 3 && !named.is_empty() && unknown.is_empty(), "{unknown:?} of {row}");
    }
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

#[test]
fn handler_of_a_relay_is_that_of_the_example() {
    let quoted: Vec<_> = CONSUMERS.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!quoted.is_empty());
    for code in quoted {
        assert!(include_str!("../examples/sse_server.rs").contains(code), "{code}");
    }
}

/// The table of presets: a row for each field, those of a group among them, and a column for each preset.
fn preset_table(presets: &[(&str, &dyn std::fmt::Debug)]) -> String {
    let columns: Vec<Vec<(String, String)>> = presets
        .iter()
        .map(|(_, preset)| {
            let text = format!("{preset:#?}");
            let fields = text.lines().filter_map(|line| line.trim_start().strip_suffix(',')?.split_once(": "));
            fields.map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
        })
        .collect();
    let heads: Vec<_> = presets.iter().map(|(name, _)| format!("`{name}`")).collect();
    let mut table = format!("| field | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(presets.len()));
    for (row, (field, _)) in columns[0].iter().enumerate() {
        let values: Vec<_> = columns.iter().map(|column| column[row].1.as_str()).collect();
        table += &format!("| `{field}` | {} |\n", values.join(" | "));
    }
    table
}

#[test]
fn tables_of_presets_have_what_the_presets_set() {
    let (default, low, high) = (BatchConfig::default(), BatchConfig::low_latency(), BatchConfig::high_throughput());
    let batches = preset_table(&[("default()", &default), ("low_latency()", &low), ("high_throughput()", &high)]);
    assert_eq!(include_str!("core/config/batch_presets.md"), batches);
    let default = ScalingPolicy::default_for_cpus(8);
    let (high, few) = (ScalingPolicy::high_throughput(8), ScalingPolicy::conservative(8));
    let policies =
        preset_table(&[("default_for_cpus(8)", &default), ("high_throughput(8)", &high), ("conservative(8)", &few)]);
    assert_eq!(include_str!("core/config/scaling_presets.md"), policies);
}
