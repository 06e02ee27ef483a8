//! The extension module `tapeline._native`: what the Python package `tapeline` is made of.
//!
//! A call that may wait releases the interpreter meanwhile, and answers signals every 100 ms. What may not wait takes
//! no lock that a waiting thread holds. Errors become the exceptions of `tapeline.errors`, with the same facts. In a
//! forked child every call is refused before it takes a lock. Nothing relies on the interpreter's lock: classes are
//! frozen, and what changes in an object has a lock of its own.
//!
//! The package of Python code beside it decides which of these a program sees, and keeps event loops from calls that
//! wait.

mod arrow;
mod bell;
mod block;
mod bus;
mod capability;
mod event;
mod failure;
mod follow;
mod fork;
mod latency;
mod log;
mod payload;
mod replay;
mod request;
mod session;
mod settings;
mod summary;
mod tail;
mod trim;

/// The module that the interpreter loads.
#[pyo3::pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::arrow::ArrowEvents;
    #[pymodule_export]
    use crate::bell::{Awaited, Bell};
    #[pymodule_export]
    use crate::bus::{Bus, Page, Ticket};
    #[pymodule_export]
    use crate::capability::{holds, meets};
    #[pymodule_export]
    use crate::event::{Event, Gap, SessionId, kind_name, kind_number};
    #[pymodule_export]
    use crate::follow::Follower;
    #[pymodule_export]
    use crate::fork::forked;
    #[pymodule_export]
    use crate::latency::{Histogram, Latency};
    #[pymodule_export]
    use crate::log::Log;
    #[pymodule_export]
    use crate::replay::{Pacer, Replay};
    #[pymodule_export]
    use crate::session::Session;
    #[pymodule_export]
    use crate::summary::{NamedCursor, SessionSummary, ShardStats, Stats};
    #[pymodule_export]
    use crate::tail::Tail;
    #[pymodule_export]
    use crate::trim::{Trimmed, trim};

    /// The version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Refuses the subinterpreters of a process: threads of the bus find the main one alone.
    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::fork::check_interpreter(module.py())
    }
}
