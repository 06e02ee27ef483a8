//! The source of sessions, found by the contents of the file: a trace of single requests, one of agent sessions, or the
//! model where there is no file.

#[cfg(test)]
mod tests;

use std::path::Path;

use super::agents::{self, AgentTrace};
use super::azure::{self, AzureTrace};
use super::engine;
use super::lines::Lines;
use super::model::Model;
use super::plan::{PREFILL_TOKENS, Plan, STEP};
use crate::harness::Outcome;

/// Sessions without end, in the order in which they begin.
#[derive(Debug)]
pub(super) enum Source {
    /// A trace of single requests, over and over.
    Azure(AzureTrace),
    /// A trace of agent sessions, over and over.
    Agents(AgentTrace),
    /// The model.
    Model(Model),
}

impl Source {
    /// The trace in `path`, or the model.
    ///
    /// # Errors
    /// Names file and line of what cannot be read, wherever in the file it is.
    pub(super) fn open(path: Option<&Path>, seed: u64) -> Outcome<Self> {
        let Some(path) = path else { return Ok(Self::Model(Model::new(seed))) };
        let mut lines = Lines::open(path)?;
        let first = lines.next()?.unwrap_or_default();
        let is_json = first.starts_with('{');
        if !is_json && !azure::COLUMNS.iter().any(|column| first.contains(column)) {
            let what = format!("neither an agent session in JSON nor a header with the columns {:?}", azure::COLUMNS);
            return Err(lines.failure(what).into());
        }
        lines.restart()?;
        Ok(if is_json { Self::Agents(AgentTrace::open(lines, seed)?) } else { Self::Azure(AzureTrace::open(lines)?) })
    }

    /// The next session; arrivals never go back.
    pub(super) fn next(&mut self) -> Outcome<Plan> {
        match self {
            Self::Azure(trace) => trace.next(),
            Self::Agents(trace) => trace.next(),
            Self::Model(model) => Ok(model.next()),
        }
    }

    /// The source's name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Azure(trace) => format!("{}: {} requests", trace.name(), trace.requests()),
            Self::Agents(trace) => {
                let agents::Contents { sessions, requests, tokens, .. } = trace.contents();
                format!("{}: {sessions} agent sessions, {requests} requests, {tokens} tokens", trace.name())
            }
            Self::Model(_) => "a model".to_owned(),
        }
    }

    /// The parts of the load that were recorded in production.
    pub(super) fn real(&self) -> Vec<String> {
        let real: &[&str] = match self {
            Self::Azure(_) => &["when requests arrive", "lengths of prompts and answers in tokens"],
            Self::Agents(_) => &[
                "names of sessions, their requests, models, and why answers end",
                "lengths of prompts and answers in tokens; whether an answer thinks, says something, calls a tool",
                "pauses in which a person thinks or a tool works",
            ],
            Self::Model(_) => &[],
        };
        let mut real: Vec<String> = real.iter().map(|&text| text.to_owned()).collect();
        if let Self::Agents(trace) = self {
            let agents::Contents { first_tokens, requests, .. } = trace.contents();
            real.push(format!("time to first token of {first_tokens} of {requests} requests"));
        }
        real
    }

    /// The parts of the load that are a model.
    pub(super) fn modelled(&self) -> Vec<String> {
        let step = STEP.as_millis();
        let mut modelled = vec![
            format!(
                "times between tokens: steps of an engine, gamma-distributed around {step} ms (shape {}); all streams \
                 get a token at the same step",
                engine::STEP_SHAPE
            ),
            format!("an engine that runs {} answers at once; more wait for a place", engine::RUNNING_MAX),
            "the text of every payload".to_owned(),
        ];
        let prefill = format!("{PREFILL_TOKENS} prompt tokens taken in at a step of {step} ms");
        match self {
            Self::Azure(_) => modelled.push(format!("time to first token: {prefill}")),
            Self::Agents(trace) => modelled.extend(of_agents(trace.contents(), &prefill)),
            Self::Model(_) => modelled.extend([
                "when requests arrive: gaps with the moments of the Azure conversation trace".to_owned(),
                "lengths of prompts and answers: log-normal, with the moments of the same trace".to_owned(),
                format!("time to first token: {prefill}"),
            ]),
        }
        modelled
    }
}

fn of_agents(contents: agents::Contents, prefill: &str) -> Vec<String> {
    let agents::Contents { requests, first_tokens, pauses, .. } = contents;
    let (unknown, gap) = (requests - first_tokens, agents::GAP_MEAN.as_secs());
    let drawn = match first_tokens {
        0 => prefill.to_owned(),
        _ => format!("drawn from those of the {first_tokens} others"),
    };
    let mut modelled = vec![
        format!("when sessions begin: exponential gaps of {gap} s on average"),
        "how long an answer takes after its first token, and with it all later times of its session".to_owned(),
        "what share of an answer is thinking, text, tool call: equal shares in this order".to_owned(),
        "that every answer is streamed".to_owned(),
    ];
    if unknown > 0 {
        modelled.push(format!("time to first token of {unknown} of {requests} requests: {drawn}"));
    }
    if pauses < requests {
        modelled.push(format!("pause before {} requests: from the times of requests alone", requests - pauses));
    }
    modelled
}
