//! An index says of a segment what a scan of its records says.

use std::collections::BTreeMap;

use tapeline_testing::seeds;

use super::builder::SESSIONS_MAX;
use super::*;
use crate::device::sim::Random;
use crate::device::{BlockEnd, BlockWriter};
use crate::format::{BlockView, Kind, RECORD_ALIGN, Record, Sequence, archive_into, archived_bytes};

const EPOCH: Epoch = Epoch::new(77);

struct Event {
    session: SessionId,
    kind: Kind,
    timestamp: u64,
    payload: Vec<u8>,
}

fn random_event(random: &mut Random, number: u64) -> Event {
    let kind = match random.below(10) {
        0 => Kind::SESSION,
        1 => Kind::RESERVED,
        other => Kind(other as u16 % 3),
    };
    let longest = if random.chance(500) { OPENING_BYTES_MAX as u64 + 10 } else { 40 };
    Event {
        session: SessionId(u128::from(random.below(9)) << (random.below(2) * 90)),
        kind,
        timestamp: 1000 + number + random.below(5),
        payload: vec![number as u8; random.below(longest) as usize],
    }
}

fn block(events: &[Event], first: u64) -> Vec<u8> {
    let mut writer = BlockWriter::new().expect("memory");
    writer.start(Sequence::new(first));
    for Event { session, kind, timestamp, payload } in events {
        let mut bytes = AlignedVec::<16>::new();
        bytes.resize(archived_bytes(payload.len()), 0);
        archive_into(&Record { session: *session, timestamp: *timestamp, kind: *kind, payload }, &mut bytes);
        writer.append(&bytes, &[(bytes.len() / RECORD_ALIGN) as u16]);
    }
    let times = events.iter().map(|event| event.timestamp);
    let times = (times.clone().min().unwrap_or(0), times.max().unwrap_or(0));
    let end = BlockEnd { epoch: EPOCH, previous_crc: 0, times, durable: Sequence::ZERO };
    let header = writer.finish(end, writer.records_sum());
    writer.memory().closed_bytes(header.block_bytes as usize).to_vec()
}

/// A session: its entry, its blocks, what opened it, and what its last event of kind session says, if that is kept.
type Scanned = (IndexedSession, Vec<u32>, Vec<u8>, Vec<u8>);

/// The index according to a plain scan: entries with their blocks and openings, by session.
fn scan(blocks: &[Vec<Event>]) -> BTreeMap<u128, Scanned> {
    let (mut found, mut sequence) = (BTreeMap::new(), 0);
    for (number, block) in blocks.iter().enumerate() {
        for event in block {
            sequence += 1;
            if event.kind.is_reserved() {
                continue;
            }
            let (entry, blocks, opening, change): &mut Scanned = found.entry(event.session.0).or_insert_with(|| {
                let entry = IndexedSession {
                    session: event.session.0,
                    events: 0,
                    bytes: 0,
                    first_sequence: sequence - 1,
                    last_sequence: 0,
                    first_timestamp: u64::MAX,
                    last_timestamp: 0,
                    postings: Part::default(),
                    opening: Part::default(),
                    change: Part::default(),
                };
                (entry, Vec::new(), Vec::new(), Vec::new())
            });
            entry.last_sequence = sequence - 1;
            entry.first_timestamp = entry.first_timestamp.min(event.timestamp);
            entry.last_timestamp = entry.last_timestamp.max(event.timestamp);
            if blocks.last() != Some(&(number as u32)) {
                blocks.push(number as u32);
            }
            if event.kind == Kind::SESSION {
                let is_short = event.payload.len() <= OPENING_BYTES_MAX;
                *change = if is_short { event.payload.clone() } else { Vec::new() };
            }
            if event.kind != Kind::SESSION {
                entry.events += 1;
                entry.bytes += event.payload.len() as u64;
            } else if opening.is_empty() && event.payload.len() <= OPENING_BYTES_MAX {
                opening.clone_from(&event.payload);
            }
        }
    }
    found
}

#[test]
fn index_says_what_a_scan_says() {
    for seed in seeds(200) {
        let mut random = Random::new(seed);
        let (mut builder, mut blocks, mut number, mut offset) = (IndexBuilder::new(EPOCH), Vec::new(), 0, 4096);
        for _ in 0..1 + random.below(6) {
            let events: Vec<_> = (0..1 + random.below(20)).map(|at| random_event(&mut random, number + at)).collect();
            let bytes = block(&events, number);
            builder.add(offset, &BlockView::check(&bytes, EPOCH).expect("block")).expect("records");
            (number, offset) = (number + events.len() as u64, offset + bytes.len() as u64);
            blocks.push(events);
        }
        let index = builder.finish();
        let (bytes, place) = index.encode(EPOCH).expect("encodes");
        assert!(bytes.len().is_multiple_of(PAGE_BYTES) && place.file_bytes() == bytes.len() as u64, "seed {seed}");
        let read = ArchivedSegmentIndex::decode(&bytes, place, EPOCH).expect("decodes");
        let expected = scan(&blocks);
        assert_eq!(read.sessions.len(), expected.len(), "seed {seed}");
        for (id, (entry, numbers, opening, change)) in &expected {
            let found = read.session(SessionId(*id)).unwrap_or_else(|| panic!("seed {seed}: session {id}"));
            assert_eq!(found.events.to_native(), entry.events, "seed {seed}");
            assert_eq!(found.bytes.to_native(), entry.bytes, "seed {seed}");
            assert_eq!(found.first_sequence.to_native(), entry.first_sequence, "seed {seed}");
            assert_eq!(found.last_sequence.to_native(), entry.last_sequence, "seed {seed}");
            assert_eq!(found.first_timestamp.to_native(), entry.first_timestamp, "seed {seed}");
            assert_eq!(found.last_timestamp.to_native(), entry.last_timestamp, "seed {seed}");
            assert_eq!(read.blocks_of(found), *numbers, "seed {seed}");
            assert_eq!(read.opening_of(found).unwrap_or_default(), opening, "seed {seed}");
            if !change.is_empty() || opening.is_empty() {
                assert_eq!(read.last_change_of(found).unwrap_or_default(), change, "seed {seed}");
            }
        }
        assert!(read.session(SessionId(12345)).is_none());
        let notes: Vec<u32> = (0..blocks.len() as u32)
            .filter(|&at| blocks[at as usize].iter().any(|event| event.kind.is_reserved()))
            .collect();
        assert_eq!(index.notes, notes, "seed {seed}");
        let totals: u64 = index.kinds.iter().map(|total| total.events).sum();
        assert_eq!(totals, number, "seed {seed}: kinds count all events");
    }
}

