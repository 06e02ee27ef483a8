//! Repair: says what it would do, does that and no more, and the log opens with everything that was intact.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use tapeline_testing::{Random, seeds};

use crate::run::{Recording, Scratch, done, errors, expect, json, record, run, until};

const LINES: usize = 200_000;

/// A log of several segments, and their files in order.
fn log(scratch: &Scratch) -> (String, Vec<PathBuf>) {
    let lines: String = (0..LINES).map(|number| format!("{{\"n\":{}}}\n", number + 1_000_000)).collect();
    let (log, file) = (scratch.arg("log"), scratch.file("big", lines));
    record(&[&log, &file, "--format", "jsonl"]);
    let info = json(&done(&["info", &log, "--json"])).remove(0);
    let segments = info["segments"].as_array().expect("segments").iter();
    let path = |segment: &Value| scratch.path("log/shard-0000").join(segment["file"].as_str().expect("file"));
    (log.clone(), segments.map(path).collect())
}

fn harm(file: &PathBuf, offset: usize) {
    let mut bytes = fs::read(file).expect("file");
    bytes[offset] ^= 1;
    fs::write(file, bytes).expect("file");
}

/// Numbers of the events of the session, in order, and how many sequences are reported missing.
fn numbers(log: &str) -> (Vec<u64>, u64) {
    let replay = run(&["replay", log, "--format", "jsonl"]);
    assert!([Some(0), Some(4)].contains(&replay.status.code()), "{}", errors(&replay));
    let numbers = json(&replay.stdout).iter().filter_map(|line| line["payload"]["n"].as_u64()).collect();
    let missing = errors(&replay).lines().filter_map(missing_in).sum();
    (numbers, missing)
}

/// Sequences that a message of a gap counts.
fn missing_in(message: &str) -> Option<u64> {
    let Some((_, range)) = message.split_once(": sequences ") else {
        return message.contains(": sequence ").then_some(1);
    };
    let (from, rest) = range.split_once(" to ")?;
    let (last, rest) = rest.split_once(" (")?;
    let count: u64 = rest.split_once(' ')?.0.parse().ok()?;
    assert_eq!(from.parse::<u64>().ok()? + count - 1, last.parse::<u64>().ok()?, "{message}");
    Some(count)
}

#[test]
fn sound_log_needs_nothing() {
    let scratch = Scratch::new();
    let (log, _) = log(&scratch);
    assert_eq!(String::from_utf8_lossy(&done(&["repair", &log])), "sound: nothing to repair\n");
    let summary = json(&done(&["repair", &log, "--apply", "--json"]));
    assert_eq!(
        summary,
        [serde_json::json!({"type": "summary", "steps": 0, "lost": 0, "uncounted": 0, "applied": true})]
    );
}

#[test]
fn everything_intact_is_there_after_a_repair_the_rest_is_reported() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    harm(&segments[0], 4096 + 1000);
    fs::remove_file(&segments[1]).expect("removed");
    fs::copy(&segments[2], scratch.path("log/shard-0000").join("copy.seg")).expect("copied");
    expect(run(&["replay", &log]), 5);

    let planned = expect(run(&["repair", &log, "--json"]), 5);
    let planned = json(&planned.stdout);
    let again = json(&expect(run(&["repair", &log, "--json"]), 5).stdout);
    assert_eq!(planned, again, "nothing has changed");
    let actions: Vec<_> = planned.iter().filter_map(|line| line["action"].as_str()).collect();
    assert_eq!(actions, ["set_aside", "rewrite", "lose", "lose"]);
    let text = String::from_utf8(expect(run(&["repair", &log]), 5).stdout).expect("text");
    assert!(text.contains("set copy.seg aside") && text.contains("to be repaired with --apply"), "{text}");

    let applied = json(&done(&["repair", &log, "--apply", "--json"]));
    let (summary, steps) = applied.split_last().expect("lines");
    assert_eq!(steps, planned.split_last().expect("lines").1, "what was said is done");
    assert_eq!(String::from_utf8_lossy(&done(&["repair", &log])), "sound: nothing to repair\n");
    done(&["verify", &log]);

    let (numbers, missing) = numbers(&log);
    assert!(numbers.is_sorted() && numbers.len() > LINES / 4, "{}", numbers.len());
    assert_eq!(summary["lost"].as_u64(), Some(missing));
    // The event that opens the session is among what is lost.
    assert_eq!(numbers.len() as u64 + missing, LINES as u64 + 1);
    let aside = scratch.path("log/shard-0000/copy.seg.aside");
    assert!(aside.exists() && segments[0].with_extension("seg.aside").exists());

    // It can be written to again.
    let more = scratch.file("more", "{\"n\":0}\n");
    record(&[&log, &more, "--format", "jsonl"]);
}

