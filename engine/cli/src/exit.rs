//! Exit statuses, and failures that carry one. `tapeline --help` and docs/CLI.md document the numbers.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use tapeline_reader::{AdapterError, ConsumerError, Gap, GapReason, LogFiles, advice};

use crate::output;

/// The exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All was done.
    Done = 0,
    /// Something failed; the message says what.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// The log, session or file that was asked for does not exist.
    NotFound = 3,
    /// Events that were asked for are no longer in the log.
    Loss = 4,
    /// The log is damaged.
    Corrupt = 5,
    /// Ended by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A message for the person, and the status for the script.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with a status of its own.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        // Names in it come from anywhere.
        let lines: Vec<_> = message.to_string().lines().map(output::printable).collect();
        Self { exit, message: lines.join("\n") }
    }

    /// A failure without one.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The failure for a log at `path` that cannot be opened.
    pub(crate) fn of_log(path: &Path, error: ConsumerError) -> Self {
        match (&error, kernel_error(&error)) {
            (ConsumerError::Adapter(_), Some(cause)) if cause.kind() == io::ErrorKind::NotFound => Self::no_log(path),
            (ConsumerError::Adapter(_), Some(_)) => Self::failed(error),
            (ConsumerError::Adapter(adapter), None) if !adapter.is_retryable() => Self::new(Exit::Corrupt, error),
            _ => error.into(),
        }
    }

    /// The failure for a directory without a meta file: there is no log, or one whose meta file is gone.
    fn no_log(path: &Path) -> Self {
        let place = path.display();
        // A log that is being made has empty directories before it has its meta file.
        let has_segments = std::fs::read_dir(path.join("shard-0000")).is_ok_and(|mut files| files.next().is_some());
        match has_segments {
            true => Self::new(
                Exit::Corrupt,
                format_args!(
                    "{place}: the log's file meta is missing; `tapeline repair {place}` says how it comes back"
                ),
            ),
            false if path.exists() => Self::new(Exit::NotFound, format_args!("{place}: no log here")),
            false => Self::new(Exit::NotFound, format_args!("{place}: no log here, and no such directory")),
        }
    }

    /// The failure for a file about which the kernel gave this error.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Self::new(exit, format_args!("{}: {error}{}", path.display(), advice(error)))
    }
}

/// Checks that an output does not replace a part of the log that it is made of.
///
/// # Errors
/// If `out` lies in the log's directory, or is it.
pub(crate) fn check_outside(log: &Path, out: &Path) -> Result<(), Failure> {
    let Ok(log) = log.canonicalize() else { return Ok(()) };
    let here = Path::new(".");
    let existing = out.ancestors().find_map(|part| {
        let part = if part.as_os_str().is_empty() { here } else { part };
        part.canonicalize().ok()
    });
    match existing {
        Some(place) if place.starts_with(&log) => Err(Failure::new(
            Exit::Usage,
            format_args!("{} lies in the log {}; choose a place outside of it", out.display(), log.display()),
        )),
        _ => Ok(()),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<AdapterError> for Failure {
    fn from(error: AdapterError) -> Self {
        let is_damage = matches!(error, AdapterError::Open(_)) && kernel_error(&error).is_none();
        Self::new(if is_damage { Exit::Corrupt } else { Exit::Failed }, error)
    }
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Self {
        let exit = match &error {
            ConsumerError::Gap(Gap { reason: GapReason::Corrupt(_), .. }) => Exit::Corrupt,
            ConsumerError::Gap(_) => Exit::Loss,
            ConsumerError::Read(_) if kernel_error(&error).is_some() => Exit::Failed,
            ConsumerError::Read(_) | ConsumerError::Record { .. } | ConsumerError::Damaged(_) => Exit::Corrupt,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

/// Opens a log for reading.
///
/// # Errors
/// [`Exit::NotFound`] where there is none, [`Exit::Corrupt`] where its meta file is damaged.
pub(crate) fn open_log(path: &Path) -> Result<LogFiles, Failure> {
    LogFiles::open(path).map_err(|error| Failure::of_log(path, ConsumerError::Adapter(error)))
}

/// The kernel's part in an error.
fn kernel_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// An error of standard output: the only place where an [`io::Error`] travels alone.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(format_args!("standard output: {error}{}", advice(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_row_in_the_manual() {
        let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Loss, Exit::Corrupt, Exit::Interrupted];
        let statuses = all.map(|exit| match exit {
            // A new status is a new element above, and a row.
            Exit::Done
            | Exit::Failed
            | Exit::Usage
            | Exit::NotFound
            | Exit::Loss
            | Exit::Corrupt
            | Exit::Interrupted => exit as u8,
        });
        let page = include_str!("../../../docs/CLI.md");
        let table = page.lines().skip_while(|line| *line != "| status | means |").skip(2);
        let row = |line: &str| line.split('|').nth(1)?.trim().parse::<u8>().ok();
        assert_eq!(table.map_while(row).collect::<Vec<_>>(), statuses);
    }
}
