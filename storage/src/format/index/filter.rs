//! A Bloom filter of a segment's sessions, small enough for the footer page: most segments are passed over by one look.

use crate::format::SessionId;
use crate::format::mix::mix;

/// Bytes of the filter.
pub const FILTER_BYTES: usize = 3968;

const BITS: u64 = FILTER_BYTES as u64 * 8;

/// Bits for each session. With 2,500 sessions one look in 300 is wrong, with 6,000 one in 10.
const PROBES: u64 = 5;

/// More sessions than this would leave a filter that says yes to everybody.
const SESSIONS_MAX: usize = 20_000;

/// Says of a session that it is not in the segment, or that it may be.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionFilter(Box<[u8; FILTER_BYTES]>);

impl SessionFilter {
    /// Of these sessions.
    pub fn of(sessions: &[SessionId]) -> Self {
        if sessions.len() > SESSIONS_MAX {
            return Self::all();
        }
        let mut bits = Box::new([0; FILTER_BYTES]);
        for &session in sessions {
            for bit in probes(session) {
                bits[(bit / 8) as usize] |= 1 << (bit % 8);
            }
        }
        Self(bits)
    }

    /// Any session may be in the segment.
    pub fn all() -> Self {
        Self(Box::new([0xff; FILTER_BYTES]))
    }

    /// As the footer page holds it; fewer bytes mean that any session may be there.
    pub(in crate::format) fn from_bytes(bytes: &[u8]) -> Self {
        bytes.try_into().map_or_else(|_| Self::all(), |bits: [u8; FILTER_BYTES]| Self(Box::new(bits)))
    }

    pub(in crate::format) fn as_bytes(&self) -> &[u8; FILTER_BYTES] {
        &self.0
    }

    /// Returns whether the session may be in the segment.
    pub fn may_hold(&self, session: SessionId) -> bool {
        probes(session).all(|bit| self.0[(bit / 8) as usize] >> (bit % 8) & 1 == 1)
    }
}

impl std::fmt::Debug for SessionFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set: u32 = self.0.iter().map(|byte| byte.count_ones()).sum();
        write!(f, "SessionFilter({set} bits)")
    }
}

fn probes(session: SessionId) -> impl Iterator<Item = u64> {
    let first = mix(session.0 as u64 ^ mix((session.0 >> 64) as u64));
    // Odd, so that the steps do not return to where they began.
    let step = mix(first) | 1;
    (0..PROBES).map(move |probe| first.wrapping_add(step.wrapping_mul(probe)) % BITS)
}
