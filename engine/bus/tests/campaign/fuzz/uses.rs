//! Everything that can be done with a log.

use std::path::Path;

use futures_lite::future::block_on;
use tapeline::consumer::Start;
use tapeline::error::{AdapterError, DirectoryError, OpenError, PageError};
use tapeline::event::SessionId;
use tapeline::log::{FollowStart, LogFollower, plan_repair, repair_log, trim_log};
use tapeline::retention::RetentionPolicy;
use tapeline::{ConsumeRequest, EventBus, EventBusConfig, LogFiles, RawEvent, ReplayRequest, SubscribeRequest};
use tapeline_storage::device::sim::Random;

use super::base::SESSIONS;
use super::image::Image;
use crate::runner::step;

/// More than any reader of such a log is handed out, gaps and errors included.
const MOST: usize = 20_000;
/// Most memory that one use of such a log takes beside what there was, in KiB.
const MEMORY_KIB: u64 = 192 << 10;

type Outcome = Result<(), String>;
type Use = fn(&Path, &mut Random) -> Outcome;

/// Uses the log in every way. What writes has a copy of its own.
pub(crate) fn try_all(image: &Image, path: &Path, random: &mut Random) -> Outcome {
    image.store(path);
    let reading: [(&str, Use); 5] =
        [("read", read), ("verify", verify), ("follow", follow), ("plan", plan), ("cursors", cursors)];
    let writing: [(&str, Use); 3] = [("write", write), ("trim", trim), ("repair", repair)];
    for (name, work) in reading {
        measured(name, || work(path, random))?;
    }
    for (name, work) in writing {
        image.store(path);
        measured(name, || work(path, random))?;
    }
    Ok(())
}

fn measured(name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    step(name);
    let before = memory_kib(true);
    work()?;
    let taken = memory_kib(false).saturating_sub(before);
    if taken > MEMORY_KIB { Err(format!("{name} took {taken} KiB of memory")) } else { Ok(()) }
}

