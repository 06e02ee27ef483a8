//! The numbers of a bus as Prometheus reads them: text format 0.0.4.

use std::fmt::{Display, Write};

use super::BusCore;
use super::daemons::DaemonStats;
use super::relays::RelayStats;
use super::stats::EventBusStats;
use crate::shard::ShardStats;

/// Counters end in `_total` and begin at 0 when the bus is opened.
const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// The numbers of one shard, at one moment.
struct Numbers {
    shard: String,
    events: EventBusStats,
    stats: ShardStats,
    commits: u64,
    commit_seconds: f64,
}

/// The metrics of a bus; those of a forked child have no values.
pub(super) fn text(core: &BusCore) -> String {
    let shards = if core.is_forked() { Vec::new() } else { numbers(core) };
    let mut page = Page(String::new());
    events(&mut page, &shards, core);
    state(&mut page, &shards);
    if !core.is_forked() {
        daemons(&mut page, &core.daemons().stats());
        relays(&mut page, &core.relays().stats());
        page.metric("memory_bytes", GAUGE, "Bytes of memory that lanes and blocks take.");
        page.value("memory_bytes", &[], core.memory().used());
        page.metric("memory_budget_bytes", GAUGE, "Most bytes that lanes and blocks may take.");
        page.value("memory_budget_bytes", &[], core.memory().bytes());
    }
    page.0
}

fn numbers(core: &BusCore) -> Vec<Numbers> {
    let shards = core.shards().all();
    let numbers = shards.iter().map(|shard| {
        let mut events = EventBusStats::default();
        events.add(shard);
        let (commits, commit_ns) = shard.view().commits();
        let commit_seconds = commit_ns as f64 / 1e9;
        Numbers { shard: shard.id().to_string(), events, stats: shard.stats(), commits, commit_seconds }
    });
    numbers.collect()
}

fn events(page: &mut Page, shards: &[Numbers], core: &BusCore) {
    type Count = (&'static str, &'static str, fn(&EventBusStats) -> u64);
    let counts: [Count; 4] = [
        ("events_ingested_total", "Events taken over, those dropped later included.", |events| events.events_ingested),
        ("notes_total", "Records that the bus wrote for its readers.", |events| events.notes),
        ("events_appended_total", "Events and notes that became readable.", |events| events.events_appended),
        ("events_durable_total", "Events and notes acknowledged at the log's level.", |events| events.events_durable),
    ];
    for (name, help, count) in counts {
        page.metric(name, COUNTER, help);
        shards.iter().for_each(|shard| page.value(name, &[("shard", &shard.shard)], count(&shard.events)));
    }
    page.metric("events_refused_total", COUNTER, "Events that went back to their producer, by reason.");
    let without_lane = (!core.is_forked()).then(|| ("none", core.producers().refused()));
    let with_lane = shards.iter().map(|shard| (&*shard.shard, shard.events.refusals));
    for (shard, refusals) in with_lane.chain(without_lane) {
        for (reason, events) in refusals.reasons() {
            page.value("events_refused_total", &[("shard", shard), ("reason", reason)], events);
        }
    }
    page.metric("events_dropped_total", COUNTER, "Events that a producer's mode dropped, by reason.");
    for Numbers { shard, events, .. } in shards {
        let drops = events.drops;
        for (reason, events) in [("newest", drops.newest), ("oldest", drops.oldest), ("sampled", drops.sampled)] {
            page.value("events_dropped_total", &[("shard", shard), ("reason", reason)], events);
        }
    }
    page.metric("commits_total", COUNTER, "Blocks acknowledged.");
    shards.iter().for_each(|shard| page.value("commits_total", &[("shard", &shard.shard)], shard.commits));
    page.metric(
        "commit_seconds_total",
        COUNTER,
        "Time that blocks took from their first event to their acknowledgement.",
    );
    shards
        .iter()
        .for_each(|shard| page.value("commit_seconds_total", &[("shard", &shard.shard)], shard.commit_seconds));
}

fn state(page: &mut Page, shards: &[Numbers]) {
    let states: [Row<Numbers>; 10] = [
        ("events_in_lanes", GAUGE, "Events in lanes, not yet in the log.", |shard| shard.events.lanes.events as f64),
        ("events_committing", GAUGE, "Events in the log that are not durable.", |shard| {
            shard.events.events_committing() as f64
        }),
        (
            "oldest_not_durable_seconds",
            GAUGE,
            "Age of the oldest event that is taken over and not durable; 0 without any.",
            |shard| shard.events.oldest_not_durable.map_or(0.0, |age| age.as_secs_f64()),
        ),
        ("lanes", GAUGE, "Lanes there are.", |shard| shard.events.lanes.count as f64),
        ("lane_bytes_pending", GAUGE, "Bytes in lanes, not yet in the log.", |shard| shard.events.lanes.bytes as f64),
        ("lent_bytes", GAUGE, "Bytes of blocks that readers hold.", |shard| shard.events.memory.lent_bytes as f64),
        ("shard_active", GAUGE, "1 while new events come to the shard.", |shard| f64::from(shard.stats.is_active)),
        ("shard_full", GAUGE, "1 while the shard waits for space on its disk.", |shard| {
            f64::from(shard.stats.health.is_full)
        }),
        ("shard_poisoned", GAUGE, "1 once an error has ended the shard's writing.", |shard| {
            f64::from(shard.stats.health.poison.is_some())
        }),
        ("shard_troubles", GAUGE, "Errors that the shard goes on after.", |shard| {
            shard.stats.health.troubles.len() as f64
        }),
    ];
    page.rows(&states, shards, |shard| [("shard", &shard.shard)]);
}

