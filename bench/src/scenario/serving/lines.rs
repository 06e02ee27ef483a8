//! A file of JSON lines that is synced for all that has come meanwhile, and a channel to a follower: what stands in the
//! place of a bus where there is none.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use super::join;
use super::load::{Load, arrived};
use crate::harness::Outcome;
use crate::harness::latencies::Latencies;

/// Tokens that wait for the thread that writes, and for the follower.
const WAITING: usize = 65_536;

/// Follows the load to its end.
pub(super) fn measure(runtime: &Runtime, directory: &Path, load: &Load) -> Outcome<Latencies> {
    let (to_writer, tokens) = sync_channel::<String>(WAITING);
    let (to_follower, follower) = broadcast::channel(WAITING);
    let follower = runtime.spawn(follow(follower));
    let file = File::create(directory.join("tokens.jsonl"))?;
    let writer = std::thread::spawn(move || write(file, &tokens, &to_follower));
    load.run(|_, text| Ok(to_writer.send(text.to_owned())?))?;
    drop(to_writer);
    writer.join().unwrap_or_else(|_| Err("the writing thread panicked".into()))?;
    join(runtime, follower)
}

fn write(mut file: File, tokens: &Receiver<String>, to_follower: &broadcast::Sender<String>) -> Outcome<()> {
    let mut lines = Vec::new();
    while let Ok(first) = tokens.recv() {
        let group: Vec<_> = std::iter::once(first).chain(tokens.try_iter()).collect();
        lines.clear();
        for token in &group {
            writeln!(lines, "{token}")?;
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        for token in group {
            to_follower.send(token)?;
        }
    }
    Ok(())
}

async fn follow(mut tokens: broadcast::Receiver<String>) -> Outcome<Latencies> {
    let mut latencies = Latencies::new()?;
    loop {
        match tokens.recv().await {
            Ok(token) => arrived(token.as_bytes(), &mut latencies)?,
            Err(broadcast::error::RecvError::Closed) => return Ok(latencies),
            Err(lagged) => return Err(lagged.into()),
        }
    }
}
