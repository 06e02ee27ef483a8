//! Exit statuses, and failures that carry one. `tapeline --help` and docs/CLI.md document the numbers.

use std::error::Error;
use std::fmt;
use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tapeline_reader::{
    AdapterError, ConsumerError, DamageCause, DirectoryError, Gap, GapReason, LogFiles, PageError, advice,
    is_of_environment,
};

use crate::backend::without_credentials;
use crate::holder;
use crate::message;
use crate::names;
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
        // Names in it come from anywhere, and may be URLs that were meant for something else.
        Self { exit, message: output::printable(&without_credentials(&message.to_string())) }
    }

    /// A failure without one.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The failure for a log at `path` that cannot be opened.
    pub(crate) fn of_log(path: &Path, error: ConsumerError) -> Self {
        if let Some(failure) = Self::no_directory(path) {
            return failure;
        }
        match (&error, kernel_error(&error)) {
            (ConsumerError::Adapter(_), Some(cause)) if cause.kind() == io::ErrorKind::NotFound => Self::no_log(path),
            (ConsumerError::Adapter(_), Some(cause)) if is_of_environment(cause) => Self::failed(error),
            (ConsumerError::Adapter(_), _) if is_of_another_version(&error) => Self::failed(error),
            (ConsumerError::Adapter(adapter), _) if !adapter.is_retryable() => Self::new(Exit::Corrupt, error),
            _ => error.into(),
        }
    }

    /// The failure for a log at `path` that cannot be made, or written to.
    pub(crate) fn of_written_log(path: &Path, error: AdapterError) -> Self {
        match error {
            AdapterError::Directory(DirectoryError::NotALog { .. }) if path.join("meta.restore").exists() => {
                Self::no_log(path)
            }
            error => Self::no_directory(path).unwrap_or_else(|| error.into()),
        }
    }

    /// The failure for a path that is something else than a directory, if it is.
    fn no_directory(path: &Path) -> Option<Self> {
        let place = path.display();
        let kind = match path.metadata() {
            Ok(found) => kind_of(found.file_type())?,
            Err(_) => {
                let target = path.read_link().ok()?;
                let words =
                    format_args!("{place}: no log here: a symbolic link to {}, and nothing is there", target.display());
                return (!path.exists()).then(|| Self::new(Exit::NotFound, words));
            }
        };
        Some(Self::failed(format_args!("{place}: this is {kind}, and a log is a directory; name another place")))
    }

    /// The failure for a directory without a meta file: there is no log, or one whose meta file is gone.
    fn no_log(path: &Path) -> Self {
        let place = path.display();
        if path.join("meta.restore").exists() {
            let words = format_args!(
                "{place}: no log yet: an import into it is under way, or was interrupted; repeat it, or keep what it had \
                 written with `tapeline repair {place} --apply`"
            );
            return Self::new(Exit::NotFound, words);
        }
        // A log that is being made has empty directories before it has its meta file.
        let has_segments = std::fs::read_dir(path.join("shard-0000")).is_ok_and(|mut files| files.next().is_some());
        if has_segments {
            let advice = format_args!("`tapeline repair {place}` says how it comes back");
            Self::new(Exit::Corrupt, format_args!("{place}: the log's file meta is missing; {advice}"))
        } else if path.exists() {
            Self::new(Exit::NotFound, format_args!("{place}: no log here"))
        } else {
            Self::new(Exit::NotFound, format_args!("{place}: no log here, and no such directory"))
        }
    }

    /// The failure for a file about which the kernel gave this error.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Self::new(exit, format_args!("{}: {error}{}", path.display(), advice(error)))
    }
}

/// The word for what is no directory.
fn kind_of(found: FileType) -> Option<&'static str> {
    let kinds = [
        (found.is_dir(), None),
        (found.is_fifo(), Some("a named pipe")),
        (found.is_socket(), Some("a socket")),
        (found.is_block_device() || found.is_char_device(), Some("a device")),
    ];
    kinds.into_iter().find(|(is_it, _)| *is_it).map_or(Some("a file"), |(_, word)| word)
}

/// Checks that an output of several files is not to be standard output.
///
/// # Errors
/// For `-`.
pub(crate) fn check_directory(out: &Path) -> Result<(), Failure> {
    if out.as_os_str() != "-" {
        return Ok(());
    }
    let words = "several files are written: name a directory with --out (./- for one that is called -)";
    Err(Failure::new(Exit::Usage, words))
}

/// Checks that an output does not replace a part of the log that it is made of.
///
/// # Errors
/// If `out` lies in the log's directory, or is it.
pub(crate) fn check_outside(log: &Path, out: &Path) -> Result<(), Failure> {
    let Ok(log) = log.canonicalize() else { return Ok(()) };
    match existing(out) {
        Some(place) if place.starts_with(&log) => Err(Failure::new(
            Exit::Usage,
            format_args!("{} lies in the log {}; choose a place outside of it", out.display(), log.display()),
        )),
        _ => Ok(()),
    }
}

