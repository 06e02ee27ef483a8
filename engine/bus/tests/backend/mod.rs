//! Backends that are servers: the server of a test, and the tests that every backend passes.

mod server;
mod suite;

pub(crate) use self::server::{Backend, Server, is_here};
pub(crate) use self::suite::*;
