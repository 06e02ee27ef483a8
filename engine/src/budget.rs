//! The memory of a bus: what lanes and blocks may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes, of which shares are taken.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    bytes: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, used: AtomicUsize::new(0) })
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that are taken.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes a share.
    ///
    /// # Errors
    /// The bytes that are left, where they are fewer.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<MemoryShare, usize> {
        let take = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.bytes);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(MemoryShare { budget: Some(Arc::clone(self)), bytes }),
            Err(used) => Err(self.bytes.saturating_sub(used)),
        }
    }
}

/// Bytes of a budget, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct MemoryShare {
    budget: Option<Arc<MemoryBudget>>,
    bytes: usize,
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
