//! The process whose power is cut, seen from inside (`child`) and from outside ([`Victim`]). It says on its standard
//! output, line by line:
//!
//! ```text
//! opening
//! durable <0 or 1> <number>   of that session, all events with smaller numbers are acknowledged
//! closing
//! closed                      it was quicker than the cut
//! unopened <error>            the bus could not be opened any more
//! poisoned <errno> <error>    nothing could be written any more
//! ```

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use futures_lite::future::block_on;
use tapeline::config::Driver;
use tapeline::log::Poison;
use tapeline::{AdapterError, EventBus, IngestionError, Producer, Session, Ticket, kinds};

use super::{PATIENCE, Random, config, payload};

const DIRECTORY: &str = "TAPELINE_POWER_DIRECTORY";
const ORDERS: &str = "TAPELINE_POWER_ORDERS";

/// The orders to the process.
#[derive(Debug, PartialEq)]
pub(super) struct Orders {
    /// Names its sessions.
    pub(super) round: u64,
    /// Events from one flush to the next.
    pub(super) flush_every: u64,
    /// Events from the start to the end.
    pub(super) close_after: u64,
    /// True if the blocking driver writes the blocks.
    pub(super) is_blocking: bool,
    /// At level `PageCache` instead of `Durable`.
    pub(super) is_cached: bool,
}

/// Events of a process that never comes to its end.
const ENDLESS: u64 = 1_000_000;

impl Orders {
    pub(super) fn draw(round: u64, is_cached: bool, random: &mut Random) -> Self {
        Self {
            round,
            flush_every: [3, 50, 1000, ENDLESS][random.below(4)],
            close_after: [1 + random.below(4000), ENDLESS, ENDLESS][random.below(3)],
            is_blocking: random.below(4) == 0,
            is_cached,
        }
    }

    /// Returns whether the process comes to its end, if nothing kills it.
    pub(super) fn closes(&self) -> bool {
        self.close_after < ENDLESS
    }

    fn to_text(&self) -> String {
        let [blocking, cached] = [self.is_blocking, self.is_cached].map(u8::from);
        format!("{} {} {} {blocking} {cached}", self.round, self.flush_every, self.close_after)
    }

    fn of_text(text: &str) -> Self {
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [round, flush_every, close_after, blocking, cached] = numbers[..] else { panic!("orders: {text}") };
        Self { round, flush_every, close_after, is_blocking: blocking == 1, is_cached: cached == 1 }
    }
}

#[test]
fn orders_arrive_as_given() {
    let orders = Orders { round: 1, flush_every: 2, close_after: 3, is_blocking: true, is_cached: false };
    assert_eq!(Orders::of_text(&orders.to_text()), orders);
}

