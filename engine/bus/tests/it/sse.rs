//! The example of a server: clients that lose their connections get each token once, in order, while the server is
//! killed and restarted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::thread;

use futures_lite::future::block_on;
use tapeline::kinds;
use tapeline::log::trim_log;
use tapeline::retention::RetentionPolicy;
use tapeline_testing::{Random, seeds};
use tokio::net::TcpListener;

use crate::scratch::{Scratch, open};

/// The server, as its users read it.
#[allow(dead_code, reason = "its own main is not called")]
#[path = "../../examples/sse_server.rs"]
mod sse_server;

const DIRECTORY: &str = "TAPELINE_SSE_DIRECTORY";

/// Clients, and the sessions that they share, in each life of the server.
const CLIENTS: usize = 100;
const SESSIONS: usize = 10;

/// Tokens of a whole answer.
const TOKENS: usize = 200;

/// The process that is killed: serves on a free port, which it prints.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let served = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("address {}", listener.local_addr().expect("an address"));
        sse_server::serve(Path::new(&directory), listener).await
    });
    served.expect("serves to its end");
}

/// The end of a life of the server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    /// By kill -9.
    Kill,
    /// By SIGTERM, which it answers.
    Terminate,
    /// Not while clients read.
    None,
}

/// A running server.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args(["--exact", "sse::child", "--nocapture", "--test-threads=1"]).env(DIRECTORY, directory);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = lines.find_map(|line| line.expect("text").split("address ").nth(1).map(str::to_owned));
        // What it prints later must not break it.
        thread::spawn(move || lines.count());
        Self { child, address: address.expect("says where it serves") }
    }

    fn end(&mut self, ending: Ending) {
        if ending == Ending::Kill {
            self.child.kill().expect("kills");
            self.child.wait().expect("ends");
            return;
        }
        let kill = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(kill.expect("runs").success());
        assert!(self.child.wait().expect("ends").success(), "it ends well");
    }

    fn restart(&mut self, ending: Ending, directory: &Path) {
        self.end(ending);
        *self = Self::start(directory);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where a test has failed; otherwise it has ended.
        let _ = self.child.kill();
    }
}

/// One event of a stream.
#[derive(Debug, Default, Clone, PartialEq)]
struct Frame {
    id: Option<String>,
    event: Option<String>,
    data: String,
}

/// The answer to a request.
struct Answer {
    status: u16,
    lines: BufReader<TcpStream>,
}

fn ask(address: &str, method: &str, session: &str, last: Option<&str>) -> std::io::Result<Answer> {
    let mut connection = TcpStream::connect(address)?;
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(connection, "{method} /sessions/{session} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{last}\r\n")?;
    let mut lines = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.expect("a status"), lines })
}

impl Answer {
    /// The next event. `None`: the body has ended, or the connection.
    fn next(&mut self) -> Option<Frame> {
        let mut frame = Frame::default();
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // Between the events lie the lengths of the body's chunks.
            match line.trim_end_matches(['\r', '\n']).split_once(": ") {
                Some(("id", id)) => frame.id = Some(id.to_owned()),
                Some(("event", event)) => frame.event = Some(event.to_owned()),
                Some(("data", data)) => frame.data = data.to_owned(),
                _ if line == "\n" && !frame.data.is_empty() => return Some(frame),
                _ => {}
            }
        }
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        self.lines.read_to_string(&mut text).expect("reads");
        text
    }
}

/// The server's address, and how often the server has been started.
#[derive(Default)]
struct Place {
    now: Mutex<(u64, String)>,
    moved: Condvar,
    received: Mutex<usize>,
    has_received: Condvar,
}

impl Place {
    fn is_at(&self, server: &Server) {
        let mut now = self.now.lock().expect("sound");
        *now = (now.0 + 1, server.address.clone());
        self.moved.notify_all();
    }

    /// The address of a start after `before`.
    fn after(&self, before: u64) -> (u64, String) {
        let now = self.now.lock().expect("sound");
        self.moved.wait_while(now, |now| now.0 <= before).expect("sound").clone()
    }

    fn starts(&self) -> u64 {
        self.now.lock().expect("sound").0
    }

    fn receive(&self) {
        let mut received = self.received.lock().expect("sound");
        *received = received.saturating_add(1);
        drop(received);
        self.has_received.notify_all();
    }

    fn received(&self) -> usize {
        *self.received.lock().expect("sound")
    }

    /// Waits until clients have received so many tokens.
    fn wait_for(&self, tokens: usize) {
        let received = self.received.lock().expect("sound");
        drop(self.has_received.wait_while(received, |received| *received < tokens).expect("sound"));
    }
}