#[test]
fn meta_file_and_eras_are_made_anew() {
    let scratch = Scratch::new();
    let (log, _) = log(&scratch);
    let before = json(&done(&["info", &log, "--json"])).remove(0);
    harm(&scratch.path("log/meta"), 20);
    fs::write(scratch.path("log/eras"), "no eras").expect("written");
    expect(run(&["ls", &log]), 5);
    let planned = String::from_utf8(expect(run(&["repair", &log]), 5).stdout).expect("text");
    assert!(planned.starts_with("log: make the meta file anew, for log ") && planned.contains("set eras aside"));
    done(&["repair", &log, "--apply"]);
    assert!(scratch.path("log/meta.aside").exists() && scratch.path("log/eras.aside").exists());
    let after = json(&done(&["info", &log, "--json"])).remove(0);
    assert_eq!((&before["log"], &before["events"]), (&after["log"], &after["events"]));
    // A version that no segment has.
    harm(&scratch.path("log/meta"), 13);
    done(&["repair", &log, "--apply"]);
    // Missing altogether.
    fs::remove_file(scratch.path("log/meta")).expect("removed");
    done(&["repair", &log, "--apply"]);
    assert_eq!(json(&done(&["info", &log, "--json"])).remove(0)["log"], before["log"]);
}

#[test]
fn meta_file_of_another_log_is_replaced_and_every_event_stays() {
    let scratch = Scratch::new();
    let (log, _) = log(&scratch);
    let before = json(&done(&["info", &log, "--json"])).remove(0);
    let (other, file) = (scratch.arg("other"), scratch.file("line", "{\"n\":1}\n"));
    record(&[&other, &file, "--format", "jsonl"]);
    fs::copy(scratch.path("other/meta"), scratch.path("log/meta")).expect("copied");
    let planned = String::from_utf8(expect(run(&["repair", &log]), 5).stdout).expect("text");
    assert!(planned.starts_with("log: make the meta file anew") && !planned.contains("seg aside"), "{planned}");
    done(&["repair", &log, "--apply"]);
    let after = json(&done(&["info", &log, "--json"])).remove(0);
    assert_eq!((&before["log"], &before["events"]), (&after["log"], &after["events"]));
    done(&["verify", &log]);
}

#[test]
fn what_lies_in_a_log_by_mistake_costs_one_repair_and_no_meta_file() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    let before = json(&done(&["info", &log, "--json"])).remove(0);
    // A directory that is called like a segment, and a segment in the directory of a shard that the log has not.
    fs::create_dir(scratch.path("log/shard-0000/00000000000000000001.seg")).expect("made");
    fs::create_dir(scratch.path("log/shard-0001")).expect("made");
    fs::copy(&segments[1], scratch.path("log/shard-0001/spare.seg")).expect("copied");
    let repaired = String::from_utf8(done(&["repair", &log, "--apply"])).expect("text");
    assert!(!repaired.contains("meta"), "{repaired}");
    assert_eq!(String::from_utf8_lossy(&done(&["repair", &log])), "sound: nothing to repair\n");
    let after = json(&done(&["info", &log, "--json"])).remove(0);
    assert_eq!((&before["log"], &before["events"]), (&after["log"], &after["events"]));
}

#[test]
fn newest_segment_that_is_gone_or_emptied_is_counted_damage() {
    for is_removed in [true, false] {
        let scratch = Scratch::new();
        let (log, segments) = log(&scratch);
        let last = segments.last().expect("segments");
        if is_removed {
            fs::remove_file(last).expect("removed")
        } else {
            fs::write(last, "").expect("emptied")
        }
        let damaged = expect(run(&["verify", &log]), 5);
        assert!(String::from_utf8_lossy(&damaged.stdout).starts_with("damaged: shard 0, "), "{damaged:?}");
        let summary = json(&done(&["repair", &log, "--apply", "--json"])).pop().expect("a summary");
        let (read, missing) = numbers(&log);
        assert!(summary["lost"].as_u64() == Some(missing) && missing > 0, "{summary}, {missing} missing");
        assert_eq!(summary["uncounted"], 0);
        // The last event is that of the recorder's own.
        assert!((read.len() as u64 + missing).abs_diff(LINES as u64) <= 2, "{} read, {missing} missing", read.len());
    }
}