/// The process: ingests into two sessions until it has done enough, or cannot.
#[test]
fn child() {
    let (Ok(directory), Ok(orders)) = (std::env::var(DIRECTORY), std::env::var(ORDERS)) else { return };
    let orders = Orders::of_text(&orders);
    let driver = if orders.is_blocking { Driver::Blocking } else { Driver::Auto };
    // The test harness has begun a line.
    say("\nopening");
    let config = config(Path::new(&directory), orders.is_cached);
    let config = config.driver(driver).build().expect("configuration");
    let bus = match block_on(EventBus::new(config)) {
        Ok(bus) => bus,
        Err(error) => return say(&format!("unopened {error}")),
    };
    let poison = ingest(&bus, &orders).err();
    if poison.is_some() {
        read_back(&bus, &orders);
    } else {
        say("closing");
    }
    match (block_on(bus.shutdown()), poison) {
        (Ok(()), None) => {
            (0..2).for_each(|at| say(&format!("durable {at} {}", orders.close_after)));
            say("closed");
        }
        (Err(AdapterError::Poisoned(poison)), _) => {
            say(&format!("poisoned {} {poison}", poison.errno.unwrap_or_default()));
        }
        (ended, poison) => panic!("ended with {ended:?} after {poison:?}"),
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("prints");
}

/// Ingests until it is enough, or the log is poisoned. Flushes acknowledge, and between them tickets.
fn ingest(bus: &EventBus, orders: &Orders) -> Result<(), Poison> {
    let mut producer = bus.producer().expect("producer");
    let sessions = ["a", "b"].map(|name| producer.session(&format!("{}-{name}", orders.round)));
    let mut tickets = VecDeque::new();
    for number in 0..orders.close_after {
        let at = number as usize % 2;
        let ticket = emit(&mut producer, sessions[at], &payload(number))?;
        if number % 31 == 0 {
            tickets.push_back((at, number, ticket));
        }
        while tickets.front().is_some_and(|(.., ticket)| producer.is_durable(*ticket))
            && let Some((at, number, _)) = tickets.pop_front()
        {
            say(&format!("durable {at} {}", number + 1));
        }
        if (number + 1) % orders.flush_every == 0 {
            match block_on(producer.flush()) {
                Ok(()) => (0..2).for_each(|at| say(&format!("durable {at} {}", number + 1))),
                Err(AdapterError::Poisoned(poison)) => return Err(*poison),
                Err(other) => panic!("{other}"),
            }
        }
    }
    Ok(())
}

fn emit(producer: &mut Producer, session: Session, payload: &[u8]) -> Result<Ticket, Poison> {
    loop {
        match producer.emit(session, kinds::TOKEN, payload) {
            Ok(ticket) => return Ok(ticket),
            Err(IngestionError::Backpressure { .. }) => std::thread::yield_now(),
            Err(IngestionError::Poisoned(poison)) => return Err(*poison),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Reading without a disk gives events in order, or errors, and no signal.
fn read_back(bus: &EventBus, orders: &Orders) {
    for (first, name) in [(0, "a"), (1, "b")] {
        let mut next = first;
        let replay = block_on(bus.replay(&format!("{}-{name}", orders.round))).expect("begins");
        for event in replay.map_while(Result::ok) {
            assert_eq!(event.raw[..8], u64::to_le_bytes(next), "read back out of order");
            next += 2;
        }
    }
}

/// The process from outside. Dropping it kills it.
pub(super) struct Victim {
    child: Child,
    lines: Receiver<String>,
    acknowledged: [u64; 2],
    last_words: String,
}

impl Victim {
    pub(super) fn start(directory: &Path, orders: &Orders) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args(["--exact", "power::victim::child", "--nocapture", "--test-threads=1"]);
        command.env(DIRECTORY, directory).env(ORDERS, orders.to_text());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let output = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, acknowledged: [0; 2], last_words: String::new() }
    }

    /// Of each session, the number that all acknowledged events are below.
    pub(super) fn acknowledged(&self) -> [u64; 2] {
        self.acknowledged
    }

    /// Its last words, other than acknowledgements.
    pub(super) fn last_words(&self) -> &str {
        &self.last_words
    }

    /// Takes in what it says, until `heard` holds.
    pub(super) fn listen_until(&mut self, heard: impl Fn(&Self) -> bool) {
        while !heard(self) {
            assert!(self.listen(), "the process ended early, saying: {}", self.last_words);
        }
    }

    /// Takes in what it still says. It must end by itself, having closed the log or reported clearly why it cannot.
    /// Returns what it had acknowledged.
    pub(super) fn end(mut self) -> [u64; 2] {
        while self.listen() {}
        let status = self.child.wait().expect("ends");
        println!("    {}", self.last_words);
        assert!(status.success(), "the process: {status}");
        let words = &self.last_words;
        // EIO; EROFS is what a journal that has stopped says.
        let is_clear = [libc::EIO, libc::EROFS].iter().any(|errno| {
            let unopened = words.starts_with("unopened ") && words.contains(&format!("(os error {errno})"));
            unopened || words.starts_with(&format!("poisoned {errno} "))
        });
        assert!(is_clear || words == "closed", "no clear error");
        self.acknowledged
    }

    /// Takes in a line. Returns whether there was one.
    fn listen(&mut self) -> bool {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("the process hangs, having said: {}", self.last_words),
        };
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["durable", at, number] => {
                let acknowledged = &mut self.acknowledged[at.parse::<usize>().expect("a session")];
                *acknowledged = number.parse::<u64>().expect("a number").max(*acknowledged);
            }
            ["opening" | "closing" | "closed"] | ["unopened" | "poisoned", ..] => self.last_words = line,
            // Of the test harness.
            _ => {}
        }
        true
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
