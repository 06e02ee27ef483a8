//! Followers of sessions are woken for what their sessions get, and seldom for anything else.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as AtomicOrdering};
use std::task::{Wake, Waker};

use tapeline_reader::source::NewBlocks;
use tapeline_storage::device::BlockWriter;
use tapeline_storage::format::{Kind, LogId, LogShard, Record, Sequence, SessionId, archive_into, archived_bytes};
use tapeline_storage::log::{Log, LogOptions, LogView};
use tapeline_storage::read::Visibility;
use tapeline_testing::{Random, seeds};

use super::sessions::SessionFollowers;
use super::{Followers, Watermarks};
use crate::feed::{Bell, Follower, SessionFeed, Surveys, session_feed};

const TOKEN: Kind = Kind(1);

/// A note to the readers of all sessions.
const NOTE: Kind = Kind::RESERVED;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, AtomicOrdering::Relaxed);
    }
}

/// A reader that sleeps whenever it has seen everything.
struct Reader {
    bell: Arc<Bell>,
    count: Arc<Count>,
    visibility: Visibility,
    sessions: Vec<SessionId>,
    seen: Sequence,
    feed: Option<SessionFeed>,
}

impl Reader {
    fn new(visibility: Visibility, sessions: &[u128]) -> Self {
        let sessions = sessions.iter().copied().map(SessionId).collect();
        let (bell, count) = (Arc::new(Bell::new()), Arc::default());
        Self { bell, count, visibility, sessions, seen: Sequence::ZERO, feed: None }
    }

    fn follower(&mut self, surveys: &Surveys) -> Follower {
        let survey = surveys.of(self.visibility);
        let (follower, feed) = session_feed(&self.bell, self.visibility, survey, &self.sessions);
        self.feed = Some(feed);
        follower
    }

    /// The sequence at which it goes on that has read all before `next`.
    fn pass(&self, next: Sequence) -> Sequence {
        self.feed.as_ref().map_or(next, |feed| feed.pass(next))
    }

    fn sleep(&mut self, watermarks: Watermarks) {
        self.bell.arm(&Waker::from(Arc::clone(&self.count)));
        self.seen = watermarks.of(self.visibility);
    }

    fn woken(&self) -> usize {
        self.count.0.load(AtomicOrdering::Relaxed)
    }
}

/// The blocks of a shard, with records of no payload.
struct Blocks {
    /// Lends some of them.
    view: Arc<LogView>,
    open: BlockWriter,
    kinds: Vec<(SessionId, Kind)>,
    durable: u64,
}

#[allow(clippy::expect_used, reason = "a test")]
fn begun(first: u64) -> BlockWriter {
    let mut writer = BlockWriter::new().expect("memory");
    writer.start(Sequence::new(first));
    writer
}

impl Blocks {
    fn new() -> Self {
        let view = Arc::clone(Log::in_memory(&LogOptions::new(LogShard::new(LogId([1; 16]), 0), 1)).view());
        Self { view, open: begun(0), kinds: Vec::new(), durable: 0 }
    }

    fn append(&mut self, session: u128, kind: Kind) {
        let bytes = archived_bytes(0);
        let mut record = rkyv::util::AlignedVec::<16>::new();
        record.resize(bytes, 0);
        archive_into(&Record { session: SessionId(session), timestamp: 1, kind, payload: &[] }, &mut record);
        self.open.append(&record, &[(bytes / 16) as u16]);
        self.open.publish();
        self.kinds.push((SessionId(session), kind));
    }

    fn rotate(&mut self) {
        self.open = begun(self.kinds.len() as u64);
    }

    fn watermarks(&self) -> Watermarks {
        Watermarks { appended: Sequence::new(self.kinds.len() as u64), durable: Sequence::new(self.durable) }
    }

    fn concerns(&self, reader: &Reader, sequences: Range<u64>) -> bool {
        let records = &self.kinds[sequences.start as usize..sequences.end as usize];
        records.iter().any(|(session, kind)| reader.sessions.contains(session) || kind.is_note())
    }
}

