//! Capability: predicates over one set, over an index of many, and from a hostile document.

use std::hint::black_box;
use std::time::Instant;

use tapeline::capability::{CapabilityIndex, CapabilitySet, CapabilityTagError, DOCUMENT_BYTES_MAX, Predicate};
use tapeline::pred;

use crate::args::CapabilityArgs;
use crate::harness::Outcome;
use crate::harness::report::{Output, Report};
use crate::harness::stats::median;

/// Tags of the one set.
const TAGS: usize = 50;

/// Sets of the index.
const SETS: u64 = 100_000;

/// Measures each of the three.
pub(crate) fn run(args: &CapabilityArgs, output: &mut Output) -> Outcome<()> {
    let report = |case: &str| Report::new("capability").param("case", case).param("rounds", args.rounds);

    let wanted = ten_clauses().compile();
    let set = worker(7, TAGS)?;
    if !wanted.evaluate(&set) {
        return Err("the set meets no clause: each would end the evaluation".into());
    }
    let ns = median_ns(args.rounds, 100_000, || wanted.evaluate(black_box(&set)));
    output.emit(&report("10 clauses, 50 tags").figure("ns_per_evaluation", ns))?;

    let mut index = CapabilityIndex::new();
    for number in 0..SETS {
        index.insert(worker(number, 12)?);
    }
    let predicate = ten_clauses();
    let found = index.matching(&predicate).len();
    let ns = median_ns(args.rounds, 20, || index.matching(black_box(&predicate)));
    let figures = report("10 clauses, 100,000 sets").figure("ns_per_evaluation", ns).figure("matching", found as f64);
    output.emit(&figures)?;

    let document = expanding();
    let ns = median_ns(args.rounds, 1000, || Predicate::from_json(black_box(&document)).is_ok());
    output.emit(
        &report("expanding document refused").figure("ns_per_evaluation", ns).figure("bytes", document.len() as f64),
    )?;
    let document = wide()?;
    let read_and_evaluated =
        || Predicate::from_json(black_box(&document)).is_ok_and(|predicate| predicate.evaluate(&set));
    let ns = median_ns(args.rounds, 1000, read_and_evaluated);
    let figures =
        report("4 KiB read, evaluated").figure("ns_per_evaluation", ns).figure("bytes", document.len() as f64);
    Ok(output.emit(&figures)?)
}

/// Each clause holds of some sets, and is looked at for the one set.
fn ten_clauses() -> Predicate {
    pred!(and [
        exists "software.model",
        equals "software.engine", "vllm",
        num_at_least "hardware.gpu.vram_gb", 24,
        num_at_most "hardware.gpu.load", 0.9,
        num_in_range "hardware.cores", 8, 64,
        semver_at_least "software.version", "0.6",
        semver_compatible "software.driver", "12.1",
        prefix "software.model", "llama-",
        not metadata_equals "state", "draining",
        or [exists "devices.camera", metadata_exists "zone"],
    ])
}

fn worker(number: u64, tags: usize) -> Result<CapabilitySet, CapabilityTagError> {
    let mut texts = vec![
        format!(
            "software.model:{}-{}b",
            if number.is_multiple_of(3) { "mistral" } else { "llama" },
            7 * (1 + number % 4)
        ),
        "software.engine=vllm".to_owned(),
        format!("hardware.gpu.vram_gb={}", 16 * (1 + number % 6)),
        format!("hardware.gpu.load=0.{}", number % 100),
        format!("hardware.cores={}", 1 << (2 + number % 5)),
        format!("software.version=0.{}.{}", number % 10, number % 7),
        format!("software.driver=12.{}", number % 9),
    ];
    texts.extend((texts.len()..tags).map(|more| format!("software.feature.f{more}=on")));
    let set = CapabilitySet::parse(texts.iter().map(String::as_str))?;
    let state = if number.is_multiple_of(11) { "draining" } else { "ready" };
    Ok(set.with_metadata("state", state).with_metadata("zone", format!("zone-{}", number % 5)))
}

/// Each node names the one before it twice: 2^k clauses in k nodes.
fn expanding() -> String {
    let mut nodes = vec![r#"{"kind":"metadata_exists","key":"a"}"#.to_owned()];
    nodes.extend((0..100).map(|child| format!(r#"{{"kind":"and","children":[{child},{child}]}}"#)));
    format!(r#"{{"nodes":[{}],"root_idx":100}}"#, nodes.join(","))
}

/// As many clauses as the longest document holds, none of which decides.
fn wide() -> Outcome<String> {
    let clause = Predicate::not(Predicate::metadata_matches("a", "b"));
    let clauses = (1..).map(|count| Predicate::and(std::iter::repeat_n(clause.clone(), count)).to_json());
    let longest = clauses.map_while(Result::ok).last();
    longest.filter(|document| document.len() > DOCUMENT_BYTES_MAX / 2).ok_or_else(|| "no document".into())
}

/// The median of the rounds' mean times.
fn median_ns<T>(rounds: u32, calls: u32, mut call: impl FnMut() -> T) -> f64 {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(call());
        }
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    median(&(0..rounds).map(round).collect::<Vec<_>>())
}
