//! Daemons: every event that one asks for is processed, and its outputs are in the log once, whatever ends the daemon.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::capability::{CapabilitySet, RequiredCapability};
use tapeline::daemon::{
    Daemon, DaemonControl, DaemonError, DaemonHealth, DaemonOptions, DaemonRefused, DaemonResult, EndReason, Output,
    SetAside,
};
use tapeline::event::{Kind, SessionMetadata};
use tapeline::{EventBus, StoredEvent, SubscribeRequest, kinds, require};
use tapeline_testing::{Random, seed};

use crate::scratch::{Scratch, open};

const GRACE: Duration = Duration::from_secs(60);

/// Repeats each token with its number: how many there were before it.
#[derive(Default)]
struct Echo {
    count: u64,
    refuses: Option<&'static [u8]>,
    panics: bool,
    /// Spaces after each 16th answer.
    padding: usize,
    requirements: Vec<RequiredCapability>,
    calls: Arc<AtomicU64>,
}

impl Daemon for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn requirements(&self) -> Vec<RequiredCapability> {
        self.requirements.clone()
    }

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::parse(["software.echo=1"]).expect("tags")
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.refuses.is_some_and(|refused| event.raw == *refused) {
            assert!(!self.panics, "on purpose");
            return Err("refused on purpose".into());
        }
        let mut text = format!("{}:{}", self.count, event.raw_str()?);
        self.count += 1;
        if self.count.is_multiple_of(16) {
            text.push_str(&" ".repeat(self.padding));
        }
        Ok(vec![Output::new(kinds::GUARDRAIL, text)])
    }

    fn control(&mut self, control: &DaemonControl) -> DaemonResult {
        match control {
            DaemonControl::Message(text) => Ok(vec![Output::new(kinds::RETRY, text.as_bytes())]),
            _ => Ok(Vec::new()),
        }
    }

    fn health(&self) -> DaemonHealth {
        DaemonHealth::Degraded { reason: "an echo".into() }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(self.count.to_le_bytes().to_vec())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DaemonError> {
        self.count = u64::from_le_bytes(state.try_into()?);
        Ok(())
    }
}

fn ingest(bus: &EventBus, tokens: std::ops::Range<u64>, sessions: u64) {
    let mut producer = bus.producer().expect("a producer");
    for number in tokens {
        let session = producer.session(&*format!("chat-{}", number % sessions));
        producer.emit(session, kinds::TOKEN, number.to_string().as_bytes()).expect("emits");
    }
    block_on(producer.flush()).expect("durable");
}

/// The daemon's events of a kind, in order.
fn outputs(bus: &EventBus, kind: Kind) -> Vec<String> {
    let events = block_on(bus.replay("echo")).expect("replays").map(|event| event.expect("an event"));
    events.filter(|event| event.kind == kind).map(|event| event.raw.to_string()).collect()
}

/// Checks that each token was processed once, those of each session in order, and that no state was lost.
fn check(outputs: &[String], tokens: u64, sessions: u64) {
    let mut next = BTreeMap::new();
    for (at, output) in outputs.iter().enumerate() {
        let (count, token) = output.split_once(':').expect("count and token");
        assert_eq!(count.parse(), Ok(at), "the state goes on");
        let token: u64 = token.trim_end().parse().expect("a token");
        let expected = next.entry(token % sessions).or_insert(token % sessions);
        assert_eq!(token, *expected, "skipped, repeated or out of order");
        *expected += sessions;
    }
    assert_eq!(outputs.len() as u64, tokens);
}

#[test]
fn restarts_skip_and_repeat_nothing() {
    let mut random = Random::new(seed());
    let scratch = Scratch::in_memory("daemon-restarts");
    let mut tokens = 0;
    for _ in 0..6 {
        let bus = open(scratch.config().num_shards(2));
        for _ in 0..3 {
            let more = random.below(3000) as u64;
            let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new()).expect("starts");
            ingest(&bus, tokens..tokens + more, 5);
            tokens += more;
            let end = daemon.stop().join();
            assert_eq!(end.reason, EndReason::Stopped);
        }
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config().num_shards(2));
    let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new()).expect("starts");
    assert_eq!(daemon.drain(GRACE).join().reason, EndReason::Drained);
    check(&outputs(&bus, kinds::GUARDRAIL), tokens, 5);
    let found = block_on(bus.sessions_where(require!("software.echo=1"))).expect("sessions");
    assert_eq!(found.iter().map(|session| session.name.as_deref()).collect::<Vec<_>>(), [Some("echo")]);
}