fn daemons(page: &mut Page, daemons: &[DaemonStats]) {
    if daemons.is_empty() {
        return;
    }
    let numbers: [Row<DaemonStats>; 10] = [
        ("daemon_running", GAUGE, "1 until the daemon has ended.", |daemon| f64::from(daemon.is_running)),
        ("daemon_healthy", GAUGE, "1 while the daemon says that nothing is wrong.", |daemon| {
            f64::from(daemon.health.is_healthy())
        }),
        ("daemon_saturation", GAUGE, "How full the daemon is, from 0 to 1.", |daemon| f64::from(daemon.saturation)),
        ("daemon_lag_events", GAUGE, "Events that the daemon has not looked at.", |daemon| daemon.lag as f64),
        ("daemon_events_total", COUNTER, "Events that the daemon processed.", |daemon| daemon.counts.events as f64),
        ("daemon_outputs_total", COUNTER, "Events that the daemon emitted.", |daemon| daemon.counts.outputs as f64),
        ("daemon_failures_total", COUNTER, "Calls that returned an error.", |daemon| daemon.counts.failures as f64),
        ("daemon_panics_total", COUNTER, "Calls that panicked.", |daemon| daemon.counts.panics as f64),
        ("daemon_set_aside_total", COUNTER, "Events that failed too often.", |daemon| daemon.counts.set_aside as f64),
        ("daemon_gaps_total", COUNTER, "Gaps that were reported to the daemon.", |daemon| daemon.counts.gaps as f64),
    ];
    page.rows(&numbers, daemons, |daemon| [("daemon", &daemon.name)]);
}

fn relays(page: &mut Page, relays: &[RelayStats]) {
    if relays.is_empty() {
        return;
    }
    let numbers: [Row<RelayStats>; 14] = [
        ("relay_running", GAUGE, "1 until the relay has ended.", |relay| f64::from(relay.is_running)),
        ("relay_paused", GAUGE, "1 while the relay is paused.", |relay| f64::from(relay.is_paused)),
        ("relay_healthy", GAUGE, "0 while the last call of the adapter has failed.", |relay| {
            f64::from(relay.health.is_healthy())
        }),
        ("relay_lag_events", GAUGE, "Events that the backend has not confirmed.", |relay| relay.lag.events as f64),
        ("relay_lag_seconds", GAUGE, "Age of the oldest event that was taken up and is not confirmed.", |relay| {
            relay.lag.time.as_secs_f64()
        }),
        ("relay_dead_letters", GAUGE, "Events in the dead letters.", |relay| relay.dead_letters.waiting as f64),
        ("relay_events_total", COUNTER, "Events that the backend confirmed.", |relay| relay.delivered.events as f64),
        ("relay_bytes_total", COUNTER, "Bytes of their payloads.", |relay| relay.delivered.bytes as f64),
        ("relay_batches_total", COUNTER, "Batches that the backend confirmed.", |relay| relay.delivered.batches as f64),
        ("relay_retries_total", COUNTER, "Calls that failed and were repeated.", |relay| {
            relay.delivered.retries as f64
        }),
        ("relay_refused_total", COUNTER, "Events written to the dead letters.", |relay| {
            relay.dead_letters.written as f64
        }),
        ("relay_redriven_total", COUNTER, "Dead letters confirmed since.", |relay| relay.dead_letters.redriven as f64),
        ("relay_gaps_total", COUNTER, "Gaps in the log that the relay met.", |relay| relay.missed.gaps as f64),
        ("relay_missed_total", COUNTER, "Events in these gaps.", |relay| relay.missed.events as f64),
    ];
    page.rows(&numbers, relays, |relay| [("relay", &relay.name), ("adapter", relay.adapter)]);
}

/// A metric: its name, its kind, its help text, and its value for one of the things that have it.
type Row<T> = (&'static str, &'static str, &'static str, fn(&T) -> f64);

/// Metrics so far. Writing to a string does not fail.
struct Page(String);

impl Page {
    /// Metrics with a value for each of these things, which has these labels.
    fn rows<T, const N: usize>(&mut self, rows: &[Row<T>], things: &[T], labels: fn(&T) -> [(&'static str, &str); N]) {
        for (name, kind, help, value) in rows {
            self.metric(name, kind, help);
            things.iter().for_each(|thing| self.value(name, &labels(thing), value(thing)));
        }
    }

    /// Begins a metric. No help text has a backslash or a line feed, which would have to be escaped.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP tapeline_{name} {help}\n# TYPE tapeline_{name} {kind}\n");
    }

    /// A value of the metric that was begun last. No label needs escapes.
    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "tapeline_{name}");
        for (number, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}
