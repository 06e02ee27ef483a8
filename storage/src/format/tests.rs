//! The promises of the bytes on disk.

use super::*;
use crate::device::sim::Random;
use crate::device::{BlockEnd, BlockWriter};
use crate::log::LargeBlock;

const EPOCH: Epoch = Epoch::new(0x1122_3344_5566_7788);

fn archive(payload: &[u8], session: u128, timestamp: u64, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0xaa; archived_bytes(payload.len())];
    archive_into(&Record { session: SessionId(session), timestamp, kind: Kind(kind), payload }, &mut bytes);
    bytes
}

/// `bytes` at an address that records may be read at.
fn aligned(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut buffer = vec![0; bytes.len() + 2 * RECORD_ALIGN];
    let start = buffer.as_ptr().align_offset(RECORD_ALIGN);
    buffer[start..start + bytes.len()].copy_from_slice(bytes);
    (buffer, start)
}

/// A closed block of these records, starting at `first`.
fn block(records: &[Vec<u8>], first: u64, previous_crc: u32) -> Vec<u8> {
    let mut writer = BlockWriter::new().expect("memory");
    writer.start(Sequence::new(first));
    for record in records {
        writer.append(record, &[(record.len() / RECORD_ALIGN) as u16]);
    }
    let times = (timestamp_of(&records[0]), timestamp_of(&records[records.len() - 1]));
    let end = BlockEnd { epoch: EPOCH, previous_crc, times, durable: Sequence::new(first) };
    let header = writer.finish(end, writer.records_sum());
    writer.memory().closed_bytes(header.block_bytes as usize).to_vec()
}

/// The segment that docs/FORMAT.md shows.
fn sample() -> Vec<u8> {
    let header = SegmentHeader {
        log_id: LogId(*b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"),
        shard: 3,
        epoch: EPOCH,
        base_sequence: Sequence::new(7),
        created: 1_700_000_000_000_000_000,
        run: Epoch::new(0x99aa_bbcc_ddee_ff00),
        is_merged: false,
        length: 1 << 20,
    };
    let (page, _) = header.encode();
    let (_, crc) = SegmentHeader::decode(&page).expect("own header");
    let records = [
        archive(b"{\"token\":\"hi\"}", 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10, 1_700_000_000_000_000_123, 1),
        archive(b"", 0, 1_700_000_000_000_000_456, 0xfffe),
    ];
    let block = block(&records, 7, crc);
    let mut footer = Footer::of_empty(EPOCH, Sequence::new(7), crc);
    footer.add(&BlockHeader::decode(&block).expect("own block"));
    [page.to_vec(), block, footer.encode(&SessionFilter::all()).to_vec()].concat()
}

/// The large block that docs/FORMAT.md shows.
fn large_sample() -> Vec<u8> {
    let payload = vec![b'a'; SHARED_PAYLOAD_BYTES_MAX + 1];
    let fill = |place: &mut [u8]| {
        place.copy_from_slice(&payload);
        std::io::Result::Ok(())
    };
    let large = LargeBlock::new((SessionId::NONE, Kind(1)), payload.len(), Box::new(()), fill).expect("memory");
    large.finished(Sequence::new(7), 1_700_000_000_000_000_123, EPOCH)
}

/// As `hexdump -C` prints it without the characters: a star for rows that repeat the one before.
fn hexdump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut before: Option<&[u8]> = None;
    let mut starred = false;
    for (at, row) in bytes.chunks(16).enumerate() {
        if before == Some(row) {
            if !starred {
                text.push_str("*\n");
            }
            starred = true;
            continue;
        }
        (before, starred) = (Some(row), false);
        let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{:08x}  {}\n", at * 16, hex.join(" ")));
    }
    text.push_str(&format!("{:08x}\n", bytes.len()));
    text
}

fn parse_hexdump(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for line in text.lines().filter(|line| *line != "*") {
        let (offset, row) = line.split_at(8);
        let offset = usize::from_str_radix(offset, 16).expect("offset");
        let last = bytes.len().checked_sub(16).map(|start| bytes[start..].to_vec()).unwrap_or_default();
        while bytes.len() < offset {
            bytes.extend(&last);
        }
        bytes.extend(row.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("byte")));
    }
    bytes
}

