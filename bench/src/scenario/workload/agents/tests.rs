use serde_json::{Value, json};

use super::*;
use crate::scenario::workload::plan::{Answer, Request, prefill};
use crate::scenario::workload::testing::{Written, real_trace};

/// Two sessions. The second request of the first has no pause of its own.
fn text() -> String {
    let request = |t: f64, more: Value| -> Value {
        let mut request = json!({ "t": t, "type": "n", "model": "large", "in": 100, "out": 5 });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let first = json!({ "id": "one", "models": ["large"], "requests": [
        request(0.0, json!({ "output_types": ["text", "thinking"], "stop": "end_turn", "api_time": 4.0, "ttft": 1.5 })),
        request(9.0, json!({ "output_types": ["text"], "stop": "tool_use", "input_types": ["tool_result"], "out": 7 })),
        request(30.0, json!({ "think_time": 2.5, "model": "small", "stop": "" })),
    ]});
    let other = json!({ "id": "other", "requests": [request(0.0, json!({ "out": 0 }))] });
    format!("{first}\n\n{other}\n")
}

fn opened(text: &str, seed: u64) -> (Written, Outcome<AgentTrace>) {
    let written = Written::new("agents.jsonl", text);
    let trace = AgentTrace::open(written.lines(), seed);
    (written, trace)
}

#[test]
fn a_session_becomes_a_plan() {
    let (_written, trace) = opened(&text(), 1);
    let mut trace = trace.unwrap();
    assert_eq!(trace.contents(), Contents { sessions: 2, requests: 4, tokens: 17, first_tokens: 1, pauses: 1 });
    let plan = trace.next().unwrap();
    assert_eq!((&*plan.name, &*plan.model, plan.arrival), ("one", "large", Duration::ZERO));
    let of = |number: fn(&Request) -> u32| -> Vec<u32> { plan.requests.iter().map(number).collect() };
    assert_eq!(of(|request| request.generated_tokens), [5, 7, 5]);
    assert_eq!(of(|request| u32::from(request.has_tool_result)), [0, 1, 0]);
    // Nine seconds less the four of the answer before; as the trace says.
    assert_eq!(of(|request| request.pause.as_millis() as u32), [0, 5000, 2500]);
    // The trace's own, twice drawn from the only one there is.
    assert_eq!(of(|request| request.first_token.as_millis() as u32), [1500, 1500, 1500]);
    let [first, second, third] = &plan.requests[..] else { panic!("three requests") };
    assert_eq!(first.answer, Answer { has_thinking: true, has_text: true, has_tool_use: false });
    assert_eq!(second.answer, Answer { has_thinking: false, has_text: true, has_tool_use: true });
    assert_eq!((first.finish, second.finish, third.finish), (Some("stop"), Some("tool_calls"), None));
    assert_eq!((&*second.model, &*third.model), ("large", "small"));
}

#[test]
fn the_trace_repeats_under_other_names_and_never_goes_back() {
    let (_written, trace) = opened(&text(), 1);
    let mut trace = trace.unwrap();
    let plans: Vec<Plan> = (0..5).map(|_| trace.next().unwrap()).collect();
    let names: Vec<&str> = plans.iter().map(|plan| &*plan.name).collect();
    assert_eq!(names, ["one", "other", "one-2", "other-2", "one-3"]);
    assert!(plans.is_sorted_by(|one, next| one.arrival < next.arrival));
}

#[test]
fn the_seed_decides_what_is_drawn() {
    let arrivals = |seed| -> Vec<Duration> {
        let (_written, trace) = opened(&text(), seed);
        let mut trace = trace.unwrap();
        (0..1000).map(|_| trace.next().unwrap().arrival).collect()
    };
    assert_eq!(arrivals(5), arrivals(5));
    assert_ne!(arrivals(5), arrivals(6));
    let mean = arrivals(5)[999].as_secs_f64() / 999.0;
    assert!((mean / GAP_MEAN.as_secs_f64() - 1.0).abs() < 0.15, "seed 5: a mean gap of {mean} s");
}

#[test]
fn without_any_time_to_first_token_the_prompt_decides() {
    let (_written, trace) = opened(r#"{"id":"a","requests":[{"t":0,"model":"m","in":9000,"out":1}]}"#, 1);
    assert_eq!(trace.unwrap().next().unwrap().requests[0].first_token, prefill(9000));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    for (line, what) in [
        ("{", "not an agent session: EOF while parsing an object"),
        (r#"["a",[]]"#, "not an agent session: no JSON object"),
        (r#"{"id":"a"}"#, "not an agent session: missing field `requests`"),
        (r#"{"id":"","requests":[]}"#, "a session without an id"),
        (r#"{"id":"a","requests":[]}"#, "a session without requests"),
        (r#"{"id":"a","requests":[{"t":-1.0,"model":"m","in":1,"out":1}]}"#, "not an agent session: not a time: -1"),
        (
            r#"{"id":"a","requests":[{"t":0,"model":"m","in":1,"out":-1}]}"#,
            "not an agent session: invalid value: integer `-1`, expected u32",
        ),
    ] {
        let (_written, trace) = opened(&format!("{}{line}\n", text()), 1);
        let error = trace.unwrap_err().to_string();
        assert!(error.contains(&format!("agents.jsonl:4: {what}")), "{error}");
    }
}

#[test]
fn an_even_sample_of_times_is_kept() {
    let seed = 3;
    let (mut random, mut first_tokens) = (Random::new(seed), FirstTokens::default());
    assert_eq!(first_tokens.draw(&mut random), None);
    (0..100_000).for_each(|millis| first_tokens.offer(Duration::from_millis(millis), &mut random));
    let drawn = (0..10_000).filter_map(|_| first_tokens.draw(&mut random));
    let mean = drawn.map(|time| time.as_secs_f64()).sum::<f64>() / 10_000.0;
    assert!((mean / 50.0 - 1.0).abs() < 0.05, "seed {seed}: a mean of {mean} s");
}

#[test]
fn the_published_trace_is_read() {
    let Some(path) = real_trace("agent_sessions.jsonl") else { return };
    let trace = AgentTrace::open(Lines::open(&path).unwrap(), 1).unwrap();
    let expected = Contents { sessions: 529, requests: 29_652, tokens: 12_759_268, first_tokens: 3307, pauses: 29_549 };
    assert_eq!(trace.contents(), expected);
}
