//! Every call and every write of a workload fails once, with every error: what passes costs time and nothing else; what
//! does not is reported, and loses nothing that was acknowledged.

use std::collections::BTreeSet;
use std::ops::Range;

use tapeline_testing::asked;

use super::super::harness::*;
use crate::device::is_passing;
use crate::device::sim::{Failure, Faults, Random, SimDisk};
use crate::format::Sequence;
use crate::log::{Durability, LogOptions, LogView, OpenError, Poison, Trouble, recover};
use crate::read::{GapCause, LogReader, Step, open_shard};

const ERRNOS: [i32; 7] = [libc::EIO, libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSPC, libc::EINTR, libc::EAGAIN];

const LONGEST: u64 = 3000;
const EVENTS: u64 = 120;

/// Errors that are tried of each call and write where `TAPELINE_CALLS` does not ask for all of them: EIO, and one after
/// the other of those that pass.
const TRIED: usize = 2;

/// The call that fails.
#[derive(Debug, Clone, Copy)]
enum Target {
    Call,
    Write,
}

/// The page that says what each error of each step does.
const DURABILITY: &str = include_str!("../../../../../docs/DURABILITY.md");

/// The answers to errors: step, whether the error passes, answer.
type Answers = BTreeSet<(String, bool, String)>;

/// The answers that the page promises.
fn promised() -> Answers {
    let (_, section) = DURABILITY.split_once("### Which error of which step does what").expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let cells = rows.take_while(|line| line.starts_with('|')).map(|line| line.split('|').map(str::trim).collect());
    let answers = cells.flat_map(|cells: Vec<_>| {
        let step = cells[1].trim_matches('`').to_owned();
        [(step.clone(), true, cells[3].to_owned()), (step, false, cells[4].to_owned())]
    });
    answers.collect()
}

/// One run of the workload.
#[derive(Debug, Clone, Copy)]
struct Case {
    seed: u64,
    durability: Durability,
    target: Target,
    failure: Failure,
}

/// The extent of a run.
struct Reached {
    trimmed: u64,
    acknowledged: u64,
    appended: u64,
    poison: Option<Poison>,
    closed: bool,
    /// Steps that met an error, and what was done about it.
    answers: BTreeSet<(String, String)>,
}

fn options_of(seed: u64, durability: Durability) -> LogOptions {
    LogOptions { durability, ..options(seed) }
}

/// A machine with the log of one that lost its power: the opening has something to seal.
fn prepared(seed: u64, durability: Durability) -> SimDisk {
    let disk = whole_disk(seed);
    let mut machine = start(&disk, seed, durability).expect("opens");
    machine.write(0..30, LONGEST);
    disk.crash();
    disk.reboot(Faults::default())
}

fn start(disk: &SimDisk, seed: u64, durability: Durability) -> Result<Machine, OpenError> {
    let log = recover(directory(disk), options_of(seed, durability))?.start(Box::new(disk.device(4)));
    Ok(Machine { disk: disk.clone(), log, now: 1, doorbell: crate::device::Doorbell::new().expect("doorbell") })
}

/// Opens the log, writes, rolls, seals, indexes, trims and closes.
fn work(disk: &SimDisk, seed: u64, durability: Durability) -> Result<Reached, OpenError> {
    let mut machine = start(disk, seed, durability)?;
    let mut random = Random::new(seed);
    let mut next = machine.log.next_sequence().get();
    let end = next + EVENTS;
    let mut answers = BTreeSet::new();
    for turn in 0..20_000 {
        next += machine.append(next..(next + random.below(5)).min(end), LONGEST);
        if turn % 25 == 24 {
            let back = random.below(20);
            machine.log.trim(Sequence::new(machine.view().durable().get().saturating_sub(back)));
        }
        machine.turn_awaited_if(random.chance(3000) || next == end);
        answers.extend(answers_of(machine.view()));
        if machine.log.poison().is_some() || (next == end && machine.log.is_idle()) {
            break;
        }
    }
    let (view, mut clock) = (std::sync::Arc::clone(machine.view()), ticking(machine.now));
    let watching = || {
        answers.extend(answers_of(&view));
        clock()
    };
    let closed = machine.log.close(&machine.doorbell, watching).is_ok();
    answers.extend(answers_of(machine.view()));
    let marks = machine.view().watermarks();
    Ok(Reached {
        trimmed: marks.trimmed.get(),
        acknowledged: marks.durable.get(),
        appended: machine.log.next_sequence().get(),
        poison: machine.log.poison().cloned(),
        closed,
        answers,
    })
}

/// The errors that a log says it has met.
fn answers_of(view: &LogView) -> Vec<(String, String)> {
    let answer = |trouble: &Trouble| if trouble.is_retried { "tried again" } else { "done without" };
    let troubles = view.troubles();
    let mut answers: Vec<_> =
        troubles.iter().map(|trouble| (trouble.operation.to_owned(), answer(trouble).to_owned())).collect();
    answers.extend(view.poison().map(|poison| (step_of(poison), "ends the log".to_owned())));
    answers
}

fn step_of(poison: &Poison) -> String {
    if poison.message.starts_with("sync: ") { "sync" } else { poison.operation }.to_owned()
}