#[test]
fn log_that_is_being_written_is_not_called_damaged() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    let mut recording = Recording::start(&[&log, "--format", "jsonl", "--session", "live"]);
    recording.write(b"{}\n");
    until("the first event", || Recording::seen(&log, "live"));
    // A step that is to be taken, and not while another process writes.
    harm(&segments[1], 4096 + 1000);
    let said = errors(&expect(run(&["repair", &log]), 1));
    assert!(said.contains("the log is open in another process"), "{said}");
    drop(recording);
    expect(run(&["repair", &log]), 5);
}

#[test]
fn end_of_a_shard_that_nothing_states_is_not_called_whole() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    fs::remove_file(segments.last().expect("segments")).expect("removed");
    fs::remove_file(scratch.path("log/shard-0000/gaps")).expect("removed");
    let said = String::from_utf8(expect(run(&["repair", &log]), 5).stdout).expect("text");
    assert!(said.contains("1 step, at least 0 events lost"), "{said}");
    let summary = json(&done(&["repair", &log, "--apply", "--json"])).pop().expect("a summary");
    assert_eq!((&summary["lost"], &summary["uncounted"]), (&0.into(), &1.into()));
    fs::remove_dir_all(scratch.path("log/shard-0000")).expect("removed");
    let summary = json(&done(&["repair", &log, "--apply", "--json"])).pop().expect("a summary");
    assert_eq!((&summary["lost"], &summary["uncounted"]), (&0.into(), &1.into()));
}

#[test]
fn log_in_use_or_missing_is_refused() {
    let scratch = Scratch::new();
    expect(run(&["repair", &scratch.arg("none"), "--apply"]), 3);
    assert!(!scratch.path("none").exists());
    fs::create_dir(scratch.path("empty")).expect("made");
    expect(run(&["repair", &scratch.arg("empty"), "--apply"]), 3);
    assert_eq!(fs::read_dir(scratch.path("empty")).expect("listed").count(), 0);
    let (log, segments) = log(&scratch);
    harm(&segments[0], 4096 + 1000);
    let lock = fs::File::options().write(true).open(scratch.path("log/lock")).expect("lock");
    lock.lock().expect("locked");
    let refused = expect(run(&["repair", &log, "--apply"]), 1);
    assert!(errors(&refused).contains("open in another process"), "{}", errors(&refused));
    assert!(!segments[0].with_extension("seg.aside").exists());
}

#[test]
fn verify_reports_every_damaged_place() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    let end = fs::metadata(&segments[0]).expect("file").len() as usize;
    harm(&segments[0], 4096 + 1000);
    harm(&segments[0], end / 2);
    harm(&segments[1], 4096 + 1000);
    let damaged = json(&expect(run(&["verify", &log, "--json"]), 5).stdout);
    let (summary, damaged) = damaged.split_last().expect("lines");
    assert_eq!(damaged.len(), 3, "{damaged:?}");
    assert_eq!(summary["damaged"], 3);
    assert!(summary["events"].as_u64() > Some(LINES as u64 / 4));
    // Also where the shard does not open.
    harm(&segments[2], 100);
    let broken = json(&expect(run(&["verify", &log, "--json"]), 5).stdout);
    assert_eq!(broken.len(), 5, "{broken:?}");
    assert!(broken.iter().any(|line| line["reason"].as_str().is_some_and(|reason| reason.contains("header"))));
}

/// Harms a file as a disk, a script or a person may.
fn harm_somehow(files: &[PathBuf], random: &mut Random) -> String {
    let file = &files[random.below(files.len())];
    let Ok(mut bytes) = fs::read(file) else { return "nothing: removed before".to_owned() };
    let (at, length) = (random.below(bytes.len().max(1)), 1 + random.below(300_000));
    let what = ["flips", "cuts", "removes", "blanks", "extends", "swaps"][random.below(6)];
    match what {
        "flips" => bytes[at] ^= 1 << random.below(8),
        "cuts" => bytes.truncate(at),
        "blanks" => bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = 0),
        "extends" => bytes.resize(bytes.len() + length, 0xa5),
        "swaps" => {
            let other = &files[random.below(files.len())];
            if let Ok(others) = fs::read(other) {
                fs::write(other, std::mem::replace(&mut bytes, others)).expect("written");
            }
        }
        _ => {
            fs::remove_file(file).expect("removed");
            return format!("removes {}", file.display());
        }
    }
    fs::write(file, bytes).expect("written");
    format!("{what} {} at {at}", file.display())
}

