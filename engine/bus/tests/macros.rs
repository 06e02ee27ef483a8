//! The macros of capabilities: what they build, and what they refuse, with the message and the place.

#![allow(clippy::expect_used, reason = "a test has no better answer")]

use tapeline::capability::{Predicate, RequiredCapability, TagKey};
use tapeline::{pred, require, require_axis, require_axis_value};

fn key(text: &str) -> TagKey {
    TagKey::parse(text).expect("a key")
}

#[test]
fn every_clause_builds_what_its_text_means() {
    let (text, number) = (String::from("x"), 8u32);
    let clauses = [
        pred!(exists "software.model"),
        pred!(equals "software.model", text.clone()),
        pred!(num_at_least "hardware.gpu.vram_gb", number),
        pred!(num_at_most "hardware.gpu.vram_gb", -1.5),
        pred!(num_in_range "hardware.gpu.vram_gb", 1, 2 * number),
        pred!(semver_at_least "software.vllm", "0.6"),
        pred!(semver_at_most "software.vllm", text.as_str()),
        pred!(semver_compatible "software.vllm", "1.2.3-rc1",),
        pred!(prefix "software.model", "llama-"),
        pred!(matches "software.model", "7b"),
        pred!(metadata_exists "zone"),
        pred!(metadata_equals text.as_str(), "eu"),
        pred!(metadata_matches "zone", "eu"),
        pred!(metadata_num_at_least "free", 0.5),
        pred!(and []),
        pred!(or [exists "devices.camera", not and [metadata_exists "a", metadata_exists "b",]]),
    ];
    let texts = [
        r#"exists "software.model""#,
        r#"equals "software.model", "x""#,
        r#"num_at_least "hardware.gpu.vram_gb", 8.0"#,
        r#"num_at_most "hardware.gpu.vram_gb", -1.5"#,
        r#"num_in_range "hardware.gpu.vram_gb", 1.0, 16.0"#,
        r#"semver_at_least "software.vllm", "0.6""#,
        r#"semver_at_most "software.vllm", "x""#,
        r#"semver_compatible "software.vllm", "1.2.3-rc1""#,
        r#"prefix "software.model", "llama-""#,
        r#"matches "software.model", "7b""#,
        r#"metadata_exists "zone""#,
        r#"metadata_equals "x", "eu""#,
        r#"metadata_matches "zone", "eu""#,
        r#"metadata_num_at_least "free", 0.5"#,
        "and []",
        r#"or [exists "devices.camera", not and [metadata_exists "a", metadata_exists "b"]]"#,
    ];
    for (clause, text) in clauses.iter().zip(texts) {
        assert_eq!(Ok(clause), text.parse::<Predicate>().as_ref());
    }
}

#[test]
fn every_requirement_is_that_of_its_line() {
    let requirements = [
        (require!("software.model"), "software.model"),
        (require!("software.model=a b"), "software.model=a b"),
        (require!("software.model:x"), "software.model:x"),
        (require!("gpu"), "gpu"),
        (require!("software.model == \"a b\""), "software.model == \"a b\""),
        (require!(" hardware.cores >= 8 "), "hardware.cores>=8"),
        (require!("hardware.cores <= -0.5",), "hardware.cores <= -0.5"),
    ];
    for (requirement, line) in requirements {
        assert_eq!(Ok(requirement), RequiredCapability::parse(line));
    }
    assert_eq!(Ok(require_axis!("software")), RequiredCapability::axis_any("software"));
    assert_eq!(require_axis_value!(" software ", "model"), RequiredCapability::AxisKey(key("software.model")));
}

/// Another name of the package is no obstacle.
#[test]
fn macros_name_their_own_crate() {
    extern crate tapeline as net;
    assert_eq!(net::require_axis_value!("software", "model"), RequiredCapability::AxisKey(key("software.model")));
}

/// Nor are macros around them, nor names that their user has given to something else.
#[test]
fn macros_stand_in_other_macros_and_beside_other_names() {
    #![deny(trivial_numeric_casts, unused_qualifications)]
    #[allow(dead_code, reason = "names that an expansion might use by mistake")]
    mod taken {
        pub(super) struct String;
        pub(super) struct Vec;
        pub(super) struct Predicate;
        pub(super) mod std {}
        pub(super) mod capability {}
        macro_rules! literal {
            ($line:literal) => {
                tapeline::require!($line)
            };
        }
        macro_rules! expression {
            ($key:expr, $least:expr) => {
                tapeline::pred!(and [exists $key, num_at_least $key, $least])
            };
        }
        pub(super) fn built() -> (tapeline::capability::RequiredCapability, tapeline::capability::Predicate) {
            (literal!("software.model=x"), expression!("hardware.cores", 2 + 6))
        }
    }
    let (requirement, predicate) = taken::built();
    assert_eq!(requirement, require!("software.model=x"));
    assert_eq!(predicate, pred!(and [exists "hardware.cores", num_at_least "hardware.cores", 8.0]));
}

#[test]
fn malformed_literals_do_not_compile_and_the_message_says_where() {
    trybuild::TestCases::new().compile_fail("tests/macros/*.rs");
}
