//! Routing: which shard an event goes to, and how that changes while events are being ingested.
//!
//! **The invariant.** The events of a session lie in one shard for as long as an era lasts, and readers read all of an
//! era before the next; so a session is in order whatever shards it moves to. Five steps keep it, each its part:
//!
//! 1. A producer notes that it is about to publish, then looks at the [`RouteInForce`], then publishes
//!    (`lane/writer.rs`, `ingest/`). A batch that is open while the route changes moves to its new shard when it is
//!    published.
//! 2. [`Change::begin`] stores the new route and has every thread execute a fence. From then on a producer uses the new
//!    route, or its note says that it may still use the old one.
//! 3. A shard takes the records of the old route out of its lanes, and none of the new one, until no note speaks of the
//!    old: the sequence that its log has then is where the era begins in it (`shard/handover.rs`,
//!    `lane/reader.rs`).
//! 4. [`Change::wait`] waits for that sequence from every shard, and until what is before it is acknowledged: whatever
//!    a crash takes, a session that moves keeps a prefix.
//! 5. These sequences are an [`Era`](tapeline_storage::format::Era). It is written down and made known to readers; only
//!    then [`Change::end`] has the shards go on with the records of the new route.

mod change;
mod route;

pub(crate) use change::Change;
pub(crate) use route::{Route, RouteInForce, shard_of};
