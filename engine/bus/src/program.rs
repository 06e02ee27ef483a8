//! A daemon as a program: arguments, bus, signals, exit status.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tapeline_reader::{AdapterError, ConsumerError, CursorFault, DirectoryError};
use tapeline_storage::log::LogDirectory;

use crate::bus::EventBus;
use crate::core::config::EventBusConfig;
use crate::core::park;
use crate::core::signal::EndSignals;
use crate::daemons::{
    Daemon, DaemonControl, DaemonCounts, DaemonEnd, DaemonHandle, DaemonOptions, DaemonRefused, EndReason,
};

/// The time between two looks at whether the daemon has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Signals that come so soon after the first are one with it: `timeout` sends its own to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// The longest time after the grace period that the event in hand takes, and that the disk takes after it.
const CLOSING: Duration = Duration::from_secs(5);

/// Settings of a program that [`daemon_main!`](crate::daemon_main) makes. Arguments of the command line come before
/// what is set here.
///
/// ```
/// use std::time::Duration;
/// use tapeline::daemon::DaemonProgram;
///
/// let program = DaemonProgram::new().log("/var/lib/engine/log").outputs("/var/lib/guardrail/log");
/// assert_eq!(program.grace(Duration::from_secs(20)).tries, 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaemonProgram {
    /// The log to read: the argument `LOG`.
    pub log: Option<PathBuf>,
    /// The log to write, where another process writes the one to read: `--outputs DIR`. `None`: the same.
    pub outputs: Option<PathBuf>,
    /// The longest time to process what there is after SIGTERM or Ctrl-C: `--grace SECONDS`. Default 10 s.
    pub grace: Duration,
    /// Failures of an event before it is set aside: `--tries N`. Default 3.
    pub tries: u32,
    /// A file that gets the metrics of the bus and the daemon every second, as Prometheus reads them: `--metrics FILE`.
    pub metrics: Option<PathBuf>,
}

impl Default for DaemonProgram {
    fn default() -> Self {
        Self { log: None, outputs: None, grace: Duration::from_secs(10), tries: 3, metrics: None }
    }
}

impl DaemonProgram {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, reading this log.
    #[must_use]
    pub fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// The same, writing this log.
    #[must_use]
    pub fn outputs(mut self, log: impl Into<PathBuf>) -> Self {
        self.outputs = Some(log.into());
        self
    }

    /// The same with so much time to drain.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The same with so many tries of an event.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// The same, writing metrics to this file.
    #[must_use]
    pub fn metrics(mut self, file: impl Into<PathBuf>) -> Self {
        self.metrics = Some(file.into());
        self
    }

    /// Takes the arguments of a command line over. `None`: they ask for help.
    ///
    /// # Errors
    /// The fault, in words.
    fn with_arguments(mut self, arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut arguments = arguments.peekable();
        let mut log = None;
        while let Some(argument) = arguments.next() {
            let Some(option) = argument.to_str().filter(|text| text.starts_with('-')).map(str::to_owned) else {
                if let Some(before) = log.replace(PathBuf::from(&argument)) {
                    return Err(format!(
                        "two logs to read: {} and {}",
                        before.display(),
                        PathBuf::from(argument).display()
                    ));
                }
                continue;
            };
            if matches!(option.as_str(), "-h" | "--help") {
                return Ok(None);
            }
            let (option, value) = match option.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(OsString::from(value))),
                None => (option, None),
            };
            if !["--outputs", "--grace", "--tries", "--metrics"].contains(&option.as_str()) {
                return Err(format!("there is no option {option}"));
            }
            let value = value.or_else(|| arguments.next()).ok_or_else(|| format!("{option} has no value"))?;
            self.set(&option, &value)?;
        }
        self.log = log.or(self.log);
        Ok(Some(self))
    }

    fn set(&mut self, option: &str, value: &OsString) -> Result<(), String> {
        let text = value.to_string_lossy();
        match option {
            "--outputs" => self.outputs = Some(value.into()),
            "--metrics" => self.metrics = Some(value.into()),
            "--tries" => {
                let tries = text.parse().ok().filter(|tries| *tries > 0);
                self.tries = tries.ok_or_else(|| format!("--tries takes a number from 1 on, not {text:?}"))?;
            }
            _ => {
                let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.grace = seconds.ok_or_else(|| format!("--grace takes a number of seconds, not {text:?}"))?;
            }
        }
        Ok(())
    }
}

