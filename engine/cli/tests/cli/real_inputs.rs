//! Streams that providers sent, recorded and played back: sessions by the names of their files, bytes as they were.
//!
//! They lie in `shared/data/sse` beside the repository, or below `TAPELINE_DATA`. Where they do not, nothing is tested,
//! and that is said.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Scratch, done, json, listed, record};

/// A directory of the real inputs, if they are here.
fn inputs(name: &str) -> Option<PathBuf> {
    let above = || {
        let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join("shared/data"));
        above.find(|path| path.is_dir())
    };
    let found = std::env::var_os("TAPELINE_DATA").map(PathBuf::from).or_else(above).map(|data| data.join(name));
    let found = found.filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("skipped: no shared/data/{name} above {}, and no TAPELINE_DATA", env!("CARGO_MANIFEST_DIR"));
    }
    found
}

/// The streams by the names of their sessions.
fn streams() -> Option<BTreeMap<String, PathBuf>> {
    let entries = fs::read_dir(inputs("sse")?).expect("readable");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let streams = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sse"));
    let stem = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8 stem").to_owned();
    Some(streams.map(|path| (stem(&path), path)).collect())
}

#[test]
fn recorded_provider_streams_come_back_as_they_were() {
    let Some(streams) = streams() else { return };
    for strange in ['[', '.'] {
        assert!(streams.keys().any(|name| name.contains(strange)), "names that are hard to find: {strange:?}");
    }
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let mut args = vec![log.as_str(), "--format", "sse"];
    args.extend(streams.values().map(|path| path.to_str().expect("UTF-8 path")));
    let summary = record(&args);
    let contents: BTreeMap<&str, Vec<u8>> =
        streams.iter().map(|(name, path)| (name.as_str(), fs::read(path).expect("readable"))).collect();
    assert_eq!(summary["sessions"], streams.len());
    assert_eq!(summary["bytes"], contents.values().map(Vec::len).sum::<usize>());

    let mut sessions = listed(&log);
    assert_eq!(sessions.iter().map(|(_, events)| events).sum::<u64>(), summary["events"]);
    sessions.sort();
    assert!(sessions.iter().map(|(name, _)| name).eq(streams.keys()), "{sessions:?}");
    let lines = json(&done(&["ls", &log, "--json"]));
    for line in lines {
        let name = line["session"].as_str().expect("a name");
        assert_eq!(line["bytes"], contents[name].len(), "{name}");
    }

    for (name, bytes) in &contents {
        let replayed = done(&["replay", &log, "--session", name, "--format", "raw"]);
        assert!(replayed == *bytes, "{name}: {} bytes for {}", replayed.len(), bytes.len());
    }

    let verified = json(&done(&["verify", &log, "--json"]));
    let [total] = &verified[..] else { panic!("only a summary: {verified:?}") };
    // Each session has an event that opens it.
    let events = summary["events"].as_u64().expect("a number") + streams.len() as u64;
    assert_eq!((&total["type"], &total["damaged"], &total["events"]), (&"summary".into(), &0.into(), &events.into()));
}
