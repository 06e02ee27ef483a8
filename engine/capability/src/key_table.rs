//! Entries by the hash of their key, found without a search.

/// Entries in the order of their hashes, which are spread evenly over all numbers. The first bits of a hash say where
/// its entries lie: a look compares one or two hashes.
#[derive(Debug, Clone)]
pub(crate) struct KeyTable<E> {
    /// Sorted by hash.
    entries: Vec<(u64, E)>,
    /// Where the entries of each bucket begin, and where the last one's end. There are up to four buckets an entry.
    /// Empty while there are no entries.
    starts: Vec<u32>,
    /// Bits of a hash that do not count for its bucket.
    shift: u32,
}

impl<E> Default for KeyTable<E> {
    fn default() -> Self {
        Self { entries: Vec::new(), starts: Vec::new(), shift: u64::BITS - 1 }
    }
}

impl<E> KeyTable<E> {
    /// Adds an entry after those of the same hash.
    pub(crate) fn insert(&mut self, hash: u64, entry: E) {
        let at = self.entries.partition_point(|(other, _)| *other <= hash);
        self.entries.insert(at, (hash, entry));
        if self.entries.len() < self.starts.len() {
            let bucket = (hash >> self.shift) as usize;
            self.starts[bucket + 1..].iter_mut().for_each(|start| *start += 1);
        } else {
            self.spread();
        }
    }

    /// Makes two to four times as many buckets as there are entries.
    fn spread(&mut self) {
        let buckets = (2 * self.entries.len()).next_power_of_two();
        self.shift = u64::BITS - buckets.trailing_zeros();
        let is_before = |(hash, _): &(u64, E), bucket| ((hash >> self.shift) as usize) < bucket;
        let begins_at = |bucket| self.entries.partition_point(|entry| is_before(entry, bucket)) as u32;
        self.starts = (0..=buckets).map(begins_at).collect();
    }

    /// The entries of a hash.
    #[inline]
    pub(crate) fn of(&self, hash: u64) -> impl Iterator<Item = &E> {
        let bucket = (hash >> self.shift) as usize;
        let entries = match self.starts.get(bucket..bucket + 2) {
            Some(&[begin, end]) => self.entries.get(begin as usize..end as usize).unwrap_or_default(),
            _ => &[],
        };
        entries.iter().filter(move |(other, _)| *other == hash).map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapeline_testing::{Random, seeds};

    #[test]
    fn entries_of_a_hash_are_found_in_the_order_in_which_they_came() {
        for seed in seeds(200) {
            let mut random = Random::new(seed);
            // Some of one bucket, whatever their number, and some of equal hash.
            let hashes: Vec<u64> = (0..random.below(40u32))
                .map(|_| match random.below(3u32) {
                    0 => random.next_u64(),
                    1 => u64::MAX - u64::from(random.below(3u32)),
                    _ => u64::from(random.below(3u32)),
                })
                .collect();
            let mut table = KeyTable::default();
            for (number, hash) in hashes.iter().enumerate() {
                table.insert(*hash, number);
                for wanted in hashes.iter().chain(&[0, 1 << 63, u64::MAX]) {
                    let expected = (0..=number).filter(|at| hashes[*at] == *wanted);
                    assert!(table.of(*wanted).copied().eq(expected), "{wanted:x} of {hashes:x?}");
                }
            }
        }
    }
}
