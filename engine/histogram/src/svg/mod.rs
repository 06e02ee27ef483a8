//! Pictures, as SVG: written by hand, styled by classes, so that they follow the reader's light or dark theme.
//!
//! A picture is the same alone and within a page. The page has the style once; a file of its own brings it along.

mod axis;
mod heat;
mod percentiles;
mod picture;
mod style;
#[cfg(test)]
mod tests;

pub(crate) use heat::heat_map;
pub(crate) use percentiles::{compared, percentiles};
pub(crate) use picture::escaped;
pub(crate) use style::STYLE;
