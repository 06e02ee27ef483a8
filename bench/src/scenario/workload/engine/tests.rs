use std::collections::BTreeMap;

use serde_json::{Value, json};
use tapeline::kinds;

use super::*;
use crate::scenario::workload::random::Random;
use crate::scenario::workload::testing::Written;

/// Longer than any step: five times the mean, twenty standard deviations away.
const LONG_STEP: Duration = Duration::from_millis(125);

/// An event, at the engine's time.
#[derive(Debug, Clone, PartialEq)]
struct Emitted {
    at: Duration,
    kind: Kind,
    payload: Value,
}

/// Keeps everything, by session.
#[derive(Debug, Default)]
struct Kept {
    now: Duration,
    names: Vec<String>,
    events: BTreeMap<usize, Vec<Emitted>>,
}

impl Sink for Kept {
    type Session = usize;

    fn session(&mut self, name: &str) -> usize {
        self.names.push(name.to_owned());
        self.names.len() - 1
    }

    fn emit(&mut self, session: usize, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Outcome<()> {
        let mut payload = Vec::new();
        write(&mut payload);
        let payload = serde_json::from_slice(&payload).map_err(|error| format!("no JSON: {error}"))?;
        self.events.entry(session).or_default().push(Emitted { at: self.now, kind, payload });
        Ok(())
    }
}

/// Runs sessions to their end.
fn run(text: &str, seed: u64, sessions: u64) -> Kept {
    let written = Written::new("trace", text);
    let source = Source::open(Some(written.path()), seed).unwrap();
    let mut engine = Engine::new(source, seed, sessions).unwrap();
    let mut kept = Kept::default();
    while !engine.is_over() {
        kept.now = engine.now();
        engine.step(&mut kept).unwrap();
        assert!(engine.live() <= LIVE_MAX && engine.running.len() <= RUNNING_MAX);
        assert!(engine.now() > kept.now, "time passes");
    }
    assert_eq!(engine.sessions(), sessions);
    kept
}

/// Random agent sessions: what is in them, and the lines of their trace.
fn agents(seed: u64) -> (Vec<Value>, String) {
    let mut random = Random::new(seed);
    let mut sessions = Vec::new();
    for number in 0..40 {
        let mut requests = Vec::new();
        for at in 0..=random.below(6) {
            let outputs: Vec<&str> =
                ["text", "thinking", "tool_use"].into_iter().filter(|_| random.below(2) == 0).collect();
            let mut request = json!({
                "t": at * 1000, "type": "n", "model": format!("model-{}", random.below(3)), "in": random.below(100_000),
                "out": random.below(60), "input_types": [if random.below(2) == 0 { "text" } else { "tool_result" }],
                "output_types": outputs, "stop": "end_turn", "think_time": random.below(4000) as f64 / 100.0,
            });
            if random.below(3) == 0 {
                request["ttft"] = json!(random.below(500) as f64 / 100.0);
            }
            requests.push(request);
        }
        sessions.push(json!({ "id": format!("session-{number}"), "requests": requests }));
    }
    let text = sessions.iter().map(|session| format!("{session}\n")).collect();
    (sessions, text)
}

/// The events of one session, to be taken one after the other.
struct Heard<'a>(std::slice::Iter<'a, Emitted>);