/// The hexdump of this number, from 1.
fn dump_in(text: &str, number: usize) -> &str {
    text.split("```hexdump\n").nth(number).and_then(|rest| rest.split("```").next()).expect("a hexdump")
}

#[test]
fn specification_shows_the_bytes_of_a_large_block() {
    let text = include_str!("../../../docs/FORMAT.md");
    let shown = parse_hexdump(dump_in(text, 2));
    assert!(shown == large_sample(), "docs/FORMAT.md differs; the bytes are\n{}", hexdump(&large_sample()));
    let (buffer, start) = aligned(&shown);
    let view = BlockView::check(&buffer[start..], EPOCH).expect("block");
    let records: Vec<_> = view.records().map(|record| record.expect("record")).collect();
    assert_eq!(records.len(), 1);
    assert!(records[0].payload().len() == SHARED_PAYLOAD_BYTES_MAX + 1);
    assert!(records[0].payload().iter().all(|&byte| byte == b'a'));
}

/// A large block whose fields were changed, with checksums that say that it is whole, is refused and never panics.
#[test]
fn large_block_with_forged_fields_is_refused() {
    let sound = large_sample();
    let header = BlockHeader::decode(&sound).expect("own header");
    let column = BLOCK_HEADER_BYTES + header.records_bytes as usize;
    let seal = |header: BlockHeader, bytes: &mut Vec<u8>| {
        let mut checksum = Checksum::default();
        checksum.update(&bytes[BLOCK_HEADER_BYTES..]);
        BlockHeader { body_crc: checksum.finish(EPOCH), ..header }.encode(bytes);
    };
    // Entries of the column: none but 0 stands for a large record, and 0 for no other.
    for units in [1u16, 2, 65_530, 65_535] {
        let mut forged = sound.clone();
        forged[column..column + 2].copy_from_slice(&units.to_le_bytes());
        seal(header, &mut forged);
        assert!(matches!(BlockView::check(&forged, EPOCH), Err(BlockError::Column { .. })), "{units} units");
    }
    let mut small = block(&[archive(b"one", 1, 1, 1)], 7, 0);
    let own = BlockHeader::decode(&small).expect("own header");
    let column = BLOCK_HEADER_BYTES + own.records_bytes as usize;
    small[column..column + 2].fill(0);
    seal(own, &mut small);
    assert!(matches!(BlockView::check(&small, EPOCH), Err(BlockError::Column { .. })));
    // A block of several records is never longer than 1 MiB, and none is longer than the longest event needs.
    for (count, block_bytes) in
        [(2, header.block_bytes), (0, header.block_bytes), (1, (LARGE_BLOCK_BYTES_MAX + PAGE_BYTES) as u32)]
    {
        let mut forged = sound.clone();
        BlockHeader { count, block_bytes, ..header }.encode(&mut forged);
        assert!(BlockHeader::decode(&forged).is_err(), "{count} records in {block_bytes} bytes");
    }
    // Any other byte of the root.
    for at in column_root(&header) {
        let mut forged = sound.clone();
        forged[at] ^= 0x41;
        seal(header, &mut forged);
        if let Ok(view) = BlockView::check(&forged, EPOCH) {
            let (buffer, start) = aligned(&forged);
            let view_again = BlockView::check(&buffer[start..], EPOCH).expect("checked");
            assert!(view_again.records().count() <= view.header().count as usize);
            let _ = view_again.records().map(|record| record.map(|record| record.payload().len())).collect::<Vec<_>>();
        }
    }
}

/// The bytes of the root of the only record.
fn column_root(header: &BlockHeader) -> std::ops::Range<usize> {
    let end = BLOCK_HEADER_BYTES + header.records_bytes as usize;
    end - RECORD_ROOT_BYTES..end
}

#[test]
fn layout_ends_at_a_block_without_a_length() {
    let mut segment = sample();
    assert_eq!(layout::Layout::of(&segment).blocks.len(), 1);
    for block_bytes in [0u32, 1, BLOCK_HEADER_BYTES as u32 - 1, segment.len() as u32, u32::MAX] {
        segment[PAGE_BYTES + 36..][..4].copy_from_slice(&block_bytes.to_le_bytes());
        assert_eq!(layout::Layout::of(&segment).data_end(), PAGE_BYTES, "{block_bytes} bytes");
    }
}

