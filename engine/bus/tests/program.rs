//! Programs of `daemon_main!`: arguments, signals, exit statuses, the file of metrics.
//!
//! This test has no harness: started with `CHILD` in its environment it is such a program, which takes the arguments of
//! its command line; else it runs the tests whose names have its first argument in them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test has no better answer")]

use std::io::{BufRead, BufReader, Lines, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::daemon::{Daemon, DaemonProgram, DaemonResult, Output, SetAside};
use tapeline::{EventBus, EventBusConfig, LogFiles, StoredEvent, SubscribeRequest, kinds};
use tapeline_testing::Scratch;

const CHILD: &str = "TAPELINE_DAEMON_PROGRAM";

/// The value that has the program run beside the threads of tokio.
const TOKIO: &str = "tokio";

/// Repeats tokens, and says on its standard output which one it processes. Some tokens are orders.
struct Echo;

impl Daemon for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        println!("{}", event.raw);
        match event.raw_str()? {
            "block" => loop {
                std::thread::park();
            },
            "slow" => std::thread::sleep(Duration::from_millis(100)),
            "fail" => return Err("on purpose".into()),
            _ => {}
        }
        Ok(vec![Output::new(kinds::GUARDRAIL, event.raw.to_vec())])
    }
}

fn daemon() -> ExitCode {
    tapeline::daemon_main! { daemon: Echo, config: DaemonProgram::new().grace(Duration::from_secs(60)) }
}