/// Checks that a log which is to be made does not begin within another one.
///
/// # Errors
/// If the directory is none yet, or no log, and lies in a log.
pub(crate) fn check_no_log_around(directory: &Path) -> Result<(), Failure> {
    let is_log = |place: &&Path| {
        let (meta, mut magic) = (place.join("meta"), [0; META_MAGIC.len()]);
        // A named pipe would wait for its writer.
        let mut read = || File::open(&meta).and_then(|mut meta| meta.read_exact(&mut magic));
        meta.is_file() && read().is_ok() && magic == *META_MAGIC
    };
    let Some(place) = existing(directory) else { return Ok(()) };
    // A directory that is a log already is continued, wherever it lies.
    let is_it = directory.canonicalize().is_ok_and(|own| own == place) && is_log(&&*place);
    match place.ancestors().find(is_log) {
        Some(log) if !is_it => Err(Failure::new(
            Exit::Usage,
            format_args!(
                "{} would lie in the log {}; choose a place outside of it",
                directory.display(),
                log.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// The first bytes of a log's file `meta`.
const META_MAGIC: &[u8; 8] = b"TAPELOG1";

/// The part of a path that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|part| {
        let part = if part.as_os_str().is_empty() { Path::new(".") } else { part };
        part.canonicalize().ok()
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<AdapterError> for Failure {
    fn from(error: AdapterError) -> Self {
        use DirectoryError::{Eras, Meta, Names, NoShard};
        match &error {
            AdapterError::Open(_)
            | AdapterError::Directory(Eras { .. } | Meta { .. } | Names { .. } | NoShard { .. }) => {
                Self::new(exit_of_read(&error), error)
            }
            AdapterError::Directory(DirectoryError::Locked { path }) => match holder::of(path) {
                Some(holder) => Self::failed(format_args!("{error}: {holder} has it")),
                None => Self::failed(error),
            },
            AdapterError::NotFound(_) => Self::new(Exit::NotFound, error),
            _ => Self::failed(in_words_of_the_program(&error.to_string())),
        }
    }
}

/// The words of an error about a log, as a program has them that ends with it, and that has options.
fn in_words_of_the_program(message: &str) -> String {
    message
        .replace("choose smaller files", "choose smaller files (record and import: --segment-bytes 2M)")
        .replace("; it is tried again", "")
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Self {
        let exit = match &error {
            ConsumerError::Gap(Gap { reason: GapReason::Corrupt(_), .. }) => Exit::Corrupt,
            ConsumerError::Gap(_) => Exit::Loss,
            ConsumerError::Adapter(AdapterError::Open(_)) | ConsumerError::Read(_) => exit_of_read(&error),
            ConsumerError::Damaged(damage) => exit_of_cause(damage.cause),
            ConsumerError::Record { .. } => Exit::Corrupt,
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

/// The same for a command that shows what is in the log: reports a file of names that cannot be used.
///
/// # Errors
/// As [`open_log`].
pub(crate) fn open_to_read(path: &Path) -> Result<LogFiles, Failure> {
    let log = open_log(path)?;
    names::report_damage(&log);
    Ok(log)
}

/// The status for a file that cannot be read: the log is damaged, unless it is the environment that refuses.
fn exit_of_read(error: &(dyn Error + 'static)) -> Exit {
    match kernel_error(error) {
        Some(cause) if is_of_environment(cause) => Exit::Failed,
        _ if is_of_another_version(error) => Exit::Failed,
        _ => Exit::Corrupt,
    }
}

/// Returns whether a file is of a format version that this program does not read. It may well be intact.
fn is_of_another_version(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|error| matches!(error.downcast_ref(), Some(PageError::Version { .. })))
}

/// The same, where the party at fault is known.
pub(crate) fn exit_of_cause(cause: DamageCause) -> Exit {
    if cause == DamageCause::Environment { Exit::Failed } else { Exit::Corrupt }
}

/// Reports on standard error the shards that could not be opened. Returns the status for the worst of them.
pub(crate) fn report_damage(log: &LogFiles) -> Exit {
    let mut exit = Exit::Done;
    for damage in log.damage() {
        exit = exit.max(exit_of_cause(damage.cause));
        message::error(Failure::from(ConsumerError::Damaged(damage.clone())));
    }
    exit
}

/// The advice to the operator about the kernel's part in an error, as the end of a message.
pub(crate) fn advice_on(error: &(dyn Error + 'static)) -> &'static str {
    kernel_error(error).map_or("", advice)
}

/// The kernel's part in an error.
fn kernel_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// The error, and those that it stems from.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
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
