//! Failures, as servers tell them in the midst of an answer: the one place that decides what a failure is.
//!
//! | what comes | is a failure |
//! |---|---|
//! | an event, or an object whose `type`, `event` or `object` is, `error`, `response.failed` or alike, in any case | always |
//! | `error`, `errors`, `last_error`, also of a `response`, a `delta` or a choice | unless it is `null`, `false`, 0 or empty |
//! | a reason to finish that is `error` | always |
//! | a field whose name ends in `Exception` | unless it is empty |
//! | `detail` alone, a status from 400 to 599, `code` and `message`, `"success": false`, a field of [`REFUSALS`] | where nothing is part of an answer |

use serde_json::{Map, Value, json};

use crate::convention;

/// Types of events and objects that say that the answer has failed.
const TYPES: [&str; 8] = [
    "error",
    "exception",
    "failed",
    "failure",
    "response.failed",
    "response.error",
    "stream-error",
    "thread.run.failed",
];

/// Fields that say the same by what they hold.
const ERRORS: [&str; 3] = ["error", "errors", "last_error"];

/// Fields that say it in an object which is no part of an answer.
const REFUSALS: [&str; 5] = ["exception", "fault", "error_code", "errorCode", "__type"];

/// Fields of an answer. An object with one of them may speak of a status, or give details, of something else.
const ANSWERS: [&str; 7] = ["choices", "candidates", "content", "text", "delta", "output", "response"];

/// Returns whether the type of an event says that the answer has failed.
pub(crate) fn is_type(event: &str) -> bool {
    TYPES.iter().any(|name| name.eq_ignore_ascii_case(event.trim()))
}

/// The error that an object reports, if it reports one.
pub(crate) fn of(object: &Map<String, Value>) -> Option<Value> {
    // A tool that failed is no answer that did.
    if convention::is_of_another_speaker(object) {
        return None;
    }
    let within = |name: &str| object.get(name).and_then(Value::as_object);
    let is_typed = ["type", "event", "object"].iter().any(|name| object.get(*name).is_some_and(is_named));
    stated(object)
        .or_else(|| within("response").and_then(stated))
        .or_else(|| within("delta").and_then(stated))
        .or_else(|| choices(object).find_map(|choice| stated(choice.as_object()?)))
        .cloned()
        .or_else(|| {
            (is_typed || ends_badly(object) || is_exception(object) || is_refusal(object)).then(|| as_error(object))
        })
}

/// An object as an error: its message is where clients look for it.
pub(crate) fn as_error(object: &Map<String, Value>) -> Value {
    let mut error = object.clone();
    if !error.get("message").is_some_and(Value::is_string) {
        let text = ["detail", "title", "errorText", "error_msg", "exception"]
            .into_iter()
            .find_map(|name| object.get(name)?.as_str());
        if let Some(text) = text {
            error.insert("message".to_owned(), json!(text));
        }
    }
    Value::Object(error)
}

/// The value of a field that states an error.
fn stated(object: &Map<String, Value>) -> Option<&Value> {
    ERRORS.iter().find_map(|name| object.get(*name).filter(|value| says_something(value)))
}

pub(crate) fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_so) => *is_so,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => list.iter().any(says_something),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn is_named(value: &Value) -> bool {
    value.as_str().is_some_and(is_type)
}

/// Returns whether an answer, or one of its choices, gives an error as the reason to finish.
fn ends_badly(object: &Map<String, Value>) -> bool {
    let is_bad = |reason: Option<&Value>| {
        reason.and_then(Value::as_str).is_some_and(|reason| reason.eq_ignore_ascii_case("error"))
    };
    is_bad(object.get("finish_reason"))
        || is_bad(object.get("delta").and_then(|delta| delta.get("finish_reason")))
        || choices(object).any(|choice| is_bad(choice.get("finish_reason")))
}

fn choices(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    object.get("choices").and_then(Value::as_array).into_iter().flatten()
}

fn is_exception(object: &Map<String, Value>) -> bool {
    object.iter().any(|(name, value)| name.ends_with("Exception") && says_something(value))
}

