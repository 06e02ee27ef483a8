//! The sound logs that are harmed: the same bytes in every process.

use std::path::Path;

use tapeline::consumer::Start;
use tapeline::{LogFiles, kinds};
use tapeline_storage::format::layout::{Layout, Links};
use tapeline_storage::format::{
    Era, Eras, Kind, LogId, LogShard, Meta, PAGE_BYTES, Record, SHARED_PAYLOAD_BYTES_MAX, Sequence, SessionId,
    SessionNames,
};
use tapeline_storage::log::{LogDirectory, LogOptions, ShardRestore};

use super::image::Image;

const LOG: LogId = LogId([7; 16]);
/// 2020.
const BEGIN: u64 = 1_577_836_800_000_000_000;

/// Sessions of the events.
pub(crate) const SESSIONS: u64 = 5;

/// The logs: one that was closed; one whose process died; one with all that a log may have beside
/// segments; one with an event that has a large block.
pub(crate) fn logs(scratch: &Path) -> Vec<Image> {
    let closed = Plan { events: &[(0, 400)], lost: 0..0, eras: false, large: None }.make(scratch);
    let crashed = crash(Plan { events: &[(0, 300)], lost: 0..0, eras: false, large: None }.make(scratch));
    let rich = Plan { events: &[(100, 500), (0, 300)], lost: 300..320, eras: true, large: None }.make(scratch);
    let rich_crashed = crash(rich.clone());
    let large = Plan { events: &[(0, 60)], lost: 0..0, eras: false, large: Some(30) }.make(scratch);
    let large_crashed = crash(large.clone());
    vec![closed, crashed, rich, rich_crashed, large, large_crashed]
}

struct Plan<'a> {
    /// First and end of the sequences of each shard.
    events: &'a [(u64, u64)],
    /// Those of the first shard that are missing.
    lost: std::ops::Range<u64>,
    eras: bool,
    /// The event that does not share a block with others.
    large: Option<u64>,
}

impl Plan<'_> {
    fn make(&self, scratch: &Path) -> Image {
        let _ = std::fs::remove_dir_all(scratch);
        let mut directory =
            LogDirectory::create(scratch, Meta { log_id: LOG, shards: 1, created: BEGIN }).expect("a log");
        for (shard, &(first, end)) in (0..).zip(self.events) {
            directory.grow(shard + 1).expect("grows");
            let options = LogOptions {
                segment_bytes: 24 << 10,
                block_bytes: 2 * PAGE_BYTES,
                ..LogOptions::new(LogShard::new(LOG, shard), 3)
            };
            let mut restore = ShardRestore::new(directory.shard(shard).expect("a directory"), options, BEGIN);
            for sequence in (first..end).filter(|sequence| shard > 0 || !self.lost.contains(sequence)) {
                append(&mut restore, shard, sequence, self.large);
            }
            restore.finish().expect("sealed");
        }
        if self.eras {
            let starts = |numbers: [u64; 2]| numbers.map(Sequence::new).to_vec();
            let mut eras = Eras::default();
            eras.begin(Era { active: 1, starts: starts([150, 0]) });
            eras.begin(Era { active: 2, starts: starts([250, 120]) });
            directory.save_eras(&eras).expect("saved");
            let mut names = SessionNames::default();
            let opening = |id| format!(r#"{{"type":"session.open","name":"session {id}"}}"#);
            names.extend((0..SESSIONS).map(|id| (SessionId(u128::from(id)), opening(id))), |_, later| later.to_owned());
            directory.save_names(&names).expect("saved");
        }
        directory.complete().expect("complete");
        drop(directory);
        save_cursors(scratch);
        Image::load(scratch)
    }
}

fn append(restore: &mut ShardRestore, shard: u16, sequence: u64, large: Option<u64>) {
    let opens = sequence % 97 == 3;
    let text_bytes = if large == Some(sequence) { SHARED_PAYLOAD_BYTES_MAX } else { (sequence * 37 % 300) as usize };
    let payload = if opens {
        b"{\"session\":\"a name\"}".to_vec()
    } else {
        format!("{{\"n\":{sequence},\"text\":\"{}\"}}", "x".repeat(text_bytes)).into_bytes()
    };
    let record = Record {
        session: SessionId(u128::from(sequence % SESSIONS)),
        timestamp: BEGIN + sequence * 1000 + u64::from(shard),
        kind: if opens { kinds::SESSION } else { Kind(1 + (sequence % 4) as u16) },
        payload: &payload,
    };
    restore.append(Sequence::new(sequence), &record).expect("appended");
}

fn save_cursors(log: &Path) {
    let files = LogFiles::open(log).expect("opens");
    let middle = Start::Sequences((0..files.num_shards()).map(|shard| (shard, Sequence::new(200))).collect());
    for (name, start) in [("relay", middle), ("latest", Start::Latest)] {
        files.save_cursor(name, &files.cursor_at(&start).expect("a position")).expect("saved");
    }
}

/// The log as it lies when its process died: the last segment of each shard is not sealed and has room. In the first
/// shard the next one is prepared; in the others the last was begun and does not have its name yet.
fn crash(mut image: Image) -> Image {
    for shard in 0.. {
        let within = format!("shard-{shard:04}/");
        let Some(last) = image.segments().into_iter().rfind(|name| name.starts_with(&within)) else { break };
        let mut bytes = image.bytes(&last).to_vec();
        let layout = Layout::of(&bytes);
        // Each block was written when those before it were on the device.
        for block in &layout.blocks {
            bytes.copy_within(block.start + 24..block.start + 32, block.start + 64);
        }
        layout.sum(&mut bytes, Links::Mended);
        bytes.truncate(layout.data_end());
        bytes.resize(bytes.len() + 12 * PAGE_BYTES, 0);
        let spare = format!("{within}spare.seg");
        if shard == 0 {
            image.put(&spare, vec![0; bytes.len()]);
            image.put(&last, bytes);
        } else {
            image.0.remove(&last);
            image.put(&spare, bytes);
        }
    }
    image
}
