//! The sources of a recording: files, or standard input.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::ending::Ending;
use super::split::Awaited;
use crate::exit::{Exit, Failure};
use crate::inherited;
use crate::progress::Progress;
use crate::signal::is_readable;

/// A file, or standard input.
#[derive(Debug)]
pub(crate) enum Source {
    /// Standard input.
    Standard,
    /// A file, by path.
    File(PathBuf),
}

impl Source {
    /// The sources that the command line names, and their length in bytes where all of them have one.
    ///
    /// # Errors
    /// A file that is not there, cannot be opened, or is a directory; standard input that is closed.
    pub(crate) fn all(paths: &[PathBuf]) -> Result<(Vec<Self>, Option<u64>), Failure> {
        if paths.is_empty() {
            check_standard()?;
            return Ok((vec![Self::Standard], None));
        }
        if paths.iter().any(|path| is_standard(path)) {
            check_standard()?;
        }
        let mut total = Some(0);
        for path in paths.iter().filter(|path| !is_standard(path)) {
            let metadata = fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
            if metadata.is_dir() {
                return Err(Failure::new(
                    Exit::Usage,
                    format_args!("{}: a directory; name the files in it", path.display()),
                ));
            }
            // Refused before there is a log. A pipe is not opened for that: its writer would take it for its reader.
            if metadata.is_file() {
                open_at_once(path).map_err(|error| Failure::file(path, &error))?;
            }
            total = total.filter(|_| metadata.is_file()).map(|bytes| bytes + metadata.len());
        }
        let total = total.filter(|_| !paths.iter().any(|path| is_standard(path)));
        let source = |path: &PathBuf| if is_standard(path) { Self::Standard } else { Self::File(path.clone()) };
        Ok((paths.iter().map(source).collect(), total))
    }

    /// Its place in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Standard => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// The session it is, where nothing else names one. Bytes of a file's name that are no UTF-8 stand as `\xff` in it.
    pub(crate) fn stem(&self) -> String {
        match self {
            Self::Standard => "stdin".to_owned(),
            Self::File(path) => {
                let stem = path.file_stem().unwrap_or(path.as_os_str());
                in_utf8(stem)
            }
        }
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(&self) -> Result<File, Failure> {
        match self {
            Self::Standard => io::stdin()
                .as_fd()
                .try_clone_to_owned()
                .map(File::from)
                .map_err(|error| Failure::file(Path::new("standard input"), &error)),
            Self::File(path) => open_at_once(path).map_err(|error| Failure::file(path, &error)),
        }
    }
}

/// Opens a file. A named pipe is open at once: its writer is waited for where a signal is heard as well, before a read.
fn open_at_once(path: &Path) -> io::Result<File> {
    let is_pipe = fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
    let flags = if is_pipe { libc::O_NONBLOCK } else { 0 };
    File::options().read(true).custom_flags(flags).open(path)
}

/// Checks that standard input was open when the program started, and is something to read.
fn check_standard() -> Result<(), Failure> {
    if inherited::was_closed(libc::STDIN_FILENO) {
        return Err(Failure::failed(
            "standard input: closed, or not open for reading; name a file, or feed the program",
        ));
    }
    let own = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    match own.and_then(|own| own.metadata()) {
        Ok(metadata) if metadata.is_dir() => Err(Failure::failed("standard input: this is a directory, name a file")),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::file(Path::new("standard input"), &error)),
    }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// True if bytes come from another process, which ends the stream when it ends.
pub(super) fn is_pipe(file: &File) -> bool {
    file.metadata().is_ok_and(|file| file.file_type().is_fifo() || file.file_type().is_socket())
}

/// A file being read: it moves the progress bar, and a signal ends a wait for more.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    file: File,
    ending: &'a Ending,
    progress: &'a Progress,
    /// A signal is the end of the file.
    ends_at_signals: bool,
}

impl<'a> Input<'a> {
    /// Reads `file`.
    pub(crate) fn new(file: File, ending: &'a Ending, progress: &'a Progress) -> Self {
        Self { file, ending, progress, ends_at_signals: false }
    }

    /// The same, which a signal that asks to end now brings to its end.
    pub(crate) fn ending_at_signals(self) -> Self {
        Self { ends_at_signals: true, ..self }
    }
}

impl Awaited for Input<'_> {
    fn would_wait(&self) -> bool {
        !is_readable(self.file.as_fd())
    }
}

impl Read for Input<'_> {
    /// As the file's, but [`io::ErrorKind::Interrupted`] means that a signal asks to end now.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.ending.wait(self.file.as_fd()) {
                Err(error) if self.ends_at_signals && error.kind() == io::ErrorKind::Interrupted => return Ok(0),
                waited => waited?,
            }
            match self.file.read(buffer) {
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                read => {
                    self.progress.add(*read.as_ref().unwrap_or(&0) as u64);
                    return read;
                }
            }
        }
    }
}

/// A name in UTF-8. Two names that differ do so then, too: of each byte that is no UTF-8 it has the digits.
fn in_utf8(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}
