//! The metrics of a bus, as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use futures_lite::future::block_on;
use tapeline::bus::ProducerOptions;
use tapeline::{BackpressureMode, EventBusConfig, IngestionError, RawEvent, kinds};

use crate::scratch::{Scratch, open};

type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads text of format 0.0.4, and refuses all that it does not ask for: each metric has a HELP and a TYPE line, then
/// its samples, and comes once.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line ends with a line feed");
    let (mut samples, mut known, mut metric) = (Samples::new(), BTreeSet::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help text");
            assert!(!words.is_empty() && !words.contains('\\'));
            assert!(known.insert(name.to_owned()), "{name} comes twice");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} "))).expect("a type");
            assert!(matches!(kind, "counter" | "gauge"), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(name.starts_with("tapeline_"));
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            name.clone_into(&mut metric);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.strip_suffix('}') {
            Some(series) => series.split_once('{').expect("labels"),
            None => (series, ""),
        };
        assert_eq!(name, metric, "a sample stands below its metric");
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(label).collect();
        let value = value.parse().expect("a number");
        assert!(samples.insert((name.to_owned(), labels), value).is_none(), "{line} comes twice");
    }
    samples
}

fn label(label: &str) -> (String, String) {
    let (label, text) = label.split_once('=').expect("a label");
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).expect("quotes");
    assert!(!text.contains(['"', '\\', ',']));
    (label.to_owned(), text.to_owned())
}

fn value(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = labels.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect();
    samples[&(format!("tapeline_{name}"), labels)]
}

/// Has the parser of Prometheus's own client for Python read the text, where there is one. Returns its samples.
fn parse_by_client(text: &str) -> Option<usize> {
    let python = std::env::var_os("TAPELINE_PYTHON")?;
    let scratch = Scratch::new("metrics-client");
    std::fs::create_dir_all(scratch.path()).expect("a directory");
    let page = scratch.path().join("metrics.txt");
    std::fs::write(&page, text).expect("writes");
    let program = "import sys\n\
                   from prometheus_client.parser import text_string_to_metric_families as families\n\
                   print(sum(len(family.samples) for family in families(open(sys.argv[1]).read())))";
    let output = Command::new(python).arg("-c").arg(program).arg(&page).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number"))
}

#[test]
fn metrics_are_prometheus_text_and_agree_with_the_statistics() {
    let scratch = Scratch::new("metrics");
    let bus = open(scratch.config().num_shards(2).pinned(false));
    for session in 0..20u128 {
        bus.ingest_raw(RawEvent::from_str("x").with_session(session)).expect("taken");
    }
    let options = ProducerOptions::new().backpressure_mode(BackpressureMode::DropNewest).lane_bytes(64 << 10);
    let mut producer = bus.producer_with(options).expect("producer");
    let session = producer.session("flood");
    while bus.stats().drops.newest == 0 {
        let _ = producer.emit(session, kinds::TOKEN, &[7; 4000]);
    }
    block_on(bus.flush()).expect("durable");
    let (text, stats) = (bus.prometheus(), bus.stats());
    let samples = parse(&text);
    assert!(parse_by_client(&text).is_none_or(|read| read == samples.len()));
    let sum = |name: &str| ["0", "1"].map(|shard| value(&samples, name, &[("shard", shard)])).iter().sum::<f64>();
    assert_eq!(sum("events_ingested_total"), stats.events_ingested as f64);
    assert_eq!(sum("events_durable_total"), stats.events_durable as f64);
    assert_eq!(sum("events_appended_total"), stats.events_appended as f64);
    assert_eq!(sum("notes_total"), stats.notes as f64);
    assert!(sum("commits_total") >= 1.0 && sum("lanes") >= 2.0);
    let dropped = |shard| value(&samples, "events_dropped_total", &[("shard", shard), ("reason", "newest")]);
    assert_eq!(dropped("0") + dropped("1"), stats.drops.newest as f64);
    assert_eq!(value(&samples, "memory_budget_bytes", &[]), stats.memory.budget as f64);
    assert_eq!(sum("shard_active"), 2.0);
}

#[test]
fn refusals_for_want_of_memory_are_counted_by_their_reason() {
    let bus = open(EventBusConfig::builder().memory_bytes(4 << 20).memory_budget(8 << 20));
    let mut producers = Vec::new();
    let mut refused = 0;
    // Lanes of 4 KiB use up what the blocks leave of the budget.
    for _ in 0..2048 {
        let mut producer = bus.producer().expect("producer");
        let session = producer.session("s");
        match producer.emit(session, kinds::TOKEN, b"x") {
            Ok(_) => producers.push(producer),
            Err(IngestionError::Budget { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0 && !producers.is_empty());
    // Longer than half of a lane that cannot grow.
    let session = producers[0].session("s");
    assert!(matches!(producers[0].emit(session, kinds::TOKEN, &[7; 100_000]), Err(IngestionError::Budget { .. })));
    let (stats, all) = (bus.stats(), refused + 1);
    assert_eq!((stats.refusals.memory, stats.refusals.total()), (all, all));
    let of_lanes: u64 = bus.lane_stats().iter().map(|lane| lane.refusals.memory).sum();
    assert_eq!(of_lanes, 1);
    let samples = parse(&bus.prometheus());
    assert_eq!(value(&samples, "events_refused_total", &[("shard", "none"), ("reason", "memory")]), refused as f64);
    assert_eq!(value(&samples, "events_refused_total", &[("shard", "0"), ("reason", "memory")]), 1.0);
}
