//! Runs the cases of a campaign in processes of their own, and reports the failures, each with place and reason.
//!
//! The test is the parent: it starts this binary again for some seeds at a time, listens to what the child says, and
//! ends a child that says nothing for too long. The child says each case that it begins, each step of it, and its
//! outcome. A case fails by its own word, by a panic anywhere in its process, and by the end of the process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tapeline_testing::asked;

use crate::life::memory::SETTINGS;
use crate::scratch::Scratch;

/// Seeds that a child runs: first and how many.
const CHILD: &str = "TAPELINE_CAMPAIGN_CHILD";
/// Set by a person who wants to look at the log of a case.
const KEEP: &str = "TAPELINE_KEEP";
/// Most failures; then the campaign ends.
const FAILURES_MAX: usize = 100;
/// A file system in memory.
const MEMORY: &str = "/dev/shm";
/// Room that the logs of all processes need by far.
const FREE_BYTES: u64 = 1 << 30;
/// The beginning of the message of a panic that a case means.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// Panics of this process that no case meant.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A campaign.
pub(crate) struct Campaign {
    /// Path of the test that is its child.
    pub(crate) child: &'static str,
    /// The command that repeats the case of one seed, without the seed.
    pub(crate) repeat: &'static str,
    /// Cases that a process runs one after the other.
    pub(crate) cases_per_process: u64,
    /// Longest that a child may say nothing.
    pub(crate) patience: Duration,
    /// The environment variable with the number of cases, and the number without it.
    pub(crate) cases: (&'static str, u64),
}

#[derive(Default)]
struct Failure {
    seed: u64,
    /// The description of the case.
    note: String,
    step: String,
    reason: String,
    output: String,
}

impl Failure {
    /// Equal for failures that look alike: step and reason without numbers.
    fn kind(&self) -> String {
        let reason = self.reason.lines().next().unwrap_or_default();
        let plain = |text: &str| text.chars().filter(|letter| !letter.is_ascii_digit()).take(120).collect::<String>();
        format!("{}: {}", plain(&self.step), plain(reason))
    }
}

impl Campaign {
    /// Runs all cases, from the seed in `TAPELINE_SEED`, else from 0, in `TAPELINE_PROCESSES` processes at a time, else
    /// one for each core; begins none after `TAPELINE_SECONDS`.
    pub(crate) fn run(&self) {
        let cases = asked(self.cases.0).unwrap_or(self.cases.1);
        let first = asked("TAPELINE_SEED").unwrap_or(0);
        let seconds = asked("TAPELINE_SECONDS").map(Duration::from_secs);
        println!("{cases} cases, the first of seed {first}");
        let (begun, ran) = (Instant::now(), AtomicU64::new(0));
        let next = AtomicU64::new(0);
        let failures = Mutex::new(Vec::new());
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let processes = asked("TAPELINE_PROCESSES").unwrap_or(cores).max(1);
        std::thread::scope(|scope| {
            for _ in 0..processes {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(self.cases_per_process, Ordering::Relaxed);
                        let count = self.cases_per_process.min(cases.saturating_sub(at));
                        let is_late = seconds.is_some_and(|seconds| begun.elapsed() > seconds);
                        if count == 0 || is_late || lock(&failures).len() >= FAILURES_MAX {
                            return;
                        }
                        self.run_some(first.wrapping_add(at), count, &failures);
                        ran.fetch_add(count, Ordering::Relaxed);
                    }
                });
            }
        });
        println!("{} cases in {:?}", ran.into_inner(), begun.elapsed());
        self.report(&failures.into_inner().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells of the first failure of each kind all there is, of the others the seed.
    fn report(&self, failures: &[Failure]) {
        let mut kinds: BTreeMap<String, Vec<&Failure>> = BTreeMap::new();
        failures.iter().for_each(|failure| kinds.entry(failure.kind()).or_default().push(failure));
        for alike in kinds.values() {
            let seeds: Vec<_> = alike.iter().map(|failure| failure.seed).collect();
            let Failure { seed, note, step, reason, output } = alike[0];
            println!("\nseed {seed} FAILED: {note}\n  at {step}: {reason}\n{output}");
            println!("  repeat: TAPELINE_SEED={seed} {}; {} like it: {seeds:?}", self.repeat, alike.len());
        }
        assert!(failures.is_empty(), "{} cases failed in {} ways", failures.len(), kinds.len());
    }

    /// Runs the cases of some seeds, with another process after each that ends before its time.
    fn run_some(&self, first: u64, count: u64, failures: &Mutex<Vec<Failure>>) {
        let end = first.wrapping_add(count);
        let mut seed = first;
        while seed != end {
            let Some(failure) = self.run_process(seed, end.wrapping_sub(seed)) else { return };
            seed = failure.seed.wrapping_add(1);
            println!(
                "seed {} fails at {}: {}",
                failure.seed,
                failure.step,
                failure.reason.lines().next().unwrap_or("")
            );
            lock(failures).push(failure);
        }
    }

    /// Runs one process; returns how it failed, if it did.
    fn run_process(&self, first: u64, count: u64) -> Option<Failure> {
        let scratch = Scratch::new("campaign");
        std::fs::create_dir_all(scratch.path()).expect("a directory");
        let errors = scratch.path().join("errors");
        let mut child = start(self.child, &format!("{first},{count}"), &errors);
        let said = listen(&mut child);
        let mut failure = Failure { seed: first, step: "its start".into(), ..Failure::default() };
        let mut is_over = false;
        loop {
            match said.recv_timeout(self.patience) {
                Ok(line) => match line.split_once(' ').unwrap_or((&line, "")) {
                    ("case", seed) => {
                        failure = Failure { seed: seed.parse().expect("a seed"), ..Failure::default() };
                    }
                    ("note", note) => note.clone_into(&mut failure.note),
                    ("step", step) => step.clone_into(&mut failure.step),
                    ("failed", reason) => failure.reason = reason.replace('\t', "\n"),
                    ("over", _) => is_over = true,
                    _ => {}
                },
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    failure.reason = format!("nothing came of it in {:?}:\n{}", self.patience, threads_of(child.id()));
                    break;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        if !failure.reason.is_empty() {
            // It may be about to end by itself.
            let _ = child.kill();
        }
        let status = child.wait().expect("ends");
        if std::env::var_os(KEEP).is_none() {
            for directory in directories(child.id()) {
                let _ = std::fs::remove_dir_all(directory);
            }
        }
        if failure.reason.is_empty() {
            if is_over && status.success() {
                return None;
            }
            failure.reason = format!("the process ended: {}", how(status));
        }
        failure.output = last_lines(&errors);
        Some(failure)
    }
}

/// Runs the cases that the parent asks for, if it is a parent that runs this test. Ends the process at the first that
/// fails, and after the last.
pub(crate) fn child(case: impl Fn(u64) -> Result<(), String>) {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let (first, count) = orders.split_once(',').expect("two numbers");
    let (first, count): (u64, u64) = (first.parse().expect("a seed"), count.parse().expect("a number"));
    directories(std::process::id()).iter().for_each(|left| remove(left));
    // What it takes to name the functions of a backtrace is read now: there may be no descriptors left for it later.
    let _ = std::backtrace::Backtrace::force_capture().to_string();
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let owned = payload.downcast_ref::<String>().map(String::as_str);
        let message = payload.downcast_ref::<&str>().copied().or(owned).unwrap_or("a panic");
        if !message.starts_with(ON_PURPOSE) {
            let thread = std::thread::current();
            let text = format!("thread {:?} panicked: {panic}", thread.name().unwrap_or_default());
            let backtrace = std::backtrace::Backtrace::force_capture().to_string();
            // glommio panics where the kernel refuses it a ring or a thread. A companion contains that, and runs its
            // tasks without it.
            let is_contained = backtrace.contains("/glommio-") && backtrace.contains("tasks/runtime.rs");
            if !is_contained {
                eprintln!("{text}\n{backtrace}");
                lock(&PANICS).push(text);
            }
        }
    }));
    for seed in (0..count).map(|at| first.wrapping_add(at)) {
        say(&format!("case {seed}"));
        let outcome = catch_unwind(AssertUnwindSafe(|| case(seed))).unwrap_or_else(|_| Err("the case panicked".into()));
        let panics = std::mem::take(&mut *lock(&PANICS));
        let reasons: Vec<_> = outcome.err().into_iter().chain(panics).collect();
        if !reasons.is_empty() {
            say(&format!("failed {}", reasons.join("\n").replace('\n', "\t")));
            end(1);
        }
    }
    say("over");
    end(0);
}

