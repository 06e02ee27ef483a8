//! Backends that are servers, and the tests that every one of them passes.

mod suite;

use tapeline::adapter::{Adapter, AdapterConfig};
use tapeline_testing::server::{Program, Server};

pub(crate) use self::suite::*;

/// A backend: a program that serves on a port, and the adapter for it.
pub(crate) trait Backend: Sized {
    const PROGRAM: Program;

    /// Arguments with which what a server confirms outlives kill -9.
    const DURABLE: &'static [&'static str];

    /// The settings of an adapter that gives up soon.
    fn config(port: u16) -> AdapterConfig;

    /// The adapter of these settings.
    fn adapter(port: u16) -> Box<dyn Adapter>;
}

/// Returns whether a backend's program is here. In CI it has to be.
pub(crate) fn is_here<B: Backend>() -> bool {
    B::PROGRAM.is_here()
}

/// A server that runs, with these arguments beside those of the backend.
pub(crate) fn start<B: Backend>(name: &str, arguments: &[&str]) -> Server {
    let mut server = stopped::<B>(name, arguments);
    server.run();
    server
}

/// A server that does not run yet.
pub(crate) fn stopped<B: Backend>(name: &str, arguments: &[&str]) -> Server {
    Server::stopped(B::PROGRAM, name, &[B::DURABLE, arguments].concat())
}
