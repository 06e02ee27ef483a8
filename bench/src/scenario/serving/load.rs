//! The engine: a thread that emits a step of tokens, sleeps until the next one is due, and stamps each token.

use std::fmt::Write;
use std::time::{Duration, Instant};

use tapeline::event::SessionOutcome;
use tapeline::{EventBus, Producer, Session, kinds};

use crate::harness::Outcome;
use crate::harness::clock::ticks;
use crate::harness::latencies::Latencies;
use crate::harness::open_loop::WARM_UP;

/// The text in front of a token's time, and the digits of it.
const HEAD: &str = r#"{"at":"#;
const DIGITS: usize = 20;
const TAIL: &str = r#","text":""}"#;

/// The bytes of a payload that is asked to have `bytes`: it has room for a time at least.
pub(super) fn payload_bytes(bytes: usize) -> usize {
    bytes.max(HEAD.len() + DIGITS + TAIL.len())
}

/// The tokens of a round.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Events a second.
    pub(super) rate: f64,
    /// Events that come at once.
    pub(super) step: usize,
    pub(super) seconds: f64,
    pub(super) sessions: usize,
    /// Bytes of a payload.
    pub(super) payload: usize,
}

impl Load {
    /// Emits all of it, to one session after the other. Returns how many events each session got.
    pub(super) fn run(&self, mut emit: impl FnMut(usize, &str) -> Outcome<()>) -> Outcome<Vec<u64>> {
        let start = Instant::now();
        let steps = ((WARM_UP.as_secs_f64() + self.seconds) * self.rate / self.step as f64).ceil() as u64;
        let padding = "x".repeat(payload_bytes(self.payload) - payload_bytes(0));
        let (mut emitted, mut number, mut text) = (vec![0; self.sessions], 0, String::new());
        for step in 0..steps {
            let due = Duration::from_secs_f64(step as f64 * self.step as f64 / self.rate);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            // What comes first warms the way, and does not count.
            let counts = due >= WARM_UP;
            for _ in 0..self.step {
                let session = number % self.sessions;
                text.clear();
                let at = if counts { ticks() } else { 0 };
                write!(text, r#"{HEAD}{at:0DIGITS$},"text":"{padding}"}}"#)?;
                emit(session, &text)?;
                (emitted[session], number) = (emitted[session] + 1, number + 1);
            }
        }
        Ok(emitted)
    }

    /// Emits all of it on a bus, and closes the sessions.
    pub(super) fn run_on(&self, bus: &EventBus) -> Outcome<Vec<u64>> {
        let mut producer = bus.producer()?;
        let sessions = self.open(&mut producer)?;
        let emitted = self.run(|session, text| {
            let _ = producer.emit(sessions[session], kinds::TOKEN, text.as_bytes())?;
            Ok(())
        })?;
        for session in sessions {
            producer.close_session(session, SessionOutcome::Finished)?;
        }
        Ok(emitted)
    }

    fn open(&self, producer: &mut Producer) -> Outcome<Vec<Session>> {
        (0..self.sessions).map(|number| Ok(producer.open_session(&name(number))?)).collect()
    }
}

/// The name of a session.
pub(super) fn name(number: usize) -> String {
    format!("chat-{number}")
}

/// Counts a token that has arrived, and how long it took.
pub(super) fn arrived(token: &[u8], latencies: &mut Latencies) -> Outcome<()> {
    if let Some(taken) = taken(token)? {
        latencies.record(taken);
    }
    Ok(())
}

/// The time that a token took which has arrived, in ticks. `None`: it does not count.
pub(super) fn taken(token: &[u8]) -> Outcome<Option<u64>> {
    let now = ticks();
    let at = token.strip_prefix(HEAD.as_bytes()).and_then(|rest| rest.get(..DIGITS));
    let at = at.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
    let at = at.ok_or("a token without its time")?;
    Ok((at > 0).then(|| now.saturating_sub(at)))
}
