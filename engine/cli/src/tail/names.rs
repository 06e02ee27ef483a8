//! The names of sessions that were opened before the tail began.

use std::path::PathBuf;

use tapeline::{LogFiles, SessionId};

use crate::form::Printer;

/// Finds names, should they be needed.
#[derive(Debug)]
pub(super) struct Names {
    directory: PathBuf,
    has_looked: bool,
}

impl Names {
    /// Those of the log in `directory`, of which the ones that were `asked_for` are known.
    pub(super) fn new(directory: PathBuf, asked_for: &[String], printer: &mut Printer) -> Self {
        asked_for.iter().for_each(|name| printer.name(tapeline::session_id(name), name.clone()));
        Self { directory, has_looked: false }
    }

    /// Sees to it that the name of a session is known, if it had one when the first was asked for. The later ones say it
    /// themselves when they are opened. Costs the listing of all sessions, once.
    pub(super) fn find(&mut self, session: SessionId, printer: &mut Printer) {
        if self.has_looked || session == SessionId::NONE || printer.knows(session) {
            return;
        }
        self.has_looked = true;
        // Where they cannot be listed, the ids have to do; what is wrong is told by the tail itself.
        let sessions = LogFiles::open(&self.directory).ok().and_then(|log| log.sessions().ok()).unwrap_or_default();
        for summary in sessions {
            if let Some(name) = summary.name {
                printer.name(summary.session, name);
            }
        }
    }
}
