//! Running the program, and a directory that goes away.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A directory for one test.
pub(crate) struct Scratch(tapeline_testing::Scratch);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tapeline_testing::Scratch::new("cli"))
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A path in it, for an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8 path").to_owned()
    }

    /// A new file in it.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).expect("write a file");
        self.arg(name)
    }
}

/// The program with arguments, and no signal ignored: under `nohup` it would inherit that, and respect it.
pub(crate) fn tapeline(args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_tapeline")]);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("NO_COLOR");
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    tapeline(args).output().expect("the program starts")
}

/// Runs it to its end with this on standard input.
pub(crate) fn run_with(args: &[&str], input: &[u8]) -> Output {
    let mut child = tapeline(args).stdin(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Runs it, expects status 0, and returns standard output.
pub(crate) fn done(args: &[&str]) -> Vec<u8> {
    expect(run(args), 0).stdout
}

/// Records with small segments, expects status 0, and returns the summary.
pub(crate) fn record(args: &[&str]) -> Value {
    json(&done(&[&["record", "--json", "--segment-bytes", "2097152"], args].concat())).remove(0)
}

/// A log of 40,000 events of session `a`, the first block of which is damaged.
pub(crate) fn damaged_log(scratch: &Scratch) -> String {
    let log = scratch.arg("log");
    let file = scratch.file("a", "some line of text\n".repeat(40_000));
    record(&[&log, &file, "--format", "jsonl"]);
    let name = json(&done(&["info", &log, "--json"]))[0]["segments"][0]["file"].as_str().expect("text").to_owned();
    let segment = scratch.path("log/shard-0000").join(&name);
    let mut bytes = fs::read(&segment).expect("segment");
    bytes[4096 + 1000] ^= 1;
    fs::write(&segment, bytes).expect("segment");
    log
}

/// Checks the exit status.
pub(crate) fn expect(output: Output, status: i32) -> Output {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "stdout: {out:.2000}\nstderr: {err:.2000}");
    output
}

/// Standard error as text.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Objects, one a line.
pub(crate) fn json(lines: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(lines).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

/// `tapeline ls --json`: name of a session and its events.
pub(crate) fn listed(log: &str) -> Vec<(String, u64)> {
    let sessions = json(&done(&["ls", log, "--json"]));
    let entry = |session: &Value| {
        (session["session"].as_str().unwrap_or("-").to_owned(), session["events"].as_u64().expect("a number"))
    };
    sessions.iter().map(entry).collect()
}

/// Asks again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still waiting for {what}");
        std::thread::yield_now();
    }
}

/// A recording of standard input that goes on. Killed when dropped.
pub(crate) struct Recording(pub(crate) Child);

impl Recording {
    pub(crate) fn start(args: &[&str]) -> Self {
        let args = [&["record", "--json", "--segment-bytes", "2097152"], args].concat();
        Self(tapeline(&args).stdin(Stdio::piped()).spawn().expect("the program starts"))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.stdin.as_mut().expect("a pipe").write_all(bytes).expect("it reads");
    }

    /// Events of the session that others see in the log, where there is a log yet.
    pub(crate) fn seen(log: &str, session: &str) -> Option<u64> {
        let output = run(&["ls", log, "--json"]);
        let is_listed = |entry: &&Value| entry["session"] == session;
        let sessions = if output.status.success() { json(&output.stdout) } else { return None };
        sessions.iter().find(is_listed).and_then(|entry| entry["events"].as_u64())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
