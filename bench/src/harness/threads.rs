//! Processor time of this process's threads.

use std::fs;

use super::Outcome;

/// Seconds that threads whose name begins with `name` have run so far.
pub(crate) fn cpu_seconds(name: &str) -> Outcome<f64> {
    let mut nanos = 0u64;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        // A thread may end between two looks.
        let Ok(comm) = fs::read_to_string(path.join("comm")) else { continue };
        if comm.trim_end().starts_with(name)
            && let Ok(stat) = fs::read_to_string(path.join("schedstat"))
        {
            nanos += stat.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(nanos as f64 / 1e9)
}

/// The prefix of the names of the shards' threads.
pub(crate) const SHARDS: &str = "tapeline-";
