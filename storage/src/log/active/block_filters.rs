//! The blocks of an active segment, each with a filter of its sessions.
//!
//! 1. The blocks ascend without holes: each reaches to the first event of the next, the last one to `end`.
//! 2. A filter is its block's part of the words, and has a power of two of them. Part follows part.
//! 3. A block without words may hold any session.

use std::ops::Range;

use crate::format::{Sequence, SessionId, mix};

/// Bits of a filter for each session of its block.
const BITS_PER_SESSION: usize = 10;

/// Words of 64 bits that a filter has at most: then 16 bits of a hash say where a probe looks.
const FILTER_WORDS_MAX: usize = 1024;

/// Bits that each session sets in a filter.
const PROBES: u32 = 4;

/// Blocks that one call looks at, at most: some 20 us, for which the shard's thread may have to wait.
const LOOK_BLOCKS: usize = 4096;

/// Stretches that one look finds, at most: thousands of readers hold what they have looked up.
pub(in crate::log) const STRETCHES_MAX: usize = 64;

/// The stretches in which events of some sessions may be.
#[derive(Debug, Default)]
pub(in crate::log) struct Places {
    /// Ranges of sequences, ascending.
    pub(in crate::log) stretches: Vec<(Sequence, Sequence)>,
    /// Nothing is known from this sequence on.
    pub(in crate::log) end: Sequence,
}

/// A block, and its filter's part of the words.
#[derive(Debug, Clone, Copy)]
struct Listed {
    first: Sequence,
    word: u32,
    words: u32,
}

/// Blocks and their filters.
#[derive(Debug)]
pub(super) struct BlockFilters {
    /// Everything below is known; nothing from here on.
    end: Sequence,
    blocks: Vec<Listed>,
    words: Vec<u64>,
}

impl BlockFilters {
    /// Of a segment that begins with `base`.
    pub(super) fn new(base: Sequence) -> Self {
        Self { end: base, blocks: Vec::new(), words: Vec::new() }
    }

    pub(super) fn end(&self) -> Sequence {
        self.end
    }

    /// The number of the block that is added next.
    pub(super) fn next_block(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Adds what reaches from the end so far to `to`, and has events of these sessions; `None`: of any.
    pub(super) fn add(&mut self, sessions: Option<&[SessionId]>, to: Sequence) {
        let (first, word) = (self.end, self.words.len() as u32);
        if let Some(sessions) = sessions {
            self.add_filter(sessions);
        }
        let words = self.words.len() as u32 - word;
        self.blocks.push(Listed { first, word, words });
        self.end = to;
    }

    fn add_filter(&mut self, sessions: &[SessionId]) {
        let words = (sessions.len() * BITS_PER_SESSION).div_ceil(64).next_power_of_two().min(FILTER_WORDS_MAX);
        let start = self.words.len();
        self.words.resize(start + words, 0);
        let filter = &mut self.words[start..];
        for session in sessions {
            for bit in bits(hash(*session), words) {
                filter[bit / 64] |= 1 << (bit % 64);
            }
        }
    }

    /// The stretches at `from` or later in which events of any of the sessions may be.
    pub(super) fn places(&self, sessions: &[SessionId], from: Sequence) -> Places {
        let hashes: Vec<u64> = sessions.iter().map(|session| hash(*session)).collect();
        let first = self.blocks.partition_point(|block| block.first <= from).saturating_sub(1);
        let mut last = self.blocks.len().min(first + LOOK_BLOCKS);
        let mut stretches: Vec<(Sequence, Sequence)> = Vec::new();
        for at in first..last {
            if !self.may_hold(&self.blocks[at], &hashes) {
                continue;
            }
            let (start, end) = (self.blocks[at].first, self.first_of(at + 1));
            let count = stretches.len();
            match stretches.last_mut() {
                Some(before) if before.1 == start => before.1 = end,
                _ if count < STRETCHES_MAX => stretches.push((start, end)),
                _ => {
                    last = at;
                    break;
                }
            }
        }
        Places { stretches, end: self.first_of(last) }
    }

    /// The beginning of the block, or the end of all that is known.
    fn first_of(&self, block: usize) -> Sequence {
        self.blocks.get(block).map_or(self.end, |block| block.first)
    }

    fn may_hold(&self, block: &Listed, hashes: &[u64]) -> bool {
        let (start, words) = (block.word as usize, block.words as usize);
        let filter = &self.words[start..start + words];
        let holds = |hash: &u64| bits(*hash, words).all(|bit| filter[bit / 64] >> (bit % 64) & 1 == 1);
        words == 0 || hashes.iter().any(holds)
    }

    /// The blocks without a filter.
    pub(super) fn unknown(&self) -> impl Iterator<Item = Range<Sequence>> {
        let unknown = self.blocks.iter().enumerate().filter(|(_, block)| block.words == 0);
        unknown.map(|(at, block)| block.first..self.first_of(at + 1))
    }

    /// Bytes of memory once each list that is full has grown.
    pub(super) fn bytes_when_grown(&self) -> usize {
        super::grown(&self.blocks) * size_of::<Listed>()
            + (super::grown(&self.words) + FILTER_WORDS_MAX) * size_of::<u64>()
    }
}

fn hash(session: SessionId) -> u64 {
    mix(session.0 as u64 ^ mix((session.0 >> 64) as u64))
}

/// The bits of a filter of so many words, a power of two, that a session sets.
fn bits(hash: u64, words: usize) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |probe| (hash >> (16 * probe)) as usize & (words * 64).wrapping_sub(1) & 0xffff)
}
