//! Harmed logs: whatever the files hold, every way to use a log ends, within bounds of time and memory, without a
//! panic.
//!
//! Each case harms a sound log (`base`) in ways that its seed draws (`harm`), checksums made right again, and then
//! reads, follows, verifies, plans, repairs and writes it (`uses`).

mod base;
mod harm;
mod image;
mod uses;

use std::time::Duration;

use tapeline::log::plan_repair;
use tapeline_storage::device::sim::Random;

use crate::runner::{Campaign, child, directory, note};

#[test]
#[ignore = "a campaign: scripts/fuzz runs it"]
fn harmed_logs_are_refused_or_read_within_bounds() {
    let campaign = Campaign {
        child: "fuzz::case",
        repeat: "scripts/fuzz 1",
        cases_per_process: 50,
        patience: Duration::from_secs(15),
        cases: ("TAPELINE_FUZZ_CASES", 100),
    };
    campaign.run();
}

#[test]
fn sound_logs_are_sound() {
    let scratch = directory(true).join("sound");
    for log in base::logs(&scratch.join("base")) {
        log.store(&scratch);
        assert_eq!(plan_repair(&scratch, |_| {}).expect("a plan"), []);
        uses::try_all(&log, &scratch, &mut Random::new(1)).expect("sound");
    }
    let _ = std::fs::remove_dir_all(directory(true));
}

#[test]
fn case() {
    let scratch = directory(true);
    let bases = std::sync::LazyLock::new(|| base::logs(&scratch.join("base")));
    child(|seed| {
        let mut random = Random::new(seed);
        let mut log = bases[random.below(bases.len() as u64) as usize].clone();
        note(&harm::harm(&mut log, &mut random));
        uses::try_all(&log, &scratch.join("log"), &mut random)
    });
}
