//! Volumes that are small, become full, or are to be unmounted. They are mounted in a namespace of their own; where
//! that is refused, nothing is tested, and that is said.

use std::process::{Command, Output};

use crate::run::{Scratch, errors, expect, json};

/// Runs a script that sees `$T`, the program, in a directory in which `m` is a volume of so many MiB; `None` where
/// none can be mounted.
fn on_volume(scratch: &Scratch, mebibytes: u32, script: &str) -> Option<Output> {
    std::fs::create_dir(scratch.path("m")).expect("a directory");
    let mount = format!("cd \"$D\" && mount -t tmpfs -o size={mebibytes}m none m");
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script]);
        command.env("T", env!("CARGO_BIN_EXE_tapeline")).env("D", scratch.arg("."));
        command.output()
    };
    match shell(&mount) {
        Ok(tried) if tried.status.success() => Some(shell(&format!("{mount} && {script}")).expect("unshare")),
        refused => {
            eprintln!("skipped: no volume can be mounted: {refused:?}");
            None
        }
    }
}

#[test]
fn a_full_disk_is_reported_with_what_is_recorded_and_what_is_left() {
    let scratch = Scratch::new();
    let lines: Vec<String> = (0..30_000).map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(800))).collect();
    let file = scratch.file("in.jsonl", lines.concat());
    let script = "$T record m/log in.jsonl --format jsonl --json --segment-bytes 2097152; status=$?; \
                  $T verify m/log >/dev/null || exit 9; $T replay m/log --format raw >out || exit 8; exit $status";
    let Some(output) = on_volume(&scratch, 16, script) else { return };
    let output = expect(output, 1);
    let events = json(&output.stdout)[0]["events"].as_u64().expect("a number") as usize;
    assert!(events > 1000 && events < lines.len(), "{events}");
    assert!(errors(&output).contains(&format!("go on from in.jsonl:{}\n", events + 1)), "{}", errors(&output));
    let replayed = std::fs::read(scratch.path("out")).expect("replayed");
    assert!(replayed == lines[..events].concat().into_bytes(), "{file}: what is in the log is what was counted");
}

#[test]
fn a_small_volume_has_small_segments() {
    let scratch = Scratch::new();
    let script = "echo 1 | $T record m/log --format jsonl && $T replay m/log --format raw";
    let Some(output) = on_volume(&scratch, 32, script) else { return };
    assert_eq!(expect(output, 0).stdout, b"1\n");
}

#[test]
fn a_volume_that_is_too_small_is_reported() {
    let scratch = Scratch::new();
    let Some(output) = on_volume(&scratch, 1, "echo 1 | $T record m/log --format jsonl") else { return };
    let output = expect(output, 1);
    let said = errors(&output);
    assert!(said.contains("is full; free space") || said.contains("No space left"), "{said}");
}

#[test]
fn a_volume_can_be_unmounted_once_a_recording_has_ended() {
    let scratch = Scratch::new();
    let script = "echo 1 | $T record m/log --format jsonl --segment-bytes 4194304 && umount m";
    let Some(output) = on_volume(&scratch, 32, script) else { return };
    expect(output, 0);
}

#[test]
fn a_trim_of_a_full_disk_loses_no_name_unless_it_is_told_to() {
    let scratch = Scratch::new();
    let text = "x".repeat(800);
    let lines: Vec<_> = (0..8000).map(|n| format!("{{\"s\":\"chat-{}\",\"t\":\"{text}\"}}\n", n % 40)).collect();
    scratch.file("in.jsonl", lines.concat());
    // What is done, and whether the names of the sessions are known after it.
    let script = "$T record m/log in.jsonl --format jsonl --session-field s --segment-bytes 2M || exit 9; \
                  cat /dev/zero >m/filler 2>/dev/null; \
                  $T trim m/log --max-segments 2; echo $?; $T ls m/log --session chat-7 --json | grep -c '\"chat-7\"'; \
                  rm m/filler; $T trim m/log --max-segments 2 >/dev/null; echo $?; \
                  $T ls m/log --session chat-7 --json | grep -c '\"chat-7\"'; \
                  cat /dev/zero >m/filler 2>/dev/null; rm m/log/names; mkdir -p m/log/names/x; \
                  $T trim m/log --max-segments 1 --lose-names >/dev/null; echo $?";
    let Some(output) = on_volume(&scratch, 24, script) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n1\n0\n1\n0\n", "{}", errors(&output));
    let said = errors(&output);
    assert!(said.contains("nothing was trimmed") && said.contains("--lose-names"), "{said}");
}
