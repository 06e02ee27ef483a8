//! The gaps of a shard's log: what was trimmed from its front, what a repair found to be lost, and how far its sealed
//! segments reach, so that what is missing at its end shows.
//!
//! Two slots of a page each, written in turn, so that neither a crash nor a full disk is in the way of a change: the
//! valid slot with the later number holds. A slot of zeros was never written.

use std::ops::Range;

use super::bytes::{get, get_u32, get_u64, put};
use super::checksum::crc32c;
use super::{FORMAT_VERSION, LogShard, PAGE_BYTES, PageError, SEQUENCE_MAX, Sequence};

/// First bytes of every slot.
pub const GAPS_MAGIC: [u8; 8] = *b"TAPEGAP1";

/// Bytes of the file.
pub const GAPS_FILE_BYTES: usize = 2 * PAGE_BYTES;

const CRC: usize = 8;
const VERSION: usize = 12;
const LOG_ID: usize = 16;
const SHARD: usize = 32;
const LOST: usize = 36;
const NUMBER: usize = 40;
const TRIMMED: usize = 48;
const SEALED: usize = 56;
const RANGES: usize = 64;
const RANGE_BYTES: usize = 16;

/// Most ranges of lost sequences that are remembered apart; neighbours are one.
pub const LOST_MAX: usize = (PAGE_BYTES - RANGES) / RANGE_BYTES;

/// The sequences that a shard's log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gaps {
    /// Number of changes, modulo 2^64; 0: never changed.
    number: u64,
    trimmed: Sequence,
    /// Every event below was in a sealed segment.
    sealed: Sequence,
    /// Ascending, apart from each other, not below `trimmed`.
    lost: Vec<Range<Sequence>>,
}

impl Gaps {
    /// Everything below was trimmed.
    pub fn trimmed(&self) -> Sequence {
        self.trimmed
    }

    /// Every event below has been in a sealed segment, whose name was durable: whatever of them is in no file, and
    /// neither trimmed nor lost, is missing.
    pub fn sealed(&self) -> Sequence {
        self.sealed
    }

    /// Every event below `to` is in a sealed segment.
    pub fn seal(&mut self, to: Sequence) {
        self.sealed = self.sealed.max(to.min(Sequence::new(SEQUENCE_MAX.get() - 1)));
    }

    /// Sequences that were lost, ascending.
    pub fn lost(&self) -> &[Range<Sequence>] {
        &self.lost
    }

    /// Returns whether `from..to` is recorded as lost.
    pub fn is_lost(&self, from: Sequence, to: Sequence) -> bool {
        self.lost.iter().any(|range| range.start <= from && to <= range.end)
    }

    /// The end of the lost range that holds `next`, else `next`.
    pub fn after_lost(&self, next: Sequence) -> Sequence {
        self.lost.iter().find(|range| range.contains(&next)).map_or(next, |range| range.end)
    }

    /// Everything below `to` is trimmed.
    pub fn trim(&mut self, to: Sequence) {
        self.trimmed = self.trimmed.max(to);
        self.lost.retain_mut(|range| {
            range.start = range.start.max(to);
            range.start < range.end
        });
    }

    /// These sequences are lost. `false`, and all is as before, if there are more ranges than are remembered.
    pub fn lose(&mut self, range: Range<Sequence>) -> bool {
        let mut ranges = self.lost.clone();
        ranges.push(range.start.max(self.trimmed)..range.end);
        ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<Sequence>> = Vec::new();
        for range in ranges.into_iter().filter(|range| range.start < range.end) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        let fits = merged.len() <= LOST_MAX;
        if fits {
            self.lost = merged;
        }
        fits
    }

    /// Counts a change: it goes to the other slot than the one before.
    pub fn advance(&mut self) {
        // The numbers go on after the highest, in turns of even and odd, without 0.
        self.number = self.number.checked_add(1).unwrap_or(2);
    }

