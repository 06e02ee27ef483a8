//! Whether bytes at the end of a log are a write under way, or stay.

use crate::format::Sequence;

/// What was found at the end of a log: behind which sequence, and the checksum of its first page.
type Stray = (Sequence, u32);

/// Remembers what stood at the end of a log at the last close look, so that what stays there is examined, once.
#[derive(Debug, Default)]
pub(super) enum Suspicion {
    #[default]
    None,
    /// Seen once.
    Aroused(Stray),
    /// Seen twice, and examined.
    Examined(Stray),
}

impl Suspicion {
    /// Whether what is found now has stayed since the last time, and was not examined yet.
    pub(super) fn is_confirmed(&mut self, stray: Option<Stray>) -> bool {
        let (next, confirmed) = match (&self, stray) {
            (_, None) => (Self::None, false),
            (Self::Aroused(before), Some(now)) if *before == now => (Self::Examined(now), true),
            (Self::Examined(before), Some(now)) if *before == now => (Self::Examined(now), false),
            (_, Some(now)) => (Self::Aroused(now), false),
        };
        *self = next;
        confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_examined_once() {
        let stray = |sequence, crc| Some((Sequence::new(sequence), crc));
        let mut suspicion = Suspicion::default();
        let mut found = |stray| suspicion.is_confirmed(stray);
        assert!(!found(None) && !found(stray(1, 7)) && found(stray(1, 7)) && !found(stray(1, 7)));
        assert!(!found(stray(1, 8)) && !found(stray(2, 8)) && found(stray(2, 8)));
        assert!(!found(None) && !found(stray(2, 8)) && found(stray(2, 8)));
    }
}
