//! Sessions: their ids and names, their life as events say it ([`life`]), what processes them ([`requirement`]), the
//! names that a reader knows ([`naming`]), and its place in one ([`token`]).
//!
//! The id of a named session lies on disk, so the function from the one to the other is fixed for ever.

mod life;
pub mod naming;
mod recent_names;
mod requirement;
mod token;

use tapeline_storage::format::SessionId;
use xxhash_rust::xxh3::xxh3_128;

pub use life::{ParseOutcomeError, SessionChange, SessionMetadata, SessionOpening, SessionOutcome, SessionState};
pub use token::{ParseTokenError, ResumeToken, TokenFault};

/// A value that can name a session.
///
/// ```
/// use tapeline_reader::{IntoSession, SessionId, session_id};
///
/// // A name has the same id in every log; a number is the id.
/// assert_eq!("chat-42".into_session(), session_id("chat-42"));
/// assert_eq!(7.into_session(), SessionId(7));
/// ```
pub trait IntoSession {
    /// The id.
    fn into_session(self) -> SessionId;
}

impl IntoSession for SessionId {
    fn into_session(self) -> SessionId {
        self
    }
}

impl IntoSession for u128 {
    fn into_session(self) -> SessionId {
        SessionId(self)
    }
}

impl IntoSession for &str {
    fn into_session(self) -> SessionId {
        session_id(self)
    }
}

impl IntoSession for &String {
    fn into_session(self) -> SessionId {
        session_id(self)
    }
}

/// Longest name in bytes that a bus opens a session by: readers remember names in bounded memory.
pub const SESSION_NAME_BYTES_MAX: usize = 4096;

/// The session of this name: the XXH3-128 of its UTF-8 bytes. Never [`SessionId::NONE`]. About 4 ns for a short name.
#[inline]
pub fn session_id(name: &str) -> SessionId {
    // A name that hashes to 0 shares the id 1: as likely as any other collision of 128 bits.
    SessionId(xxh3_128(name.as_bytes()).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_change() {
        // XXH3-128 of the empty input, seed 0, as the reference implementation prints it.
        assert_eq!(session_id(""), SessionId(0x99aa_06d3_0147_98d8_6001_c324_468d_497f));
    }

    #[test]
    fn a_session_is_named_in_any_of_its_forms() {
        let (name, id) = ("agent-7", session_id("agent-7"));
        assert_eq!(name.into_session(), id);
        assert_eq!((&name.to_owned()).into_session(), id);
        assert_eq!(id.0.into_session(), id);
        assert_eq!(id.into_session(), id);
    }
}
