//! Processor time and memory of this process.

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

/// Seconds that all threads of the process have run so far, those that have ended included; in steps of 10 ms.
pub(crate) fn process_cpu_seconds() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, may hold anything. User and system time are fields 14 and 15.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
    let ticks: Vec<u64> = fields.into_iter().flatten().map(str::parse).collect::<Result<_, _>>()?;
    match ticks.as_slice() {
        [user, system] => Ok((user + system) as f64 / 100.0),
        _ => Err("no times in /proc/self/stat".into()),
    }
}

/// Memory of the process that lies in main memory: `VmRSS`.
pub(crate) fn resident_bytes() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}
