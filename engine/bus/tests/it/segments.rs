//! A log of many segments opens in a process that has few descriptors to spare, for whatever is done with it.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use futures_lite::future::block_on;
use tapeline::config::Driver;
use tapeline::log::{FollowStart, LogFollower, LogId, plan_repair};
use tapeline::rkyv::util::AlignedVec;
use tapeline::{ConsumerError, EventBus, EventBusConfig, LogFiles, RawEvent, ReplayRequest};
use tapeline_storage::device::{BlockEnd, BlockWriter};
use tapeline_storage::format::{
    BlockHeader, Epoch, Footer, GAPS_FILE_BYTES, Kind, LogShard, Meta, PAGE_BYTES, RECORD_ALIGN, Record, SegmentHeader,
    Sequence, SessionFilter, SessionId, archive_into, archived_bytes,
};
use tapeline_storage::log::Segment;

use crate::scratch::{Scratch, open};

const LOG: LogId = LogId([0x77; 16]);

/// Set for the child: where the log is.
const DIRECTORY: &str = "TAPELINE_MANY_SEGMENTS";

/// Descriptors that the child may have beyond its standard ones.
const SPARE_DESCRIPTORS: u32 = 64;

/// A block of one event, whose record was changed by `forge` before it was summed.
fn block(epoch: Epoch, sequence: Sequence, previous_crc: u32, forge: fn(&mut [u8])) -> (BlockHeader, Vec<u8>) {
    let mut record = AlignedVec::<RECORD_ALIGN>::new();
    record.resize(archived_bytes(8), 0);
    let (session, timestamp) = (SessionId(u128::from(sequence.get() % 100) + 1), 1000 + sequence.get());
    archive_into(&Record { session, timestamp, kind: Kind(1), payload: &sequence.get().to_le_bytes() }, &mut record);
    forge(&mut record);
    let mut writer = BlockWriter::new().expect("memory");
    writer.start(sequence);
    writer.append(&record, &[(record.len() / RECORD_ALIGN) as u16]);
    let end = BlockEnd { epoch, previous_crc, times: (timestamp, timestamp), durable: sequence };
    let header = writer.finish(end, writer.records_sum());
    let (head, block_bytes) = (writer.header_mut().to_vec(), header.block_bytes as usize);
    let bytes = [&head[..], writer.appended(0, writer.records_bytes()), writer.closed_tail(block_bytes)].concat();
    (header, bytes)
}

/// Writes a log of so many segments of one event each, whose record was changed by `forge`.
fn write_log(path: &Path, segments: u64, forge: fn(&mut [u8])) {
    let shard = path.join("shard-0000");
    DirBuilder::new().recursive(true).mode(0o700).create(&shard).expect("creates");
    std::fs::write(path.join("meta"), Meta { log_id: LOG, shards: 1, created: 1 }.encode()).expect("writes");
    std::fs::write(shard.join("gaps"), [0; GAPS_FILE_BYTES]).expect("writes");
    for number in 0..segments {
        let (base, epoch) = (Sequence::new(number), Epoch::new(number + 1));
        let header =
            SegmentHeader { created: 1, ..SegmentHeader::new(LogShard::new(LOG, 0), Epoch::new(1), epoch, base) };
        let (page, _) = header.encode();
        let (_, crc) = SegmentHeader::decode(&page).expect("a header");
        let mut footer = Footer::of_empty(epoch, base, crc);
        let (header, bytes) = block(epoch, base, crc, forge);
        footer.add(&header);
        let mut file = File::create_new(shard.join(Segment::file_name(base))).expect("creates");
        file.write_all(&[&page[..], &bytes, &footer.encode(&SessionFilter::all())].concat()).expect("writes");
        assert_eq!(footer.offset(), 2 * PAGE_BYTES as u64);
    }
}

/// The resident memory of a process, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

fn step(name: &str, since: &mut Instant) {
    println!("{name}: {:.2?}, {} MiB resident", since.elapsed(), resident_mib());
    *since = Instant::now();
}