/// A crash leaves a block or nothing of it, and so a group or nothing.
#[test]
fn outputs_lie_in_one_block_with_the_checkpoint_that_follows_them() {
    // Without a group, the outputs of a large event and the checkpoint would lie in several blocks.
    for bytes in [0, 80_000] {
        let scratch = Scratch::in_memory("daemon-blocks");
        let bus = open(scratch.config().num_shards(2));
        let daemon = bus.start_daemon(Threefold(bytes), DaemonOptions::new()).expect("starts");
        for round in 0..20 {
            ingest(&bus, round * 4..(round + 1) * 4, 3);
        }
        let end = daemon.drain(GRACE).join();
        block_on(bus.shutdown()).expect("ends");
        // In memory a bus keeps recent events without regard to blocks.
        let bus = open(scratch.config().num_shards(2));
        let mut blocks = block_on(bus.subscribe(SubscribeRequest::new().session("threefold"))).expect("subscribes");
        let (mut outputs, mut checkpoints) = (0, 0);
        while let Some(block) = blocks.try_next_batch() {
            let block = block.expect("a block");
            let kinds: Vec<_> = block.events().map(|event| event.expect("an event").kind()).collect();
            let of_block = kinds.iter().filter(|kind| **kind == kinds::GUARDRAIL).count() as u64;
            assert!(of_block.is_multiple_of(3), "the outputs of an event lie in two blocks: {kinds:?}");
            outputs += of_block;
            checkpoints += kinds.iter().filter(|kind| **kind == kinds::DAEMON).count() as u64;
            assert!(kinds.is_empty() || kinds == [kinds::SESSION] || kinds.ends_with(&[kinds::DAEMON]), "{kinds:?}");
        }
        assert_eq!((outputs, checkpoints), (240, end.stats.counts.checkpoints));
        assert!(checkpoints > 1, "there were several groups");
    }
}

/// Answers each token with three outputs of so many bytes.
struct Threefold(usize);

impl Daemon for Threefold {
    fn name(&self) -> &str {
        "threefold"
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN)
    }

    fn process(&mut self, _: &StoredEvent) -> DaemonResult {
        Ok(vec![Output::new(kinds::GUARDRAIL, vec![b'x'; self.0]); 3])
    }
}

#[test]
fn restarts_in_memory_skip_and_repeat_nothing() {
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    for round in 0..4 {
        ingest(&bus, round * 100..(round + 1) * 100, 4);
        let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new()).expect("starts");
        // A grace period beyond all clocks does not end.
        assert_eq!(daemon.drain(Duration::MAX).join().reason, EndReason::Drained);
    }
    check(&outputs(&bus, kinds::GUARDRAIL), 400, 4);
}

#[test]
fn bus_that_ends_takes_nothing_from_a_daemon() {
    let scratch = Scratch::in_memory("daemon-bus-ends");
    let mut tokens = 0;
    for _ in 0..5 {
        let bus = open(scratch.config());
        let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new()).expect("starts");
        ingest(&bus, tokens..tokens + 500, 3);
        tokens += 500;
        block_on(bus.shutdown()).expect("ends");
        assert_eq!(daemon.join().reason, EndReason::BusEnded);
    }
    let bus = open(scratch.config());
    let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new()).expect("starts");
    assert_eq!(daemon.drain(GRACE).join().reason, EndReason::Drained);
    check(&outputs(&bus, kinds::GUARDRAIL), tokens, 3);
}

