//! Consensus as a daemon: three models vote in sessions of their own. A round is decided by its third vote, or by its
//! deadline with the votes that there are. The state survives a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tapeline::daemon::{Daemon, DaemonControl, DaemonError, DaemonOptions, DaemonResult, Output};
use tapeline::{Event, EventBus, EventBusConfig, StoredEvent, SubscribeRequest, kinds};

const MODELS: usize = 3;
/// Time of a round, from its first vote.
const DEADLINE_NS: u64 = 2_000_000_000;

/// Of each round that is not decided: the time of its first vote, and the votes by model.
#[derive(Default)]
struct Consensus {
    rounds: BTreeMap<u64, (u64, BTreeMap<String, String>)>,
}

impl Consensus {
    fn decide(&mut self, round: u64, why: &str) -> Vec<Output> {
        let Some((_, votes)) = self.rounds.remove(&round) else { return Vec::new() };
        let mut tally = BTreeMap::<&str, usize>::new();
        votes.values().for_each(|choice| *tally.entry(choice).or_default() += 1);
        let most = tally.iter().max_by_key(|(_, votes)| **votes).map(|(choice, _)| *choice);
        let outcome = json!({ "round": round, "choice": most, "votes": votes.len(), "decided": why });
        vec![Output::new(kinds::CONSENSUS, outcome.to_string())]
    }

    /// Decides the rounds whose deadline is over.
    fn expire(&mut self, now: u64) -> Vec<Output> {
        let is_over = |(_, (first, _)): &(&u64, &(u64, _))| first + DEADLINE_NS <= now;
        let over: Vec<u64> = self.rounds.iter().filter(is_over).map(|(round, _)| *round).collect();
        over.into_iter().flat_map(|round| self.decide(round, "deadline")).collect()
    }
}

impl Daemon for Consensus {
    fn name(&self) -> &str {
        "consensus"
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::CONSENSUS)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        let mut outputs = self.expire(event.insertion_ts);
        let vote = event.parse()?;
        let (Some(round), Some(model), Some(choice)) =
            (vote["round"].as_u64(), vote["model"].as_str(), vote["choice"].as_str())
        else {
            return Err("no vote: round, model and choice belong here".into());
        };
        let (_, votes) = self.rounds.entry(round).or_insert_with(|| (event.insertion_ts, BTreeMap::new()));
        votes.insert(model.to_owned(), choice.to_owned());
        if votes.len() == MODELS {
            outputs.extend(self.decide(round, "all"));
        }
        Ok(outputs)
    }

    /// The owner says what time it is, where no vote does.
    fn control(&mut self, control: &DaemonControl) -> DaemonResult {
        match control {
            DaemonControl::Message(time) => Ok(self.expire(time.parse()?)),
            _ => Ok(Vec::new()),
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(json!(self.rounds).to_string().into_bytes())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DaemonError> {
        self.rounds = serde_json::from_slice(state)?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = EventBus::new(EventBusConfig::default()).await?;
    let vote = |round: u64, model: &str, choice: &str| {
        let vote = Event::new(json!({ "round": round, "model": model, "choice": choice }));
        bus.ingest(vote.with_session(model).with_kind(kinds::CONSENSUS))
    };
    for (model, choice) in [("small", "B"), ("medium", "A"), ("large", "A")] {
        vote(1, model, choice)?;
    }
    let late = vote(2, "small", "C")?.insertion_ts + DEADLINE_NS;
    bus.flush().await?;

    // Round 2 has one vote, and is in the state that the next start takes over.
    let first = bus.start_daemon(Consensus::default(), DaemonOptions::new())?;
    assert_eq!(first.drain(Duration::from_secs(60)).ended().await.stats.counts.outputs, 1);
    let second = bus.start_daemon(Consensus::default(), DaemonOptions::new())?;
    second.control(DaemonControl::Message(late.to_string()));
    assert_eq!(second.drain(Duration::from_secs(60)).ended().await.stats.counts.outputs, 1);

    let outcomes =
        bus.replay("consensus").await?.filter(|event| event.as_ref().is_ok_and(|event| event.kind == kinds::CONSENSUS));
    let outcomes = outcomes
        .map(|event| Ok(event?.parse()?.clone()))
        .collect::<Result<Vec<Value>, Box<dyn std::error::Error>>>()?;
    assert_eq!(outcomes[0], json!({ "round": 1, "choice": "A", "votes": 3, "decided": "all" }));
    assert_eq!(outcomes[1], json!({ "round": 2, "choice": "C", "votes": 1, "decided": "deadline" }));
    println!("{}\n{}", outcomes[0], outcomes[1]);
    bus.shutdown().await?;
    Ok(())
}