#[test]
fn damaged_and_foreign_indexes_are_none() {
    let events: Vec<_> = (0..30).map(|number| random_event(&mut Random::new(number), number)).collect();
    let mut builder = IndexBuilder::new(EPOCH);
    let bytes = block(&events, 0);
    builder.add(4096, &BlockView::check(&bytes, EPOCH).expect("block")).expect("records");
    let (bytes, place) = builder.finish().encode(EPOCH).expect("encodes");
    assert!(ArchivedSegmentIndex::decode(&bytes, place, EPOCH).is_some());
    assert!(ArchivedSegmentIndex::decode(&bytes, place, Epoch::new(78)).is_none());
    assert!(ArchivedSegmentIndex::decode(&bytes[..place.length as usize - 1], place, EPOCH).is_none());
    for at in 0..place.length as usize {
        let mut damaged = AlignedVec::<16>::new();
        damaged.extend_from_slice(&bytes);
        damaged[at] ^= 0x20;
        assert!(ArchivedSegmentIndex::decode(&damaged, place, EPOCH).is_none(), "byte {at}");
        // Also where the checksum was believed: then it may be wrong, and must not be unsound.
        if let Some(index) = ArchivedSegmentIndex::decode_summed(&damaged, place, EPOCH) {
            for entry in index.sessions.iter() {
                let _ = (index.blocks_of(entry).len(), index.opening_of(entry));
            }
        }
    }
}

#[test]
fn filter_knows_its_sessions_and_few_others() {
    let sessions = |range: std::ops::Range<u128>| range.map(|id| SessionId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let filter = SessionFilter::of(&sessions(1..2501).collect::<Vec<_>>());
    assert!(sessions(1..2501).all(|session| filter.may_hold(session)));
    let wrong = sessions(10_000..110_000).filter(|&session| filter.may_hold(session)).count();
    assert!(wrong < 1000, "{wrong} of 100,000");
    let none = SessionFilter::of(&[]);
    assert!(sessions(1..100).all(|session| !none.may_hold(session)));
    let many = SessionFilter::of(&sessions(0..30_000).collect::<Vec<_>>());
    assert!(sessions(50_000..50_100).all(|session| many.may_hold(session)), "too many to tell");
}

/// Blocks of events that each are a session of their own.
fn sessions_in_blocks(builder: &mut IndexBuilder, sessions: u64) {
    let mut offset = PAGE_BYTES as u64;
    for first in (0..sessions).step_by(5000) {
        let event = |number: u64| Event {
            session: SessionId(u128::from(number)),
            kind: Kind(1),
            timestamp: number,
            payload: vec![7; 11],
        };
        let events: Vec<_> = (first..sessions.min(first + 5000)).map(event).collect();
        let bytes = block(&events, first);
        builder.add(offset, &BlockView::check(&bytes, EPOCH).expect("a block")).expect("records");
        offset += bytes.len() as u64;
    }
}

#[test]
fn too_many_sessions_are_left_out_and_blocks_and_kinds_are_not() {
    // More than a 16th of the blocks' bytes and 64 KiB; more than an index lists.
    for (sessions, is_listed) in [(500, true), (1000, false), (110_000, false)] {
        let mut builder = IndexBuilder::new(EPOCH);
        sessions_in_blocks(&mut builder, sessions);
        let index = builder.finish();
        assert_eq!(
            (!index.sessions_left_out, index.sessions.len() as u64),
            (is_listed, if is_listed { sessions } else { 0 })
        );
        assert_eq!((index.postings.is_empty(), index.openings.is_empty()), (!is_listed, true));
        assert_eq!(index.blocks.len() as u64, sessions.div_ceil(5000));
        assert_eq!(index.kinds, [KindTotal { kind: 1, events: sessions, bytes: 11 * sessions }]);
        assert_eq!(index.filter().may_hold(SessionId(u128::MAX / 3)), !is_listed);
        let (bytes, place) = index.encode(EPOCH).expect("encodes");
        let decoded = ArchivedSegmentIndex::decode(&bytes, place, EPOCH).expect("decodes");
        assert_eq!(decoded.sessions_left_out, !is_listed);
    }
}

#[test]
fn memory_of_a_builder_is_bounded() {
    let mut builder = IndexBuilder::new(EPOCH);
    sessions_in_blocks(&mut builder, SESSIONS_MAX as u64 + 10);
    assert!(builder.sessions_bytes() == 0 && builder.index.sessions_left_out);
}
