//! The latency of ingest beside a relay whose server stands still.

use tapeline::config::Durability;
use tapeline_testing::server::Server;

use super::{described, relay, server, wait};
use crate::args::{RelayArgs, RelayBackend};
use crate::harness::clock::Clock;
use crate::harness::cores::{Cores, on_core};
use crate::harness::open_loop::Sample;
use crate::harness::report::{Output, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::{Outcome, bus};
use crate::scenario::latency;

/// The server of the relay beside which events are ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Works,
    StandsStill,
}

const CASES: [(Beside, &str); 3] =
    [(Beside::Nothing, "no relay"), (Beside::Works, "server works"), (Beside::StandsStill, "server stands still")];

/// Measures each case; rounds alternate between them.
pub(super) fn run(args: &RelayArgs, backend: RelayBackend, output: &mut Output) -> Outcome<()> {
    let (cores, clock) = (Cores::plan(1, 1)?, Clock::calibrate());
    let mut rounds = CASES.map(|_| Vec::new());
    for _ in 0..args.common.rounds {
        for (rounds, (beside, _)) in rounds.iter_mut().zip(CASES) {
            rounds.push(Round { args, backend, beside }.run(&cores, clock)?);
        }
    }
    let samples = rounds.map(|rounds| Sample::median(&rounds));
    for (sample, (_, name)) in samples.iter().zip(CASES) {
        let report = described("hung", backend, args).param("beside", name).param("rate", rounded(args.rate));
        let report = latency::with_figures(report, *sample);
        output.emit(&report.ratio("p99_to_no_relay", sample.plain.p99_ns / samples[0].plain.p99_ns))?;
    }
    Ok(())
}

/// One measurement.
struct Round<'a> {
    args: &'a RelayArgs,
    backend: RelayBackend,
    beside: Beside,
}

impl Round<'_> {
    fn run(&self, cores: &Cores, clock: Clock) -> Outcome<Sample> {
        let Self { args, backend, .. } = *self;
        let (scratch, server) = (Scratch::below(args.common.dir.as_deref())?, server(backend));
        let bus = bus::open(bus::config(Durability::Durable, scratch.path(), cores))?;
        self.begin(&bus, &server)?;
        let measured = on_core(cores.producer(), || {
            latency::open_loop_on(&bus, clock, args.rate, args.seconds, args.common.payload)
        });
        for relay in bus.relays() {
            relay.drain(std::time::Duration::ZERO);
        }
        bus::close(bus)?;
        measured
    }

    /// Starts the relay, and stops its server once that has confirmed events.
    fn begin(&self, bus: &tapeline::EventBus, server: &Server) -> Outcome<()> {
        if self.beside == Beside::Nothing {
            return Ok(());
        }
        let relay = relay(bus, self.backend, server)?;
        bus.ingest_raw(tapeline::RawEvent::from_str("first"))?;
        wait(&relay, |stats| stats.delivered.events > 0)?;
        if self.beside == Beside::StandsStill {
            server.signal("-STOP");
        }
        Ok(())
    }
}