fn main() -> ExitCode {
    match std::env::var(CHILD).as_deref() {
        Ok(TOKIO) => {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            return runtime.block_on(async { tokio::task::spawn_blocking(daemon).await.expect("no panic") });
        }
        Ok(_) => return daemon(),
        Err(_) => {}
    }
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (name, test) in TESTS.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

const TESTS: [(&str, fn()); 12] = [
    ("signals_of_one_moment_are_one", signals_of_one_moment_are_one),
    ("signals_have_it_end_beside_threads_of_tokio", signals_have_it_end_beside_threads_of_tokio),
    ("either_signal_has_it_process_what_there_is", either_signal_has_it_process_what_there_is),
    ("ignored_signals_stay_ignored", ignored_signals_stay_ignored),
    ("second_signal_ends_it_at_once", second_signal_ends_it_at_once),
    ("grace_period_ends_it_and_the_next_start_does_the_rest", grace_period_ends_it_and_the_next_start_does_the_rest),
    ("event_in_hand_outlives_the_grace_period_for_a_while", event_in_hand_outlives_the_grace_period_for_a_while),
    ("logs_that_cannot_be_read_end_it_with_the_reason", logs_that_cannot_be_read_end_it_with_the_reason),
    ("paths_that_are_no_logs_end_it_with_the_reason", paths_that_are_no_logs_end_it_with_the_reason),
    ("wrong_arguments_are_explained", wrong_arguments_are_explained),
    ("event_is_tried_as_often_as_asked", event_is_tried_as_often_as_asked),
    ("metrics_are_in_the_file_whole", metrics_are_in_the_file_whole),
];

/// A program that runs, and what it says.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// The program, which does not inherit that signals are ignored: shells have what runs in the background ignore some.
fn command(log: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,TERM").arg(std::env::current_exe().expect("a path"));
    command.env(CHILD, "1").arg(log).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Running {
    fn start(log: &Path, arguments: &[&str]) -> Self {
        Self::spawn(command(log, arguments))
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        Self { child, lines }
    }

    /// Waits until it processes this token.
    fn wait_for(&mut self, token: &str) {
        let found = self.lines.by_ref().map_while(Result::ok).any(|line| line == token);
        assert!(found, "it ended before it processed {token:?}: {}", self.complaint());
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().expect("stderr").read_to_string(&mut text).expect("text");
        text
    }

    /// Its exit status, and what it said about it.
    fn end(mut self) -> (Option<i32>, String) {
        // It is not to wait for room in the pipe.
        self.lines.by_ref().for_each(drop);
        let complaint = self.complaint();
        let status: ExitStatus = self.child.wait().expect("ends");
        (status.code(), complaint)
    }
}

/// A log with these tokens.
fn log(name: &str, tokens: &[&str]) -> Scratch {
    let scratch = Scratch::new(name);
    ingest(scratch.path(), tokens);
    scratch
}

fn ingest(log: &Path, tokens: &[&str]) {
    let config = EventBusConfig::builder().directory(log).segment_bytes(4 << 20).build().expect("a configuration");
    let bus = block_on(EventBus::new(config)).expect("opens");
    let mut producer = bus.producer().expect("a producer");
    for token in tokens {
        producer.emit(producer.session("chat"), kinds::TOKEN, token.as_bytes()).expect("emits");
    }
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
}

/// The outputs of the daemon in its log.
fn outputs(log: &Path) -> Vec<String> {
    let events =
        LogFiles::open(log).expect("a log").replay("echo").expect("replays").map(|event| event.expect("event"));
    events.filter(|event| event.kind == kinds::GUARDRAIL).map(|event| event.raw.to_string()).collect()
}

fn either_signal_has_it_process_what_there_is() {
    for signal in ["-TERM", "-INT"] {
        let scratch = log("program-signal", &["a", "slow", "b", "c"]);
        let mut program = Running::start(scratch.path(), &[]);
        program.wait_for("a");
        program.signal(signal);
        let (status, complaint) = program.end();
        assert_eq!(status, Some(0), "{complaint}");
        assert!(complaint.contains("drained; events 4, outputs 4"), "{complaint}");
        assert_eq!(outputs(scratch.path()), ["a", "slow", "b", "c"]);
    }
}

fn signals_of_one_moment_are_one() {
    for _ in 0..3 {
        let scratch = log("program-moment", &["a", "slow", "slow", "b"]);
        let mut program = Running::start(scratch.path(), &[]);
        program.wait_for("a");
        let signals = "kill -TERM $0; kill -INT $0; kill -TERM $0; kill -INT $0";
        let sent = Command::new("sh").args(["-c", signals, &program.child.id().to_string()]).status().expect("sh");
        assert!(sent.success());
        let (status, complaint) = program.end();
        assert_eq!(status, Some(0), "{complaint}");
        assert_eq!(outputs(scratch.path()), ["a", "slow", "slow", "b"]);
    }
}

/// Those threads were there before the program held signals back.
fn signals_have_it_end_beside_threads_of_tokio() {
    let scratch = log("program-tokio", &["a", "slow", "b"]);
    let mut command = command(scratch.path(), &[]);
    command.env(CHILD, TOKIO);
    let mut program = Running::spawn(command);
    program.wait_for("a");
    program.signal("-TERM");
    let (status, complaint) = program.end();
    assert_eq!(status, Some(0), "{complaint}");
    assert_eq!(outputs(scratch.path()), ["a", "slow", "b"]);
}

fn ignored_signals_stay_ignored() {
    let scratch = log("program-ignored", &["a", "slow", "b"]);
    let mut shell = Command::new("sh");
    // As nohup and shells do for what runs in the background.
    shell.args(["-c", "trap '' INT; exec \"$0\" \"$1\""]);
    shell.arg(std::env::current_exe().expect("a path")).arg(scratch.path());
    shell.env(CHILD, "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Running::spawn(shell);
    program.wait_for("a");
    program.signal("-INT");
    program.wait_for("b");
    program.signal("-TERM");
    let (status, complaint) = program.end();
    assert_eq!(status, Some(0), "{complaint}");
    assert_eq!(outputs(scratch.path()), ["a", "slow", "b"]);
}

fn second_signal_ends_it_at_once() {
    let scratch = log("program-second", &["a", "block", "b"]);
    // Beyond all clocks.
    let mut program = Running::start(scratch.path(), &["--grace", "1e19"]);
    program.wait_for("block");
    program.signal("-TERM");
    // Two signals that are pending at once are one.
    while program.child.try_wait().expect("asks").is_none() {
        program.signal("-TERM");
        std::thread::yield_now();
    }
    let (status, complaint) = program.end();
    assert_eq!(status, Some(3), "{complaint}");
    assert!(complaint.contains("a second signal ends it with an event in hand"), "{complaint}");
    // Whatever was not checkpointed is processed after the next start.
    assert!(outputs(scratch.path()).iter().all(|output| output == "a"));
}

fn grace_period_ends_it_and_the_next_start_does_the_rest() {
    let tokens: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let mut all = Vec::new();
    tokens.iter().for_each(|token| all.extend([token.as_str(), "slow"]));
    let scratch = log("program-grace", &all);
    let mut program = Running::start(scratch.path(), &["--grace=0"]);
    program.wait_for("1");
    program.signal("-TERM");
    let (status, complaint) = program.end();
    assert_eq!(status, Some(3), "{complaint}");
    assert!(complaint.contains("the grace period was over before all was processed"), "{complaint}");
    let first = outputs(scratch.path());
    assert!((1..all.len()).contains(&first.len()), "{first:?}");
    let mut program = Running::start(scratch.path(), &[]);
    program.wait_for("19");
    program.signal("-TERM");
    assert_eq!(program.end().0, Some(0));
    assert_eq!(outputs(scratch.path()), all);
}

fn event_in_hand_outlives_the_grace_period_for_a_while() {
    let scratch = log("program-in-hand", &["a", "block"]);
    let mut program = Running::start(scratch.path(), &["--grace", "0.1"]);
    program.wait_for("block");
    program.signal("-INT");
    let (status, complaint) = program.end();
    assert_eq!(status, Some(3), "{complaint}");
    assert!(complaint.contains("the event in hand takes longer than the grace period of 100ms"), "{complaint}");
}

fn logs_that_cannot_be_read_end_it_with_the_reason() {
    let scratch = log("program-log", &["a"]);
    let config = EventBusConfig::builder().directory(scratch.path()).build().expect("a configuration");
    let engine = block_on(EventBus::new(config)).expect("opens");
    let (status, complaint) = Running::start(scratch.path(), &[]).end();
    assert_eq!(status, Some(1), "{complaint}");
    assert!(complaint.contains("name another one for the outputs: --outputs DIR"), "{complaint}");
    // So it does what it is told to.
    let written = Scratch::new("program-outputs");
    let directory = written.path().to_str().expect("text");
    let mut program = Running::start(scratch.path(), &["--outputs", directory]);
    program.wait_for("a");
    program.signal("-TERM");
    assert_eq!(program.end().0, Some(0));
    assert_eq!(outputs(written.path()), ["a"]);
    block_on(engine.shutdown()).expect("ends");

    let missing = scratch.path().join("missing");
    let (status, complaint) = Running::start(&missing, &[]).end();
    assert_eq!(status, Some(1), "{complaint}");
    assert!(complaint.contains("missing: there is no log to read") && !missing.exists(), "{complaint}");
    let (status, complaint) = Running::start(&missing, &["--outputs", directory]).end();
    assert_eq!(status, Some(1), "{complaint}");
    assert!(complaint.contains("missing: there is no log to read"), "it names the log: {complaint}");
}

/// Each path that is none is named with what is wrong with it, and nothing is written.
fn paths_that_are_no_logs_end_it_with_the_reason() {
    let (scratch, other) = (log("program-paths", &["a"]), log("program-other", &["b"]));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let file = scratch.path().with_extension("text");
    std::fs::write(&file, "no log").expect("writes");
    let empty = Scratch::new("program-empty");
    let papers = Scratch::new("program-papers");
    std::fs::write(papers.path().join("paper"), "no log").expect("writes");
    let outputs = Scratch::new("program-foreign");
    let mut program = Running::start(other.path(), &["--outputs", &text(outputs.path())]);
    program.wait_for("b");
    program.signal("-TERM");
    assert_eq!(program.end().0, Some(0));
    for (log, written, fault) in [
        (file.as_path(), None, "a directory, but a file"),
        (file.as_path(), Some(empty.path()), "a directory, but a file"),
        (scratch.path(), Some(file.as_path()), "a directory, but a file"),
        (empty.path(), None, "there is no log to read"),
        (papers.path(), None, "there is no log to read"),
        (scratch.path(), Some(papers.path()), "not a log, and not empty"),
        (scratch.path(), Some(scratch.path()), "leave the option out"),
        (scratch.path(), Some(outputs.path()), "written it from another log"),
        (outputs.path(), None, "written it from another log"),
    ] {
        let option = written.map(|written| ["--outputs".to_owned(), text(written)]);
        let arguments: Vec<_> = option.iter().flatten().map(String::as_str).collect();
        let (status, complaint) = Running::start(log, &arguments).end();
        assert_eq!(status, Some(1), "{complaint}");
        assert!(complaint.contains(fault) && !complaint.contains("os error"), "{complaint}");
        let named = written.filter(|_| fault != "a directory, but a file" || log != file).unwrap_or(log);
        assert!(complaint.contains(&text(named)), "it names {}: {complaint}", named.display());
        assert_eq!(std::fs::read_dir(empty.path()).expect("a directory").count(), 0, "nothing was written");
        assert_eq!(std::fs::read_dir(papers.path()).expect("a directory").count(), 1, "nothing was written");
    }
    std::fs::remove_file(&file).expect("removes");
}

fn wrong_arguments_are_explained() {
    let scratch = Scratch::new("program-arguments");
    for (arguments, fault) in
        [(vec!["--tries", "0"], "--tries"), (vec!["--what"], "--what"), (vec!["other"], "two logs")]
    {
        let (status, complaint) = Running::start(scratch.path(), &arguments).end();
        assert_eq!(status, Some(2), "{complaint}");
        assert!(complaint.contains(fault) && complaint.contains("usage: "), "{complaint}");
    }
    let mut help = Running::start(Path::new("--help"), &[]);
    let said: String = help.lines.by_ref().map_while(Result::ok).collect();
    assert!(said.contains("--metrics FILE") && said.contains("Exit status"), "{said}");
    assert_eq!(help.end().0, Some(0));
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a directory").count(), 0, "no log was made");
}

fn event_is_tried_as_often_as_asked() {
    let scratch = log("program-tries", &["a", "fail", "b"]);
    let mut program = Running::start(scratch.path(), &["--tries", "2"]);
    program.wait_for("fail");
    program.wait_for("fail");
    program.wait_for("b");
    program.signal("-TERM");
    let (status, complaint) = program.end();
    assert_eq!(status, Some(0), "{complaint}");
    assert!(complaint.contains("events 3, outputs 2, set aside 1, errors 2, panics 0"), "{complaint}");
    let files = LogFiles::open(scratch.path()).expect("a log");
    let notes = files.replay("echo").expect("replays").filter_map(|event| SetAside::parse(&event.expect("event").raw));
    assert_eq!(notes.map(|note| (note.tries, note.error)).collect::<Vec<_>>(), [(2, "on purpose".to_owned())]);
}

fn metrics_are_in_the_file_whole() {
    let scratch = log("program-metrics", &["a"]);
    let file = scratch.path().with_extension("prom");
    let mut program = Running::start(scratch.path(), &["--metrics", file.to_str().expect("text")]);
    program.wait_for("a");
    // Its reader never finds a part of it.
    let metrics = loop {
        match std::fs::read_to_string(&file) {
            Ok(metrics) if metrics.contains("tapeline_daemon_events_total{daemon=\"echo\"} 1") => break metrics,
            Ok(metrics) => assert!(metrics.ends_with('\n') && metrics.contains("tapeline_daemon"), "{metrics}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
        std::thread::yield_now();
    };
    assert!(metrics.contains("tapeline_daemon_saturation{daemon=\"echo\"}"), "{metrics}");
    program.signal("-TERM");
    assert_eq!(program.end().0, Some(0));
    let _ = std::fs::remove_file(&file);
}