#[test]
fn event_that_fails_is_set_aside_and_named() {
    for panics in [false, true] {
        let bus = open(tapeline::EventBusConfig::builder());
        ingest(&bus, 0..10, 1);
        let calls = Arc::default();
        let echo = Echo { refuses: Some(b"4"), panics, calls: Arc::clone(&calls), ..Echo::default() };
        let daemon = bus.start_daemon(echo, DaemonOptions::new().tries(2)).expect("starts");
        let end = daemon.drain(GRACE).join();
        assert!(end.is_clean() && end.reason == EndReason::Drained);
        assert_eq!((end.stats.counts.events, end.stats.counts.outputs, end.stats.counts.set_aside), (10, 9, 1));
        assert_eq!((end.stats.counts.failures, end.stats.counts.panics), if panics { (0, 2) } else { (2, 0) });
        assert_eq!(calls.load(Ordering::Relaxed), 11, "the others are not tried again");
        let tokens: Vec<_> = outputs(&bus, kinds::GUARDRAIL);
        assert_eq!(tokens.iter().map(|text| &text[2..]).collect::<String>(), "012356789");
        let notes: Vec<_> =
            outputs(&bus, kinds::DAEMON).iter().filter_map(|note| SetAside::parse(note.as_bytes())).collect();
        let [note] = &notes[..] else { panic!("{notes:?}") };
        let refused = block_on(bus.replay("chat-0")).expect("replays").flatten().nth(4).expect("the token");
        assert_eq!((&note.event, note.tries), (&refused.id.to_string(), 2));
        assert!(note.error.contains("on purpose"), "{note:?}");
    }
}

/// Writes an output of each kind that others write, and then one of its own.
struct Forger(Arc<AtomicU64>);

impl Daemon for Forger {
    fn name(&self) -> &str {
        "echo"
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        let forged = [kinds::DAEMON, kinds::SESSION, kinds::GAP, kinds::CURSOR, Kind(u16::MAX)];
        let kind = forged.get(self.0.fetch_add(1, Ordering::Relaxed) as usize).copied().unwrap_or(kinds::GUARDRAIL);
        Ok(vec![Output::new(kinds::GUARDRAIL, event.raw.to_vec()), Output::new(kind, *b"{}")])
    }
}

