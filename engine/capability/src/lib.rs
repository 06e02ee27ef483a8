#![doc = include_str!("../README.md")]

mod axis;
mod facts;
#[cfg(test)]
mod fuzz;
mod index;
mod key_table;
mod predicate;
mod requirement;
mod set;
mod tag;
mod tag_key;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;
mod version;

pub use axis::{TaxonomyAxis, UnknownAxis};
pub use facts::{Capabilities, EvalContext};
pub use index::{CapabilityIndex, SetId};
pub use predicate::{
    ClauseStats, ClauseTrace, CompiledPredicate, DEPTH_MAX, DOCUMENT_BYTES_MAX, NODES_MAX, NodeWire, OperandError,
    Predicate, PredicateDebugReport, PredicateTextError, PredicateWire, PredicateWireError,
};
pub use requirement::{RequiredCapability, RequirementError};
pub use set::CapabilitySet;
pub use tag::{CapabilityTagError, RESERVED_PREFIXES, Tag, TagSeparator};
pub use tag_key::{TagKey, TagKeyError};