/// Ends the process without what it would do at its end.
#[allow(unsafe_code, reason = "_exit")]
fn end(status: i32) -> ! {
    // SAFETY: no pointers; nothing runs after it.
    unsafe { libc::_exit(status) }
}

/// Says to the parent what the case is.
pub(crate) fn note(what: &str) {
    say(&format!("note {what}"));
}

/// Says to the parent what the case does now. The patience begins anew.
pub(crate) fn step(what: &str) {
    say(&format!("step {what}"));
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // A parent that is gone is no concern of the case.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

fn start(test: &str, orders: &str, errors: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, orders);
    command.envs(SETTINGS.iter().copied());
    let errors = std::fs::File::create(errors).expect("a file");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().expect("starts")
}

/// The lines that a child prints, as they come.
fn listen(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    std::thread::spawn(move || lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop));
    receiver
}

/// The directory of the logs of this process: in memory, if there is such a file system with room, where that is asked
/// for; else on a disk. The parent removes them.
pub(crate) fn directory(in_memory: bool) -> PathBuf {
    let [memory, disk] = directories(std::process::id());
    if in_memory && free_bytes(Path::new(MEMORY)) > FREE_BYTES { memory } else { disk }
}

/// Removes the logs of an earlier process of the same number, whose campaign was killed before it could.
fn remove(left: &Path) {
    let outcome = std::fs::remove_dir_all(left);
    let is_gone = outcome.as_ref().err().is_none_or(|error| error.kind() == std::io::ErrorKind::NotFound);
    assert!(is_gone, "{}: {outcome:?}", left.display());
}

/// The directories in which the logs of a process may lie.
fn directories(process: u32) -> [PathBuf; 2] {
    [MEMORY, env!("CARGO_TARGET_TMPDIR")].map(|root| Path::new(root).join(format!("tapeline-campaign-{process}")))
}

#[allow(unsafe_code, reason = "statvfs")]
fn free_bytes(path: &Path) -> u64 {
    let name = std::ffi::CString::new(path.to_str().expect("text")).expect("no zeros");
    // SAFETY: plain numbers.
    let mut space: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: pointers to a live string and a live structure. Where it fails there is no room.
    unsafe { libc::statvfs(name.as_ptr(), &raw mut space) };
    space.f_bavail.saturating_mul(space.f_bsize)
}

fn how(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    }
}

/// Each thread of a process: its name, its state, and where in the kernel it waits.
fn threads_of(process: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let describe = |task: std::fs::DirEntry| {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default().trim().to_owned();
        let state = read("status").lines().find_map(|line| line.strip_prefix("State:").map(str::to_owned));
        format!("  {}:{} {}\n", read("comm"), state.unwrap_or_default(), read("wchan"))
    };
    tasks.map(describe).collect()
}

fn last_lines(file: &Path) -> String {
    let text = std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