#[test]
fn outputs_of_kinds_that_others_write_are_errors() {
    let bus = open(tapeline::EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    producer.emit(producer.session("chat"), kinds::TOKEN, b"x").expect("emits");
    block_on(producer.flush()).expect("readable");
    let calls = Arc::default();
    let daemon = bus.start_daemon(Forger(Arc::clone(&calls)), DaemonOptions::new().tries(5)).expect("starts");
    let end = daemon.drain(GRACE).join();
    assert_eq!((end.reason, end.stats.counts.failures, end.stats.counts.outputs), (EndReason::Drained, 5, 0));
    let notes = outputs(&bus, kinds::DAEMON);
    let aside: Vec<_> = notes.iter().filter_map(|note| SetAside::parse(note.as_bytes())).collect();
    assert!(aside.len() == 1 && aside[0].error.contains("an output of kind 65535, which the bus writes"), "{aside:?}");
    // It goes on: what it wrote beside is not written either, but with the next event.
    producer.emit(producer.session("chat"), kinds::TOKEN, b"y").expect("emits");
    block_on(producer.flush()).expect("readable");
    let daemon = bus.start_daemon(Forger(calls), DaemonOptions::new()).expect("starts");
    let end = daemon.drain(GRACE).join();
    assert_eq!((end.stats.counts.failures, end.stats.counts.outputs), (0, 2));
    assert_eq!(outputs(&bus, kinds::GUARDRAIL), ["y", "{}"]);
}

#[test]
fn only_events_of_sources_that_meet_the_requirements_are_processed() {
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    for (name, model) in [("a", "llama-7b"), ("b", "mistral"), ("c", "llama-7b")] {
        let session = producer.open_session_with(name, &SessionMetadata::new().model(model)).expect("opens");
        producer.emit(session, kinds::TOKEN, name.as_bytes()).expect("emits");
    }
    block_on(producer.flush()).expect("readable");
    let echo = Echo { requirements: vec![require!("software.model=llama-7b")], ..Echo::default() };
    let daemon = bus.start_daemon(echo, DaemonOptions::new()).expect("starts");
    let _ = daemon.drain(GRACE).join();
    let mut tokens: Vec<_> = outputs(&bus, kinds::GUARDRAIL).iter().map(|text| text[2..].to_owned()).collect();
    tokens.sort();
    assert_eq!(tokens, ["a", "c"]);
}

#[test]
fn daemon_follows_a_log_that_another_writes() {
    let (inputs, written) = (Scratch::in_memory("daemon-followed"), Scratch::in_memory("daemon-follows"));
    let engine = open(inputs.config().num_shards(2));
    let options = || DaemonOptions::new().follow(inputs.path());
    let mut tokens = 0;
    for _ in 0..4 {
        let bus = open(written.config());
        let daemon = bus.start_daemon(Echo::default(), options()).expect("starts");
        ingest(&engine, tokens..tokens + 700, 4);
        tokens += 700;
        let _ = daemon.stop().join();
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(written.config());
    let daemon = bus.start_daemon(Echo::default(), options()).expect("starts");
    assert_eq!(daemon.drain(GRACE).join().reason, EndReason::Drained);
    check(&outputs(&bus, kinds::GUARDRAIL), tokens, 4);
}

#[test]
fn daemon_ends_with_the_log_that_it_follows() {
    let (inputs, written) = (Scratch::new("daemon-removed"), Scratch::in_memory("daemon-left"));
    let path = inputs.path().join("log");
    let engine = open(tapeline::EventBusConfig::builder().directory(&path).num_shards(2));
    ingest(&engine, 0..100, 4);
    let bus = open(written.config());
    let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new().follow(&path)).expect("starts");
    while daemon.stats().counts.events < 100 {
        std::thread::yield_now();
    }
    block_on(engine.shutdown()).expect("ends");
    std::fs::rename(&path, inputs.path().join("elsewhere")).expect("moves");
    let end = daemon.join();
    assert_eq!(end.reason, EndReason::BusEnded);
    check(&outputs(&bus, kinds::GUARDRAIL), 100, 4);
}

#[test]
fn daemons_on_shards_read_their_shards() {
    let bus = open(tapeline::EventBusConfig::builder().num_shards(2));
    ingest(&bus, 0..400, 8);
    struct Named(Echo, String);
    impl Daemon for Named {
        fn name(&self) -> &str {
            &self.1
        }
        fn inputs(&self) -> SubscribeRequest {
            self.0.inputs()
        }
        fn process(&mut self, event: &StoredEvent) -> DaemonResult {
            self.0.process(event)
        }
    }
    let start = |shard: u16| {
        let daemon = Named(Echo::default(), format!("echo-{shard}"));
        bus.start_daemon_on(shard, daemon, DaemonOptions::new()).expect("starts")
    };
    let ends = [start(0), start(1)].map(|daemon| daemon.drain(GRACE).join());
    assert_eq!(ends.iter().map(|end| end.stats.counts.events).sum::<u64>(), 400);
    assert!(ends.iter().all(|end| end.reason == EndReason::Drained && end.stats.counts.events > 0), "{ends:?}");
    assert!(bus.start_daemon_on(2, Echo::default(), DaemonOptions::new()).is_err());
}

#[test]
fn owner_and_daemon_hear_each_other() {
    let bus = open(tapeline::EventBusConfig::builder());
    ingest(&bus, 0..3, 1);
    let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new()).expect("starts");
    let again = bus.start_daemon(Echo::default(), DaemonOptions::new());
    assert!(matches!(again, Err(DaemonRefused::Running { .. })), "{again:?}");
    daemon.control(DaemonControl::Message("hello".into()));
    let end = daemon.drain(GRACE).join();
    assert_eq!(end.stats.health, DaemonHealth::Degraded { reason: "an echo".into() });
    assert_eq!(outputs(&bus, kinds::RETRY), ["hello"]);
    assert_eq!(bus.daemons(), [end.stats]);
    let metrics = bus.prometheus();
    for line in ["tapeline_daemon_events_total{daemon=\"echo\"} 3\n", "tapeline_daemon_running{daemon=\"echo\"} 0\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    for name in ["", "a b", "../a", ".a", &"x".repeat(129)] {
        struct Named(String);
        impl Daemon for Named {
            fn name(&self) -> &str {
                &self.0
            }
            fn process(&mut self, _: &StoredEvent) -> DaemonResult {
                Ok(Vec::new())
            }
        }
        let refused = bus.start_daemon(Named(name.to_owned()), DaemonOptions::new());
        assert!(matches!(refused, Err(DaemonRefused::Name { .. })), "{refused:?}");
    }
}

