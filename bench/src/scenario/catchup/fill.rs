//! The log that clients catch up with.

use tapeline::event::SessionId;
use tapeline::{EventBus, kinds};

use super::CatchupArgs;
use crate::harness::Outcome;
use crate::harness::payloads::Payloads;
use crate::harness::wait::block_on;

/// Seconds of events that a block holds.
const BLOCK_SECONDS: f64 = 0.01;

/// The events of each session.
pub(super) struct Filled {
    events: Vec<u64>,
}

impl Filled {
    /// Writes a log, block by block as time would have it.
    pub(super) fn write(bus: &EventBus, args: &CatchupArgs) -> Outcome<Self> {
        let payloads = Payloads::new(args.common.payload);
        let mut producer = bus.producer()?;
        let mut events = vec![0; args.sessions as usize];
        let total = (args.age * args.rate) as u64;
        let per_block = ((args.rate * BLOCK_SECONDS) as u64).max(1);
        let mut random = tapeline_testing::Random::new(1);
        for number in 0..total {
            let session = random.below(u64::from(args.sessions));
            let token = producer.session(id(session));
            let _ = producer.emit(token, kinds::TOKEN, payloads.of(number))?;
            events[session as usize] += 1;
            if (number + 1) % per_block == 0 {
                block_on(bus.flush())?;
            }
        }
        block_on(bus.flush())?;
        Ok(Self { events })
    }

    /// The session of a client, and how many events it has.
    pub(super) fn of_client(&self, client: u32) -> (SessionId, u64) {
        let session = u64::from(client) % self.events.len() as u64;
        (id(session), self.events[session as usize])
    }
}

fn id(session: u64) -> SessionId {
    // Spread as hashed names are.
    SessionId(u128::from(session + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}