/// The most memory that the process had since this was asked with `begin`.
fn memory_kib(begin: bool) -> u64 {
    if begin {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Takes all that there is, errors included.
fn drain<T>(what: &str, items: impl Iterator<Item = T>) -> Outcome {
    match items.take(MOST).count() {
        MOST => Err(format!("{what} does not end")),
        _ => Ok(()),
    }
}

fn read(path: &Path, random: &mut Random) -> Outcome {
    let Ok(files) = LogFiles::open(path) else { return Ok(()) };
    step("list");
    drain("segments", files.segments().iter())?;
    let _ = files.sessions();
    let _ = files.kinds();
    step("replay");
    if let Ok(events) = files.replay_all() {
        drain("a replay", events)?;
    }
    step("replay of a session");
    if let Ok(events) = files.replay(SessionId(u128::from(random.below(SESSIONS)))) {
        drain("a replay of a session", events)?;
    }
    step("replay of a time");
    let middle = 1_577_836_800_000_200_000;
    if let Ok(events) = files.replay_with(&ReplayRequest::new().since(middle).until(middle + 90_000)) {
        drain("a replay of a time", events)?;
    }
    Ok(())
}

fn verify(path: &Path, _: &mut Random) -> Outcome {
    let Ok(files) = LogFiles::open(path) else { return Ok(()) };
    let mut steps = 0u32;
    let verification = files.verify(|_| steps += 1);
    drain("damage", verification.damage.iter())
}

fn follow(path: &Path, random: &mut Random) -> Outcome {
    let starts = [FollowStart::Earliest, FollowStart::Last(random.below(50) as usize), FollowStart::Latest];
    for start in starts {
        step(&format!("follow {start:?}"));
        let Ok(mut follower) = LogFollower::open(path, start, &ReplayRequest::new()) else { continue };
        for _ in 0..3 {
            follower.look();
            drain("a follower", std::iter::from_fn(|| follower.try_next()))?;
        }
    }
    Ok(())
}

fn plan(path: &Path, random: &mut Random) -> Outcome {
    let _ = plan_repair(path, |_| {});
    let Ok(files) = LogFiles::open(path) else { return Ok(()) };
    let _ = files.plan_trim(&policy(random).keep_for_cursors());
    Ok(())
}

fn policy(random: &mut Random) -> RetentionPolicy {
    match random.below(3) {
        0 => RetentionPolicy::new().max_segments(1 + random.below(4) as usize),
        1 => RetentionPolicy::new().max_bytes(random.below(1 << 17)),
        _ => RetentionPolicy::new().max_age(std::time::Duration::from_secs(1 << random.below(30))),
    }
}

fn cursors(path: &Path, _: &mut Random) -> Outcome {
    let Ok(files) = LogFiles::open(path) else { return Ok(()) };
    let _ = files.cursors();
    for name in ["relay", "latest", "none"] {
        let Ok(Some(cursor)) = files.load_cursor(name) else { continue };
        step(&format!("follow cursor {name}"));
        let Ok(mut follower) = LogFollower::open(path, FollowStart::Cursor(cursor), &ReplayRequest::new()) else {
            continue;
        };
        drain("a follower from a cursor", std::iter::from_fn(|| follower.try_next()))?;
        let _ = files.save_cursor(name, &follower.cursor());
    }
    Ok(())
}

fn open(path: &Path, shards: u16) -> Result<EventBus, String> {
    let config = EventBusConfig::builder().directory(path).num_shards(shards);
    let config = config.segment_bytes(2 << 20).memory_bytes(4 << 20).lane_bytes(64 << 10);
    let config = config.ring_buffer_capacity(1024).build().expect("valid");
    block_on(EventBus::new(config)).map_err(|error| error.to_string())
}

/// A log that opens keeps what is acknowledged.
fn write(path: &Path, random: &mut Random) -> Outcome {
    let Ok(bus) = open(path, 1 + random.below(2) as u16) else { return Ok(()) };
    step("poll");
    poll_all(&bus)?;
    step("ingest");
    const SESSION: SessionId = SessionId(0xfeed);
    let taken =
        (0..3u8).filter(|number| bus.ingest_raw(RawEvent::from_bytes(vec![*number]).with_session(SESSION)).is_ok());
    let taken = taken.count();
    let is_durable = block_on(bus.flush()).is_ok();
    step("trim");
    let policy = RetentionPolicy::new().max_segments(2 + random.below(3) as usize);
    let _ = block_on(bus.trim(&policy));
    step("shut down");
    let outcome = block_on(bus.shutdown());
    if is_durable && taken > 0 {
        step("open again");
        outcome.map_err(|error| format!("flushed, and then not ended: {error}"))?;
        let files = LogFiles::open(path).map_err(|error| format!("written, and does not open: {error}"))?;
        let found = files.replay(SESSION).map_err(|error| error.to_string())?;
        let found = found.take(MOST).filter(|event| event.is_ok()).count();
        if found != taken {
            return Err(format!("{taken} events acknowledged, {found} found"));
        }
    }
    Ok(())
}

fn poll_all(bus: &EventBus) -> Outcome {
    for ordering in [tapeline::Ordering::None, tapeline::Ordering::InsertionTs] {
        let mut request = ConsumeRequest::new(200).ordering(ordering);
        let mut pages = 0;
        while let Ok(page) = block_on(bus.poll(request.clone())) {
            let Some(next) = page.next_id.filter(|_| page.has_more) else { break };
            request = request.from(next);
            pages += 1;
            if pages > MOST {
                return Err(format!("pages in order {ordering:?} do not end"));
            }
        }
    }
    if let Ok(mut events) = block_on(bus.subscribe(SubscribeRequest::new().start(Start::Earliest))) {
        // What there is now; then the subscription waits.
        for _ in 0..MOST {
            match block_on(futures_lite::future::poll_once(events.next())) {
                Some(Some(_)) => {}
                _ => return Ok(()),
            }
        }
        return Err("a subscription does not end".into());
    }
    Ok(())
}

fn trim(path: &Path, random: &mut Random) -> Outcome {
    let _ = trim_log(path, &policy(random));
    Ok(())
}

/// Returns whether what lies in the log's directory explains that a repair is refused: something else than a file or a
/// directory where one belongs, a meta file that cannot be used, or words of a newer format. Whatever else is harmed is
/// repaired.
fn explains(root: &Path, error: &AdapterError) -> bool {
    let is_newer = |source: &PageError| matches!(source, PageError::Version { .. });
    match error {
        AdapterError::Directory(DirectoryError::Meta { .. } | DirectoryError::Newer { .. }) => true,
        AdapterError::Directory(DirectoryError::NotALog { .. }) => !root.join("meta").exists(),
        AdapterError::Directory(DirectoryError::Eras { source, .. } | DirectoryError::Names { source, .. }) => {
            is_newer(source)
        }
        AdapterError::Directory(DirectoryError::Io { path, .. }) => is_strange(root, path),
        AdapterError::Open(OpenError::Io { path, .. }) => is_strange(root, Path::new(path)),
        AdapterError::Open(OpenError::Gaps { source, .. }) => is_newer(source),
        _ => false,
    }
}

/// Returns whether a name on the way to `path` stands for something else than its kind of name does, or for nothing.
fn is_strange(root: &Path, path: &Path) -> bool {
    path.ancestors().take_while(|part| *part != root).any(|part| {
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        let is_of_directory = name == "cursors" || (name.starts_with("shard-") && !name.contains('.'));
        match part.symlink_metadata() {
            Ok(found) if is_of_directory => !found.is_dir(),
            Ok(found) => !found.is_file(),
            Err(_) => true,
        }
    })
}

/// A log that was repaired opens, needs no other repair, and has no damage.
fn repair(path: &Path, _: &mut Random) -> Outcome {
    match repair_log(path, |_| {}) {
        Err(error) if explains(path, &error) => return Ok(()),
        Err(error) => return Err(format!("not repaired: {error}: {error:?}")),
        Ok(_) => {}
    }
    step("plan again");
    let again = plan_repair(path, |_| {}).map_err(|error| format!("repaired, and then: {error}"))?;
    if !again.is_empty() {
        return Err(format!("repaired, and then to be repaired: {again:?}"));
    }
    // What a crash leaves is put right by an opening.
    step("write what was repaired");
    let bus = open(path, 1).map_err(|error| format!("repaired, and does not open for writing: {error}"))?;
    block_on(bus.shutdown()).map_err(|error| format!("repaired, and then not ended: {error}"))?;
    step("verify what was repaired");
    let files = LogFiles::open(path).map_err(|error| format!("repaired, and does not open: {error}"))?;
    match &files.verify(|_| {}).damage[..] {
        [] => Ok(()),
        damage => Err(format!("repaired, and damaged: {damage:?}")),
    }
}
