//! A trace of agent sessions: JSON, one session a line, as callanjfox/kv-cache-tester published them. When the trace
//! ends it starts again; the sessions get other names then.
//!
//! A session holds requests: `t` (seconds from its begin), `model`, `in` and `out` (tokens), `input_types` and
//! `output_types`, `stop`; `api_time`, `think_time` and `ttft` (seconds) where they are known. Other fields are passed
//! over. When a session begins is not in the trace: gaps between sessions are drawn.

mod first_tokens;
mod session;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::first_tokens::FirstTokens;
use self::session::RecordedSession;
use super::lines::Lines;
use super::plan::Plan;
use super::random::Random;
use crate::harness::Outcome;

/// Mean gap between the begins of sessions. With the 24,000 tokens that a session of the published trace has on
/// average, 1,200 tokens are streamed each second, as in the published traces of inference services.
pub(super) const GAP_MEAN: Duration = Duration::from_secs(20);

/// A trace that repeats.
#[derive(Debug)]
pub(super) struct AgentTrace {
    lines: Lines,
    contents: Contents,
    first_tokens: FirstTokens,
    random: Random,
    /// The time at which the next session begins.
    arrival: Duration,
    /// The number of times that the trace has been read to its end.
    repetition: u32,
}

/// The contents of a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) sessions: u64,
    pub(super) requests: u64,
    /// Tokens of all answers.
    pub(super) tokens: u64,
    /// Requests whose time to first token is known.
    pub(super) first_tokens: u64,
    /// Requests before which the pause is known.
    pub(super) pauses: u64,
}

impl AgentTrace {
    /// Reads the trace once: what is wrong with it is known before the load begins, and so are the times to first token
    /// that are drawn from.
    pub(super) fn open(mut lines: Lines, seed: u64) -> Outcome<Self> {
        let mut random = Random::new(seed);
        let (mut contents, mut first_tokens) = (Contents::default(), FirstTokens::default());
        while let Some(session) = next(&mut lines)? {
            contents.add(&session);
            session.requests.iter().filter_map(|request| request.ttft).for_each(|time| {
                first_tokens.offer(time, &mut random);
            });
        }
        if contents.sessions == 0 {
            return Err(lines.failure("no sessions").into());
        }
        lines.restart()?;
        Ok(Self { lines, contents, first_tokens, random, arrival: Duration::ZERO, repetition: 0 })
    }

    /// Name of the file.
    pub(super) fn name(&self) -> String {
        self.lines.name()
    }

    /// The contents of the trace.
    pub(super) fn contents(&self) -> Contents {
        self.contents
    }

    /// The next session; arrivals never go back.
    pub(super) fn next(&mut self) -> Outcome<Plan> {
        let session = match next(&mut self.lines)? {
            Some(session) => session,
            None => self.again()?,
        };
        let mut plan = session.plan(self.arrival, &self.first_tokens, &mut self.random);
        if self.repetition > 0 {
            plan.name = format!("{}-{}", plan.name, self.repetition + 1);
        }
        self.arrival = self.arrival.saturating_add(GAP_MEAN.mul_f64(self.random.exponential()));
        Ok(plan)
    }

    /// The first session, once more.
    fn again(&mut self) -> Outcome<RecordedSession> {
        self.lines.restart()?;
        self.repetition = self.repetition.saturating_add(1);
        next(&mut self.lines)?.ok_or_else(|| self.lines.failure("no sessions any more").into())
    }
}

impl Contents {
    fn add(&mut self, session: &RecordedSession) {
        self.sessions += 1;
        for request in &session.requests {
            self.requests += 1;
            self.tokens += u64::from(request.generated_tokens);
            self.first_tokens += u64::from(request.ttft.is_some());
            self.pauses += u64::from(request.think_time.is_some());
        }
    }
}

fn next(lines: &mut Lines) -> Outcome<Option<RecordedSession>> {
    let Some(line) = lines.next()? else { return Ok(None) };
    let session = RecordedSession::parse(line);
    session.map(Some).map_err(|what| lines.failure(what).into())
}
