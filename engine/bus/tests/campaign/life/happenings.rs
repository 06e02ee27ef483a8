//! The things that happen to a bus: to its process, its machine, its files and its threads.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::consumer::Start;
use tapeline::retention::RetentionPolicy;
use tapeline::seam::{self, Step};
use tapeline::{ConsumeRequest, EventBus, EventBusConfig, IngestionError, RawEvent};
use tapeline_storage::device::sim::Random;

use super::ledger::payload;
use super::one_life::Life;
use super::scarcity::{self, Scarce, Shortage};
use super::schedule::Outcome;
use super::surroundings::{Fork, Limit};
use super::{clocks, neighbour};
use crate::runner::{ON_PURPOSE, step};

impl Life<'_> {
    /// The process runs out of descriptors or memory in the middle of calls; afterwards everything goes on.
    pub(super) fn scarcity(&mut self, random: &mut Random) -> Outcome {
        let stream = self.stream();
        for _ in 0..1 + random.below(6) {
            let scarce = Scarce::draw(random);
            step(&format!("{scarce:?} to spare"));
            let shortage = Shortage::begin(scarce);
            let part = scarcity::ask(&self.bus, &shortage, &stream, random);
            if random.below(2) == 0 {
                drop(shortage);
            }
            if random.below(4) == 0 {
                self.begun.parts.extend(part);
            }
        }
        self.flush()?;
        self.forgive(scarcity::is_over(&self.bus))
    }

    /// The machine is suspended, or becomes another one.
    pub(super) fn happen(&mut self, random: &mut Random) -> Outcome {
        let Some(machine) = self.machine else { return Ok(()) };
        step("the clocks jump");
        let may_be_ahead = clocks::happen(machine, random);
        self.start_producers(random);
        let request = ConsumeRequest::new(10).start(Start::Latest).wait(Duration::from_millis(20));
        let page = block_on(self.bus.poll(request)).map(drop).map_err(|error| format!("poll: {error}"));
        self.forgive(page)?;
        self.flush()?;
        if may_be_ahead || random.below(2) == 0 {
            return Ok(());
        }
        step("the clock keeps up");
        self.forgive(clocks::keep_up(machine))
    }

    pub(super) fn neighbour(&mut self) -> Outcome {
        if self.trouble.is_here() { Ok(()) } else { neighbour::visit(self.path, self.ledger) }
    }

    /// A thread of the bus panics: everyone who waits learns of it, and nothing is acknowledged after it.
    pub(super) fn lose_a_thread(&mut self, random: &mut Random) -> Outcome {
        let lost = [Step::Turn, Step::Turn, Step::Chore, Step::ChoreDone, Step::ShardEnd][random.below(5) as usize];
        step(&format!("a thread panics: {lost:?}"));
        self.trouble.begin();
        seam::plan(self.bus.log_id(), lost, || std::panic::panic_any(format!("{ON_PURPOSE}: a thread of the bus")));
        self.start_producers(random);
        self.ingest(random)?;
        self.flush()?;
        if random.below(2) == 0 { self.task(random) } else { Ok(()) }
    }

    pub(super) fn fork(&mut self, random: &mut Random) -> Outcome {
        step("fork");
        if random.below(2) == 0 {
            self.begun.forks.push(Fork::start(|| None));
            return Ok(());
        }
        let bus = Arc::clone(&self.bus);
        let child = Fork::start(move || {
            let is_refused = matches!(bus.ingest_raw(RawEvent::from_str("child")), Err(IngestionError::Forked))
                && matches!(bus.producer(), Err(IngestionError::Forked))
                && block_on(bus.flush()).is_err()
                && bus.run_on_shard(0, |_| async {}).is_err();
            drop(bus);
            Some(is_refused)
        });
        child.outcome()
    }

    /// The process runs out of descriptors while events come; afterwards everything goes on.
    pub(super) fn few_descriptors(&mut self, random: &mut Random) -> Outcome {
        step("few descriptors");
        let shortage = Shortage::begin(Scarce::Descriptors(random.below(4)));
        self.start_producers(random);
        let stream = self.stream();
        let mut producer = match self.bus.producer() {
            Ok(producer) => producer,
            Err(error) => return self.forgive(Err(error.to_string())),
        };
        let session = producer.session(stream.name.as_str());
        // A producer waits for room, which comes once the shard has another segment.
        shortage.pass();
        for number in 0..random.below(20_000) {
            match producer.emit(session, tapeline::kinds::TOKEN, &payload(number)) {
                Ok(_) => stream.take(1),
                Err(_) => break,
            }
        }
        drop(shortage);
        step("descriptors are there again");
        self.flush()
    }

    pub(super) fn scale(&mut self, random: &mut Random) {
        step("scale");
        let _ = match random.below(2) {
            0 => block_on(self.bus.manual_scale_up(1)),
            _ => block_on(self.bus.manual_scale_down(1)),
        };
    }

    pub(super) fn second_opener(&mut self) -> Outcome {
        step("a second opener");
        let config = EventBusConfig::builder().directory(self.path).build().expect("a configuration");
        match block_on(EventBus::new(config)) {
            Ok(_) => Err("two have the log open".into()),
            Err(error) if error.is_retryable() => Ok(()),
            Err(error) => Err(format!("a second opener gets: {error}")),
        }
    }

    pub(super) fn trim(&mut self, random: &mut Random) -> Outcome {
        step("trim nothing");
        let policy = RetentionPolicy::new().max_segments(10_000 + random.below(2) as usize);
        let outcome = block_on(self.bus.trim(&policy)).map(drop).map_err(|error| format!("trim: {error}"));
        self.forgive(outcome)
    }

    /// The kernel refuses to write beyond some place of each file, for a while: the log of a shard may be poisoned.
    pub(super) fn spoil(&mut self, random: &mut Random) -> Outcome {
        step("writes fail");
        self.trouble.begin();
        let limit = Limit::file_bytes(random.below(1 << 20));
        self.start_producers(random);
        self.flush()?;
        drop(limit);
        self.flush()
    }
}
