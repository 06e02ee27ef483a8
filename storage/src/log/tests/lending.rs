//! Readers that hold blocks take no memory beyond the log's own, and no writer waits for them.

use std::sync::Arc;

use super::harness::with_memory;
use super::harness::*;
use crate::device::BlockMemory;
use crate::format::Sequence;
use crate::log::{Log, LogOptions, LogView};
use crate::read::{Block, LogReader, Step};

const LONGEST: u64 = 3000;

fn with_blocks(blocks: usize) -> LogOptions {
    with_memory(options(1), |memory| memory.blocks = blocks)
}

/// Reads what a reader finds now, up to one block.
fn look(reader: &mut LogReader) -> Option<Block> {
    loop {
        match reader.step().expect("reads") {
            Step::Block(block) => return Some(block),
            Step::Gap(_) => {}
            Step::End => return None,
        }
    }
}

fn assert_holds_its_events(block: &Block) {
    for (number, record) in (block.first_sequence().get()..).zip(block.records()) {
        assert_eq!(record.expect("a record").payload(), payload(number, LONGEST), "event {number}");
    }
}

/// Readers of which each stops for good at another block, and goes on holding it.
fn hold_on(view: &Arc<LogView>, held: &mut Vec<(LogReader, Block)>) {
    let mut reader = LogReader::new(Arc::clone(view), Sequence::new(view.appended().get().saturating_sub(1)));
    held.extend(look(&mut reader).map(|block| (reader, block)));
}

#[test]
fn a_log_in_memory_goes_on_however_many_readers_hold_on_to_it() {
    for blocks in [4, 5, 6, 16] {
        let mut log = Log::in_memory(&with_blocks(blocks));
        let view = Arc::clone(log.view());
        let (mut next, mut held) = (0, Vec::new());
        for now in 1..600 {
            let (records, lengths) = run_of(next..next + 8, LONGEST);
            assert_eq!(log.append(&records, &lengths, now).0, 8, "{blocks} blocks, after {next} events");
            next += 8;
            log.publish(|_| {});
            hold_on(&view, &mut held);
            let lent_max = LogOptions::memory_bytes((blocks / 2).min(blocks - 4));
            assert!(view.lent_bytes() <= lent_max, "{} of {lent_max}", view.lent_bytes());
        }
        assert!(view.trimmed().get() > 0 && held.len() > 500, "{} readers", held.len());
        held.iter().for_each(|(_, block)| assert_holds_its_events(block));
        let left = next - view.trimmed().get();
        held.clear();
        assert_eq!(view.lent_bytes(), 0);
        // What was given back holds events again.
        for now in 600..1200 {
            let (records, lengths) = run_of(next..next + 8, LONGEST);
            assert_eq!(log.append(&records, &lengths, now).0, 8);
            next += 8;
            log.publish(|_| {});
        }
        let later = next - view.trimmed().get();
        assert!(blocks <= 6 || later > left + left / 4, "{left} events with readers, {later} without");
    }
}

#[test]
fn a_durable_log_is_read_whole_while_readers_hold_on_to_it() {
    for blocks in [4, 6, 16] {
        let disk = whole_disk(blocks as u64);
        let mut machine = Machine::without_repacking(&disk, with_blocks(blocks));
        let (mut next, mut held, mut seen) = (0, Vec::new(), 0);
        let mut live = LogReader::new(Arc::clone(machine.view()), Sequence::ZERO);
        for _ in 0..300 {
            machine.write(next..next + 8, LONGEST);
            next += 8;
            hold_on(&Arc::clone(machine.view()), &mut held);
            while let Some(block) = look(&mut live) {
                assert_eq!(block.first_sequence().get(), seen);
                assert_holds_its_events(&block);
                seen = block.end_sequence().get();
            }
        }
        assert_eq!(seen, next);
        held.iter().for_each(|(_, block)| assert_holds_its_events(block));
        assert_eq!(check_all(machine.view(), LONGEST), next);
        assert!(machine.view().lent_bytes() <= blocks / 2 * BlockMemory::BLOCK_BYTES);
    }
}
