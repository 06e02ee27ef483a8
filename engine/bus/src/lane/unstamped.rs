//! The records at the end of what a writer has committed that have no time yet: a batch reads the clock once for
//! several.

/// Most records that wait for their times: they share one look at the clock.
pub(crate) const UNSTAMPED_MAX: usize = 16;

/// The places of these records, all in the last ring.
#[derive(Debug, Default)]
pub(super) struct Unstamped {
    /// Offset in the ring of the last unit of each.
    offsets: [usize; UNSTAMPED_MAX],
    records: usize,
}

impl Unstamped {
    /// The next record has its last unit at this offset. There are fewer than [`UNSTAMPED_MAX`].
    #[inline(always)]
    pub(super) fn note(&mut self, offset: usize) {
        debug_assert!(self.records < UNSTAMPED_MAX, "more records than share a look at the clock");
        if let Some(next) = self.offsets.get_mut(self.records) {
            *next = offset;
            self.records += 1;
        }
    }

    /// The number of records.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// Takes the offset of the last unit of each.
    #[inline(always)]
    pub(super) fn take(&mut self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let records = std::mem::take(&mut self.records);
        self.offsets.into_iter().take(records)
    }

    /// There are none any more.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.records = 0;
    }
}
