//! The four axes that tags lie on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An axis of the taxonomy: the part of a tag before its first dot.
///
/// ```
/// use tapeline_capability::TaxonomyAxis;
///
/// assert_eq!("devices".parse(), Ok(TaxonomyAxis::Devices));
/// assert_eq!(TaxonomyAxis::Devices.to_string(), "devices");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaxonomyAxis {
    /// Processors, accelerators, memory: `hardware.gpu.vram_gb=80`.
    Hardware,
    /// Models, engines, tools: `software.model:llama-7b`.
    Software,
    /// Things that are attached: `devices.camera`.
    Devices,
    /// Stores of data: `dataforts.region=eu`.
    Dataforts,
}

/// A name that is none of the four axes. Names are lower case.
///
/// ```
/// use tapeline_capability::{TaxonomyAxis, UnknownAxis};
///
/// assert_eq!("Software".parse::<TaxonomyAxis>(), Err(UnknownAxis { axis: "Software".into() }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{axis:?} is no axis; the axes are hardware, software, devices and dataforts")]
pub struct UnknownAxis {
    /// The name.
    pub axis: String,
}

impl TaxonomyAxis {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hardware, Self::Software, Self::Devices, Self::Dataforts];

    /// The axis's name, as tags have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Software => "software",
            Self::Devices => "devices",
            Self::Dataforts => "dataforts",
        }
    }

    /// The axis of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|axis| axis.as_str() == name)
    }
}

impl fmt::Display for TaxonomyAxis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaxonomyAxis {
    type Err = UnknownAxis;

    fn from_str(name: &str) -> Result<Self, UnknownAxis> {
        Self::from_name(name).ok_or_else(|| UnknownAxis { axis: name.to_owned() })
    }
}