#[test]
fn specification_shows_the_bytes_that_are_written() {
    let text = include_str!("../../../docs/FORMAT.md");
    let shown = parse_hexdump(dump_in(text, 1));
    assert!(shown == sample(), "docs/FORMAT.md differs; the bytes are\n{}", hexdump(&sample()));
    // And back: what the document shows is a segment that reads.
    let (header, crc) = SegmentHeader::decode(&shown).expect("header");
    let (buffer, start) = aligned(&shown[PAGE_BYTES..]);
    let view = BlockView::check(&buffer[start..], header.epoch).expect("block");
    view.follows(header.base_sequence, crc).expect("chain");
    let payloads: Vec<_> = view.records().map(|record| record.expect("record").payload().to_vec()).collect();
    assert_eq!(payloads, [b"{\"token\":\"hi\"}".to_vec(), Vec::new()]);
    let footer = Footer::decode(&shown[2 * PAGE_BYTES..]).expect("footer");
    assert_eq!(footer.end_sequence, Sequence::new(9));
}

#[test]
fn record_is_a_valid_archive_and_comes_back() {
    for length in (0..100).chain([1000, 4096, 65_535, PAYLOAD_BYTES_MAX]) {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let (buffer, start) = aligned(&archive(&payload, u128::MAX - 5, u64::MAX - 7, 513));
        let bytes = &buffer[start..start + archived_bytes(length)];
        rkyv::access::<ArchivedRecord, rkyv::rancor::Error>(bytes).expect("rkyv takes it");
        let view = RecordView::parse(bytes).expect("a record");
        assert_eq!(view.payload(), payload);
        assert_eq!(view.payload().as_ptr().align_offset(RECORD_ALIGN), 0);
        assert_eq!(view.session(), SessionId(u128::MAX - 5));
        assert_eq!((view.timestamp(), view.kind()), (u64::MAX - 7, Kind(513)));
        assert_eq!(timestamp_of(bytes), u64::MAX - 7);
        assert!(bytes.len() - length.next_multiple_of(RECORD_ALIGN) <= 40, "overhead");
    }
}

#[test]
fn records_of_every_length_are_whole_and_padded_with_zeros() {
    let source: Vec<u8> = (0..600).map(|number| (number % 251 + 1) as u8).collect();
    for length in 0..source.len() {
        let payload = &source[..length];
        let (bytes, start) = aligned(&archive(payload, 7, 8, 9));
        let view = RecordView::parse(&bytes[start..start + archived_bytes(length)]).unwrap();
        assert_eq!(view.payload(), payload, "{length} bytes");
        let padding = &bytes[start + length..start + archived_bytes(length) - RECORD_ROOT_BYTES];
        assert!(padding.len() < RECORD_ALIGN && padding.iter().all(|&byte| byte == 0), "{length} bytes");
    }
}

