//! Requests without end, from a trace or from the model.

use std::path::Path;
use std::time::Duration;

use super::model::Model;
use super::trace::Trace;
use crate::harness::Outcome;

/// One request to the inference engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Request {
    /// When it arrives, from the start of the load.
    pub(super) arrival: Duration,
    /// Length of the prompt in tokens.
    pub(super) context_tokens: u32,
    /// Length of the answer in tokens, at least 1.
    pub(super) generated_tokens: u32,
}

/// Where requests come from.
#[derive(Debug)]
pub(super) enum Requests {
    /// A trace, over and over.
    Trace(Trace),
    /// The model.
    Model(Model),
}

impl Requests {
    /// The trace in `path`, or the model.
    pub(super) fn open(path: Option<&Path>, seed: u64) -> Outcome<Self> {
        Ok(match path {
            Some(path) => Self::Trace(Trace::open(path)?),
            None => Self::Model(Model::new(seed)),
        })
    }

    /// Says where they come from.
    pub(super) fn source(&self) -> String {
        match self {
            Self::Trace(trace) => format!("trace {}", trace.name()),
            Self::Model(model) => format!("model, seed {}", model.seed()),
        }
    }

    /// The next one; arrivals never go back.
    pub(super) fn next(&mut self) -> Request {
        match self {
            Self::Trace(trace) => trace.next(),
            Self::Model(model) => model.next(),
        }
    }
}
