//! Troubles: errors that a log goes on after, for the operator who looks at its statistics, and for callers that wait
//! while one of them keeps the log from writing.

use std::fmt;
use std::io;
use std::sync::Mutex;

use crate::device::{advice, errno_of};
use crate::lock::lock;

/// An error that did not end a log.
///
/// ```
/// # use tapeline_storage::log::Trouble;
/// fn report(troubles: &[Trouble]) {
///     for trouble in troubles {
///         println!("{trouble}{}", trouble.remedy());
///     }
/// }
/// # report(&[Trouble::default()]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Trouble {
    /// The call that failed.
    pub operation: &'static str,
    /// On which file.
    pub place: String,
    /// The last error in words.
    pub message: String,
    /// The kernel's error number, if it was the kernel's.
    pub errno: Option<i32>,
    /// The number of failures in a row.
    pub times: u64,
    /// True if it is tried again; otherwise the log does without it until it is opened anew.
    pub is_retried: bool,
}

impl Trouble {
    /// The advice to an operator, in words to follow the trouble's own.
    pub fn remedy(&self) -> &'static str {
        match self.errno.map_or("", |errno| advice(&io::Error::from_raw_os_error(errno))) {
            "" => "; wait until the kernel no longer refuses it",
            advice => advice,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, place, message, times, is_retried, errno: _ } = self;
        let answer = if *is_retried { "it is tried again" } else { "the log does without it until it is opened again" };
        write!(f, "{operation} failed at {place}: {message} ({times} in a row); {answer}")
    }
}

/// The log's answer to an error that does not end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It tries again.
    Retry,
    /// It does without until it is opened anew.
    DoWithout,
}

/// The troubles of a log, at most one for each operation. One ends when its operation succeeds.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    troubles: Vec<Trouble>,
    /// The operation that keeps the log from writing, if one does.
    holds_up: Option<&'static str>,
}

impl Troubles {
    pub(super) fn all(&self) -> Vec<Trouble> {
        lock(&self.0).troubles.clone()
    }

    pub(super) fn add(&self, operation: &'static str, place: String, error: &io::Error, answer: Answer) {
        let is_retried = answer == Answer::Retry;
        let Listed { troubles, .. } = &mut *lock(&self.0);
        let before = troubles.iter().position(|trouble| trouble.operation == operation);
        let times = before.map_or(0, |at| troubles.swap_remove(at).times) + 1;
        let (message, errno) = (error.to_string(), errno_of(error));
        troubles.push(Trouble { operation, place, message, errno, times, is_retried });
    }

    pub(super) fn end(&self, operation: &str) {
        lock(&self.0).troubles.retain(|trouble| trouble.operation != operation);
    }

    /// Notes that this operation keeps the log from writing, or that none does.
    pub(super) fn set_hold_up(&self, operation: Option<&'static str>) {
        lock(&self.0).holds_up = operation;
    }

    /// The trouble that keeps the log from writing, if one does.
    pub(super) fn hold_up(&self) -> Option<Trouble> {
        let listed = lock(&self.0);
        let operation = listed.holds_up?;
        listed.troubles.iter().find(|trouble| trouble.operation == operation).cloned()
    }
}
