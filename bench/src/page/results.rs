//! The results in a directory.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::harness::Outcome;
use crate::harness::report::Fields;

/// One result, as [`Report`](crate::harness::report::Report) is written.
#[derive(Debug, Clone, serde::Deserialize)]
pub(super) struct Measured {
    pub(super) scenario: String,
    pub(super) params: Fields,
    pub(super) machine: Fields,
    pub(super) figures: Fields,
    pub(super) limits: Fields,
    pub(super) ratios: Fields,
}

/// All results.
#[derive(Debug)]
pub(super) struct Results(Vec<Measured>);

impl Results {
    /// Reads every file `*.json` of a directory.
    ///
    /// # Errors
    /// Names file and line of what is no result, and a directory without any.
    pub(super) fn read(directory: &Path) -> Outcome<Self> {
        let failure = |error: std::io::Error| format!("{}: {error}", directory.display());
        let entries = fs::read_dir(directory).map_err(failure)?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(failure)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let measured = serde_json::from_str(line);
                all.push(measured.map_err(|error| format!("{}:{}: no result: {error}", path.display(), at + 1))?);
            }
        }
        if all.is_empty() { Err(format!("{}: no results", directory.display()).into()) } else { Ok(Self(all)) }
    }

    /// All of them, those of a file in its order.
    pub(super) fn all(&self) -> &[Measured] {
        &self.0
    }
}

/// In the order in which they are written.
impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    fields.set(name, value);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
