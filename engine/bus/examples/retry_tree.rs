//! Retry trees: attempts refer to the attempt they repeat; after a restart the tree is rebuilt from the log.

use std::collections::BTreeMap;

use serde_json::json;
use tapeline::{EventBus, EventBusConfig, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("tapeline-retry-tree-{}", std::process::id()));
    let config = || EventBusConfig::builder().directory(&directory).build();
    {
        let bus = EventBus::new(config()?).await?;
        let mut producer = bus.producer()?;
        let session = producer.session("job-3");
        let attempts = [(1, 0, "timeout"), (2, 1, "invalid JSON"), (3, 1, "rate limit"), (4, 3, "ok")];
        for (attempt, parent, outcome) in attempts {
            let node = json!({ "attempt": attempt, "parent": parent, "outcome": outcome }).to_string();
            producer.emit(session, kinds::RETRY, node.as_bytes())?;
        }
        // What is acknowledged survives whatever comes.
        producer.flush().await?;
    }

    let bus = EventBus::new(config()?).await?;
    let mut tree: BTreeMap<u64, (u64, String)> = BTreeMap::new();
    for event in bus.replay("job-3").await? {
        let node = event?.parse()?;
        let number = |name: &str| node[name].as_u64().unwrap_or_default();
        tree.insert(number("attempt"), (number("parent"), node["outcome"].as_str().unwrap_or_default().to_owned()));
    }
    let mut path = Vec::new();
    let mut at = *tree.iter().find(|(_, (_, outcome))| outcome == "ok").ok_or("no attempt succeeded")?.0;
    while let Some((parent, outcome)) = tree.get(&at) {
        path.push(format!("{at} ({outcome})"));
        at = *parent;
    }
    path.reverse();
    assert_eq!(path, ["1 (timeout)", "3 (rate limit)", "4 (ok)"]);
    println!("{}", path.join(" -> "));
    bus.shutdown().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
