//! The names of sessions, whatever part of a log a command prints.
//!
//! A printer learns names from the events that open sessions. A command that does not meet them (they are not
//! selected, lie before its beginning, or were trimmed) looks all names up, once, when it meets the first session
//! that it cannot name.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tapeline_reader::{LogFiles, SessionId};

use crate::exit::{Exit, exit_of_cause};
use crate::form::Printer;
use crate::message;

/// Finds names, should they be needed.
#[derive(Debug)]
pub(crate) struct Names {
    directory: PathBuf,
    has_looked: bool,
}

impl Names {
    /// Those of the log in `directory`, of which the printer knows those that were `asked_for`: an id follows from a
    /// name.
    pub(crate) fn of(directory: &Path, asked_for: &[String], printer: &mut Printer) -> Self {
        asked_for.iter().for_each(|name| printer.name(tapeline_reader::session_id(name), name.clone()));
        Self { directory: directory.to_owned(), has_looked: false }
    }

    /// Sees to it that the printer knows the name of a session, if it had one when the first was asked for. Sessions
    /// that are opened later say it themselves. Costs one look at each index, and at the blocks without one, once.
    pub(crate) fn find(&mut self, session: SessionId, printer: &mut Printer) {
        if self.has_looked || session == SessionId::NONE || printer.knows(session) {
            return;
        }
        self.has_looked = true;
        // If the log cannot be opened once more the ids have to do.
        let log = match LogFiles::open(&self.directory) {
            Ok(log) => log,
            Err(error) => return report_unread(&error),
        };
        log.session_names().into_iter().for_each(|(session, name)| printer.name(session, name));
        log.damage().first().into_iter().for_each(|damage| report_unread(damage));
    }
}

/// Says that names are missing because the log cannot be read for them, or not whole.
fn report_unread(reason: &dyn Display) {
    let words = "sessions without a known name are shown by their ids";
    message::error(format_args!("{words}: {reason}"));
}

/// The status for a file of names that cannot be used.
static FAULT: OnceLock<Exit> = OnceLock::new();

/// Reports on standard error, once, that names may be missing because the file of names cannot be used.
pub(crate) fn report_damage(log: &LogFiles) {
    if let (Some(damage), Some(cause)) = (log.names_damage(), log.names_cause())
        && FAULT.set(exit_of_cause(cause)).is_ok()
    {
        message::error(damage);
    }
}

/// The status for what was reported of the file of names: that of the program, unless something worse was met.
pub(crate) fn fault() -> Exit {
    FAULT.get().copied().unwrap_or(Exit::Done)
}