#[test]
fn daemons_read_each_other_and_not_themselves() {
    struct Relay(&'static str, &'static str);
    impl Daemon for Relay {
        fn name(&self) -> &str {
            self.0
        }
        fn process(&mut self, event: &StoredEvent) -> DaemonResult {
            // A daemon that answered its own outputs would never come to an end.
            let text = format!("{}>{}", event.raw_str()?, self.1);
            Ok(if event.kind == kinds::SESSION { vec![] } else { vec![Output::new(kinds::AGENT_MESSAGE, text)] })
        }
    }
    let bus = open(tapeline::EventBusConfig::builder());
    ingest(&bus, 0..2, 1);
    let first = bus.start_daemon(Relay("first", "1"), DaemonOptions::new()).expect("starts").drain(GRACE).join();
    let second = bus.start_daemon(Relay("second", "2"), DaemonOptions::new()).expect("starts").drain(GRACE).join();
    assert_eq!((first.stats.counts.outputs, second.stats.counts.outputs), (2, 4));
    let texts = block_on(bus.replay("second")).expect("replays").flatten();
    let texts: Vec<_> =
        texts.filter(|event| event.kind == kinds::AGENT_MESSAGE).map(|event| event.raw.to_string()).collect();
    assert_eq!(texts.len(), 4);
    assert!(texts.contains(&"0>1>2".to_owned()) && texts.contains(&"1>2".to_owned()), "{texts:?}");
}

const DIRECTORY: &str = "TAPELINE_DAEMON_DIRECTORY";

/// The process that is killed: its daemon repeats what its producer ingests.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let bus = open(tapeline::EventBusConfig::builder().directory(&directory).segment_bytes(2 << 20).num_shards(2));
    let ingested = ["chat-0", "chat-1", "chat-2"].map(|name| {
        let tokens = block_on(bus.replay(name)).expect("replays").flatten().filter(|event| event.kind == kinds::TOKEN);
        tokens.count() as u64
    });
    // Blocks that are full of a few outputs: without a group its parts would lie in several.
    let echo = Echo { padding: 120_000, ..Echo::default() };
    let daemon = bus.start_daemon(echo, DaemonOptions::new()).expect("starts");
    let mut producer = bus.producer().expect("a producer");
    for round in 0.. {
        for (session, before) in ingested.iter().enumerate() {
            let number = (before + round) * 3 + session as u64;
            let chat = producer.session(&*format!("chat-{session}"));
            while producer.emit(chat, kinds::TOKEN, number.to_string().as_bytes()).is_err() {
                std::thread::yield_now();
            }
        }
        if round % 50 == 49 {
            block_on(producer.flush()).expect("durable");
            println!("checkpoints {}", daemon.stats().counts.checkpoints);
        }
    }
}

/// Starts a test of this program as a process, which prints how many checkpoints there are, with a directory in a
/// variable of its environment, and kills it somewhere after so many.
pub(crate) fn kill_after_checkpoints(child: &str, (variable, directory): (&str, &Path), checkpoints: u64) {
    use std::io::{BufRead, BufReader};
    let mut command = std::process::Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", child, "--nocapture", "--test-threads=1"]).env(variable, directory);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    let reports = lines.filter_map(|line| line.strip_prefix("checkpoints ").and_then(|text| text.parse::<u64>().ok()));
    let reached = reports.into_iter().any(|reached| reached > checkpoints);
    child.kill().expect("kills");
    child.wait().expect("ends");
    assert!(reached, "the child ended by itself before {checkpoints} checkpoints");
}

#[test]
fn killed_daemon_skips_and_repeats_nothing() {
    let rounds = tapeline_testing::asked("TAPELINE_DAEMON_KILLS").unwrap_or(6);
    let scratch = Scratch::new("daemon-kill");
    for round in 0..rounds {
        kill_after_checkpoints("daemons::child", (DIRECTORY, scratch.path()), round * 7919 % 13);
        // As the crash has left it: each token at most once, in order.
        let bus = open(scratch.config().segment_bytes(2 << 20).num_shards(2));
        let found = outputs(&bus, kinds::GUARDRAIL);
        check(&found, found.len() as u64, 3);
    }
    let bus = open(scratch.config().segment_bytes(2 << 20).num_shards(2));
    let daemon = bus.start_daemon(Echo::default(), DaemonOptions::new()).expect("starts");
    assert_eq!(daemon.drain(GRACE).join().reason, EndReason::Drained);
    let tokens = (0..3).map(|session| {
        block_on(bus.replay(&*format!("chat-{session}")))
            .expect("replays")
            .flatten()
            .filter(|event| event.kind == kinds::TOKEN)
            .count() as u64
    });
    check(&outputs(&bus, kinds::GUARDRAIL), tokens.sum(), 3);
}