/// The exit statuses of a program, which docs/DAEMONS.md lists.
#[derive(Debug, Clone, Copy)]
enum Status {
    /// It ended as it was asked to, or with the log that it followed.
    Done = 0,
    /// It could not read or write any more, or not start.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The grace period was over first. The rest is processed after the next start.
    GraceOver = 3,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Runs a daemon as the program's only task: what [`daemon_main!`](crate::daemon_main) expands to a call of.
pub fn run_program(daemon: impl Daemon, program: DaemonProgram) -> ExitCode {
    let mut arguments = std::env::args_os();
    let path = PathBuf::from(arguments.next().unwrap_or_default());
    let name = &*path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let status = match program.with_arguments(arguments) {
        Ok(None) => {
            println!("{}", usage(name));
            Status::Done
        }
        Ok(Some(program)) if program.log.is_none() => refuse(name, "the log to read is missing"),
        Ok(Some(program)) => run(name, daemon, &program).unwrap_or_else(|error| {
            eprintln!("{name}: {error}");
            Status::Failed
        }),
        Err(fault) => refuse(name, &fault),
    };
    status.into()
}

fn refuse(name: &str, fault: &str) -> Status {
    eprintln!("{name}: {fault}\n{}", usage(name));
    Status::Usage
}

fn usage(name: &str) -> String {
    format!(
        "usage: {name} LOG [--outputs DIR] [--grace SECONDS] [--tries N] [--metrics FILE]\n\
         \n\
         Reads the log in the directory LOG from where it ended last, and writes its outputs there, too.\n\
         \n\
         --outputs DIR    LOG is written by another process: follow it, and write a log in DIR\n\
         --grace SECONDS  after SIGTERM or Ctrl-C, process what there is for so long (10)\n\
         --tries N        set an event aside once it has failed so often (3)\n\
         --metrics FILE   write metrics for Prometheus to FILE every second\n\
         \n\
         Exit status: {done} ended as asked; {failed} failed; {usage} wrong arguments; {late} the grace period was over \
         first.",
        done = Status::Done as u8,
        failed = Status::Failed as u8,
        usage = Status::Usage as u8,
        late = Status::GraceOver as u8,
    )
}

/// # Errors
/// The reason why it does not start, in words.
fn run(name: &str, daemon: impl Daemon, program: &DaemonProgram) -> Result<Status, String> {
    let signals = EndSignals::hold().map_err(|error| format!("holding signals back: {error}"))?;
    let log = program.log.as_deref().unwrap_or(Path::new(""));
    let bus = open(log, program)?;
    let mut options = DaemonOptions::new().tries(program.tries);
    if program.outputs.is_some() {
        options = options.follow(log);
    }
    let handle = bus.start_daemon(daemon, options).map_err(|error| refusal(&error, program))?;
    let status = match wait(&bus, handle, &signals, program) {
        Ok(end) => {
            eprintln!("{name}: {}", summary(&end));
            match end.reason {
                EndReason::Failed(_) => Status::Failed,
                EndReason::GraceOver => Status::GraceOver,
                EndReason::Drained | EndReason::Stopped | EndReason::BusEnded => Status::Done,
            }
        }
        Err(GivenUp::ForTime) => {
            eprintln!("{name}: the event in hand takes longer than the grace period of {:?}", program.grace);
            Status::GraceOver
        }
        Err(GivenUp::BySignal) => {
            eprintln!("{name}: a second signal ends it with an event in hand");
            // The program processes the events whose outputs are not durable by now after its next start.
            return Ok(Status::GraceOver);
        }
    };
    park::block_on(bus.shutdown_within(CLOSING)).map(|()| status).map_err(|error| error.to_string())
}

fn open(log: &Path, program: &DaemonProgram) -> Result<EventBus, String> {
    check_paths(log, program.outputs.as_deref())?;
    let directory = program.outputs.as_deref().unwrap_or(log);
    let config = EventBusConfig::builder().directory(directory).build().map_err(|error| error.to_string())?;
    park::block_on(EventBus::new(config)).map_err(|error| match error {
        AdapterError::Directory(DirectoryError::Locked { .. }) if program.outputs.is_none() => {
            format!(
                "{error}; to read a log that another process writes, name another one for the outputs: --outputs DIR"
            )
        }
        error => error.to_string(),
    })
}

/// Looks at the paths before anything is written.
fn check_paths(log: &Path, outputs: Option<&Path>) -> Result<(), String> {
    for path in [Some(log), outputs].into_iter().flatten() {
        if path.metadata().is_ok_and(|found| !found.is_dir()) {
            return Err(format!("{}: no log, which is a directory, but a file", path.display()));
        }
    }
    // One that this program made would stay empty: no other process can write it while this one does.
    if is_missing(log) {
        return Err(format!("{}: there is no log to read", log.display()));
    }
    let real = |path: &Path| path.canonicalize().ok();
    if outputs.and_then(real).is_some_and(|outputs| real(log) == Some(outputs)) {
        let log = log.display();
        return Err(format!("--outputs is {log} itself; leave the option out to write outputs there"));
    }
    Ok(())
}

/// The reason why the daemon does not start, with what to do about it.
fn refusal(error: &DaemonRefused, program: &DaemonProgram) -> String {
    let written = program.outputs.as_ref().or(program.log.as_ref()).map(|path| path.display().to_string());
    match (error, written) {
        (DaemonRefused::Read(ConsumerError::InvalidCursor { fault: CursorFault::Foreign(_), .. }), Some(written)) => {
            format!("{written}: the daemon has written it from another log; name another directory: --outputs DIR")
        }
        _ => error.to_string(),
    }
}

fn is_missing(log: &Path) -> bool {
    match LogDirectory::open_read_only(log) {
        Err(DirectoryError::Io { source, .. }) => source.kind() == std::io::ErrorKind::NotFound,
        // The bus says what is wrong with it.
        _ => false,
    }
}

/// The reason why the program ends before its daemon.
enum GivenUp {
    ForTime,
    BySignal,
}

/// Waits for the daemon's end, which a signal asks for.
///
/// # Errors
/// It does not come in time.
fn wait(
    bus: &EventBus,
    handle: DaemonHandle,
    signals: &EndSignals,
    program: &DaemonProgram,
) -> Result<DaemonEnd, GivenUp> {
    let mut metrics = program.metrics.as_deref().map(Metrics::new);
    let mut asked_at: Option<Instant> = None;
    while handle.stats().is_running {
        if signals.wait(LOOK) {
            match asked_at.map(|at| at.elapsed()) {
                None => {
                    asked_at = Some(Instant::now());
                    handle.control(DaemonControl::Drain { grace: program.grace });
                }
                Some(since) if since < SAME_SIGNAL => {}
                Some(_) => return Err(GivenUp::BySignal),
            }
        }
        metrics.iter_mut().for_each(|metrics| metrics.write(bus));
        if asked_at.is_some_and(|at| at.elapsed() >= program.grace.saturating_add(CLOSING)) {
            return Err(GivenUp::ForTime);
        }
    }
    Ok(handle.join())
}

fn summary(end: &DaemonEnd) -> String {
    let DaemonCounts { events, outputs, set_aside, failures, panics, .. } = end.stats.counts;
    let reason = match &end.reason {
        EndReason::Drained => "drained".to_owned(),
        EndReason::GraceOver => "the grace period was over before all was processed".to_owned(),
        EndReason::Stopped => "stopped".to_owned(),
        EndReason::BusEnded => "the log has ended".to_owned(),
        EndReason::Failed(error) => format!("failed: {error}"),
    };
    format!("{reason}; events {events}, outputs {outputs}, set aside {set_aside}, errors {failures}, panics {panics}")
}

/// A file of metrics.
struct Metrics<'p> {
    file: &'p Path,
    next: Instant,
    has_failed: bool,
}

