//! Predicates in JSON: a list of nodes that name their children by number.
//!
//! A document is read in time and memory of its own length: a node that many others name counts each time, and the sum
//! is bounded before anything is built. None is written that would not be read.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::tag_key::TagKey;

use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, NODES_MAX, OperandError, Predicate};

/// A predicate as documents have it: children before their parents, each named by its number.
///
/// ```
/// use tapeline_capability::{Predicate, TagKey};
///
/// let predicate = Predicate::not(Predicate::exists(TagKey::parse("devices.camera")?));
/// let document = predicate.to_json()?;
/// assert_eq!(
///     document,
///     r#"{"nodes":[{"kind":"exists","key":{"axis":"devices","key":"camera"}},{"kind":"not","child":0}],"root_idx":1}"#
/// );
/// assert_eq!(Predicate::from_json(&document)?, predicate);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredicateWire {
    /// The clauses.
    pub nodes: Vec<NodeWire>,
    /// The number of the outermost clause.
    pub root_idx: u32,
}

/// A clause of a document. The variants and their fields are those of [`Predicate`].
///
/// ```
/// use tapeline_capability::{NodeWire, Predicate, PredicateWire};
///
/// let document = PredicateWire { nodes: vec![NodeWire::MetadataExists { key: "zone".into() }], root_idx: 0 };
/// assert_eq!(document.to_predicate()?, Predicate::metadata_exists("zone"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are those of Predicate")]
pub enum NodeWire {
    Exists { key: TagKey },
    Equals { key: TagKey, value: String },
    NumericAtLeast { key: TagKey, threshold: f64 },
    NumericAtMost { key: TagKey, threshold: f64 },
    NumericInRange { key: TagKey, min: f64, max: f64 },
    SemverAtLeast { key: TagKey, version: String },
    SemverAtMost { key: TagKey, version: String },
    SemverCompatible { key: TagKey, version: String },
    StringPrefix { key: TagKey, prefix: String },
    StringMatches { key: TagKey, pattern: String },
    MetadataExists { key: String },
    MetadataEquals { key: String, value: String },
    MetadataMatches { key: String, pattern: String },
    MetadataNumericAtLeast { key: String, threshold: f64 },
    And { children: Vec<u32> },
    Or { children: Vec<u32> },
    Not { child: u32 },
}

/// The reason why a document is no predicate.
///
/// ```
/// use tapeline_capability::{Predicate, PredicateWireError};
///
/// let error = Predicate::from_json(r#"{"nodes":[],"root_idx":0}"#).unwrap_err();
/// assert!(matches!(error, PredicateWireError::Empty));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredicateWireError {
    /// There is no node.
    #[error("a predicate without nodes")]
    Empty,
    /// The root is none of the nodes.
    #[error("root_idx is {root}; there are {nodes} nodes")]
    RootOutOfBounds {
        /// The root's number.
        root: u32,
        /// The number of nodes.
        nodes: usize,
    },
    /// A child is none of the nodes.
    #[error("node {node} names node {child} as a child; there are {nodes} nodes")]
    ChildOutOfBounds {
        /// The parent.
        node: usize,
        /// The child.
        child: u32,
        /// The number of nodes.
        nodes: usize,
    },
    /// A child does not come before its parent.
    #[error("node {node} names node {child} as a child, which does not come before it")]
    CycleDetected {
        /// The parent.
        node: usize,
        /// The child.
        child: u32,
    },
    /// There are too many clauses, those that are named several times counted as often.
    #[error("a predicate of more than {NODES_MAX} clauses")]
    TooManyClauses,
    /// Too many clauses stand inside one another.
    #[error("a predicate of more than {DEPTH_MAX} clauses inside one another")]
    TooDeep,
    /// The document is too long.
    #[error("a predicate of {bytes} bytes; at most {DOCUMENT_BYTES_MAX} are read")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A clause has an operand that no clause is written with.
    #[error("node {node}: {fault}")]
    Operand {
        /// The clause.
        node: usize,
        /// The fault of the operand.
        fault: OperandError,
    },
    /// The document is not JSON of this form.
    #[error("not a predicate in JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl PredicateWire {
    /// Builds the predicate. Costs time and memory of at most [`NODES_MAX`] clauses, whatever the nodes say.
    ///
    /// # Errors
    /// [`PredicateWireError`].
    pub fn to_predicate(&self) -> Result<Predicate, PredicateWireError> {
        self.check()?;
        Ok(self.build(self.root_idx as usize))
    }

    fn check(&self) -> Result<(), PredicateWireError> {
        if self.nodes.is_empty() {
            return Err(PredicateWireError::Empty);
        }
        let root = self.root_idx as usize;
        if root >= self.nodes.len() {
            return Err(PredicateWireError::RootOutOfBounds { root: self.root_idx, nodes: self.nodes.len() });
        }
        self.check_size(root)?;
        self.nodes.iter().enumerate().try_for_each(|(node, wire)| {
            wire.check_operands().map_err(|fault| PredicateWireError::Operand { node, fault })
        })
    }

    /// Sizes and depths from the leaves on, each node once.
    fn check_size(&self, root: usize) -> Result<(), PredicateWireError> {
        let nodes = self.nodes.len();
        let mut measured: Vec<(usize, usize)> = Vec::with_capacity(nodes);
        for (node, wire) in self.nodes.iter().enumerate() {
            let (mut size, mut depth) = (1usize, 1);
            for &child in wire.children() {
                if child as usize >= nodes {
                    return Err(PredicateWireError::ChildOutOfBounds { node, child, nodes });
                }
                let Some(&(child_size, child_depth)) = measured.get(child as usize) else {
                    return Err(PredicateWireError::CycleDetected { node, child });
                };
                size = size.saturating_add(child_size);
                depth = depth.max(1 + child_depth);
            }
            measured.push((size, depth));
        }
        match measured[root] {
            (size, _) if size > NODES_MAX => Err(PredicateWireError::TooManyClauses),
            (_, depth) if depth > DEPTH_MAX => Err(PredicateWireError::TooDeep),
            _ => Ok(()),
        }
    }
}

