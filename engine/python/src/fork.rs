//! A count of this process's forks, as the interpreter makes them: a child takes no lock that a thread of its parent
//! may have held. The bus itself refuses the calls of a child after any other fork.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::{PyResult, Python, ffi, pyfunction};

use crate::failure::Failure;

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Counts a fork: called in each child, by `os.register_at_fork`.
#[pyfunction]
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// # Errors
/// This is not the main interpreter of the process.
#[allow(unsafe_code)]
pub(crate) fn check_interpreter(_attached: Python<'_>) -> PyResult<()> {
    // SAFETY: this thread is attached to an interpreter, which `_attached` proves.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the interpreter is the one that this thread is attached to.
    let number = unsafe { ffi::PyInterpreterState_GetID(interpreter) };
    match number {
        0 => Ok(()),
        _ => Err(PyImportError::new_err("tapeline works in the main interpreter of a process, and in no other")),
    }
}

/// The process that something was made in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin(u32);

impl Origin {
    pub(crate) fn here() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// # Errors
    /// In a child of that process.
    #[inline]
    pub(crate) fn check(self) -> Result<(), Failure> {
        if FORKS.load(Ordering::Relaxed) == self.0 { Ok(()) } else { Err(Failure::forked()) }
    }
}
