//! A scenario on the page.

use super::html::escaped;
use super::parameters::Parameters;
use super::results::Measured;
use super::{bars, latencies, numbers};

/// Results of one scenario.
#[derive(Debug)]
pub(super) struct Section<'a> {
    name: &'a str,
    about: &'a str,
    rows: Vec<&'a Measured>,
    parameters: Parameters<'a>,
}

impl<'a> Section<'a> {
    /// A scenario, what it is about if that is known, and its results.
    pub(super) fn new(name: &'a str, about: &'a str, rows: Vec<&'a Measured>) -> Self {
        let parameters = Parameters::of(&rows);
        Self { name, about, rows, parameters }
    }

    /// An entry of the page's contents.
    pub(super) fn link(&self) -> String {
        let name = escaped(self.name);
        format!("<a href=\"#{name}\">{name}</a>")
    }

    /// All of it.
    pub(super) fn html(&self) -> String {
        let (name, about) = (escaped(self.name), escaped(self.about));
        let Self { rows, parameters, .. } = self;
        format!(
            "<section id=\"{name}\"><h2>{name}</h2><p class=\"about\">{about}</p>\n{}{}{}{}</section>\n",
            bars::html(rows, parameters),
            latencies::html(rows, parameters),
            numbers::html(rows, parameters),
            parameters.html(),
        )
    }
}
