//! The plan of a session: requests to an inference engine, pauses between them.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

/// Longest time that a trace may state: a hundred days. Sums of what fits into a line stay far from the end of numbers.
const SECONDS_MAX: f64 = 8_640_000.0;

/// Prompt tokens that a step takes in for each sequence, where nothing says how long the first token takes.
pub(super) const PREFILL_TOKENS: u32 = 512;

/// Mean time of a step of the engine, in which each running sequence gets one token.
pub(super) const STEP: Duration = Duration::from_millis(25);

/// A session that has not begun.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) name: String,
    /// The model that its open event names.
    pub(super) model: Arc<str>,
    /// The time at which it begins, from the start of the load.
    pub(super) arrival: Duration,
    pub(super) requests: Vec<Request>,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// From the end of the answer before it, or from the session's begin: a person thinks, or a tool works.
    pub(super) pause: Duration,
    pub(super) model: Arc<str>,
    /// True if it brings the result of a tool.
    pub(super) has_tool_result: bool,
    /// Length of the prompt in tokens.
    pub(super) context_tokens: u32,
    /// From when the engine has a place for it to its first token.
    pub(super) first_token: Duration,
    /// Length of the answer in tokens.
    pub(super) generated_tokens: u32,
    pub(super) answer: Answer,
    /// The reason for which the answer ends, in the words of OpenAI's interface, if the trace says it.
    pub(super) finish: Option<&'static str>,
}

/// The parts of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) has_thinking: bool,
    pub(super) has_text: bool,
    pub(super) has_tool_use: bool,
}

/// A part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Thinking,
    Text,
    ToolUse,
}

impl Answer {
    /// The part that a token belongs to: equal shares, in the order of [`Part`]. An answer of nothing is text.
    pub(super) fn part(self, token: u32, tokens: u32) -> Part {
        let parts =
            [(self.has_thinking, Part::Thinking), (self.has_text, Part::Text), (self.has_tool_use, Part::ToolUse)];
        let present = || parts.iter().filter(|(is_present, _)| *is_present).map(|(_, part)| *part);
        let share = u64::from(token) * present().count() as u64 / u64::from(tokens.max(1));
        present().nth(share as usize).unwrap_or(Part::Text)
    }
}

/// Time to the first token of a prompt that is taken in at [`PREFILL_TOKENS`] a step.
pub(super) fn prefill(context_tokens: u32) -> Duration {
    STEP * context_tokens.div_ceil(PREFILL_TOKENS)
}

/// A time of a trace. `None` for what cannot be one.
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    (0.0..=SECONDS_MAX).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}
