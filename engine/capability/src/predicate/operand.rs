//! Operands of clauses: what macro, text and document refuse alike.

/// The reason why an operand is none that a clause is written with.
///
/// ```
/// use tapeline_capability::{OperandError, Predicate};
///
/// let infinite = f64::INFINITY;
/// assert_eq!(OperandError::of_number(infinite), Err(OperandError::NotFinite { number: infinite }));
/// assert!(r#"metadata_exists """#.parse::<Predicate>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OperandError {
    /// The number is none, or too large to be one.
    #[error("{number} is no finite number; a clause compares with one as 48 or 0.5")]
    NotFinite {
        /// As it was read.
        number: f64,
    },
    /// A metadata entry has no name.
    #[error("the name of a metadata entry is empty; it is a text as \"zone\"")]
    NoName,
}

impl OperandError {
    /// A number that a clause may compare with.
    ///
    /// # Errors
    /// [`OperandError::NotFinite`].
    pub fn of_number(number: f64) -> Result<f64, Self> {
        if number.is_finite() { Ok(number) } else { Err(Self::NotFinite { number }) }
    }

    /// The name of a metadata entry that a clause may ask for.
    ///
    /// # Errors
    /// [`OperandError::NoName`].
    pub fn of_name<T: AsRef<str>>(name: T) -> Result<T, Self> {
        if name.as_ref().is_empty() { Err(Self::NoName) } else { Ok(name) }
    }
}