impl<'a> Heard<'a> {
    fn next(&mut self) -> &'a Emitted {
        self.0.next().unwrap()
    }

    fn said(&mut self, kind: Kind, name: &str) -> &'a Emitted {
        let event = self.next();
        assert!(event.kind == kind && event.payload["type"] == name, "{event:?} instead of {name}");
        event
    }

    /// Checks a request and its answer, which follows one that was over at a time. Returns when it was over.
    fn answered(&mut self, request: &Value, before: Duration) -> Duration {
        if request["input_types"][0] == "tool_result" {
            self.said(kinds::TOOL_CALL, "tool_result");
        }
        let asked = self.said(kinds::AGENT_MESSAGE, "request");
        assert_eq!(asked.payload["model"], request["model"]);
        check_wait("pause", asked.at - before, &request["think_time"]);
        let tokens = request["out"].as_u64().unwrap();
        let answer: Vec<&Emitted> = (0..tokens).map(|_| self.next()).collect();
        assert!(answer.iter().all(|token| token.kind == kinds::TOKEN && token.payload["model"] == request["model"]));
        assert!(answer.is_sorted_by(|one, next| one.at < next.at && next.at < one.at + LONG_STEP), "a token a step");
        if let Some(first) = answer.first() {
            check_wait("first token", first.at - asked.at, &request["ttft"]);
        }
        if request["output_types"].as_array().unwrap().contains(&"tool_use".into()) {
            self.said(kinds::TOOL_CALL, "tool_call");
        }
        let response = self.said(kinds::AGENT_MESSAGE, "response");
        assert_eq!(response.payload["usage"]["completion_tokens"], tokens);
        assert!(answer.last().is_none_or(|last| last.at == response.at), "the answer is over with its last token");
        response.at
    }
}

/// A time that the trace states, if it does, is kept to the next step.
fn check_wait(what: &str, waited: Duration, stated: &Value) {
    let Some(stated) = stated.as_f64().map(Duration::from_secs_f64) else { return };
    assert!(waited >= stated && waited < stated + LONG_STEP, "{what}: {waited:?} for {stated:?}");
}

#[test]
fn sessions_say_what_their_trace_says_in_its_order_and_at_its_pace() {
    for seed in 0..5 {
        println!("seed {seed}");
        let (sessions, text) = agents(seed);
        let kept = run(&text, seed, sessions.len() as u64);
        assert_eq!(kept.names.len(), sessions.len());
        for (number, session) in sessions.iter().enumerate() {
            assert_eq!(session["id"], *kept.names[number]);
            let mut heard = Heard(kept.events[&number].iter());
            let requests = session["requests"].as_array().unwrap();
            let opened = heard.said(kinds::SESSION, "session.open");
            assert_eq!(opened.payload["name"], session["id"]);
            assert_eq!(opened.payload["model"], requests[0]["model"]);
            let over = requests.iter().fold(opened.at, |over, request| heard.answered(request, over));
            let closed = heard.said(kinds::SESSION, "session.close");
            let tokens: u64 = requests.iter().filter_map(|request| request["out"].as_u64()).sum();
            assert_eq!((&closed.payload["tokens"], closed.at), (&tokens.into(), over));
            assert_eq!(heard.0.next(), None);
        }
    }
}

#[test]
fn the_seed_decides_everything() {
    let (_, text) = agents(9);
    let one = run(&text, 9, 60);
    assert_eq!(run(&text, 9, 60).events, one.events);
    assert_ne!(run(&text, 10, 60).events, one.events);
}

#[test]
fn steps_are_gamma_distributed_around_their_mean() {
    let header = "TIMESTAMP,ContextTokens,GeneratedTokens";
    let kept = run(&format!("{header}\n2023-11-16 18:15:46,1,20001\n"), 4, 1);
    let times: Vec<f64> =
        kept.events[&0].iter().filter(|event| event.kind == kinds::TOKEN).map(|event| event.at.as_secs_f64()).collect();
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.05, "{found} for {expected}");
    assert_eq!(gaps.len(), 20_000);
    near(mean, STEP.as_secs_f64());
    near(variance, mean * mean / STEP_SHAPE);
}

#[test]
fn a_crowd_waits_for_places_and_is_answered() {
    const CROWD: usize = 3000;
    let arrivals = "2023-11-16 18:15:46,600,3\n".repeat(CROWD);
    let kept = run(&format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{arrivals}"), 1, CROWD as u64);
    assert_eq!(kept.events.len(), CROWD);
    let mut streaming = BTreeMap::<Duration, usize>::new();
    for events in kept.events.values() {
        let tokens = events.iter().filter(|event| event.kind == kinds::TOKEN);
        assert_eq!(tokens.map(|token| *streaming.entry(token.at).or_default() += 1).count(), 3);
    }
    assert_eq!(streaming.values().max(), Some(&RUNNING_MAX), "those that run get their tokens together");
}
