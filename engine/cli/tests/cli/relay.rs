//! `tapeline relay`, and `tapeline import --from`, against a redis-server and a nats-server.

use std::process::{Child, Output, Stdio};

use tapeline_testing::server::{Program, Server};

use crate::run::{Recording, Scratch, done, errors, expect, json, record, run, tapeline, until};

/// A relay that goes on. Killed when dropped.
struct Relay(Option<Child>);

impl Relay {
    fn start(args: &[&str]) -> Self {
        let args = [&["relay"], args].concat();
        Self(Some(tapeline(&args).stdout(Stdio::null()).spawn().expect("the program starts")))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.as_ref().expect("runs").id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }

    fn end(mut self, status: i32) -> Output {
        expect(self.0.take().expect("runs").wait_with_output().expect("it ends"), status)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The entries of all streams of one shard.
fn entries(server: &Server) -> u64 {
    let keys = server.cli(&["KEYS", "tapeline:*:0"]);
    if keys.is_empty() { 0 } else { server.cli(&["XLEN", &keys]).parse().expect("a number") }
}

/// The events that a relay run once confirms.
fn once(log: &str, server: &Server, more: &[&str], status: i32) -> (u64, String) {
    let url = server.url();
    let args = [&["relay", log, "--to", &url, "--once", "--json"], more].concat();
    let output = expect(run(&args), status);
    let lines = json(&output.stdout);
    let last = lines.last().expect("a line");
    assert_eq!((&last["running"], &last["error"]), (&false.into(), &serde_json::Value::Null), "{last}");
    (last["events"].as_u64().expect("a number"), errors(&output))
}

/// Records with segments that take events of more than 1 MiB whole.
fn record_large(args: &[&str]) {
    done(&[&["record", "--segment-bytes", "8M"], args].concat());
}

#[test]
fn relay_follows_a_log_that_is_written_and_goes_on_where_it_stood() {
    if !Program::Redis.is_here() {
        return;
    }
    let (server, scratch) = (Server::start(Program::Redis, "cli-relay", &[]), Scratch::new());
    let log = scratch.arg("log");
    let mut recording = Recording::start(&[&log, "--format", "jsonl"]);
    recording.write(b"1\n2\n");
    until("the events", || Recording::seen(&log, "stdin").filter(|&events| events == 2));
    for (signal, total) in [("-TERM", 5), ("-INT", 7)] {
        let relay = Relay::start(&[&log, "--to", &server.url()]);
        until("the cursor", || lag(&log));
        recording.write(b"3\n4\n");
        // The event that opens the session is one more.
        until("the entries", || Some(entries(&server)).filter(|&entries| entries == total));
        relay.signal(signal);
        let said = errors(&relay.end(0));
        assert!(said.contains("confirmed, 0 behind"), "{said}");
    }
    drop(recording);
    // The log is there without its writer.
    assert_eq!(once(&log, &server, &[], 0).0, 0);
    let other = once(&log, &server, &["--name", "all", "--prefix", "other"], 0);
    assert_eq!(other.0, 7);
    let few = ["--name", "few", "--prefix", "few", "--kind", "session"];
    assert_eq!(once(&log, &server, &few, 0).0, 1);
}

/// Events that the relay `redis` has not delivered, once there is its cursor.
fn lag(log: &str) -> Option<u64> {
    let output = run(&["cursor", "ls", log, "--json"]);
    let lines = if output.status.success() { json(&output.stdout) } else { return None };
    lines.iter().find(|line| line["name"] == "redis").and_then(|line| line["lag_events"].as_u64())
}

#[test]
fn server_that_is_away_is_waited_for_and_a_signal_ends_the_wait() {
    if !Program::Redis.is_here() {
        return;
    }
    let (mut server, scratch) = (Server::stopped(Program::Redis, "cli-relay-away", &[]), Scratch::new());
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a", "1\n2\n3\n"), "--format", "jsonl"]);
    let relay = Relay::start(&[&log, "--to", &server.url(), "--grace", "0s"]);
    until("the cursor", || lag(&log));
    relay.signal("-TERM");
    let said = errors(&relay.end(130));
    assert!(said.contains("0 events confirmed, 4 behind"), "{said}");
    let late = Relay::start(&[&log, "--to", &server.url(), "--once"]);
    server.run();
    let said = errors(&late.end(0));
    assert!(said.contains("4 events confirmed, 0 behind"), "{said}");
    assert_eq!(once(&log, &server, &[], 0).0, 0);
}

#[test]
fn credentials_show_in_no_message() {
    if !Program::Redis.is_here() {
        return;
    }
    let server = Server::start(Program::Redis, "cli-relay-acl", &["--requirepass", "s3cr3t"]);
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a", "1\n"), "--format", "jsonl"]);
    let url = |credentials: &str| format!("redis://{credentials}@127.0.0.1:{}", server.port());
    let (wrong, right) = (url("us3r:wr0ng"), url(":s3cr3t"));
    let show = |output: &Output| format!("{}{}", errors(output), String::from_utf8_lossy(&output.stdout));
    let mut shown = String::new();
    let relay = Relay::start(&[&log, "--to", &wrong, "--grace", "0s"]);
    until("the cursor", || lag(&log));
    // Until the server has refused it once.
    until("a refusal", || server.cli(&["-a", "s3cr3t", "INFO", "errorstats"]).contains("WRONGPASS").then_some(()));
    relay.signal("-TERM");
    shown += &show(&relay.end(130));
    assert!(shown.contains("WRONGPASS") || shown.contains("uthentication"), "{shown}");
    for (args, status) in [
        (vec!["relay", &log, "--to", "http://us3r:wr0ng@host"], 2),
        (vec!["relay", &log, "--to", "us3r:wr0ng@host"], 2),
        (vec!["relay", &log, "--to", "redis://us3r:wr0ng@host:port"], 2),
        (vec!["relay", &log, &wrong], 2),
        (vec!["relay", &log, "--to", &right, &wrong], 2),
        (vec!["relay", &log, "--unknown", &wrong], 2),
        (vec!["relay", &format!("{log}-none"), "--to", &wrong], 3),
        (vec!["tail", &wrong], 3),
    ] {
        shown += &show(&expect(run(&args), status));
    }
    assert!(!["us3r", "wr0ng", "s3cr3t"].iter().any(|secret| shown.contains(secret)), "{shown}");
    // A file keeps a password out of the list of processes.
    let file = scratch.file("url", format!("{right}\n"));
    let output = expect(run(&["relay", &log, "--to-file", &file, "--once"]), 0);
    assert!(errors(&output).contains("2 events confirmed"), "{}", errors(&output));
    expect(run(&["relay", &log, "--to-file", &scratch.file("empty", "\n"), "--once"]), 2);
    expect(run(&["relay", &log, "--to-file", &scratch.arg("none"), "--once"]), 3);
    expect(run(&["relay", &log]), 2);
}

#[test]
fn events_that_the_server_has_not_got_show_in_the_status() {
    if !Program::Redis.is_here() {
        return;
    }
    // The smallest limit that the server knows.
    let server = Server::start(Program::Redis, "cli-relay-dead", &["--proto-max-bulk-len", "1048576"]);
    let scratch = Scratch::new();
    let log = scratch.arg("log");
    let large = "x".repeat((1 << 20) + 1);
    record_large(&[&log, &scratch.file("a", format!("1\n{large}\n2\n")), "--format", "jsonl"]);
    let (events, said) = once(&log, &server, &[], 1);
    assert_eq!(events, 3);
    assert!(said.contains("relays/redis/dead-letters.jsonl") && said.contains("--redrive"), "{said}");
    assert_eq!(once(&log, &server, &["--redrive"], 1).0, 0);
    assert_eq!(server.cli(&["CONFIG", "SET", "proto-max-bulk-len", "10485760"]), "OK");
    assert_eq!(once(&log, &server, &["--redrive"], 0).0, 1);
    // Events that the log has trimmed.
    let file = scratch.file("b", "some line of text\n".repeat(200_000));
    let trimmed = scratch.arg("trimmed");
    record(&[&trimmed, &file, "--format", "jsonl"]);
    done(&["cursor", "set", &trimmed, "redis", "earliest"]);
    done(&["trim", &trimmed, "--max-bytes", "2M"]);
    let said = once(&trimmed, &server, &["--kind", "session"], 4).1;
    assert!(said.contains("no longer in the log"), "{said}");
    // A shard that cannot be read.
    let broken = scratch.arg("broken");
    record(&[&broken, &scratch.file("c", "1\n2\n"), "--format", "jsonl", "--shards", "2"]);
    let shard = (0..2).map(|shard| scratch.path(&format!("broken/shard-{shard:04}")));
    let segments = shard.flat_map(|shard| std::fs::read_dir(shard).expect("a directory"));
    for segment in segments.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
        std::fs::write(&segment, "nothing of the kind").expect("writes");
    }
    let output = run(&["relay", &broken, "--to", &server.url(), "--once"]);
    assert_eq!(output.status.code(), Some(5), "{}", errors(&output));
}

#[test]
fn log_that_goes_away_ends_the_relay() {
    if !Program::Redis.is_here() {
        return;
    }
    let (server, scratch) = (Server::start(Program::Redis, "cli-relay-gone", &[]), Scratch::new());
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a", "1\n"), "--format", "jsonl"]);
    let relay = Relay::start(&[&log, "--to", &server.url()]);
    until("all", || lag(&log).filter(|&lag| lag == 0));
    std::fs::remove_dir_all(scratch.path("log")).expect("removes");
    let said = errors(&relay.end(3));
    assert!(said.contains("the log is gone"), "{said}");
}

#[test]
fn import_of_what_was_relayed_is_the_log_that_it_was() {
    if !Program::Redis.is_here() {
        return;
    }
    let server = Server::start(Program::Redis, "cli-import", &["--proto-max-bulk-len", "1048576"]);
    let (scratch, url) = (Scratch::new(), server.url());
    let log = scratch.arg("log");
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(4 << 20).collect();
    record_large(&[&log, &scratch.file("bytes", &every_byte), "--format", "raw", "--shards", "3"]);
    // Of shards and sessions several, and one event that is a dead letter at first.
    let lines: String = (0..3000).map(|line| format!("{{\"id\":{},\"n\":{line}}}\n", line % 7)).collect();
    record_large(&[&log, &scratch.file("lines", lines), "--format", "jsonl", "--session-field", "id"]);
    let large = scratch.file("large", format!("{}\n3\n", "x".repeat(1 << 20)));
    record_large(&[&log, &large, "--format", "jsonl"]);
    once(&log, &server, &[], 1);
    let import = |to: &str, more: &[&str], status: i32| {
        let to = scratch.arg(to);
        errors(&expect(run(&[&["import", &to, "--from", &url, "--json"], more].concat()), status))
    };
    let export = |log: &str, status: i32| {
        String::from_utf8(expect(run(&["export", &scratch.arg(log)]), status).stdout).expect("text")
    };
    let exported = export("log", 0);
    let without: String =
        exported.lines().filter(|line| line.len() < 1 << 20).map(|line| format!("{line}\n")).collect();
    assert_ne!(without, exported);
    import("without", &[], 0);
    // The status says that one is missing.
    assert!(export("without", 4) == without, "all events but the dead letter");
    assert_eq!(server.cli(&["CONFIG", "SET", "proto-max-bulk-len", "10485760"]), "OK");
    once(&log, &server, &["--redrive"], 0);
    import("with", &[], 0);
    assert!(export("with", 0) == exported, "all events, each in its place");
    done(&["verify", &scratch.arg("with")]);
    // Another log on the server, and none.
    let other = scratch.arg("other");
    record(&[&other, &scratch.file("c", "1\n"), "--format", "jsonl"]);
    once(&other, &server, &[], 0);
    let said = import("several", &[], 2);
    let id = json(&done(&["info", &other, "--json"]))[0]["log"].as_str().expect("text").to_owned();
    assert!(said.contains(&id) && said.contains("--log"), "{said}");
    import("chosen", &["--log", &id], 0);
    assert_eq!(export("chosen", 0), export("other", 0));
    assert!(import("none", &["--prefix", "none"], 3).contains("no events under the prefix none"));
    assert!(import("none", &["--log", &"0".repeat(32)], 3).contains("no events of log"));
    assert!(import("chosen", &["--log", &id], 1).contains("chosen"));
    let refused = expect(run(&["import", &scratch.arg("x"), "--from", "redis://us3r:wr0ng@127.0.0.1:1"]), 1);
    assert!(!errors(&refused).contains("us3r") && !errors(&refused).contains("wr0ng"), "{}", errors(&refused));
    assert!(!scratch.path("none").exists() && !scratch.path("x").exists());
}

/// A log with sessions whose names are no plain text, every byte value, and one event beyond the limit of nats-server.
fn record_all_sorts(scratch: &Scratch) -> String {
    let log = scratch.arg("log");
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(64 << 10).collect();
    record_large(&[&log, &scratch.file("bytes", &every_byte), "--format", "raw", "--shards", "3"]);
    let names = ["plain", "50 %", "\u{e9}t\u{e9}", "two\nlines"];
    let line = |line: usize| serde_json::json!({ "id": names[line % names.len()], "n": line }).to_string() + "\n";
    let lines: String = (0..1000).map(line).collect();
    record_large(&[&log, &scratch.file("lines", lines), "--format", "jsonl", "--session-field", "id"]);
    let large = scratch.file("large", format!("{}\n3\n", "x".repeat(1 << 20)));
    record_large(&[&log, &large, "--format", "jsonl"]);
    log
}

#[test]
fn import_from_nats_is_the_log_that_it_was_in_each_layout() {
    if !Program::Nats.is_here() {
        return;
    }
    let (mut server, scratch) = (Server::stopped(Program::Nats, "cli-import", &[]), Scratch::new());
    let settings = |limit: u64| ["-c".to_owned(), scratch.file("nats.conf", format!("max_payload: {limit}"))];
    server.arguments(&settings(1 << 20));
    server.run();
    let (log, url) = (record_all_sorts(&scratch), server.url());
    let import = |to: &str, more: &[&str], status: i32| {
        let to = scratch.arg(to);
        errors(&expect(run(&[&["import", &to, "--from", &url], more].concat()), status))
    };
    let export = |log: &str, status: i32| {
        String::from_utf8(expect(run(&["export", &scratch.arg(log)]), status).stdout).expect("text")
    };
    let exported = export("log", 0);
    let layouts: [&[&str]; 2] = [&[], &["--layout", "session", "--prefix", "sessions"]];
    for (layout, to) in layouts.into_iter().zip(["shards", "sessions"]) {
        let dead = once(&log, &server, &[layout, &["--name", to]].concat(), 1).1;
        assert!(dead.contains(&format!("relays/{to}/dead-letters.jsonl")), "{dead}");
        import(&format!("{to}-without"), layout, 0);
        assert!(!export(&format!("{to}-without"), 4).contains("xxxxx"), "all events but the dead letter");
    }
    // The other layout would find none of these.
    let refused = import("other", &["--prefix", "sessions"], 1);
    assert!(refused.contains("PerSession"), "{refused}");
    server.kill();
    settings(4 << 20);
    server.run();
    for (layout, to) in layouts.into_iter().zip(["shards", "sessions"]) {
        assert_eq!(once(&log, &server, &[layout, &["--name", to, "--redrive"]].concat(), 0).0, 1);
        import(to, layout, 0);
        assert!(export(to, 0) == exported, "{to}: all events, each in its place, with the names of sessions");
        done(&["verify", &scratch.arg(to)]);
    }
    let said = import("none", &["--prefix", "none"], 3);
    assert!(said.contains("there is no stream none"), "{said}");
    let none = import("none", &["--log", &"0".repeat(32)], 3);
    assert!(none.contains("no events of log"), "{none}");
    assert!(!scratch.path("none").exists() && !scratch.path("other").exists());
}

#[test]
fn credentials_of_nats_show_in_no_message() {
    if !Program::Nats.is_here() {
        return;
    }
    let scratch = Scratch::new();
    let settings = scratch.file("nats.conf", "authorization { user: relay, password: \"s3cr3t\" }");
    let server = Server::start(Program::Nats, "cli-users", &["-c", &settings]);
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a", "1\n2\n"), "--format", "jsonl"]);
    let url = |credentials: &str| format!("nats://{credentials}@127.0.0.1:{}", server.port());
    let nothing = scratch.file("nothing", "");
    let mut shown = String::new();
    for (args, status) in [
        (vec!["import", &scratch.arg("x"), "--from", &url("us3r:wr0ng")], 1),
        (vec!["import", &scratch.arg("x"), "--from", "nats://us3r:wr0ng@host:port"], 2),
        (vec!["relay", &log, "--to", &url("us3r:wr0ng"), "--credentials", &scratch.arg("none")], 3),
        (vec!["relay", &log, "--to", "redis://us3r:wr0ng@host", "--credentials", &nothing], 2),
        (vec!["relay", &log, "--to", &url("us3r:wr0ng"), "--expire-after", "1h"], 2),
        (vec!["relay", &log, "--to", &url("us3r:wr0ng"), "--field", "kind=3"], 2),
        (vec!["relay", &log, "--to", &url("relay:s3cr3t"), "--once"], 0),
    ] {
        let output = expect(run(&args), status);
        shown += &format!("{}{}", errors(&output), String::from_utf8_lossy(&output.stdout));
    }
    assert!(shown.contains("3 events confirmed"), "{shown}");
    assert!(!["us3r", "wr0ng", "s3cr3t"].iter().any(|secret| shown.contains(secret)), "{shown}");
}

#[test]
fn options_about_streams_and_events_reach_the_server() {
    if !Program::Redis.is_here() {
        return;
    }
    let (server, scratch) = (Server::start(Program::Redis, "cli-options", &[]), Scratch::new());
    let log = scratch.arg("log");
    let line =
        |line: usize| format!("{{\"id\":\"s{}\",\"n\":{},\"user\":{{\"tenant\":\"acme\"}}}}\n", line % 3, line % 2);
    let lines: String = (0..900).map(line).collect();
    record(&[&log, &scratch.file("lines", lines), "--format", "jsonl", "--session-field", "id"]);
    let len = |keys: &str| server.cli(&["XLEN", &server.cli(&["KEYS", keys])]).parse::<u64>().expect("a number");
    let relayed =
        |name: &str, more: &[&str]| once(&log, &server, &[&["--name", name, "--prefix", name], more].concat(), 0).0;
    assert_eq!(relayed("all", &["--max-len", "200"]), 903);
    assert!((200..300).contains(&len("all:*")), "{}", len("all:*"));
    assert_eq!(relayed("one", &["--session", "s1", "--filter", r#"{"path":"n","value":1}"#]), 150);
    assert_eq!(len("one:*"), 150);
    // A stream for each session, for an hour, with further fields; and the log that comes of them.
    let more =
        ["--layout", "session", "--expire-after", "1h", "--field", "region=eu-1", "--field-from", "tenant=user.tenant"];
    assert_eq!(relayed("sessions", &more), 903);
    let index = server.cli(&["KEYS", "sessions:*:index"]);
    assert!(server.cli(&["TTL", &index]).parse::<u64>().is_ok_and(|seconds| seconds <= 3600));
    let session = server.cli(&["KEYS", "sessions:*"]).lines().find(|key| *key != index).expect("one").to_owned();
    let entries = server.cli(&["XRANGE", &session, "-", "+"]);
    assert!(entries.contains("region\neu-1") && entries.contains("tenant\nacme"), "{entries}");
    let import = |to: &str, more: &[&str], status: i32| {
        let args = ["import", &scratch.arg(to), "--from", &server.url(), "--prefix", "sessions"];
        errors(&expect(run(&[&args[..], more].concat()), status))
    };
    let refused = import("shards", &[], 1);
    assert!(refused.contains("layout"), "{refused}");
    import("copy", &["--layout", "session"], 0);
    assert_eq!(done(&["export", &scratch.arg("copy")]), done(&["export", &log]));
}

#[test]
fn server_is_asked_for_a_certificate_of_the_authorities_that_are_named() {
    if !Program::Nats.is_here() || std::process::Command::new("openssl").arg("version").output().is_err() {
        return println!("NOT tested: openssl or nats-server is missing");
    }
    let (mut server, scratch) = (Server::stopped(Program::Nats, "cli-tls", &[]), Scratch::new());
    let authority = server.certify("server");
    let file = |name: &str| server.path().join(name).display().to_string();
    let tls = format!("tls {{ cert_file: {:?}, key_file: {:?} }}", file("server.pem"), file("server.key"));
    server.arguments(&["-c".to_owned(), scratch.file("nats.conf", tls)]);
    server.run();
    let log = scratch.arg("log");
    record(&[&log, &scratch.file("a", "1\n2\n"), "--format", "jsonl"]);
    let url = format!("tls://localhost:{}", server.port());
    let authority = authority.display().to_string();
    let args = ["relay", &log, "--to", &url, "--once", "--root-certificates", &authority];
    let said = errors(&expect(run(&args), 0));
    assert!(said.contains("3 events confirmed"), "{said}");
    let copy = scratch.arg("copy");
    let from = |more: &[&str], status| expect(run(&[&["import", &copy, "--from", &url], more].concat()), status);
    from(&[], 1);
    from(&["--root-certificates", &authority], 0);
    // The address may be in a file.
    let other = scratch.arg("other");
    let url = scratch.file("url", url.clone());
    expect(run(&["import", &other, "--from-file", &url, "--root-certificates", &authority]), 0);
}
