//! The producers that `EventBus::ingest` keeps for each thread, until the thread or the bus ends.
//!
//! A thread uses its producer; a bus that ends withdraws it, so that a thread that ingests no more keeps nothing of a
//! bus that is gone. Both follow two rules:
//!
//! 1. The thread says that it uses the producer before it looks whether it was withdrawn, and no longer touches it once
//!    it was.
//! 2. The bus says that it withdraws the producer, has every thread execute a fence, and touches the producer once the
//!    thread says that it does not use it: a later use finds it withdrawn.

use std::cell::{RefCell, UnsafeCell};
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Producer, ProducerOptions};
use crate::bus_core::BusCore;
use crate::core::error::{IngestionError, IngestionResult};
use crate::core::fence;

thread_local! {
    /// One producer for each open bus that the thread has ingested into: rarely more than one.
    static SLOTS: RefCell<Vec<Arc<Slot>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `ingest` with this thread's producer for the bus.
pub(crate) fn with<T>(
    locals: &Locals,
    core: &Arc<BusCore>,
    ingest: impl FnOnce(&mut Producer) -> IngestionResult<T>,
) -> IngestionResult<T> {
    let count = |refusal: &IngestionError| core.producers().count_refused(refusal, 1);
    let mut ingest = Some(ingest);
    let ended = || Err(IngestionError::ShuttingDown).inspect_err(count);
    let local = SLOTS.try_with(|slots| {
        // A signal handler or a destructor that ingests while this thread ingests gets a producer of its own.
        let mut slots = slots.try_borrow_mut().ok()?;
        let ingest = ingest.take()?;
        let slot = find(&mut slots, locals, core).inspect_err(count);
        Some(slot.and_then(|slot| slot.with(ingest).unwrap_or_else(ended)))
    });
    match (local.ok().flatten(), ingest) {
        (Some(outcome), _) => outcome,
        (None, Some(ingest)) => {
            let producer = Producer::new(Arc::clone(core), ProducerOptions::default());
            ingest(&mut producer.inspect_err(count)?)
        }
        (None, None) => Err(IngestionError::ShuttingDown),
    }
}

fn find<'s>(slots: &'s mut Vec<Arc<Slot>>, locals: &Locals, core: &Arc<BusCore>) -> IngestionResult<&'s Slot> {
    let known = slots.iter().position(|slot| slot.bus == Arc::as_ptr(core) && !slot.is_withdrawn());
    let at = match known {
        Some(at) => at,
        None => {
            slots.retain(|slot| !slot.is_withdrawn());
            let producer = Producer::new(Arc::clone(core), ProducerOptions::default())?;
            slots.push(locals.add(Slot::new(producer))?);
            slots.len() - 1
        }
    };
    Ok(&slots[at])
}

/// A thread's producer of one bus.
#[derive(Debug)]
struct Slot {
    /// The bus: compared, never looked into. It is there as long as the producer.
    bus: *const BusCore,
    is_used: AtomicBool,
    is_withdrawn: AtomicBool,
    producer: UnsafeCell<Option<Producer>>,
}

// SAFETY: the producer may be sent to other threads, and the rules of this module keep it to one at a time.
#[allow(unsafe_code)]
unsafe impl Send for Slot {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Slot {}

impl Slot {
    fn new(producer: Producer) -> Self {
        Self {
            bus: Arc::as_ptr(&producer.core),
            is_used: AtomicBool::new(false),
            is_withdrawn: AtomicBool::new(false),
            producer: UnsafeCell::new(Some(producer)),
        }
    }

    #[inline]
    fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Ordering::Relaxed)
    }

    /// Called by the thread that it belongs to alone. `None`: the producer was withdrawn.
    #[inline]
    fn with<T>(&self, ingest: impl FnOnce(&mut Producer) -> T) -> Option<T> {
        let _use = Use::begin(&self.is_used);
        if self.is_withdrawn() {
            return None;
        }
        // SAFETY: rule 1, and its thread has no other reference: the list of slots is borrowed meanwhile.
        #[allow(unsafe_code)]
        let producer = unsafe { &mut *self.producer.get() };
        producer.as_mut().map(ingest)
    }

    /// Takes the producer from its thread, which a fence of every thread has shown that it was withdrawn.
    fn withdraw(&self) -> Option<Producer> {
        // SYNC: pairs with the Release store in the drop of Use. A call of the thread that is under way ends soon: its
        // shards have stopped.
        while self.is_used.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: rule 2.
        #[allow(unsafe_code)]
        let producer = unsafe { &mut *self.producer.get() };
        producer.take()
    }
}

/// Its thread uses a producer.
struct Use<'s>(&'s AtomicBool);

impl<'s> Use<'s> {
    #[inline]
    fn begin(is_used: &'s AtomicBool) -> Self {
        // SYNC: comes before the look whether it was withdrawn, by the fence that Locals::withdraw has every thread
        // execute.
        is_used.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Self(is_used)
    }
}

impl Drop for Use<'_> {
    #[inline]
    fn drop(&mut self) {
        // SYNC: pairs with the Acquire load in Slot::withdraw.
        self.0.store(false, Ordering::Release);
    }
}

/// The producers that threads have of one bus.
#[derive(Debug, Default)]
pub(crate) struct Locals(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    slots: Vec<Weak<Slot>>,
    has_ended: bool,
}

impl Locals {
    fn add(&self, slot: Slot) -> IngestionResult<Arc<Slot>> {
        let slot = Arc::new(slot);
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.has_ended {
            return Err(IngestionError::ShuttingDown);
        }
        // Those of threads that have ended go when the list would grow.
        if listed.slots.len() == listed.slots.capacity() {
            listed.slots.retain(|slot| slot.strong_count() > 0);
        }
        listed.slots.push(Arc::downgrade(&slot));
        Ok(slot)
    }

    /// Drops the producers that threads have. The bus's shards have stopped.
    pub(crate) fn withdraw(&self) {
        let slots: Vec<_> = {
            let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            listed.has_ended = true;
            std::mem::take(&mut listed.slots).iter().filter_map(Weak::upgrade).collect()
        };
        if slots.is_empty() {
            return;
        }
        slots.iter().for_each(|slot| slot.is_withdrawn.store(true, Ordering::Relaxed));
        fence::all_threads();
        slots.iter().for_each(|slot| drop(slot.withdraw()));
    }
}
