//! A helper for consumers that read streams themselves.

use std::collections::{HashSet, VecDeque};

/// Recognises events that a consumer has had, by their `dedup_id`: it remembers a number of the last ones.
///
/// A stream of a shard holds each event once. A consumer that reads through other means (a mirror, a queue of its own,
/// the stream of events that were refused at first) may get one again.
///
/// ```
/// use tapeline::adapter::RedisStreamDedup;
///
/// let mut seen = RedisStreamDedup::new();
/// assert!(seen.is_new("000102030405060708090a0b0c0d0e0f-3-42"));
/// assert!(!seen.is_new("000102030405060708090a0b0c0d0e0f-3-42"));
/// ```
#[derive(Debug, Clone)]
pub struct RedisStreamDedup {
    known: HashSet<String>,
    order: VecDeque<String>,
    capacity: usize,
}

impl Default for RedisStreamDedup {
    fn default() -> Self {
        Self::new()
    }
}

impl RedisStreamDedup {
    /// Remembers 4096.
    pub fn new() -> Self {
        Self::with_capacity(4096)
    }

    /// Remembers so many, at least one.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { known: HashSet::new(), order: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// Notes an event. Returns whether it is none of those that are remembered.
    pub fn is_new(&mut self, dedup_id: &str) -> bool {
        if self.known.contains(dedup_id) {
            return false;
        }
        if self.order.len() == self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(dedup_id.to_owned());
        self.order.push_back(dedup_id.to_owned());
        true
    }

    /// The number of events that are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether none is.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let mut seen = RedisStreamDedup::with_capacity(2);
        assert!(seen.is_empty() && seen.is_new("a") && seen.is_new("b") && !seen.is_new("a"));
        assert!(seen.is_new("c") && seen.is_new("a") && !seen.is_new("c"));
        assert_eq!(seen.len(), 2);
    }
}
