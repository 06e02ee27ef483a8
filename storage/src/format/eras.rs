//! The eras of a log: the stretches of its life between which sessions moved from shard to shard.
//!
//! Within an era a session lies in one shard. All events of an era come before those of the next, whatever their shard:
//! with that a reader puts together a session that moved. An era begins, in each shard, at a sequence.

use super::bytes::{get, get_u64};
use super::entries::{self, Entries, HEADER_BYTES};
use super::{PageError, Sequence};

/// First bytes of the file.
pub const ERAS_MAGIC: [u8; 8] = *b"TAPEERA1";

/// Most eras that a log remembers; the order between older ones is forgotten.
const ERAS_MAX: usize = 1024;

/// Largest file in bytes: room for eras of 8,000 shards each.
pub const ERAS_BYTES_MAX: usize = 64 << 20;

const ERA_BYTES: usize = 8;
const SEQUENCE_BYTES: usize = 8;

/// The beginning of an era.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Era {
    /// Shards that take new events in it: 0 to `active - 1`. 0: by what route its events came is not known.
    pub active: u16,
    /// For each shard there was, its first sequence in the era. Shards that came later begin at 0.
    pub starts: Vec<Sequence>,
}

impl Era {
    fn start(&self, shard: u16) -> Sequence {
        self.starts.get(usize::from(shard)).copied().unwrap_or_default()
    }
}

/// All eras but the first, which begins with the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Eras(Vec<Era>);

impl Eras {
    /// Returns whether the log never changed its shards.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a log of whose events it is not known by what route they came.
    pub fn of_unknown_route() -> Self {
        Self(vec![Era { active: 0, starts: Vec::new() }])
    }

    /// Shards that took new events last, as far as it is written down.
    pub fn active(&self) -> Option<u16> {
        self.0.last().map(|era| era.active)
    }