#[test]
fn whatever_is_done_to_the_files_the_log_opens_after_a_repair() {
    let scratch = Scratch::new();
    let (sound, segments) = log(&scratch);
    for seed in seeds(6) {
        let (mut random, copy) = (Random::new(seed), scratch.path(&format!("copy-{seed}")));
        let shard = copy.join("shard-0000");
        fs::create_dir_all(&shard).expect("made");
        let names = segments.iter().map(|segment| segment.file_name().expect("name").to_str().expect("text"));
        let names: Vec<_> = names.map(|name| format!("shard-0000/{name}")).collect();
        let names = names.iter().map(String::as_str).chain(["meta", "shard-0000/gaps"]);
        let files: Vec<_> = names.map(|name| (scratch.path("log").join(name), copy.join(name))).collect();
        for (from, to) in &files {
            fs::copy(from, to).expect("copied");
        }
        let files: Vec<_> = files.into_iter().map(|(_, to)| to).collect();
        let harms: Vec<_> = (0..=random.below(4)).map(|_| harm_somehow(&files, &mut random)).collect();
        let case = format!("seed {seed} of {sound}: {harms:?}");
        let copy = copy.to_str().expect("text");
        let status = |args: &[&str]| {
            let output = run(args);
            (output.status.code(), format!("{case}: {args:?}: {}", errors(&output)))
        };
        let (verified, message) = status(&["verify", copy]);
        assert!([Some(0), Some(3), Some(5)].contains(&verified), "{message}");
        for args in [&["repair", copy, "--apply"][..], &["repair", copy], &["verify", copy], &["ls", copy]] {
            let (code, message) = status(args);
            assert_eq!(code, Some(0), "{message}");
        }
        let (read, _) = numbers(copy);
        assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "{case}: in order, and none twice");
        fs::remove_dir_all(copy).expect("removed");
    }
}

#[test]
fn a_log_whose_headers_footers_and_lock_are_damaged_loses_no_event() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    let before = done(&["replay", &log, "--format", "raw"]);
    let end = |file: &PathBuf| fs::metadata(file).expect("file").len() as usize;
    // A bit of a header, a header that is gone, a bit of a footer.
    harm(&segments[0], 3);
    let mut bytes = fs::read(&segments[1]).expect("file");
    bytes[..4096].fill(0);
    fs::write(&segments[1], bytes).expect("file");
    harm(&segments[2], end(&segments[2]) - 4000);
    fs::remove_file(scratch.path("log/lock")).expect("removed");
    fs::create_dir(scratch.path("log/lock")).expect("made");
    let damaged = json(&expect(run(&["verify", &log, "--json"]), 5).stdout);
    let reasons: Vec<_> = damaged.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert!(reasons.iter().filter(|reason| reason.contains("segment header")).count() == 2, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("footer")), "{reasons:?}");
    let planned = json(&expect(run(&["repair", &log, "--json"]), 5).stdout);
    let applied = json(&done(&["repair", &log, "--apply", "--json"]));
    let actions = |lines: &[Value]| -> Vec<String> {
        lines.iter().filter_map(|line| line["action"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(actions(&applied), ["set_aside", "mend_header", "mend_header", "reseal"]);
    assert_eq!(actions(&planned), actions(&applied));
    assert!(scratch.path("log/lock.aside").is_dir() && scratch.path("log/lock").is_file());
    assert_eq!(String::from_utf8_lossy(&done(&["repair", &log])), "sound: nothing to repair\n");
    done(&["verify", &log]);
    assert!(done(&["replay", &log, "--format", "raw"]) == before);
}

#[test]
fn a_damaged_footer_is_told_and_its_segment_is_not_called_active() {
    let scratch = Scratch::new();
    let (log, segments) = log(&scratch);
    harm(&segments[1], fs::metadata(&segments[1]).expect("file").len() as usize - 1);
    let found = expect(run(&["verify", &log]), 5);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(text.contains("the footer does not check; the events before it are intact"), "{text}");
    let info = String::from_utf8(done(&["info", &log])).expect("text");
    assert!(info.contains("no footer") && !info.contains("active"), "{info}");
    done(&["repair", &log, "--apply"]);
    let info = String::from_utf8(done(&["info", &log])).expect("text");
    assert!(!info.contains("no footer") && !info.contains("active"), "{info}");
}
