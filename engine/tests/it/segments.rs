//! A log of many segments opens in a process that has few descriptors to spare, for whatever is done with it.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use futures_lite::future::block_on;
use tapeline::rkyv::util::AlignedVec;
use tapeline::{EventBus, FollowStart, LogFiles, LogFollower, LogId, RawEvent, ReplayRequest, plan_repair};
use tapeline_storage::device::BlockWriter;
use tapeline_storage::format::{
    BLOCK_HEADER_BYTES, BlockHeader, Checksum, Epoch, Footer, Kind, Meta, PAGE_BYTES, RECORD_ALIGN, Record,
    SegmentHeader, Sequence, SessionFilter, SessionId, archive_into, archived_bytes,
};
use tapeline_storage::log::Segment;

use crate::scratch::{Scratch, open};

const LOG: LogId = LogId([0x77; 16]);

/// Set for the child: where the log is.
const DIRECTORY: &str = "TAPELINE_MANY_SEGMENTS";

/// Descriptors that the child may have beyond its standard ones.
const SPARE_DESCRIPTORS: u32 = 64;

/// A block of one event.
fn block(epoch: Epoch, sequence: Sequence, previous_crc: u32) -> (BlockHeader, Vec<u8>) {
    let mut record = AlignedVec::<RECORD_ALIGN>::new();
    record.resize(archived_bytes(8), 0);
    let (session, timestamp) = (SessionId(u128::from(sequence.get() % 100) + 1), 1000 + sequence.get());
    archive_into(&Record { session, timestamp, kind: Kind(1), payload: &sequence.get().to_le_bytes() }, &mut record);
    let mut writer = BlockWriter::new();
    writer.start(sequence);
    writer.append(&record, &[(record.len() / RECORD_ALIGN) as u16]);
    let block_bytes = writer.close();
    let mut checksum = Checksum::default();
    checksum.update(writer.appended(0, writer.records_bytes()));
    checksum.update(writer.closed_tail(block_bytes));
    let header = BlockHeader {
        header_crc: 0,
        body_crc: checksum.finish(epoch),
        epoch,
        first_sequence: sequence,
        count: 1,
        block_bytes: block_bytes as u32,
        records_bytes: writer.records_bytes() as u32,
        previous_crc,
        first_timestamp: timestamp,
        last_timestamp: timestamp,
        durable_sequence: sequence,
    };
    let mut head = [0; BLOCK_HEADER_BYTES];
    let header_crc = header.encode(&mut head);
    let bytes = [&head[..], writer.appended(0, writer.records_bytes()), writer.closed_tail(block_bytes)].concat();
    (BlockHeader { header_crc, ..header }, bytes)
}

/// Writes a log of so many segments of one event each.
fn write_log(path: &Path, segments: u64) {
    let shard = path.join("shard-0000");
    DirBuilder::new().recursive(true).mode(0o700).create(&shard).expect("creates");
    std::fs::write(path.join("meta"), Meta { log_id: LOG, shards: 1, created: 1 }.encode()).expect("writes");
    for number in 0..segments {
        let (base, epoch) = (Sequence::new(number), Epoch::new(number + 1));
        let header = SegmentHeader {
            log_id: LOG,
            shard: 0,
            epoch,
            base_sequence: base,
            created: 1,
            run: Epoch::new(1),
            is_merged: false,
        };
        let (page, _) = header.encode();
        let (_, crc) = SegmentHeader::decode(&page).expect("a header");
        let mut footer = Footer::of_empty(epoch, base, crc);
        let (header, bytes) = block(epoch, base, crc);
        footer.add(&header);
        let mut file = File::create_new(shard.join(Segment::file_name(base))).expect("creates");
        file.write_all(&[&page[..], &bytes, &footer.encode(&SessionFilter::all())].concat()).expect("writes");
        assert_eq!(footer.offset(), 2 * PAGE_BYTES as u64);
    }
}

/// What a process has resident, in MiB.
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
    let bus: EventBus = open(tapeline::EventBusConfig::builder().directory(path).segment_bytes(2 << 20));
    step("EventBus::new", &mut since);
    bus.ingest_raw(RawEvent::from_str("more")).expect("ingests");
    block_on(bus.flush()).expect("durable");
    assert_eq!(block_on(bus.replay_with(ReplayRequest::new())).expect("replays").count(), segments + 1);
    step("replay of the bus", &mut since);
    block_on(bus.shutdown()).expect("ends");
    step("shutdown", &mut since);
}

#[test]
fn log_of_many_segments_needs_few_descriptors() {
    let segments = std::env::var("TAPELINE_SEGMENTS").map_or(3000, |number| number.parse().expect("a number"));
    let scratch = Scratch::new("segments");
    write_log(scratch.path(), segments);
    let limit = format!("ulimit -n {} && exec \"$0\" \"$@\"", 3 + SPARE_DESCRIPTORS);
    let mut child = Command::new("sh");
    child.args(["-c", &limit]).arg(std::env::current_exe().expect("own path"));
    child.args(["--exact", "segments::child", "--nocapture", "--test-threads=1"]);
    let status = child.env(DIRECTORY, scratch.path()).status().expect("starts");
    assert!(status.success(), "{status}");
}
