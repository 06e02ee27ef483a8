//! Troubles: errors that a log goes on after, for the operator who looks at its statistics.

use std::fmt;
use std::io;
use std::sync::Mutex;

use crate::lock::lock;

/// An error that did not end a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// What was attempted.
    pub operation: &'static str,
    /// On which file.
    pub place: String,
    /// The last error in words.
    pub message: String,
    /// How often it has failed in a row.
    pub times: u64,
    /// Whether it is tried again; otherwise the log does without it until it is opened anew.
    pub is_retried: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, place, message, times, is_retried } = self;
        let answer = if *is_retried { "it is tried again" } else { "the log does without it until it is opened again" };
        write!(f, "{operation} failed at {place}: {message} ({times} in a row); {answer}")
    }
}

/// The troubles of a log, at most one for each operation. One ends when its operation succeeds.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Vec<Trouble>>);

impl Troubles {
    pub(super) fn all(&self) -> Vec<Trouble> {
        lock(&self.0).clone()
    }

    pub(super) fn add(&self, operation: &'static str, place: String, error: &io::Error, is_retried: bool) {
        let mut troubles = lock(&self.0);
        let before = troubles.iter().position(|trouble| trouble.operation == operation);
        let times = before.map_or(0, |at| troubles.swap_remove(at).times) + 1;
        troubles.push(Trouble { operation, place, message: error.to_string(), times, is_retried });
    }

    pub(super) fn end(&self, operation: &str) {
        lock(&self.0).retain(|trouble| trouble.operation != operation);
    }
}
