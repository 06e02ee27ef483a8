//! The scenarios, one file each.

pub(crate) mod burst;
pub(crate) mod capability;
pub(crate) mod catchup;
pub(crate) mod daemon;
pub(crate) mod deliver;
pub(crate) mod fanout;
pub(crate) mod filter;
pub(crate) mod histogram;
pub(crate) mod ingest;
pub(crate) mod latency;
pub(crate) mod overload;
#[cfg(feature = "peers")]
pub(crate) mod peers;
pub(crate) mod play;
pub(crate) mod poll;
pub(crate) mod recover;
pub(crate) mod relay;
pub(crate) mod replay;
pub(crate) mod scale;
pub(crate) mod serving;
pub(crate) mod sessions;
pub(crate) mod task;
pub(crate) mod workload;
