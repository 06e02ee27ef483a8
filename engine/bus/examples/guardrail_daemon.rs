//! A guardrail that is a program of its own: it follows the log of an engine, scans the answers of one model, and
//! writes verdicts that name the range that each covers. Killed in the middle, it scans the rest and repeats no
//! verdict.
//!
//! With arguments it is the daemon: `guardrail_daemon LOG --outputs DIR`. Without, it shows itself: an engine writes a
//! log, and the daemon is killed and started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use futures_lite::future::block_on;
use serde_json::{Value, json};
use tapeline::capability::{CapabilitySet, RequiredCapability};
use tapeline::daemon::{Daemon, DaemonError, DaemonResult, Output};
use tapeline::event::{SessionMetadata, SessionOutcome};
use tapeline::{EventBus, EventBusConfig, LogFiles, StoredEvent, SubscribeRequest, kinds, require};

/// Tokens of a session that one verdict covers, at most.
const RANGE: u64 = 16;
const SECRET: &str = "hunter2";
/// The time between two looks at what the daemon has written.
const LOOK: Duration = Duration::from_millis(20);

/// Of each session that is under way: the first token and the number of tokens without a verdict, and their text.
#[derive(Default)]
struct Guardrail {
    open: BTreeMap<String, (u64, u64, String)>,
}

impl Guardrail {
    fn verdict(&mut self, session: &str, to: u64) -> Vec<Output> {
        let Some((from, tokens, text)) = self.open.remove(session) else { return Vec::new() };
        let allowed = !text.contains(SECRET);
        let verdict = json!({ "session": session, "from": from, "to": to, "tokens": tokens, "allowed": allowed });
        vec![Output::new(kinds::GUARDRAIL, verdict.to_string())]
    }
}

impl Daemon for Guardrail {
    fn name(&self) -> &str {
        "guardrail"
    }

    fn requirements(&self) -> Vec<RequiredCapability> {
        vec![require!("software.model=llama-7b")]
    }

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::parse(["software.guardrail=1"]).unwrap_or_default()
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN).kind(kinds::SESSION)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        let (session, at) = (event.session.to_string(), event.sequence.get());
        if event.kind == kinds::SESSION {
            return Ok(self.verdict(&session, at));
        }
        let text = event.raw_str()?;
        let (_, tokens, scanned) = self.open.entry(session.clone()).or_insert_with(|| (at, 0, String::new()));
        *tokens += 1;
        scanned.push_str(text);
        Ok(if *tokens < RANGE { Vec::new() } else { self.verdict(&session, at + 1) })
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(json!(self.open).to_string().into_bytes())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DaemonError> {
        self.open = serde_json::from_slice(state)?;
        Ok(())
    }
}

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return tapeline::daemon_main! { daemon: Guardrail::default() };
    }
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Shown<T> = Result<T, Box<dyn std::error::Error>>;

fn show() -> Shown<()> {
    let directory = std::env::temp_dir().join(format!("tapeline-guardrail-{}", std::process::id()));
    let (log, verdicts) = (directory.join("engine"), directory.join("guardrail"));
    std::fs::create_dir_all(&directory)?;
    let bus = block_on(EventBus::new(EventBusConfig::builder().directory(&log).build()?))?;
    let mut engine = bus.producer()?;
    let answers = [("a", "llama-7b"), ("b", "mistral"), ("c", "llama-7b")];
    let answers = answers.map(|(name, model)| engine.open_session_with(name, &SessionMetadata::new().model(model)));
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;

    let (mut guardrail, mut before) = (start(&log, &verdicts)?, 0);
    for number in 0..3000 {
        let answer = answers[number % 3];
        let token = if number == 1500 { format!(" {SECRET}") } else { format!(" {number}") };
        engine.emit(answer, kinds::TOKEN, token.as_bytes())?;
        if number % 700 == 600 {
            block_on(engine.flush())?;
            // kill -9, at whatever point it is once it has written something more.
            while event_count(&verdicts) <= before {
                std::thread::sleep(LOOK);
            }
            guardrail.kill()?;
            guardrail.wait()?;
            before = event_count(&verdicts);
            guardrail = start(&log, &verdicts)?;
        }
    }
    for answer in &answers {
        engine.close_session(*answer, SessionOutcome::Finished)?;
    }
    block_on(engine.flush())?;
    // SIGTERM: it processes what there is, and ends. It must have begun to listen: its log is there then.
    while LogFiles::open(&verdicts).is_err() {
        std::thread::sleep(LOOK);
    }
    Command::new("kill").args(["-TERM", &guardrail.id().to_string()]).status()?;
    assert!(guardrail.wait()?.success(), "it ends as it was asked to");

    check(&log, &verdicts)?;
    drop(engine);
    block_on(bus.shutdown())?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Events that are durable in the daemon's log.
fn event_count(verdicts: &Path) -> u64 {
    let files = LogFiles::open(verdicts).ok();
    files.iter().flat_map(LogFiles::shards).map(|shard| shard.end.get()).sum()
}

fn start(log: &Path, outputs: &Path) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?).arg(log).arg("--outputs").arg(outputs).args(["--grace", "60"]).spawn()
}

/// Every token of the model is in the range of one verdict.
fn check(log: &Path, verdicts: &Path) -> Shown<()> {
    let mut scanned = BTreeMap::<String, Vec<Value>>::new();
    for event in LogFiles::open(verdicts)?.replay("guardrail")? {
        let event = event?;
        if event.kind == kinds::GUARDRAIL {
            let verdict = event.parse()?;
            scanned.entry(verdict["session"].as_str().unwrap_or_default().to_owned()).or_default().push(verdict);
        }
    }
    let engine = LogFiles::open(log)?;
    for (name, is_scanned) in [("a", true), ("b", false), ("c", true)] {
        let (mut tokens, mut id) = (Vec::new(), String::new());
        for event in engine.replay(name)? {
            let event = event?;
            id = event.session.to_string();
            tokens.extend((event.kind == kinds::TOKEN).then_some(event.sequence.get()));
        }
        let verdicts = scanned.remove(&id).unwrap_or_default();
        assert_eq!(!verdicts.is_empty(), is_scanned, "a requirement names the model");
        let mut left = &tokens[..if is_scanned { tokens.len() } else { 0 }];
        for verdict in &verdicts {
            let number = |field: &str| verdict[field].as_u64().unwrap_or_default();
            let (covered, rest) = left.split_at(number("tokens") as usize);
            assert_eq!(covered.first(), Some(&number("from")), "no token is unscanned, none is scanned twice");
            assert!(covered.last() < Some(&number("to")));
            left = rest;
        }
        assert!(left.is_empty());
        let refused = verdicts.iter().filter(|verdict| verdict["allowed"] == false).count();
        println!("{name}: {} tokens, {} verdicts, {refused} refused", tokens.len(), verdicts.len());
        assert_eq!(refused, usize::from(name == "a"));
    }
    Ok(())
}
