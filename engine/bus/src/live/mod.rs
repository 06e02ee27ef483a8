//! Reading a bus: [`Pages`] reads pages and waits for more, [`Subscription`] follows live from any position.
//!
//! Reading order: `request` (what can be asked for), `poll`, `sweep` (pages in order of time), `wait` (the patience of
//! a poll), `subscription`, `relay` (one session to one client), `paced` (a replay at a pace, as a stream), `inputs` (a
//! subscription, or a log that another process writes).
//!
//! Both read from memory, mappings and files as readers without a bus do, with the modules of `tapeline-reader`, on the
//! reader's own thread, and never touch a producer or a lane.

mod inputs;
mod paced;
mod poll;
mod relay;
mod request;
mod subscription;
mod sweep;
mod wait;

pub(crate) use inputs::{Followed, Inputs};
pub use paced::PacedEvents;
pub(crate) use poll::Pages;
pub(crate) use relay::Standing;
pub use relay::{Relay, RelayEnd, RelayRequest};
pub use request::{ConsumeRequest, ConsumeResponse, Ordering, ShardFailure, SlowReader, SubscribeRequest};
pub use subscription::{Batch, Batches, BlockingSubscription, Delivery, EventBatch, Events, Subscription};