#[test]
fn every_bit_of_a_block_is_covered_by_a_checksum() {
    let (mut buffer, start) = aligned(&block(&[archive(b"some payload", 1, 2, 3), archive(b"x", 1, 3, 3)], 5, 9));
    let length = PAGE_BYTES;
    BlockView::check(&buffer[start..start + length], EPOCH).expect("whole");
    for bit in 0..length * 8 {
        buffer[start + bit / 8] ^= 1 << (bit % 8);
        assert!(BlockView::check(&buffer[start..start + length], EPOCH).is_err(), "bit {bit}");
        buffer[start + bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn stale_block_of_another_epoch_is_refused() {
    let (buffer, start) = aligned(&block(&[archive(b"old", 1, 2, 3)], 5, 9));
    let other = Epoch::new(EPOCH.get() + 1);
    assert_eq!(
        BlockView::check(&buffer[start..], other).expect_err("stale"),
        BlockError::Epoch { expected: other, found: EPOCH }
    );
}

#[test]
fn block_out_of_order_is_refused() {
    let (buffer, start) = aligned(&block(&[archive(b"a", 1, 2, 3)], 5, 9));
    let view = BlockView::check(&buffer[start..], EPOCH).expect("whole");
    view.follows(Sequence::new(5), 9).expect("follows");
    let expected = Sequence::new(4);
    assert_eq!(view.follows(expected, 9), Err(BlockError::Sequence { expected, found: Sequence::new(5) }));
    assert_eq!(view.follows(Sequence::new(5), 8), Err(BlockError::Link { expected: 8, found: 9 }));
}

#[test]
fn every_bit_of_a_page_is_covered_by_its_checksum() {
    let sample = sample();
    let mut header = sample[..PAGE_BYTES].to_vec();
    let mut footer = sample[2 * PAGE_BYTES..].to_vec();
    let mut meta = Meta { log_id: LogId([7; 16]), shards: 2, created: 3 }.encode();
    for bit in 0..PAGE_BYTES * 8 {
        header[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&header).is_err(), "header bit {bit}");
        header[bit / 8] ^= 1 << (bit % 8);
        footer[bit / 8] ^= 1 << (bit % 8);
        assert!(Footer::decode(&footer).is_err(), "footer bit {bit}");
        footer[bit / 8] ^= 1 << (bit % 8);
    }
    for bit in 0..META_BYTES * 8 {
        meta[bit / 8] ^= 1 << (bit % 8);
        assert!(Meta::decode(&meta).is_err(), "meta bit {bit}");
        meta[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn newer_format_is_named_as_such() {
    let mut page = sample()[..PAGE_BYTES].to_vec();
    page[12] = 2;
    let sum = crc32c(&page[12..]);
    page[8..12].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(SegmentHeader::decode(&page), Err(PageError::Version { found: 2 }));
    page[8] ^= 1;
    assert_eq!(SegmentHeader::decode(&page), Err(PageError::Version { found: 2 }), "by a checksum of its own");
}

#[test]
fn damaged_version_is_no_newer_format() {
    let mut page = sample()[..PAGE_BYTES].to_vec();
    for bit in 96..128 {
        page[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(SegmentHeader::decode(&page), Err(PageError::Checksum { .. })), "bit {bit}");
        page[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn short_pages_are_errors() {
    let sample = sample();
    for length in [0, 1, 79, 80, PAGE_BYTES - 1] {
        assert!(SegmentHeader::decode(&sample[..length]).is_err());
        assert!(Footer::decode(&sample[2 * PAGE_BYTES..][..length]).is_err());
        assert!(BlockView::check(&sample[PAGE_BYTES..][..length], EPOCH).is_err());
    }
    assert!(Meta::decode(&[]).is_err());
}

#[test]
fn fault_of_a_block_is_named() {
    let good = block(&[archive(b"some payload", 1, 2, 3)], 5, 9);
    let checked = |bytes: &[u8]| {
        let (buffer, start) = aligned(bytes);
        BlockView::check(&buffer[start..start + bytes.len()], EPOCH).map(|_| ())
    };
    assert_eq!(checked(&good), Ok(()));
    let fault = |change: fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        checked(&bad).expect_err("a fault")
    };
    let header = fault(|block| block[0] ^= 1);
    assert!(matches!(header, BlockError::Header(PageError::Magic { expected: BLOCK_MAGIC, .. })), "{header}");
    let header = fault(|block| block.truncate(BLOCK_HEADER_BYTES - 1));
    assert!(matches!(header, BlockError::Header(PageError::Short { .. })), "{header}");
    let body = fault(|block| block[BLOCK_HEADER_BYTES] ^= 1);
    assert!(matches!(body, BlockError::Body { .. }), "{body}");
    let short = fault(|block| block.truncate(PAGE_BYTES - 1));
    assert_eq!(short, BlockError::Short { needed: PAGE_BYTES, found: PAGE_BYTES - 1 });
    // A length of the column that its record does not have, under checksums that are right.
    let column = fault(|block| {
        let at = block.iter().rposition(|byte| *byte != 0).expect("the column") & !1;
        block[at] += 1;
        let mut checksum = Checksum::default();
        checksum.update(&block[BLOCK_HEADER_BYTES..]);
        let header = BlockHeader::decode(block).expect("a header");
        BlockHeader { body_crc: checksum.finish(EPOCH), ..header }.encode(block);
    });
    assert!(matches!(column, BlockError::Column { column: 64, records: 48 }), "{column}");
}

#[test]
fn random_bytes_under_good_checksums_never_panic() {
    let seed = 0x7a9e;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..20_000 {
        // A block whose body is noise and whose header is consistent with itself.
        let mut bytes = vec![0; PAGE_BYTES];
        bytes.iter_mut().for_each(|byte| *byte = random.next_u64() as u8);
        let mut checksum = Checksum::default();
        checksum.update(&bytes[BLOCK_HEADER_BYTES..]);
        let header = BlockHeader {
            header_crc: 0,
            body_crc: checksum.finish(EPOCH),
            epoch: EPOCH,
            first_sequence: Sequence::new(random.next_u64()),
            count: random.below(200) as u32,
            block_bytes: PAGE_BYTES as u32,
            records_bytes: random.below(4096) as u32 & !15,
            previous_crc: 0,
            first_timestamp: 0,
            last_timestamp: 0,
            durable_sequence: Sequence::ZERO,
        };
        header.encode(&mut bytes);
        let (buffer, start) = aligned(&bytes);
        if let Ok(view) = BlockView::check(&buffer[start..start + PAGE_BYTES], EPOCH) {
            view.records().for_each(drop);
        }
        // Records of noise, at every alignment.
        for record in [&buffer[start..start + 64], &buffer[start + 8..start + 40], &buffer[start..start + 31]] {
            let _ = RecordView::parse(record);
        }
    }
}

#[test]
fn record_that_overstates_its_payload_is_refused() {
    let good = archive(b"0123456789abcdef", 1, 2, 3);
    for stated in [15u32, 17, 32, 4096, u32::MAX] {
        let mut bad = good.clone();
        let at = bad.len() - 8;
        bad[at..at + 4].copy_from_slice(&stated.to_le_bytes());
        let (buffer, start) = aligned(&bad);
        let parsed = RecordView::parse(&buffer[start..start + bad.len()]);
        assert!(parsed.is_err() == (stated != 15), "{stated}: {parsed:?}");
    }
    let mut reserved = good;
    let at = reserved.len() - 1;
    reserved[at] = 1;
    let (buffer, start) = aligned(&reserved);
    assert_eq!(
        RecordView::parse(&buffer[start..start + reserved.len()]).expect_err("reserved"),
        RecordError::Reserved(256)
    );
}

#[test]
fn header_of_a_merged_segment_lists_its_runs() {
    let (header, _) = SegmentHeader::decode(&sample()[..PAGE_BYTES]).expect("a header");
    assert_eq!(SegmentHeader::later_runs(&sample()[..PAGE_BYTES]), []);
    let merged = SegmentHeader { is_merged: true, ..header };
    let start = |first, run| RunStart { first: Sequence::new(first), run: Epoch::new(run) };
    let all: Vec<_> = (0..SEGMENT_RUNS_MAX as u64 - 1).map(|number| start(8 + number, number)).collect();
    for runs in [&all[..0], &all[..1], &all] {
        let (page, _) = merged.encode_with_runs(runs);
        assert_eq!(SegmentHeader::decode(&page).map(|(header, _)| header), Ok(merged));
        assert_eq!(SegmentHeader::later_runs(&page), runs);
    }
    for wrong in [[start(7, 1), start(9, 2)], [start(9, 1), start(9, 2)], [start(9, 1), start(8, 2)]] {
        let (page, _) = merged.encode_with_runs(&wrong);
        assert!(matches!(SegmentHeader::decode(&page), Err(PageError::Field { field: "runs", .. })), "{wrong:?}");
    }
    for (at, value, name) in [(80, 251, "runs"), (84, 2, "flags"), (88, 1, "length"), (96, 1, "reserved")] {
        let (mut page, _) = merged.encode();
        page[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        let crc = crc32c(&page[12..]);
        page[8..12].copy_from_slice(&crc.to_le_bytes());
        let refused = SegmentHeader::decode(&page);
        assert!(matches!(refused, Err(PageError::Field { field, .. }) if field == name), "{at}: {refused:?}");
    }
}
