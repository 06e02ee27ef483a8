//! Clients that resume by tokens against a plain model: over random operations, restarts and crashes of a simulated
//! machine, a client that sees what a crash may take ends up with exactly what the log holds of its session, and got a
//! gap for every event that it saw and that a crash took.

use futures_lite::future::block_on;
use tapeline_reader::{ConsumerError, GapReason, Replay, ReplayRequest, ResumeToken, SessionId};
use tapeline_storage::read::Visibility;

use super::*;
use crate::live::{Relay, RelayRequest, Standing};

/// A client of one session.
struct Client {
    session: SessionId,
    visibility: Visibility,
    /// The contents: shard, sequence, payload.
    seen: Vec<(u16, u64, Vec<u8>)>,
    last: Option<ResumeToken>,
    gaps: usize,
}

impl Client {
    fn request(&self) -> RelayRequest {
        RelayRequest { after: self.last, ..RelayRequest::new(self.session).visibility(self.visibility) }
    }

    /// Connects, reads some events, and breaks off.
    fn read(&mut self, machine: &Machine, limit: u64, seed: u64) {
        let mut relay = match block_on(Relay::begin(Arc::clone(&machine.core), &self.request(), Standing::Open)) {
            Ok(relay) => relay,
            Err(_) if !machine.disk.is_on() => return,
            Err(error) => panic!("seed {seed}: {:?}: {error}", self.last),
        };
        for _ in 0..limit {
            match relay.try_next() {
                Some(Ok(event)) => {
                    let place = (event.shard_id, event.sequence.get());
                    assert!(self.seen.iter().all(|seen| (seen.0, seen.1) != place), "seed {seed}: {} twice", event.id);
                    self.seen.push((place.0, place.1, event.raw.to_vec()));
                    self.last = Some(event.token());
                }
                Some(Err(ConsumerError::Gap(gap))) => {
                    assert_eq!(gap.reason, GapReason::LostInCrash, "seed {seed}: {gap}");
                    let (from, to) = (gap.from.get(), gap.to.get());
                    let is_lost = |seen: &(u16, u64, _)| seen.0 == gap.shard_id && seen.1 >= from;
                    assert!(
                        self.seen.iter().filter(|seen| is_lost(seen)).all(|seen| seen.1 < to),
                        "seed {seed}: {gap}"
                    );
                    self.seen.retain(|seen| !is_lost(seen));
                    self.gaps += 1;
                }
                Some(Err(_)) if !machine.disk.is_on() => return,
                Some(Err(error)) => panic!("seed {seed}: {error}"),
                None => return,
            }
        }
    }
}

fn run(seed: u64) -> (usize, usize) {
    let mut random = Random::new(seed);
    let shards = 1 + random.below(3) as u16;
    let disk = SimDisk::new(seed, Faults::default());
    let mut clients = Vec::new();
    let mut openings = Openings { disk, seed, shards, count: 1 + random.below(5) };
    for opening in 0..openings.count {
        let Some(mut machine) = openings.start(opening, &mut random) else { continue };
        for _ in 0..random.below(200) {
            if clients.is_empty() {
                clients = begin(&machine);
            }
            match random.below(3) {
                0 if !clients.is_empty() => {
                    let at = random.below(clients.len() as u64) as usize;
                    clients[at].read(&machine, random.below(40), seed);
                }
                _ => machine.step(&mut random),
            }
            if !machine.disk.is_on() {
                break;
            }
        }
        openings.end(opening, &mut machine, &mut random);
        if openings.is_last(opening) {
            clients.iter_mut().for_each(|client| client.read(&machine, u64::MAX, seed));
            clients.iter().for_each(|client| compare(seed, &machine, client));
        }
    }
    let seen = clients.iter().map(|client| client.seen.len()).sum();
    (seen, clients.iter().map(|client| client.gaps).sum())
}

/// Clients of the sessions that have events.
fn begin(machine: &Machine) -> Vec<Client> {
    let views = machine.core.shards().views().collect();
    let events = Replay::new(LOG, views, &ReplayRequest::new()).expect("replays").flatten();
    let sessions: std::collections::BTreeSet<_> = events.map(|event| event.session).collect();
    let client = |session, visibility| Client { session, visibility, seen: Vec::new(), last: None, gaps: 0 };
    let both = |session| [Visibility::Appended, Visibility::Durable].map(|visibility| client(session, visibility));
    sessions.into_iter().filter(|session| *session != SessionId::NONE).flat_map(both).collect()
}

fn compare(seed: u64, machine: &Machine, client: &Client) {
    let views = machine.core.shards().views().collect();
    let request = ReplayRequest { sessions: Some(vec![client.session]), ..ReplayRequest::new() };
    let log = Replay::new(LOG, views, &request).expect("replays").map(|event| event.expect("an event"));
    let log: Vec<_> = log.map(|event| (event.shard_id, event.sequence.get(), event.raw.to_vec())).collect();
    assert_eq!(client.seen, log, "seed {seed}: {:?} {:?}", client.session, client.visibility);
}

#[test]
fn clients_that_resume_by_tokens_have_what_the_log_holds_after_crashes() {
    let rounds = asked("TAPELINE_CRASHES").unwrap_or(2000).min(2000) / 8;
    let (mut seen, mut gaps) = (0, 0);
    for seed in seeds(rounds) {
        let (more_seen, more_gaps) = run(seed);
        (seen, gaps) = (seen + more_seen, gaps + more_gaps);
    }
    assert!(seen as u64 > rounds, "clients get something to see");
    assert!(rounds < 100 || gaps > 10, "crashes take what clients have seen: {gaps}");
}
