//! The help of every command, compared with what it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::done;

/// Set to anything, it has the snapshots written anew.
const UPDATE: &str = "UPDATE_SNAPSHOTS";

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots")
}

/// The help of a command and of those below it, by the name of their snapshot.
fn collect(path: &[&str], all: &mut Vec<(String, String)>) {
    let help = String::from_utf8(done(&[path, &["--help"]].concat())).expect("text");
    let commands: Vec<String> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect();
    all.push(([&["tapeline"], path].concat().join("-"), help));
    for command in &commands {
        collect(&[path, &[command.as_str()]].concat(), all);
    }
}

#[test]
fn help_is_as_it_was_and_has_examples() {
    let mut all = Vec::new();
    collect(&[], &mut all);
    assert!(all.len() > 12, "{} commands", all.len());
    let update = std::env::var_os(UPDATE).is_some();
    for (name, help) in &all {
        assert!(help.contains("Examples:\n  tapeline "), "{name} has no examples");
        assert!(help.lines().all(|line| line.chars().count() <= 140), "{name} has a line that no terminal shows");
        let file = snapshots().join(format!("{name}.txt"));
        if update {
            fs::create_dir_all(snapshots()).expect("a directory");
            fs::write(&file, help).expect("writes");
        }
        let known = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            *help == known,
            "the help of {name} is not that of {}. If it is meant to be, run this test with {UPDATE}=1 in the \
             environment, and look at the difference.\n{help}",
            file.display()
        );
    }
    let names: BTreeSet<String> = all.iter().map(|(name, _)| format!("{name}.txt")).collect();
    for entry in fs::read_dir(snapshots()).expect("a directory") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().and_then(|name| name.to_str()).expect("text");
        if !names.contains(file) {
            assert!(update, "{} is of no command; {UPDATE}=1 removes it", path.display());
            fs::remove_file(&path).expect("removes");
        }
    }
}
