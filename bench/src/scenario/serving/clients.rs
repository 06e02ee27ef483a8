//! Clients over loopback HTTP, on a thread of their own: each reads one session and looks at each token as it comes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use super::load::{arrived, name};
use crate::harness::Outcome;
use crate::harness::latencies::Latencies;

/// The start of the line of a token. Other events have other data.
const TOKEN: &str = r#"data: {"at":"#;
const FIELD: &str = "data: ";

/// Clients that are connected.
pub(super) struct Connected {
    sessions: usize,
    thread: JoinHandle<Outcome<(Latencies, Vec<u64>)>>,
}

/// Connects so many clients, each to one of the sessions.
pub(super) fn connect(address: SocketAddr, clients: u32, sessions: usize) -> Outcome<Connected> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let answers = runtime.block_on(async {
        let mut answers = Vec::new();
        for client in 0..clients {
            answers.push(ask(address, &name(client as usize % sessions)).await?);
        }
        Outcome::Ok(answers)
    })?;
    let thread = std::thread::spawn(move || runtime.block_on(read_all(answers)));
    Ok(Connected { sessions, thread })
}

impl Connected {
    /// Waits for their ends. `emitted`: how many tokens each session had.
    pub(super) fn finish(self, emitted: &[u64]) -> Outcome<Latencies> {
        let (latencies, seen) = self.thread.join().unwrap_or_else(|_| Err("the clients' thread panicked".into()))?;
        for (client, seen) in seen.into_iter().enumerate() {
            let expected = emitted[client % self.sessions];
            if seen != expected {
                return Err(format!("client {client} got {seen} of {expected} tokens").into());
            }
        }
        Ok(latencies)
    }
}

type Answer = Lines<BufReader<TcpStream>>;

/// Asks for a session, and reads the head of the answer.
async fn ask(address: SocketAddr, session: &str) -> Outcome<Answer> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /sessions/{session} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(connection).lines();
    let status = lines.next_line().await?.unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        return Err(format!("the server answered {status}").into());
    }
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    Ok(lines)
}

/// Reads all answers to their ends: all latencies, and how many tokens each client got.
async fn read_all(answers: Vec<Answer>) -> Outcome<(Latencies, Vec<u64>)> {
    let latencies = Arc::new(Mutex::new(Latencies::new()?));
    let read_one = |answer| tokio::spawn(read(answer, Arc::clone(&latencies)));
    let readers: Vec<_> = answers.into_iter().map(read_one).collect();
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await??);
    }
    let all = latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((all, seen))
}

/// Reads an answer to its end. Returns how many tokens it had.
async fn read(mut answer: Answer, latencies: Arc<Mutex<Latencies>>) -> Outcome<u64> {
    let mut seen = 0;
    while let Some(line) = answer.next_line().await? {
        if line.starts_with(TOKEN) {
            arrived(&line.as_bytes()[FIELD.len()..], &mut latencies.lock().unwrap_or_else(PoisonError::into_inner))?;
            seen += 1;
        }
    }
    Ok(seen)
}
