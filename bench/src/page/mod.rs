//! `tapeline-bench page`: a whole benchmark as one page.
//!
//! Reads what `--save` wrote, the JSON lines of every scenario in a directory, and writes HTML that refers to nothing
//! outside of itself: no script, no net. Each scenario has bars of its rates, its latencies from the median to the
//! longest, and a table of every number; the machine stands at the top, and below each scenario what it was asked for.

mod args;
mod bars;
mod html;
mod latencies;
mod machine;
mod numbers;
mod parameters;
mod results;
mod section;
mod targets;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use clap::CommandFactory;

pub(crate) use self::args::PageArgs;
use self::results::{Measured, Results};
use self::section::Section;
use self::targets::Targets;
use crate::args::Cli;
use crate::harness::Outcome;

/// Writes the page, and says where it is.
pub(crate) fn run(args: &PageArgs) -> Outcome<()> {
    let targets = match &args.targets {
        Some(path) => Some(Targets::of(&text_of(path)?).ok_or_else(|| format!("{}: no targets", path.display()))?),
        None => None,
    };
    let page = page(&Results::read(&args.results)?, &scenarios(), targets.as_ref());
    let path = args.out.clone().unwrap_or_else(|| args.results.join("index.html"));
    fs::write(&path, page).map_err(|error| format!("write {}: {error}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// A scenario as the program's help describes it.
#[derive(Debug, Clone)]
struct Described {
    name: String,
    about: String,
}

/// All scenarios, in the order of the help.
fn scenarios() -> Vec<Described> {
    let command = Cli::command();
    let described = command.get_subcommands().map(|scenario| Described {
        name: scenario.get_name().to_owned(),
        about: scenario.get_about().map(ToString::to_string).unwrap_or_default(),
    });
    described.collect()
}

/// The whole page.
fn page(results: &Results, scenarios: &[Described], targets: Option<&Targets>) -> String {
    let sections = sections(results, scenarios);
    let links: String = sections.iter().map(Section::link).collect();
    let targets_link = if targets.is_some() { "<a href=\"#targets\">targets</a>" } else { "" };
    let bodies: String = sections.iter().map(Section::html).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Tapeline benchmarks</title>\
         <style>{style}</style></head>\n<body><header><h1>Tapeline benchmarks</h1>\n{machine}\
         <nav>{links}{targets_link}</nav></header>\n<main>{bodies}{targets}</main></body></html>\n",
        style = include_str!("style.css"),
        machine = machine::html(results),
        targets = targets.map(Targets::html).unwrap_or_default(),
    )
}

/// The results by scenario: those that are known in the order of the help, then the others by name.
fn sections<'a>(results: &'a Results, scenarios: &'a [Described]) -> Vec<Section<'a>> {
    let mut names: Vec<&str> = results.all().iter().map(|measured| measured.scenario.as_str()).collect();
    let place = |name: &str| scenarios.iter().position(|scenario| scenario.name == name).unwrap_or(usize::MAX);
    names.sort_by_key(|name| (place(name), *name));
    names.dedup();
    let section = |name: &'a str| {
        let about = scenarios.iter().find(|scenario| scenario.name == name).map_or("", |scenario| &scenario.about);
        let rows: Vec<&Measured> = results.all().iter().filter(|measured| measured.scenario == name).collect();
        Section::new(name, about, rows)
    };
    names.into_iter().map(section).collect()
}

fn text_of(path: &Path) -> Outcome<String> {
    Ok(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
}