impl NodeWire {
    fn children(&self) -> &[u32] {
        match self {
            Self::And { children } | Self::Or { children } => children,
            Self::Not { child } => std::slice::from_ref(child),
            _ => &[],
        }
    }

    fn check_operands(&self) -> Result<(), OperandError> {
        match self {
            Self::NumericAtLeast { threshold, .. } | Self::NumericAtMost { threshold, .. } => {
                OperandError::of_number(*threshold).map(drop)
            }
            Self::NumericInRange { min, max, .. } => {
                OperandError::of_number(*min)?;
                OperandError::of_number(*max).map(drop)
            }
            Self::MetadataNumericAtLeast { key, threshold } => {
                OperandError::of_name(key)?;
                OperandError::of_number(*threshold).map(drop)
            }
            Self::MetadataExists { key } | Self::MetadataEquals { key, .. } | Self::MetadataMatches { key, .. } => {
                OperandError::of_name(key).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Predicate {
    /// The predicate as a list of nodes.
    pub fn to_wire(&self) -> PredicateWire {
        let mut nodes = Vec::new();
        let root_idx = self.fold(|clause, children| {
            nodes.push(clause.node(children));
            nodes.len() as u32 - 1
        });
        PredicateWire { nodes, root_idx }
    }

    /// The predicate as JSON.
    ///
    /// # Errors
    /// [`PredicateWireError`], where [`Predicate::from_json`] would refuse it.
    pub fn to_json(&self) -> Result<String, PredicateWireError> {
        let wire = self.to_wire();
        wire.check()?;
        let document = serde_json::to_string(&wire)?;
        check_length(&document)?;
        Ok(document)
    }

    /// Reads a predicate from JSON.
    ///
    /// # Errors
    /// [`PredicateWireError`].
    pub fn from_json(document: &str) -> Result<Self, PredicateWireError> {
        check_length(document)?;
        serde_json::from_str::<PredicateWire>(document)?.to_predicate()
    }
}

/// The two ways between clauses and nodes, which have the same variants.
macro_rules! same_variants {
    ($($variant:ident { $($field:ident),+ })+) => {
        impl PredicateWire {
            /// Of a document whose size is checked.
            fn build(&self, node: usize) -> Predicate {
                let child = |&child: &u32| self.build(child as usize);
                match &self.nodes[node] {
                    $(NodeWire::$variant { $($field),+ } => Predicate::$variant { $($field: $field.clone()),+ },)+
                    NodeWire::And { children } => Predicate::and(children.iter().map(child)),
                    NodeWire::Or { children } => Predicate::or(children.iter().map(child)),
                    NodeWire::Not { child: clause } => Predicate::not(child(clause)),
                }
            }
        }

        impl Predicate {
            /// Its node, by the numbers of its clauses.
            fn node(&self, children: Vec<u32>) -> NodeWire {
                match self {
                    $(Self::$variant { $($field),+ } => NodeWire::$variant { $($field: $field.clone()),+ },)+
                    Self::And(_) => NodeWire::And { children },
                    Self::Or(_) => NodeWire::Or { children },
                    // It has one.
                    Self::Not(_) => NodeWire::Not { child: children.first().copied().unwrap_or_default() },
                }
            }

            /// The same clause, without the clauses in it.
            pub(super) fn clone_leaf(&self) -> Self {
                match self {
                    $(Self::$variant { $($field),+ } => Self::$variant { $($field: $field.clone()),+ },)+
                    Self::And(_) | Self::Not(_) => Self::And(Vec::new()),
                    Self::Or(_) => Self::Or(Vec::new()),
                }
            }

            /// Returns whether two clauses without clauses are equal.
            pub(super) fn is_leaf_equal(&self, other: &Self) -> bool {
                match self {
                    $(Self::$variant { $($field),+ } => {
                        let own = ($($field,)+);
                        matches!(other, Self::$variant { $($field),+ } if own == ($($field,)+))
                    })+
                    Self::And(_) | Self::Or(_) | Self::Not(_) => false,
                }
            }
        }
    };
}

same_variants! {
    Exists { key }
    Equals { key, value }
    NumericAtLeast { key, threshold }
    NumericAtMost { key, threshold }
    NumericInRange { key, min, max }
    SemverAtLeast { key, version }
    SemverAtMost { key, version }
    SemverCompatible { key, version }
    StringPrefix { key, prefix }
    StringMatches { key, pattern }
    MetadataExists { key }
    MetadataEquals { key, value }
    MetadataMatches { key, pattern }
    MetadataNumericAtLeast { key, threshold }
}

fn check_length(document: &str) -> Result<(), PredicateWireError> {
    match document.len() {
        bytes if bytes > DOCUMENT_BYTES_MAX => Err(PredicateWireError::TooLong { bytes }),
        _ => Ok(()),
    }
}

impl Serialize for Predicate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = self.to_wire();
        wire.check().map_err(ser::Error::custom)?;
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Predicate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PredicateWire::deserialize(deserializer)?.to_predicate().map_err(de::Error::custom)
    }
}