/// The events that a log holds; all of them are checked.
fn extent(disk: &SimDisk, case: Case) -> Range<u64> {
    let (view, _) =
        open_shard(&directory(disk), SHARD).unwrap_or_else(|error| panic!("{case:?}: does not open: {error}"));
    let mut reader = LogReader::new(view, Sequence::ZERO);
    let (mut start, mut next) = (0, 0);
    loop {
        match reader.step().unwrap_or_else(|error| panic!("{case:?}: {error}")) {
            Step::End => return start..next,
            Step::Gap(gap) => {
                assert_eq!((gap.from.get(), gap.cause, next), (0, GapCause::Trimmed, 0), "{case:?}");
                (start, next) = (gap.to.get(), gap.to.get());
            }
            Step::Block(block) => {
                for record in block.records() {
                    assert_eq!(record.expect("record").payload(), payload(next, LONGEST), "{case:?}: event {next}");
                    next += 1;
                }
            }
        }
    }
}

/// Fails once, and looks at what came of it. Returns the answers to the error.
fn fail(case: Case) -> Answers {
    let Case { seed, durability, target, failure } = case;
    let disk = prepared(seed, durability);
    let before = extent(&disk, case);
    let (calls, writes) = (disk.calls(), disk.writes());
    disk.set_faults(match target {
        Target::Call => {
            let failing_call = Some(Failure { nth: calls + failure.nth, ..failure });
            Faults { failing_call, ..Faults::default() }
        }
        Target::Write => {
            let failing_write = Some(Failure { nth: writes + failure.nth, ..failure });
            Faults { failing_write, ..Faults::default() }
        }
    });
    let mut answers = BTreeSet::new();
    let reached = match work(&disk, seed, durability) {
        Err(OpenError::Io { operation, path, source }) => {
            assert_eq!(crate::device::errno_of(&source), Some(failure.errno), "{case:?}: {operation}: {source}");
            answers.insert(("open".to_owned(), "opening fails".to_owned()));
            assert!(!operation.is_empty() && path.starts_with("sim:"), "{case:?}: {operation} {path}");
            assert_eq!(extent(&disk, case).end, before.end, "{case:?}: an opening that fails harms nothing");
            work(&disk, seed, durability).unwrap_or_else(|error| panic!("{case:?}: the second opening: {error}"))
        }
        Err(other) => panic!("{case:?}: {other}"),
        Ok(reached) => reached,
    };
    let Reached { trimmed, acknowledged, appended, poison, closed, answers: met } = reached;
    answers.extend(met);
    let passes = is_passing(&std::io::Error::from_raw_os_error(failure.errno));
    match &poison {
        None => assert!(closed && acknowledged == appended, "{case:?}: {acknowledged} of {appended}"),
        Some(poison) => {
            // A sync at level page-cache is of data that was acknowledged: final, whatever its error.
            let is_sync = durability == Durability::PageCache && step_of(poison) == "sync";
            assert!(!passes || is_sync, "{case:?}: {poison}");
        }
    }
    let disk = disk.reboot(Faults::default());
    let found = extent(&disk, case);
    assert!(found.start <= trimmed, "{case:?}: {} was not trimmed", found.start);
    assert!((acknowledged..=appended).contains(&found.end), "{case:?}: {acknowledged} <= {} <= {appended}", found.end);
    // The log goes on.
    let reached = work(&disk, seed + 1, durability).unwrap_or_else(|error| panic!("{case:?}: opened again: {error}"));
    assert!(reached.poison.is_none() && reached.closed, "{case:?}: {:?}", reached.poison);
    assert_eq!(extent(&disk, case).end, found.end + EVENTS, "{case:?}");
    answers.into_iter().map(|(step, answer)| (step, passes, answer)).collect()
}

/// Calls and writes of a workload that nothing fails in.
fn totals(seed: u64, durability: Durability) -> (u64, u64) {
    let disk = prepared(seed, durability);
    let (calls, writes) = (disk.calls(), disk.writes());
    let reached = work(&disk, seed, durability).expect("opens");
    assert!(reached.closed && reached.trimmed > 0 && reached.acknowledged == reached.appended);
    (disk.calls() - calls, disk.writes() - writes)
}

fn fail_everywhere(durability: Durability) -> Answers {
    let mut answers = Answers::new();
    let count = asked("TAPELINE_CALLS");
    // These seeds reach each kind of call.
    for seed in 1..=count.unwrap_or(1) {
        let (calls, writes) = totals(seed, durability);
        println!("seed {seed}, {durability}: {calls} calls, {writes} writes");
        let nths = (1..=calls).map(|nth| (Target::Call, nth)).chain((1..=writes).map(|nth| (Target::Write, nth)));
        for (target, nth) in nths {
            let mut errnos = ERRNOS;
            errnos[1..].rotate_left(nth as usize % (ERRNOS.len() - 1));
            let tried = if count.is_some() { ERRNOS.len() } else { TRIED };
            for errno in errnos.into_iter().take(tried) {
                let failure = Failure { nth, errno };
                answers.append(&mut fail(Case { seed, durability, target, failure }));
            }
        }
    }
    let promised = promised();
    assert!(answers.is_subset(&promised), "not on the page: {:?}", answers.difference(&promised));
    answers
}

#[test]
fn any_call_or_write_fails_at_level_durable() {
    fail_everywhere(Durability::Durable);
}

#[test]
fn any_call_or_write_fails_at_level_page_cache() {
    // All steps there are, since this level has the one more.
    assert_eq!(fail_everywhere(Durability::PageCache), promised());
}