    /// The eras after the first, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Era> {
        self.0.iter()
    }

    /// The number of eras after the first.
    pub fn later(&self) -> usize {
        self.0.len()
    }

    /// The start of the era of this number in a shard.
    pub fn start_of(&self, era: usize, shard: u16) -> Sequence {
        era.checked_sub(1).and_then(|at| self.0.get(at)).map_or(Sequence::ZERO, |era| era.start(shard))
    }

    /// The shards that took new events in the era of this number, if that is known.
    pub fn route_of(&self, era: usize) -> Option<u16> {
        era.checked_sub(1).and_then(|at| self.0.get(at)).map(|era| era.active).filter(|active| *active > 0)
    }

    /// Returns whether each session is known to lie in one shard within the era of this number. It is not of the events
    /// before the first change of a log that was restored, nor of those before the changes that a log remembers.
    pub fn is_by_one_route(&self, era: usize) -> bool {
        self.route_of(era).is_some() || (era == 0 && self.is_empty())
    }

    /// Number of the era that an event lies in: 0 for the first.
    pub fn of(&self, shard: u16, sequence: Sequence) -> usize {
        self.0.partition_point(|era| era.start(shard) <= sequence)
    }

    /// The end of the era of this number in a shard, if it has ended.
    pub fn end_of(&self, era: usize, shard: u16) -> Option<Sequence> {
        self.0.get(era).map(|next| next.start(shard))
    }

    /// Has every era begin at the latest where the log ends, shard by shard: a crash has taken the events before it.
    /// Returns whether one began later.
    pub fn shorten(&mut self, ends: &[Sequence]) -> bool {
        let mut is_shortened = false;
        for start in self.0.iter_mut().flat_map(|era| era.starts.iter_mut().zip(ends)) {
            let (start, end) = start;
            is_shortened |= *start > *end;
            *start = (*start).min(*end);
        }
        is_shortened
    }

    /// As [`Eras::begin`], of a log that sent events to shards 0 to `before - 1` until now. At the first change that
    /// becomes the route of all that is there.
    pub fn begin_after(&mut self, before: Option<u16>, era: Era) {
        if let (true, Some(active)) = (self.is_empty(), before) {
            self.begin(Era { active, starts: vec![Sequence::ZERO; era.starts.len()] });
        }
        self.begin(era);
    }

    /// Begins another era. Earlier ones that would end later than this begins, because a crash took their events, end
    /// here, too.
    pub fn begin(&mut self, era: Era) {
        for earlier in &mut self.0 {
            for (shard, start) in (0..).zip(&mut earlier.starts) {
                *start = era.start(shard).min(*start);
            }
        }
        // An era without events is none.
        self.0.retain(|earlier| earlier.starts.iter().zip(0..).any(|(start, shard)| *start < era.start(shard)));
        let surplus = (self.0.len() + 1).saturating_sub(ERAS_MAX);
        self.0.drain(..surplus);
        self.0.push(era);
    }

    /// The file as it is written.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        for era in &self.0 {
            bytes.extend(era.active.to_le_bytes());
            // A shard's number is a u16, so their count fits.
            bytes.extend((era.starts.len() as u16).to_le_bytes());
            bytes.extend([0; 4]);
            era.starts.iter().for_each(|start| bytes.extend(start.get().to_le_bytes()));
        }
        entries::seal(&mut bytes, ERAS_MAGIC, self.0.len());
        bytes
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let mut entries = Entries::open(bytes, ERAS_MAGIC)?;
        let mut eras = Vec::new();
        for _ in 0..entries.count() {
            let head = entries.take(ERA_BYTES)?;
            let starts = entries.take(usize::from(u16::from_le_bytes(get(head, 2))) * SEQUENCE_BYTES)?;
            let starts = starts.chunks_exact(SEQUENCE_BYTES).map(|start| Sequence::new(get_u64(start, 0))).collect();
            eras.push(Era { active: u16::from_le_bytes(get(head, 0)), starts });
        }
        entries.end("bytes after the last era").map(|()| Self(eras))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn era(active: u16, starts: &[u64]) -> Era {
        Era { active, starts: starts.iter().copied().map(Sequence::new).collect() }
    }

    fn eras(all: &[(u16, &[u64])]) -> Eras {
        let mut eras = Eras::default();
        all.iter().for_each(|(active, starts)| eras.begin(era(*active, starts)));
        eras
    }

    #[test]
    fn events_lie_between_the_starts() {
        let eras = eras(&[(2, &[10]), (1, &[15, 7])]);
        let of = |shard, sequence| eras.of(shard, Sequence::new(sequence));
        assert_eq!([of(0, 0), of(0, 9), of(0, 10), of(0, 14), of(0, 15)], [0, 0, 1, 1, 2]);
        assert_eq!([of(1, 0), of(1, 6), of(1, 7)], [1, 1, 2], "a shard that came later has nothing in the first");
        assert_eq!(
            (eras.end_of(0, 0), eras.end_of(1, 1), eras.end_of(2, 0)),
            (Some(Sequence::new(10)), Some(Sequence::new(7)), None)
        );
    }

    #[test]
    fn routes_of_eras_are_known_after_the_first_change() {
        let known = eras(&[(2, &[10]), (1, &[15, 7])]);
        let routes = [0, 1, 2, 3].map(|era| (known.route_of(era), known.is_by_one_route(era)));
        assert_eq!(routes, [(None, false), (Some(2), true), (Some(1), true), (None, false)]);
        assert_eq!([0, 1, 2].map(|era| known.start_of(era, 0).get()), [0, 10, 15]);
        assert!(Eras::default().is_by_one_route(0) && !Eras::of_unknown_route().is_by_one_route(1));
    }

    #[test]
    fn route_before_the_first_change_is_known_where_it_is_said() {
        let mut eras = Eras::default();
        eras.begin_after(Some(3), era(2, &[10, 0, 4]));
        assert_eq!((eras.of(0, Sequence::new(9)), eras.route_of(1), eras.route_of(2)), (1, Some(3), Some(2)));
        eras.begin_after(Some(2), era(1, &[15, 7, 4]));
        assert_eq!(eras.iter().map(|era| era.active).collect::<Vec<_>>(), [3, 2, 1]);
        let mut empty = Eras::default();
        empty.begin_after(Some(3), era(2, &[0, 0]));
        assert_eq!(empty, Eras(vec![era(2, &[0, 0])]), "nothing came by the route before");
    }

    #[test]
    fn eras_that_a_crash_shortened_end_where_the_next_begins() {
        let eras = eras(&[(2, &[10, 0]), (1, &[15, 70]), (2, &[15, 20])]);
        assert_eq!(eras, Eras(vec![era(2, &[10, 0]), era(2, &[15, 20])]), "the second has no event left");
        assert_eq!(eras.of(1, Sequence::new(20)), 2);
    }

    #[test]
    fn eras_begin_within_the_log() {
        let mut eras = eras(&[(2, &[10, 0]), (3, &[15, 70, 0])]);
        assert!(!eras.shorten(&[15, 90, 0].map(Sequence::new)));
        assert!(eras.shorten(&[12, 90, 0].map(Sequence::new)));
        assert_eq!(eras, Eras(vec![era(2, &[10, 0]), era(3, &[12, 70, 0])]));
    }

    #[test]
    fn unknown_route_is_one_era_of_everything() {
        let mut eras = Eras::of_unknown_route();
        assert_eq!((eras.of(3, Sequence::ZERO), eras.of(0, Sequence::new(9)), eras.active()), (1, 1, Some(0)));
        assert_eq!(Eras::decode(&eras.encode()), Ok(eras.clone()));
        eras.begin(era(2, &[10, 4]));
        assert_eq!(eras, Eras(vec![era(2, &[10, 4])]));
    }

    #[test]
    fn files_are_read_back_and_every_damage_is_named() {
        let eras = eras(&[(2, &[10, 0]), (3, &[15, 7, 0]), (1, &[15, 9, 4])]);
        let bytes = eras.encode();
        assert_eq!(Eras::decode(&bytes), Ok(eras));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Eras::decode(&damaged).is_err(), "byte {at}");
            assert!(Eras::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let more = [bytes, vec![0]].concat();
        assert!(Eras::decode(&more).is_err());
    }

    #[test]
    fn number_of_eras_is_bounded() {
        let mut eras = Eras::default();
        (1..3000).for_each(|start| eras.begin(era(1, &[start])));
        assert_eq!((eras.iter().count(), eras.encode().len() < ERAS_BYTES_MAX), (ERAS_MAX, true));
    }
}