/// A client that reads a session to its end, and loses its connection now and then: each token comes once, in order.
/// Returns how many it has.
fn read(place: &Place, session: &str, random: &mut Random) -> usize {
    let _alarm = Alarm(place);
    let (mut tokens, mut last) = (0, None::<String>);
    let (mut start, mut address) = place.after(0);
    loop {
        let answer = ask(&address, "GET", session, last.as_deref()).ok().filter(|answer| answer.status != 503);
        let Some(mut answer) = answer else {
            // It is down or about to end, and comes back elsewhere.
            (start, address) = place.after(start);
            continue;
        };
        assert!(answer.status == 200, "{}", answer.rest());
        for _ in 0..1 + random.below(40_u64) {
            let Some(frame) = answer.next() else { break };
            last = Some(frame.id.expect("every event has an id: there are no gaps"));
            match frame.event.as_deref() {
                Some("message") => {
                    let token: String = serde_json::from_str(&frame.data).expect("a text");
                    assert_eq!(token, token_text(tokens), "{session}");
                    tokens += 1;
                    place.receive();
                }
                Some("end") => return tokens,
                event => assert_eq!(event, Some("session")),
            }
        }
    }
}

/// A token of the example.
fn token_text(number: usize) -> String {
    format!("token {number}\r\n")
}

/// Has a client that fails end the wait for what it would have received.
struct Alarm<'a>(&'a Place);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let Self(place) = self;
        if thread::panicking() {
            *place.received.lock().expect("sound") = usize::MAX;
            place.has_received.notify_all();
        }
    }
}

/// Every client has what the log has of its session: a part of the answer where that was cut off, else all of it.
fn check(server: &Server, is_whole: bool, read: Vec<(String, usize)>) {
    let mut logged = BTreeMap::new();
    for (name, tokens) in read {
        let in_log = logged.entry(name.clone()).or_insert_with(|| {
            let mut answer = ask(&server.address, "GET", &name, None).expect("answers");
            let frames: Vec<_> = std::iter::from_fn(|| answer.next()).collect();
            assert_eq!(frames.last().and_then(|frame| frame.event.as_deref()), Some("end"), "the body ends with it");
            frames.iter().filter(|frame| frame.event.as_deref() == Some("message")).count()
        });
        assert!(*in_log == TOKENS || !is_whole, "{name} has {in_log} tokens");
        assert_eq!(tokens, *in_log, "a client of {name}");
    }
}

#[test]
fn clients_get_each_token_once_while_the_server_is_killed_and_restarted() {
    for seed in seeds(1) {
        let scratch = Scratch::new("sse-kill");
        let mut random = Random::new(seed);
        let place = Place::default();
        let mut server = Server::start(scratch.path());
        place.is_at(&server);
        for ending in [Ending::Kill, Ending::Terminate, Ending::Kill, Ending::None] {
            let names: Vec<_> =
                (0..SESSIONS).map(|number| format!("chat-{ending:?}-{number}-{}", place.starts())).collect();
            for name in &names {
                assert_eq!(ask(&server.address, "POST", name, None).expect("answers").status, 202);
            }
            let end_after = place.received() + random.below(CLIENTS * TOKENS / 2);
            let read = thread::scope(|scope| {
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|client| {
                        let (place, name, mut random) =
                            (&place, &names[client % SESSIONS], Random::new(random.next_u64()));
                        scope.spawn(move || (name.clone(), read(place, name, &mut random)))
                    })
                    .collect();
                if ending != Ending::None {
                    place.wait_for(end_after);
                    server.restart(ending, scratch.path());
                    place.is_at(&server);
                }
                clients.into_iter().map(|client| client.join().expect("a client")).collect::<Vec<_>>()
            });
            check(&server, ending == Ending::None, read);
        }
        server.end(Ending::Terminate);
    }
}

/// Fills segments, and removes the first ones. Returns a token of what is gone.
fn trimmed(scratch: &Scratch) -> String {
    let bus = open(scratch.config().segment_bytes(2 << 20));
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("trimmed").expect("opens");
    let token =
        block_on(bus.relay("trimmed", None)).expect("relays").try_next().expect("one").expect("an event").token();
    for _ in 0..64 {
        producer.emit(chat, kinds::TOKEN, &[7; 100_000]).expect("emits");
        block_on(producer.flush()).expect("durable");
    }
    drop((producer, bus));
    let plan = trim_log(scratch.path(), &RetentionPolicy::new().max_segments(1)).expect("trims");
    assert!(!plan.removed.is_empty());
    token.to_string()
}

#[test]
fn tokens_that_cannot_be_used_are_refused_with_a_status_of_their_own() {
    let scratch = Scratch::new("sse-refusals");
    let gone = trimmed(&scratch);
    let mut server = Server::start(scratch.path());
    let status = |session: &str, last: &str| ask(&server.address, "GET", session, Some(last)).expect("answers").status;
    assert_eq!(status("trimmed", &gone), 410);
    assert_eq!(status("another", &gone), 400, "of another session");
    assert_eq!(status("trimmed", "garbage"), 400);
    server.end(Ending::Terminate);
}
