//! The reports of the load while it runs, once a second, and at its end.

use std::time::Duration;

use tapeline::EventBus;

use super::Emitter;
use crate::harness::clock::Clock;
use crate::harness::report::{Report, rounded};

/// Numbers of the load so far.
pub(super) struct Progress<'a> {
    bus: &'a EventBus,
    clock: Clock,
    /// The load's parameters.
    report: Report,
    /// Seconds reported.
    seconds: u64,
    /// Events in the log before the load.
    durable_before: u64,
    /// Events accepted when the last second was reported.
    accepted: u64,
    told_at: Duration,
}

impl<'a> Progress<'a> {
    /// Begins before the first second.
    pub(super) fn new(bus: &'a EventBus, clock: Clock, report: Report) -> Self {
        let stats = bus.stats();
        Self {
            bus,
            clock,
            report,
            seconds: 0,
            durable_before: stats.events_durable,
            accepted: 0,
            told_at: Duration::ZERO,
        }
    }

    /// The time at which the next second is over.
    pub(super) fn due(&self) -> Duration {
        Duration::from_secs(self.seconds + 1)
    }

    /// A result and a line of text, when another second has passed. `acknowledged_events` was read before this returns,
    /// so what a reader of it finds in the log later is never less.
    pub(super) fn second(&mut self, elapsed: Duration, emitter: &Emitter, sessions: u64) -> Option<(Report, String)> {
        if elapsed.as_secs() <= self.seconds {
            return None;
        }
        self.seconds = elapsed.as_secs();
        let stats = self.bus.stats();
        let acknowledged = stats.events_durable - self.durable_before;
        let rate = (stats.events_ingested - self.accepted) as f64 / (elapsed - self.told_at).as_secs_f64();
        (self.accepted, self.told_at) = (stats.events_ingested, elapsed);
        let percentiles = emitter.latencies.percentiles(self.clock);
        let report = Report::new("workload")
            .param("second", self.seconds)
            .figure("events_per_second", rate)
            .figure("accepted_events", stats.events_ingested as f64)
            .figure("acknowledged_events", acknowledged as f64)
            .figure("sessions", sessions as f64);
        let report = percentiles.named().into_iter().fold(report, |report, (name, value)| report.figure(name, value));
        let text = format!(
            "{:>4} s  {rate:>10.0} events/s  accepted {}  acknowledged {acknowledged}  sessions {sessions}  \
             p50 {:.0} ns  p99 {:.0} ns  p99.9 {:.0} ns",
            self.seconds, stats.events_ingested, percentiles.p50_ns, percentiles.p99_ns, percentiles.p999_ns
        );
        Some((report, text))
    }

    /// The result of the whole load, after its flush.
    pub(super) fn total(self, elapsed: Duration, emitter: &Emitter, sessions: u64) -> Report {
        let stats = self.bus.stats();
        let seconds = elapsed.as_secs_f64();
        let report = self
            .report
            .param("timer_overhead_ns", rounded(self.clock.overhead_ns()))
            .figure("events_per_second", stats.events_ingested as f64 / seconds)
            .figure("payload_bytes_per_second", emitter.bytes as f64 / seconds)
            .figure("seconds", seconds)
            .figure("accepted_events", stats.events_ingested as f64)
            .figure("acknowledged_events", (stats.events_durable - self.durable_before) as f64)
            .figure("sessions", sessions as f64);
        let percentiles = emitter.latencies.percentiles(self.clock);
        percentiles.named().into_iter().fold(report, |report, (name, value)| report.figure(name, value))
    }
}
