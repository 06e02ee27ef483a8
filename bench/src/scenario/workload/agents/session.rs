//! A line of the trace: one session as it was recorded.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::first_tokens::FirstTokens;
use crate::scenario::workload::plan::{Answer, Plan, Request, prefill, seconds};
use crate::scenario::workload::random::Random;

/// A session.
#[derive(Debug, Deserialize)]
pub(super) struct RecordedSession {
    id: String,
    pub(super) requests: Vec<RecordedRequest>,
}

/// A request.
#[derive(Debug, Deserialize)]
pub(super) struct RecordedRequest {
    /// From the begin of the session.
    #[serde(rename = "t", deserialize_with = "time")]
    at: Duration,
    model: String,
    #[serde(rename = "in")]
    context_tokens: u32,
    #[serde(rename = "out")]
    pub(super) generated_tokens: u32,
    #[serde(default)]
    input_types: Vec<String>,
    #[serde(default)]
    output_types: Vec<String>,
    #[serde(default)]
    stop: String,
    /// From the request to the end of its answer.
    #[serde(default, deserialize_with = "time_or_none")]
    api_time: Option<Duration>,
    /// From the end of the answer before.
    #[serde(default, deserialize_with = "time_or_none")]
    pub(super) think_time: Option<Duration>,
    /// From the request to its first token.
    #[serde(default, deserialize_with = "time_or_none")]
    pub(super) ttft: Option<Duration>,
}

impl RecordedSession {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        if !line.starts_with('{') {
            return Err("not an agent session: no JSON object".to_owned());
        }
        let session: Self = serde_json::from_str(line).map_err(|error| what_is_wrong(&error))?;
        match () {
            () if session.id.is_empty() => Err("a session without an id".to_owned()),
            () if session.requests.is_empty() => Err("a session without requests".to_owned()),
            () => Ok(session),
        }
    }

    /// Plans the session's work, begun at `arrival`.
    pub(super) fn plan(self, arrival: Duration, first_tokens: &FirstTokens, random: &mut Random) -> Plan {
        // Each model's name once, however many requests name it.
        let mut models: Vec<Arc<str>> = Vec::new();
        let mut answered = Duration::ZERO;
        let mut requests = Vec::with_capacity(self.requests.len());
        for recorded in &self.requests {
            let known = models.iter().find(|model| ***model == *recorded.model).cloned();
            let model = known.unwrap_or_else(|| {
                let model: Arc<str> = Arc::from(&*recorded.model);
                models.push(Arc::clone(&model));
                model
            });
            let first_token = recorded.ttft.or_else(|| first_tokens.draw(random));
            requests.push(Request {
                pause: recorded.think_time.unwrap_or_else(|| recorded.at.saturating_sub(answered)),
                model,
                has_tool_result: recorded.input_types.iter().any(|part| part == "tool_result"),
                context_tokens: recorded.context_tokens,
                first_token: first_token.unwrap_or_else(|| prefill(recorded.context_tokens)),
                generated_tokens: recorded.generated_tokens,
                answer: recorded.answer(),
                finish: recorded.finish(),
            });
            answered = recorded.at + recorded.api_time.unwrap_or_default();
        }
        let model = models.into_iter().next().unwrap_or_else(|| Arc::from(""));
        Plan { name: self.id, model, arrival, requests }
    }
}

impl RecordedRequest {
    fn answer(&self) -> Answer {
        let has = |part: &str| self.output_types.iter().any(|output| output == part);
        Answer {
            has_thinking: has("thinking"),
            has_text: has("text"),
            // Of a streamed answer the trace names the text only, and that it stopped for a tool.
            has_tool_use: has("tool_use") || self.stop == "tool_use",
        }
    }

    fn finish(&self) -> Option<&'static str> {
        match self.stop.as_str() {
            "" => None,
            "tool_use" => Some("tool_calls"),
            "max_tokens" => Some("length"),
            _ => Some("stop"),
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let number = f64::deserialize(deserializer)?;
    seconds(number).ok_or_else(|| de::Error::custom(format!("not a time: {number}")))
}

fn time_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    let time = number.map(|number| seconds(number).ok_or_else(|| de::Error::custom(format!("not a time: {number}"))));
    time.transpose()
}

/// The line is the file's, which only the caller knows: the parser's own place is of use for its column.
fn what_is_wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("not an agent session: {what}, column {}", error.column())
}
