//! Standard output: what a command prints there arrives, or the program does not end with status 0.
//!
//! The standard library's own takes a write for done where the descriptor is closed, or open for reading alone. This
//! one reports it, and remembers the first failure for those who cannot: a buffer that is dropped.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use crate::{inherited, signal};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// The number of the first error.
static LOST: OnceLock<i32> = OnceLock::new();

/// Standard output with a buffer: flushed, what was printed has arrived.
pub(crate) type Buffered = BufWriter<Stdout>;

/// Standard output with an empty buffer.
pub(crate) fn buffered() -> Buffered {
    BufWriter::with_capacity(BUFFER_BYTES, Stdout::default())
}

/// The first error of standard output, if any of it was lost.
pub(crate) fn lost() -> Option<io::Error> {
    LOST.get().copied().map(io::Error::from_raw_os_error)
}

/// Standard output without a buffer.
#[derive(Debug, Default)]
pub(crate) struct Stdout {
    /// A descriptor of its own, once something was written.
    file: Option<File>,
}

impl Stdout {
    fn attempt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if inherited::was_closed(libc::STDOUT_FILENO) {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        };
        loop {
            match file.write(bytes) {
                // Another program has set the pipe that both have to return at once.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => signal::wait_writable(file.as_fd())?,
                written => return written,
            }
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.attempt(bytes);
        if let Err(error) = &written
            && error.kind() != io::ErrorKind::Interrupted
        {
            LOST.get_or_init(|| error.raw_os_error().unwrap_or(libc::EIO));
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