/// Returns whether an object is what servers send in place of an answer. One that says what it is, is that: a tool may
/// have failed, and the answer goes on.
fn is_refusal(object: &Map<String, Value>) -> bool {
    let is_address = |name: &Value| name.as_str().is_some_and(|name| name.contains(':'));
    let mut types = ["type", "event", "event_type", "kind", "object", "role", "tool"].into_iter();
    if ANSWERS.iter().any(|name| object.contains_key(*name))
        || types.any(|name| object.get(name).is_some_and(|name| !is_address(name)))
    {
        return false;
    }
    let field = |name: &str| object.get(name).filter(|value| says_something(value));
    let is_status = |value: &Value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.is_some_and(|number| (400..600).contains(&number)) || is_named(value)
    };
    let is_code = |value: &Value| value.as_str().is_some_and(|code| code.parse::<i64>().is_err() && !is_fine(code));
    let is_no = |name: &str| object.get(name) == Some(&Value::Bool(false));
    (field("detail").is_some() && object.len() == 1)
        || ["status", "status_code", "statusCode", "code"].into_iter().any(|name| field(name).is_some_and(is_status))
        || (field("message").is_some_and(Value::is_string) && field("code").is_some_and(is_code))
        || REFUSALS.iter().any(|name| field(name).is_some())
        || is_no("success")
        || is_no("ok")
}

fn is_fine(code: &str) -> bool {
    ["ok", "success"].iter().any(|fine| fine.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(json: &str) -> Option<Value> {
        let Ok(Value::Object(object)) = serde_json::from_str(json) else { panic!("no object: {json}") };
        of(&object)
    }

    #[test]
    fn failures_are_told_in_many_forms() {
        for json in [
            r#"{"error":{"message":"m"}}"#,
            r#"{"error":"m"}"#,
            r#"{"error":true}"#,
            r#"{"error":500}"#,
            r#"{"errors":[{"message":"m"}]}"#,
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
            r#"{"type":"Error","message":"m"}"#,
            r#"{"type":"error","errorText":"m"}"#,
            r#"{"event":"error","status":400,"message":"m"}"#,
            r#"{"object":"error","message":"m"}"#,
            r#"{"type":"response.failed","response":{"status":"failed"}}"#,
            r#"{"type":"response.done","response":{"error":{"code":"c"}}}"#,
            r#"{"object":"thread.run","last_error":{"code":"c"}}"#,
            r#"{"type":"message-end","delta":{"finish_reason":"ERROR"}}"#,
            r#"{"type":"message-end","delta":{"error":"m"}}"#,
            r#"{"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#,
            r#"{"internalServerException":{"message":"m"}}"#,
            r#"{"detail":"m"}"#,
            r#"{"detail":[{"loc":["body"],"msg":"m"}]}"#,
            r#"{"title":"Bad Gateway","status":502,"detail":"m"}"#,
            r#"{"statusCode":"503","message":"m"}"#,
            r#"{"code":"InvalidParameter","message":"m"}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop","error":{"code":502,"message":"m"}}]}"#,
            r#"{"error_code":110,"error_msg":"m"}"#,
            r#"{"fault":{"faultstring":"m"}}"#,
            r#"{"__type":"ThrottlingException","message":"m"}"#,
            r#"{"exception":"m"}"#,
            r#"{"success":false}"#,
            r#"{"status":"failed"}"#,
            r#"{"type":"about:blank","status":502}"#,
        ] {
            assert!(failure(json).is_some(), "{json}");
        }
    }

    #[test]
    fn what_only_looks_like_a_failure_is_none() {
        for json in [
            r#"{"error":null,"errors":[]}"#,
            r#"{"error":false}"#,
            r#"{"error":""}"#,
            r#"{"error":{}}"#,
            r#"{"error":0}"#,
            r#"{"errors":[null,""]}"#,
            r#"{"text":"a","detail":"high"}"#,
            r#"{"content":"a","code":500}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"type":"response.mcp_call.failed","item_id":"i"}"#,
            r#"{"type":"response.completed","response":{"error":null}}"#,
            r#"{"choices":[{"delta":{},"error":null}]}"#,
            r#"{"error_code":0,"error_msg":"success"}"#,
            r#"{"type":"tool_result","exception":"m"}"#,
            r#"{"code":0,"message":"success"}"#,
            r#"{"code":"OK","message":"m"}"#,
            r#"{"status":200}"#,
            r#"{"success":true}"#,
            r#"{"type":"tool_result","success":false}"#,
            r#"{"event":"tool","status":"error"}"#,
            r#"{"role":"tool","content":"","error":"not found"}"#,
            r#"{"role":"user","error":"what does it mean?"}"#,
        ] {
            assert_eq!(failure(json), None, "{json}");
        }
        assert!(is_type("Error") && is_type(" ERROR ") && !is_type("errors") && !is_type("message"));
    }

    #[test]
    fn messages_are_where_clients_look() {
        assert_eq!(failure(r#"{"detail":"m"}"#), Some(json!({ "detail": "m", "message": "m" })));
        assert_eq!(failure(r#"{"error":{"code":1}}"#), Some(json!({ "code": 1 })));
    }
}