#[test]
fn no_follower_sleeps_over_what_its_sessions_get() {
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        let surveys = Surveys::default();
        let (mut blocks, mut followers) = (Blocks::new(), Followers::new(surveys.clone()));
        let mut readers: Vec<Reader> = Vec::new();
        let mut now = 1;
        for _ in 0..300 {
            now += random.below(300_000u64);
            match random.below(8u32) {
                0 if readers.len() < 40 => {
                    let visibility = random.pick(&[Visibility::Appended, Visibility::Durable]);
                    let sessions: Vec<u128> = (0..1 + random.below(2u64)).map(|_| random.below(9u64).into()).collect();
                    let mut reader = Reader::new(visibility, &sessions);
                    reader.sleep(blocks.watermarks());
                    followers.admit([reader.follower(&surveys)]);
                    readers.push(reader);
                }
                1 if !readers.is_empty() => {
                    readers.swap_remove(random.below(readers.len())).bell.silence();
                }
                2 => {
                    blocks.rotate();
                    followers.of_sessions.announce(&blocks.view, blocks.open.memory());
                }
                3 => blocks.durable += random.below(blocks.kinds.len() as u64 - blocks.durable + 1),
                4 => followers.ring(now, blocks.watermarks()),
                _ => {
                    for _ in 0..random.below(30u32) {
                        let kind = if random.below(200u32) == 0 { NOTE } else { TOKEN };
                        blocks.append(random.below(12u64).into(), kind);
                    }
                }
            }
            if random.below(3u32) > 0 {
                continue;
            }
            followers.ring_before_sleep(blocks.watermarks());
            let watermarks = blocks.watermarks();
            for reader in &mut readers {
                let sequences = reader.seen.get()..watermarks.of(reader.visibility).get();
                let was_woken = reader.count.0.swap(0, AtomicOrdering::Relaxed) > 0;
                assert!(was_woken || !blocks.concerns(reader, sequences.clone()), "seed {seed}");
                if was_woken {
                    let end = sequences.end;
                    let passed = |next| next..reader.pass(Sequence::new(next)).get().min(end);
                    for next in sequences {
                        assert!(!blocks.concerns(reader, passed(next)), "seed {seed}, from {next}");
                    }
                    reader.sleep(watermarks);
                }
            }
        }
    }
}

/// Readers of a session each, asleep, and the blocks that the shard has rung them for.
fn asleep(count: u128) -> (Blocks, SessionFollowers, Vec<Reader>) {
    let surveys = Surveys::default();
    let (mut blocks, mut followers) = (Blocks::new(), SessionFollowers::new(surveys.clone()));
    let mut readers: Vec<_> = (0..count).map(|session| Reader::new(Visibility::Appended, &[session])).collect();
    readers.iter_mut().for_each(|reader| followers.admit(reader.follower(&surveys)));
    followers.announce(&blocks.view, blocks.open.memory());
    blocks.append(count, TOKEN);
    followers.ring(None, blocks.watermarks());
    readers.iter_mut().for_each(|reader| reader.sleep(blocks.watermarks()));
    (blocks, followers, readers)
}

fn woken(readers: &[Reader]) -> usize {
    readers.iter().map(Reader::woken).sum()
}

#[test]
fn event_wakes_the_followers_of_its_session_alone() {
    let (mut blocks, mut followers, readers) = asleep(1000);
    let before = blocks.watermarks();
    [7, 8, 7, 2000].into_iter().for_each(|session| blocks.append(session, TOKEN));
    blocks.rotate();
    followers.announce(&blocks.view, blocks.open.memory());
    blocks.append(9, TOKEN);
    assert_eq!(followers.ring(Some(before), blocks.watermarks()), 3);
    assert_eq!((woken(&readers), [7, 8, 9].map(|at| readers[at].woken())), (3, [1; 3]));
    let passed = [7, 8, 9, 10].map(|at| readers[at].pass(Sequence::new(1)).get());
    assert_eq!(passed, [1, 2, 5, 6], "each goes on at its event, or at the end");
    let before = blocks.watermarks();
    blocks.append(2000, NOTE);
    followers.ring(Some(before), blocks.watermarks());
    assert_eq!(woken(&readers), 1000, "a note concerns all, of whom three are awake");
}

#[test]
fn new_route_wakes_all_until_they_have_passed_its_beginning() {
    let (mut blocks, mut followers, mut readers) = asleep(10);
    followers.begin_route(Sequence::new(2));
    for (durable, expected) in [(0, 10), (1, 20), (2, 30), (3, 30)] {
        let before = blocks.watermarks();
        blocks.append(2000, TOKEN);
        blocks.durable = durable;
        followers.ring(Some(before), blocks.watermarks());
        assert_eq!(woken(&readers), expected, "durable up to {durable}");
        readers.iter_mut().for_each(|reader| reader.sleep(blocks.watermarks()));
    }
}

#[test]
fn round_wakes_each_follower_once_and_ends() {
    let (_blocks, mut followers, readers) = asleep(1000);
    // The log has moved to its first record, at some time.
    followers.go_round(1);
    let mut most = 0;
    for millisecond in 1..=1000 {
        let before = woken(&readers);
        followers.go_round(1 + millisecond * 1_000_000);
        most = most.max(woken(&readers) - before);
    }
    assert!(readers.iter().all(|reader| reader.woken() == 1) && most <= 2, "{most} at once");
    readers.iter().for_each(|reader| reader.bell.arm(&Waker::from(Arc::clone(&reader.count))));
    (1000..3000).for_each(|millisecond| followers.go_round(1 + millisecond * 1_000_000));
    assert_eq!(woken(&readers), 1000, "nothing has come since");
}

#[test]
fn those_who_are_gone_are_not_looked_for() {
    let (mut blocks, mut followers, readers) = asleep(10);
    [0, 3, 9].into_iter().for_each(|gone: usize| readers[gone].bell.silence());
    followers.forget_some(10);
    followers.forget_some(10);
    let before = blocks.watermarks();
    (0..10).for_each(|session| blocks.append(session, TOKEN));
    assert_eq!(followers.ring(Some(before), blocks.watermarks()), 7);
    readers.iter().for_each(|reader| reader.bell.silence());
    followers.forget_some(10);
    assert!(followers.is_empty());
}
