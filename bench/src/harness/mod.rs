//! The tools of every scenario: clock, cores, limits of the machine, statistics, and the form of the results.

pub(crate) mod bus;
pub(crate) mod clock;
pub(crate) mod cores;
pub(crate) mod files;
pub(crate) mod latencies;
pub(crate) mod limits;
pub(crate) mod machine;
pub(crate) mod open_loop;
pub(crate) mod payloads;
pub(crate) mod report;
pub(crate) mod scratch;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod threads;
pub(crate) mod wait;

/// The result of a scenario: an error is a message for the person who runs the program.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
