//! The bar or line on a terminal. Elsewhere it draws nothing.

use indicatif::{ProgressBar, ProgressStyle};

const KNOWN: &str = "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
const EVENTS: &str = "{bar:32} event {human_pos} of {human_len}  {per_sec}  {eta} left";
const UNKNOWN: &str = "{spinner} {bytes}  {bytes_per_sec}  {elapsed}";
const UNKNOWN_EVENTS: &str = "{spinner} event {human_pos}  {per_sec}  {elapsed}";

/// Bytes or events done, of a total where it is known. It is taken off the screen when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for bytes, at zero, on standard error.
    pub(crate) fn new(total_bytes: Option<u64>) -> Self {
        Self::drawn(total_bytes, KNOWN, UNKNOWN)
    }

    /// The same for events.
    pub(crate) fn events(total: Option<u64>) -> Self {
        Self::drawn(total, EVENTS, UNKNOWN_EVENTS)
    }

    fn drawn(total: Option<u64>, known: &str, unknown: &str) -> Self {
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), known),
            None => (ProgressBar::new_spinner(), unknown),
        };
        // A template that does not parse leaves the library's own bar.
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        };
        Self { bar }
    }

    /// Takes it off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// So many more are done.
    pub(crate) fn add(&self, number: u64) {
        self.bar.inc(number);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A line that says how far something has come, at the bottom of the terminal. It is taken off the screen when dropped.
#[derive(Debug)]
pub(crate) struct StatusLine {
    bar: ProgressBar,
}

impl StatusLine {
    /// An empty one, on standard error.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        Self {
            bar: ProgressStyle::with_template("{wide_msg}")
                .map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style)),
        }
    }

    /// Returns whether there is a terminal that shows it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    pub(crate) fn set(&self, words: &str) {
        self.bar.set_message(words.to_owned());
        self.bar.tick();
    }

    /// Prints something above it.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