    /// The slot to be written, and at what offset of the file.
    pub fn encode(&self, shard: LogShard) -> ([u8; PAGE_BYTES], u64) {
        let mut page = [0; PAGE_BYTES];
        put(&mut page, 0, GAPS_MAGIC);
        put(&mut page, VERSION, FORMAT_VERSION.to_le_bytes());
        put(&mut page, LOG_ID, shard.log_id.0);
        put(&mut page, SHARD, u32::from(shard.number).to_le_bytes());
        put(&mut page, LOST, (self.lost.len() as u32).to_le_bytes());
        put(&mut page, NUMBER, self.number.to_le_bytes());
        put(&mut page, TRIMMED, self.trimmed.get().to_le_bytes());
        put(&mut page, SEALED, self.sealed.get().to_le_bytes());
        for (at, range) in (RANGES..).step_by(RANGE_BYTES).zip(&self.lost) {
            put(&mut page, at, range.start.get().to_le_bytes());
            put(&mut page, at + 8, range.end.get().to_le_bytes());
        }
        let crc = crc32c(&page[VERSION..]);
        put(&mut page, CRC, crc.to_le_bytes());
        (page, self.number % 2 * PAGE_BYTES as u64)
    }

    /// Reads the file, which may be shorter than its two slots if a crash came while it was made.
    ///
    /// # Errors
    /// [`PageError`] where no slot is valid and not both were never written.
    pub fn decode(file: &[u8], shard: LogShard) -> Result<Self, PageError> {
        let slots = [0, PAGE_BYTES].map(|at| file.get(at..).unwrap_or_default());
        let is_blank = |slot: &[u8]| slot.iter().take(PAGE_BYTES).all(|&byte| byte == 0);
        let [first, second] =
            slots.map(|slot| if is_blank(slot) { Ok(Self::default()) } else { Self::decode_slot(slot, shard) });
        match (first, second) {
            (Ok(first), Ok(second)) => Ok(if first.is_later_than(&second) { first } else { second }),
            (Ok(first), Err(_)) if first.number > 0 => Ok(first),
            (Err(_), Ok(second)) if second.number > 0 => Ok(second),
            // The very first change was interrupted: it never took effect.
            (Ok(_), Err(PageError::Checksum { .. } | PageError::Magic { .. })) => Ok(Self::default()),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Returns whether this is the later of two slots, of which one was written after the other.
    fn is_later_than(&self, other: &Self) -> bool {
        match (self.number, other.number) {
            (own, 0) => own > 0,
            (own, other) => own > 0 && own.wrapping_sub(other).cast_signed() > 0,
        }
    }

    fn decode_slot(page: &[u8], shard: LogShard) -> Result<Self, PageError> {
        super::meta::check_page(page, PAGE_BYTES, GAPS_MAGIC)?;
        let field = |field, found| Err(PageError::Field { field, found });
        if get::<16>(page, LOG_ID) != shard.log_id.0 {
            return field("log_id", get_u64(page, LOG_ID));
        }
        if get_u32(page, SHARD) != u32::from(shard.number) {
            return field("shard", u64::from(get_u32(page, SHARD)));
        }
        let count = get_u32(page, LOST) as usize;
        if count > LOST_MAX {
            return field("lost", count as u64);
        }
        let trimmed = Sequence::new(get_u64(page, TRIMMED));
        if trimmed > SEQUENCE_MAX {
            return field("trimmed", trimmed.get());
        }
        let sealed = Sequence::new(get_u64(page, SEALED));
        // A log that ends there has no sequences left.
        if sealed >= SEQUENCE_MAX {
            return field("sealed", sealed.get());
        }
        let number = get_u64(page, NUMBER);
        if number == 0 {
            return field("number", number);
        }
        let mut gaps = Self { number, trimmed, sealed, lost: Vec::new() };
        for at in (RANGES..).step_by(RANGE_BYTES).take(count) {
            let range = Sequence::new(get_u64(page, at))..Sequence::new(get_u64(page, at + 8));
            let before = gaps.lost.last().map_or(trimmed, |last| last.end);
            if range.start < before || range.end <= range.start || range.end > SEQUENCE_MAX {
                return field("lost range", range.start.get());
            }
            gaps.lost.push(range);
        }
        Ok(gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::super::LogId;
    use super::*;

    const SHARD: LogShard = LogShard::new(LogId([7; 16]), 3);

    fn range(from: u64, to: u64) -> Range<Sequence> {
        Sequence::new(from)..Sequence::new(to)
    }

    /// Applies a change to `file`, the contents so far.
    fn write(gaps: &mut Gaps, file: &mut [u8]) {
        gaps.advance();
        let (page, offset) = gaps.encode(SHARD);
        file[offset as usize..][..PAGE_BYTES].copy_from_slice(&page);
    }

    #[test]
    fn last_change_holds_and_a_torn_one_leaves_the_one_before() {
        let (mut gaps, mut file) = (Gaps::default(), vec![0; GAPS_FILE_BYTES]);
        assert_eq!(Gaps::decode(&file, SHARD), Ok(Gaps::default()));
        assert_eq!(Gaps::decode(&file[..100], SHARD), Ok(Gaps::default()), "made by half");
        for step in 1..6 {
            let before = Gaps::decode(&file, SHARD).expect("valid");
            gaps.trim(Sequence::new(step * 10));
            assert!(gaps.lose(range(step * 10 + 2, step * 10 + 4)));
            let mut torn = file.clone();
            write(&mut gaps, &mut file);
            assert_eq!(Gaps::decode(&file, SHARD), Ok(gaps.clone()));
            let slot = (step % 2) as usize * PAGE_BYTES;
            torn[slot..slot + 512].copy_from_slice(&file[slot..slot + 512]);
            torn[slot + 600] ^= 1;
            assert_eq!(Gaps::decode(&torn, SHARD), Ok(before), "step {step}");
        }
    }

    #[test]
    fn foreign_and_twice_damaged_files_are_refused() {
        let (mut gaps, mut file) = (Gaps::default(), vec![0; GAPS_FILE_BYTES]);
        gaps.trim(Sequence::new(5));
        write(&mut gaps, &mut file);
        write(&mut gaps, &mut file);
        assert!(Gaps::decode(&file, LogShard::new(LogId([8; 16]), 3)).is_err());
        assert!(Gaps::decode(&file, LogShard::new(SHARD.log_id, 4)).is_err());
        file[PAGE_BYTES + 50] ^= 1;
        assert!(Gaps::decode(&file, SHARD).is_ok(), "one slot is enough");
        file[50] ^= 1;
        assert!(Gaps::decode(&file, SHARD).is_err());
    }

    #[test]
    fn lost_ranges_are_merged_and_trimmed() {
        let mut gaps = Gaps::default();
        for (from, to) in [(10, 20), (30, 40), (20, 25), (39, 50), (60, 60)] {
            assert!(gaps.lose(range(from, to)));
        }
        assert_eq!(gaps.lost(), [range(10, 25), range(30, 50)]);
        assert!(
            gaps.is_lost(Sequence::new(12), Sequence::new(25)) && !gaps.is_lost(Sequence::new(24), Sequence::new(31))
        );
        assert_eq!([9, 10, 31, 50].map(|next| gaps.after_lost(Sequence::new(next)).get()), [9, 25, 50, 50]);
        gaps.trim(Sequence::new(35));
        assert_eq!((gaps.trimmed(), gaps.lost()), (Sequence::new(35), &[range(35, 50)][..]));
        gaps.trim(Sequence::new(20));
        assert_eq!(gaps.trimmed(), Sequence::new(35), "nothing comes back");
    }

    #[test]
    fn number_of_lost_ranges_is_bounded() {
        let mut gaps = Gaps::default();
        assert!((0..LOST_MAX as u64).all(|at| gaps.lose(range(at * 10, at * 10 + 1))));
        let full = gaps.clone();
        assert!(!gaps.lose(range(1_000_000, 1_000_001)));
        assert_eq!(gaps, full);
        let mut file = vec![0; GAPS_FILE_BYTES];
        write(&mut gaps, &mut file);
        assert_eq!(Gaps::decode(&file, SHARD), Ok(gaps));
    }
}
