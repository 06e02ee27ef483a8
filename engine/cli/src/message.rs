//! Messages on standard error: each is one line, whatever the names in it hold. One that cannot be written is lost; the
//! exit status says what matters.

use std::fmt::Display;
use std::io::{self, Write};

use crate::output::{Style, printable};

/// Something went wrong.
pub(crate) fn error(what: impl Display) {
    labelled(&style().bad("tapeline:"), what);
}

/// Something that is worth knowing, and no error.
pub(crate) fn note(what: impl Display) {
    labelled(&style().strong("tapeline:"), what);
}

/// A message that begins with a label, which may be coloured.
pub(crate) fn labelled(label: &str, what: impl Display) {
    write(&format!("{label} {}\n", printable(&what.to_string())));
}

/// A message that speaks for itself.
pub(crate) fn plain(what: impl Display) {
    write(&format!("{}\n", printable(&what.to_string())));
}

/// The colours of standard error.
pub(crate) fn style() -> Style {
    Style::of(&io::stderr())
}

/// Writes text as it stands.
pub(crate) fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
