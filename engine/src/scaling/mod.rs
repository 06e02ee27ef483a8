//! Scaling: how many shards take events.
//!
//! Reading order: `change` (how the shards change under load, without losing order).

mod change;

pub(crate) use change::Change;
