//! Tests of what no C program can check: the header, the settings and the constants are those of the bus.

use std::collections::BTreeSet;

use tapeline::event::kinds;

use crate::boundary::*;
use crate::code::{self, tapeline_code};
use crate::settings;

const HEADER: &str = include_str!("../include/tapeline.h");

#[test]
fn kinds_are_those_of_the_bus() {
    let pairs = [
        (TAPELINE_KIND_UNSPECIFIED, kinds::UNSPECIFIED),
        (TAPELINE_KIND_TOKEN, kinds::TOKEN),
        (TAPELINE_KIND_AGENT_MESSAGE, kinds::AGENT_MESSAGE),
        (TAPELINE_KIND_TOOL_CALL, kinds::TOOL_CALL),
        (TAPELINE_KIND_GUARDRAIL, kinds::GUARDRAIL),
        (TAPELINE_KIND_CONSENSUS, kinds::CONSENSUS),
        (TAPELINE_KIND_STRUCTURED_OUTPUT, kinds::STRUCTURED_OUTPUT),
        (TAPELINE_KIND_RETRY, kinds::RETRY),
        (TAPELINE_KIND_DRIFT, kinds::DRIFT),
        (TAPELINE_KIND_SESSION, kinds::SESSION),
        (TAPELINE_KIND_DAEMON, kinds::DAEMON),
        (TAPELINE_KIND_PART, kinds::PART),
    ];
    for (constant, kind) in pairs {
        assert_eq!(constant, kind.0);
    }
}

#[test]
fn every_code_of_the_header_has_a_text() {
    let numbers: BTreeSet<i32> = HEADER
        .lines()
        .filter_map(|line| line.strip_prefix("    TAPELINE_")?.strip_suffix(',')?.rsplit_once(" = ")?.1.parse().ok())
        .collect();
    assert!(numbers.contains(&(tapeline_code::TAPELINE_INTERNAL as i32)) && numbers.len() > 30);
    let unknown = code::text(12345);
    for number in numbers {
        assert_ne!(code::text(number), unknown, "{number}");
    }
}

#[test]
fn every_setting_of_the_page_is_read() {
    let page = include_str!("../../../docs/C.md");
    let rows = page.split_once("| setting | value |\n|---|---|\n").expect("the table").1;
    let mut settings: BTreeSet<String> = BTreeSet::new();
    for row in rows.lines().take_while(|row| row.starts_with('|')) {
        let mut cells = row.split('|').skip(1);
        let (names, value) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        match value.strip_prefix(" an object of ") {
            None => settings.extend(quoted(names)),
            Some(members) => {
                let group = quoted(names).remove(0);
                let members = quoted(members).into_iter().filter(|member| !member.starts_with('"'));
                settings.extend(members.map(|member| format!("{group}.{member}")));
            }
        }
    }
    assert!(settings.len() > 30, "{settings:?}");
    for setting in settings {
        // Of a type that no setting has: what is unknown says so, what is known complains of the value.
        let pairs = [Ok((setting.as_str(), r#"{"a": [1]}"#))];
        let text = match settings::from_pairs(pairs.into_iter()) {
            Ok(_) => String::new(),
            Err(failure) => failure.text().to_owned(),
        };
        assert!(!text.contains("unknown field"), "{setting}: {text}");
    }
}

/// Settings of docs/OPERATIONS.md that C programs do not have: adapters are reached by handles of Rust alone.
const NOT_IN_C: [&str; 2] = ["adapter", "adapter_timeout"];

#[test]
fn every_setting_of_the_bus_can_be_set() {
    // As docs/OPERATIONS.md lists them; `directory` and the others of its table are settings of the configuration.
    let operations = include_str!("../../../docs/OPERATIONS.md");
    for header in ["| setting | default | range | sets |", "| setting | default | does |"] {
        for name in tapeline_testing::tables::rows(operations, header) {
            if NOT_IN_C.contains(&name.as_str()) {
                continue;
            }
            let group = if header.ends_with("does |") { "placement." } else { "" };
            let setting = format!("{group}{name}");
            let failure = settings::from_pairs([Ok((setting.as_str(), r#"{"a": [1]}"#))].into_iter()).err();
            let text = failure.map_or(String::new(), |failure| failure.text().to_owned());
            assert!(!text.contains(&format!("unknown field `{name}`")), "{setting}: {text}");
        }
    }
}

#[test]
fn a_wrong_setting_is_named() {
    for (json, named) in [
        (r#"{"nun_shards": 1}"#, "nun_shards"),
        (r#"{"retention": {"max_age": 1}}"#, "max_age"),
        (r#"{"num_shards": -1}"#, "-1"),
        (r#"{"durability": "sometimes"}"#, "sometimes"),
        ("", "EOF"),
        (r#"{"scaling": {"min_shards": 0}}"#, "min_shards"),
    ] {
        let failure = settings::from_json(json).expect_err(json);
        assert_eq!(failure.code(), tapeline_code::TAPELINE_CONFIG);
        assert!(failure.text().contains(named), "{json}: {}", failure.text());
    }
}

#[test]
fn settings_reach_the_configuration() {
    let json = r#"{
        "directory": "/log", "durability": "page_cache", "num_shards": 2, "lane_bytes": 1048576,
        "backpressure_mode": {"Sample": {"rate": 7}}, "segment_bytes": 4194304, "memory_bytes": 8388608,
        "retention": {"max_age_ms": 1500, "max_segments": 9, "keep_for_cursors": true},
        "batch": {"max_delay_ms": 3}, "placement": {"pinned": false, "driver": "blocking", "excluded_cores": [0]}
    }"#;
    let config = settings::from_json(json).expect("settings");
    assert_eq!(config.log.directory.as_deref(), Some(std::path::Path::new("/log")));
    assert_eq!(config.log.durability, tapeline::config::Durability::PageCache);
    assert_eq!((config.num_shards, config.limits.lane_bytes), (2, 1 << 20));
    assert_eq!(config.backpressure_mode, tapeline::BackpressureMode::Sample { rate: 7 });
    assert_eq!((config.log.segment_bytes, config.log.memory_bytes), (4 << 20, Some(8 << 20)));
    let retention = config.log.retention.expect("retention");
    assert_eq!((retention.max_age.map(|age| age.as_millis()), retention.max_segments), (Some(1500), Some(9)));
    assert!(retention.keep_for_cursors && retention.max_bytes.is_none());
    assert_eq!(config.batch.max_delay.as_millis(), 3);
    assert_eq!((config.placement.pinned, config.placement.driver), (false, tapeline::config::Driver::Blocking));
    assert_eq!(config.placement.excluded_cores, [0]);
}