/// Does with the log whatever can be done. Runs in a process of its own.
#[test]
fn child() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let path = Path::new(&path);
    let mut since = Instant::now();
    let files = LogFiles::open(path).expect("opens");
    let segments = files.segments().len();
    step("LogFiles::open", &mut since);
    assert_eq!(files.replay_all().expect("replays").filter(Result::is_ok).count(), segments);
    step("replay_all", &mut since);
    assert_eq!(files.sessions().expect("sessions").len(), segments.min(100));
    step("sessions", &mut since);
    assert_eq!(files.verify(|_| {}).damage, []);
    step("verify", &mut since);
    drop(files);
    let mut follower = LogFollower::open(path, FollowStart::Last(5), &ReplayRequest::new()).expect("follows");
    step("LogFollower::open", &mut since);
    follower.look();
    assert_eq!(std::iter::from_fn(|| follower.try_next()).filter(Result::is_ok).count(), 5);
    drop(follower);
    since = Instant::now();
    assert_eq!(plan_repair(path, |_| {}).expect("plans"), []);
    step("plan_repair", &mut since);
    let bus: EventBus = open(EventBusConfig::builder().directory(path).segment_bytes(2 << 20));
    step("EventBus::new", &mut since);
    bus.ingest_raw(RawEvent::from_str("more")).expect("ingests");
    block_on(bus.flush()).expect("durable");
    assert_eq!(block_on(bus.replay_with(ReplayRequest::new())).expect("replays").count(), segments + 1);
    step("replay of the bus", &mut since);
    block_on(bus.shutdown()).expect("ends");
    step("shutdown", &mut since);
}

/// The number in the environment, or the one of a suite.
fn number(variable: &str, of_suite: u64) -> u64 {
    std::env::var(variable).map_or(of_suite, |number| number.parse().expect("a number"))
}

/// Runs a test of this file in a process that has few descriptors.
fn run_child(test: &str, scratch: &Scratch) {
    let limit = format!("ulimit -n {} && exec \"$0\" \"$@\"", 3 + SPARE_DESCRIPTORS);
    let mut child = Command::new("sh");
    child.args(["-c", &limit]).arg(std::env::current_exe().expect("own path"));
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    let status = child.env(DIRECTORY, scratch.path()).status().expect("starts");
    assert!(status.success(), "{status}");
}

#[test]
fn log_of_many_segments_needs_few_descriptors() {
    let scratch = Scratch::in_memory("segments");
    write_log(scratch.path(), number("TAPELINE_SEGMENTS", 3000), |_| {});
    run_child("segments::child", &scratch);
}

/// Small segments are merged, eight at a time and more, until a header has no room for another opening.
const OPENINGS_OF_A_SEGMENT: usize = 200;
const FILES_BEFORE_MERGING: usize = 40;

/// Opens the log again and again, each time for one event. Runs in a process of its own.
#[test]
fn opens_again_and_again() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let path = Path::new(&path);
    let openings = number("TAPELINE_OPENINGS", 300);
    let config = || EventBusConfig::builder().directory(path).driver(Driver::Blocking);
    let config = || config().segment_bytes(2 << 20).memory_bytes(4 << 20);
    let (begun, mut since, mut most) = (Instant::now(), Instant::now(), 0);
    for opening in 0..openings {
        let bus = open(config());
        bus.ingest_raw(RawEvent::from_bytes(opening.to_le_bytes().to_vec()).with_session(1u128)).expect("ingests");
        block_on(bus.shutdown()).expect("ends");
        let files = std::fs::read_dir(path.join("shard-0000")).expect("lists").count();
        most = most.max(files);
        if (opening + 1) % 10_000 == 0 {
            step(&format!("10,000 openings, {} in all, {files} files, {most} at most", opening + 1), &mut since);
        }
    }
    println!("{openings} openings in {:.1?}, {most} files at most", begun.elapsed());
    let bound = FILES_BEFORE_MERGING + openings as usize / OPENINGS_OF_A_SEGMENT;
    assert!(most <= bound, "{most} files at a time after {openings} openings");
    since = Instant::now();
    let files = LogFiles::open(path).expect("opens");
    step("LogFiles::open", &mut since);
    let numbers = files.replay_all().expect("replays").map(|event| event.expect("an event").raw.to_vec());
    assert!(numbers.eq((0..openings).map(|number| number.to_le_bytes().to_vec())), "each event once, in order");
    assert_eq!(files.verify(|_| {}).damage, []);
}

#[test]
fn log_that_is_opened_many_times_stays_small_and_opens() {
    let scratch = Scratch::in_memory("openings");
    run_child("segments::opens_again_and_again", &scratch);
}

#[test]
fn record_that_does_not_check_in_a_block_that_does_is_named() {
    let scratch = Scratch::new("forged-record");
    // The last bytes of a record are reserved.
    write_log(scratch.path(), 2, |record| *record.last_mut().expect("bytes") = 1);
    let files = LogFiles::open(scratch.path()).expect("opens");
    let refused = files.sessions().expect_err("a record that does not check");
    let ConsumerError::Record { shard_id: 0, sequence: Sequence::ZERO, message } = &refused else {
        panic!("{refused:?}");
    };
    assert!(message.contains("reserved field"), "{message}");
}