impl<'p> Metrics<'p> {
    fn new(file: &'p Path) -> Self {
        Self { file, next: Instant::now(), has_failed: false }
    }

    /// Replaces the file once a second, so that its reader sees all of it or what was there before.
    fn write(&mut self, bus: &EventBus) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Duration::from_secs(1);
        let mut temporary = self.file.as_os_str().to_owned();
        temporary.push(".new");
        let written = std::fs::write(&temporary, bus.prometheus());
        let written = written.and_then(|()| std::fs::rename(&temporary, self.file));
        if let Err(error) = &written
            && !self.has_failed
        {
            eprintln!("{}: {error}", self.file.display());
        }
        self.has_failed = written.is_err();
    }
}

/// The body of `main` of a program that is one daemon.
///
/// The program takes the log to read as its argument, and goes on where it ended last. It ends after SIGTERM or Ctrl-C,
/// once what there is has been processed; its exit status says how. `PROGRAM --help` lists the options, docs/DAEMONS.md
/// explains them.
///
/// ```no_run
/// use tapeline::daemon::{Daemon, DaemonResult, Output};
/// use tapeline::{StoredEvent, kinds};
///
/// struct Shout;
///
/// impl Daemon for Shout {
///     fn name(&self) -> &str {
///         "shout"
///     }
///
///     fn process(&mut self, event: &StoredEvent) -> DaemonResult {
///         Ok(vec![Output::new(kinds::AGENT_MESSAGE, event.raw.to_ascii_uppercase())])
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     tapeline::daemon_main! { daemon: Shout }
/// }
/// ```
///
/// `config: E` sets what the command line leaves out, a [`DaemonProgram`](crate::daemon::DaemonProgram):
///
/// ```no_run
/// # use tapeline::daemon::{Daemon, DaemonProgram, DaemonResult};
/// # struct Shout;
/// # impl Daemon for Shout {
/// #     fn name(&self) -> &str { "shout" }
/// #     fn process(&mut self, _: &tapeline::StoredEvent) -> DaemonResult { Ok(Vec::new()) }
/// # }
/// # fn main() -> std::process::ExitCode {
/// tapeline::daemon_main! { daemon: Shout, config: DaemonProgram::new().log("/var/lib/engine/log") }
/// # }
/// ```
#[macro_export]
macro_rules! daemon_main {
    (daemon: $daemon:expr $(,)?) => {
        $crate::daemon_main! { daemon: $daemon, config: $crate::daemon::DaemonProgram::new() }
    };
    (daemon: $daemon:expr, config: $config:expr $(,)?) => {
        $crate::daemon::run_program($daemon, $config)
    };
    (config: $config:expr, daemon: $daemon:expr $(,)?) => {
        $crate::daemon_main! { daemon: $daemon, config: $config }
    };
    ($($other:tt)*) => {
        ::core::compile_error!("daemon_main! takes `daemon: EXPRESSION`, and perhaps `, config: EXPRESSION`")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<DaemonProgram>, String> {
        DaemonProgram::new().log("default").with_arguments(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_status_has_a_row_in_the_manual() {
        let all = [Status::Done, Status::Failed, Status::Usage, Status::GraceOver];
        let statuses = all.map(|status| match status {
            // A new status is a new element above, a row, and a part of the usage.
            Status::Done | Status::Failed | Status::Usage | Status::GraceOver => status as u8,
        });
        let page = include_str!("../../../docs/DAEMONS.md");
        let table = page.lines().skip_while(|line| *line != "| exit status | means |").skip(2);
        let row = |line: &str| line.split('|').nth(1)?.trim().parse::<u8>().ok();
        assert_eq!(table.map_while(row).collect::<Vec<_>>(), statuses);
    }

    #[test]
    fn arguments_come_before_what_is_set() {
        let all = parse("a --outputs b --grace=1.5 --tries 7 --metrics m").expect("arguments").expect("a program");
        let expected =
            DaemonProgram::new().log("a").outputs("b").grace(Duration::from_millis(1500)).tries(7).metrics("m");
        assert_eq!(all, expected);
        assert_eq!(parse(""), Ok(Some(DaemonProgram::new().log("default"))));
        assert_eq!(parse("--help"), Ok(None));
        for (line, fault) in [
            ("a b", "two logs"),
            ("--output b", "no option --output"),
            ("--tries 0", "from 1 on"),
            ("--tries", "no value"),
            ("--grace -1", "seconds"),
            ("--grace soon", "seconds"),
        ] {
            assert!(parse(line).is_err_and(|error| error.contains(fault)), "{line}");
        }
    }
}
