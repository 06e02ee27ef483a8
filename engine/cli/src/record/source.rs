//! The sources of a recording: files, or standard input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::ending::Ending;
use crate::exit::{Exit, Failure};
use crate::inherited;
use crate::progress::Progress;

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
    /// A file that is not there, or is a directory.
    pub(crate) fn all(paths: &[PathBuf]) -> Result<(Vec<Self>, Option<u64>), Failure> {
        if paths.is_empty() {
            return Ok((vec![Self::Standard], None));
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

    /// The session it is, where nothing else names one.
    pub(crate) fn stem(&self) -> String {
        match self {
            Self::Standard => "stdin".to_owned(),
            Self::File(path) => {
                let stem = path.file_stem().unwrap_or(path.as_os_str());
                stem.to_string_lossy().into_owned()
            }
        }
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// The kernel's; standard input that was closed when the program started is none.
    pub(crate) fn open(&self) -> Result<File, Failure> {
        match self {
            Self::Standard => {
                let own = match inherited::was_closed(libc::STDIN_FILENO) {
                    true => Err(io::Error::from_raw_os_error(libc::EBADF)),
                    false => io::stdin().as_fd().try_clone_to_owned(),
                };
                own.map(File::from).map_err(|error| Failure::file(Path::new("standard input"), &error))
            }
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
}

impl<'a> Input<'a> {
    /// Reads `file`.
    pub(crate) fn new(file: File, ending: &'a Ending, progress: &'a Progress) -> Self {
        Self { file, ending, progress }
    }
}

impl Read for Input<'_> {
    /// As the file's, but [`io::ErrorKind::Interrupted`] means that a signal asks to end now.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.ending.wait(self.file.as_fd())?;
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
