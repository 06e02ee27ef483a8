//! Capability tags, predicates over them, and requirements: what a worker can do and what an event needs.
//!
//! ```
//! use tapeline::capability::{CapabilityIndex, CapabilitySet};
//! use tapeline::{pred, require, require_axis, require_axis_value};
//!
//! let mut workers = CapabilityIndex::new();
//! let small = workers.insert(CapabilitySet::parse(["software.model:llama-7b", "hardware.gpu.vram_gb=24"])?);
//! let large = workers.insert(CapabilitySet::parse(["software.model=mistral-large", "hardware.gpu.vram_gb=80"])?);
//!
//! assert_eq!(workers.meeting(&require!("hardware.gpu.vram_gb >= 48")), [large]);
//! assert_eq!(workers.meeting(&require_axis_value!("software", "model")), [small, large]);
//! assert_eq!(workers.meeting(&require_axis!("devices")), []);
//!
//! let enough = 40;
//! let wanted = pred!(and [prefix "software.model", "mistral", num_at_least "hardware.gpu.vram_gb", enough]);
//! assert_eq!(workers.matching(&wanted), [large]);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub use tapeline_capability::*;

/// For the macros, which name it by its path.
#[doc(hidden)]
pub mod checked {
    pub use tapeline_macros::*;
}

/// Builds a [`Predicate`]: a clause by its name, its key and its operands.
///
/// | clause | holds if |
/// |---|---|
/// | `exists "axis.key"` | there is a tag of the key |
/// | `equals "axis.key", text` | a value is the text |
/// | `num_at_least`, `num_at_most "axis.key", number` | a value is a number, and at least or at most this one |
/// | `num_in_range "axis.key", min, max` | a value is a number between the two, or one of them |
/// | `semver_at_least`, `semver_at_most`, `semver_compatible "axis.key", version` | a value is such a version |
/// | `prefix`, `matches "axis.key", text` | a value begins with the text, contains it |
/// | `metadata_exists name` | there is a metadata entry of the name |
/// | `metadata_equals`, `metadata_matches name, text` | the entry is the text, contains it |
/// | `metadata_num_at_least name, number` | the entry is a number, and at least this one |
/// | `and [..]`, `or [..]`, `not ..` | all of the clauses hold, one of them, not this one |
///
/// Keys of tags are literals: an axis that there is not, a key that is none or an unknown clause does not compile. The
/// names of metadata entries, texts and numbers are expressions; a literal among them is checked, too: no empty name,
/// no number that is not finite, no version that is none. Up to 64 clauses stand inside one another.
///
/// ```
/// use tapeline::capability::{CapabilitySet, Predicate, TagKey};
/// use tapeline::pred;
///
/// let version = String::from("0.6");
/// let wanted = pred!(and [semver_at_least "software.vllm", version, not metadata_equals "state", "draining"]);
/// assert!(wanted.evaluate(&CapabilitySet::parse(["software.vllm=0.6.3"])?));
/// assert_eq!(pred!(exists "devices.camera"), Predicate::exists(TagKey::parse("devices.camera")?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail
/// tapeline::pred!(exists "hardwre.gpu");
/// ```
#[macro_export]
macro_rules! pred {
    ($($form:tt)*) => { $crate::capability::checked::pred!([$crate::capability] $($form)*) };
}

/// Builds a [`RequiredCapability`] from one line: a tag, or a key, `==`, `>=` or `<=`, and an operand. The line is a
/// literal and is checked when it is compiled; [`RequiredCapability::parse`] reads others.
///
/// ```
/// use tapeline::capability::CapabilitySet;
/// use tapeline::require;
///
/// let worker = CapabilitySet::parse(["software.model:llama-7b", "hardware.gpu.vram_gb=80"])?;
/// assert!(require!("software.model=llama-7b").evaluate(&worker));
/// assert!(require!("software.model == llama-7b").evaluate(&worker));
/// assert!(require!("hardware.gpu.vram_gb >= 48").evaluate(&worker));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail
/// tapeline::require!("hardware.cpu > 8");
/// ```
#[macro_export]
macro_rules! require {
    ($($form:tt)*) => { $crate::capability::checked::require!([$crate::capability] $($form)*) };
}

/// Builds [`RequiredCapability::AxisAny`]: any tag on the axis. An axis that there is not does not compile.
///
/// ```
/// use tapeline::capability::CapabilitySet;
///
/// let camera = CapabilitySet::parse(["devices.camera:front"])?;
/// assert!(tapeline::require_axis!("devices").evaluate(&camera));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! require_axis {
    ($($form:tt)*) => { $crate::capability::checked::require_axis!([$crate::capability] $($form)*) };
}

/// Builds [`RequiredCapability::AxisKey`]: any tag of the key, with or without a value.
///
/// ```
/// use tapeline::capability::CapabilitySet;
///
/// for tag in ["software.model", "software.model:llama-7b", "software.model=mistral-large"] {
///     assert!(tapeline::require_axis_value!("software", "model").evaluate(&CapabilitySet::parse([tag])?));
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! require_axis_value {
    ($($form:tt)*) => { $crate::capability::checked::require_axis_value!([$crate::capability] $($form)*) };
}
