//! The contents of a report: series, their parts over time and by group.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use crate::counts::Counts;
use crate::unit::Unit;
use crate::{files, html, svg};

/// A run: facts about it, and what was measured.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The heading of the page.
    pub title: String,
    /// Further facts, name and value: the machine, the load, what was left out.
    pub facts: Vec<(String, String)>,
    /// The kind of the series' groups, in one word (`model`). Empty where there are none.
    pub grouped_by: String,
    /// The measures.
    pub series: Vec<Series>,
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One measure.
#[derive(Debug, Clone)]
pub struct Series {
    /// Names the files. Characters other than letters, digits, `-` and `_` become `_` there.
    pub name: String,
    /// The title for people.
    pub title: String,
    /// The unit of a value.
    pub unit: Unit,
    /// All values.
    pub histogram: Histogram<u64>,
    /// Their parts over time, in order. May be empty, and need not add up to the whole.
    pub slices: Vec<Slice>,
    /// Their parts by something else, in the order in which they are to be shown. May be empty.
    pub groups: Vec<Group>,
}

/// The values of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Its beginning: nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Its end, exclusive.
    pub end_ns: u64,
    /// The values.
    pub counts: Counts,
}

/// The values of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub label: String,
    /// The values.
    pub counts: Counts,
}

impl Series {
    /// A series without parts.
    pub fn new(name: impl Into<String>, title: impl Into<String>, unit: Unit, histogram: Histogram<u64>) -> Self {
        let (name, title) = (name.into(), title.into());
        Self { name, title, unit, histogram, slices: Vec::new(), groups: Vec::new() }
    }

    /// Its name as the stem of a file.
    fn stem(&self) -> String {
        let safe = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        self.name.chars().map(|character| if safe(character) { character } else { '_' }).collect()
    }
}

impl Report {
    /// Writes all files into `directory`, which is created where it does not exist, and returns their paths, the page
    /// to look at last. Files of an earlier report are replaced. Takes some milliseconds a series, and as long for
    /// every ten parts.
    ///
    /// # Errors
    /// The error of the kernel; then some files are written and others are not. [`io::ErrorKind::InvalidInput`] where
    /// two series would have the same files.
    pub fn write_to(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.check_names()?;
        fs::create_dir_all(directory)?;
        let mut written = Vec::new();
        let mut write = |name: String, bytes: Vec<u8>| {
            let path = directory.join(name);
            fs::write(&path, bytes)?;
            written.push(path);
            io::Result::Ok(())
        };
        for series in &self.series {
            let stem = series.stem();
            write(format!("{stem}.hgrm"), files::hgrm(&series.histogram)?)?;
            write(format!("{stem}.hlog"), files::slices_log(series)?)?;
            let groups = format!("{stem}.groups.hlog");
            if series.groups.is_empty() {
                // One of an earlier report would not belong to this page.
                remove(&directory.join(groups))?;
            } else {
                write(groups, files::groups_log(series)?)?;
            }
            write(format!("{stem}.svg"), svg::percentiles(series).document().into_bytes())?;
            write(format!("{stem}.heat.svg"), svg::heat_map(series).document().into_bytes())?;
        }
        write("histograms.json".to_owned(), files::json(self)?)?;
        write("index.html".to_owned(), html::page(self).into_bytes())?;
        Ok(written)
    }

    fn check_names(&self) -> io::Result<()> {
        let mut stems: Vec<String> = self.series.iter().map(Series::stem).collect();
        stems.sort();
        match stems.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("two series named {:?}", pair[0]))),
            None => Ok(()),
        }
    }
}
