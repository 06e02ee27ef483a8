//! Handles: numbers that stand for objects of the library.
//!
//! A handle has the object's type, its slot in a table, and the slot's generation. A slot that is freed gets another
//! generation, so a handle that was closed, or that nothing ever opened, finds nothing. A slot whose generations are
//! used up is never used again. No table moves or is freed, and nothing waits for a lock that a thread of a forked
//! parent may hold: a child has no use for slots of its parent.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::code::tapeline_code::{TAPELINE_FORKED, TAPELINE_HANDLE, TAPELINE_LIMIT};
use crate::failure::Failure;
use crate::forks;

/// The type of object that a handle stands for; the uppermost byte of the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Bus = 1,
    Producer = 2,
    Reader = 3,
    Page = 4,
    Log = 5,
}

impl Type {
    fn name(number: u64) -> Option<&'static str> {
        Some(match number {
            1 => "a bus",
            2 => "a producer",
            3 => "a reader",
            4 => "a page",
            5 => "a log",
            _ => return None,
        })
    }
}

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 32;

/// A handle's number. Never 0: generations begin at 1.
pub(crate) fn handle(of: Type, slot: usize, generation: u32) -> u64 {
    (of as u64) << (SLOT_BITS + GENERATION_BITS) | u64::from(generation) << SLOT_BITS | slot as u64
}

/// The slot that a handle names, whether there is one or not.
#[inline(always)]
pub(crate) fn slot_of(handle: u64) -> usize {
    (handle & ((1 << SLOT_BITS) - 1)) as usize
}

/// The error of a handle that stands for no object of this type.
#[cold]
pub(crate) fn unknown(handle: u64, wanted: Type) -> Failure {
    let found = handle >> (SLOT_BITS + GENERATION_BITS);
    let (wanted, is_wanted) = (Type::name(wanted as u64).unwrap_or_default(), found == wanted as u64);
    let text = match Type::name(found) {
        _ if handle == 0 => format!("the handle of {wanted} is 0: nothing was opened"),
        Some(_) if is_wanted => format!("the handle of {wanted} was closed"),
        Some(found) => format!("the handle is {found}'s; the call needs {wanted}'s"),
        None => format!("the handle {handle:#x} is none of this library's; the call needs {wanted}'s"),
    };
    Failure::new(TAPELINE_HANDLE, text)
}

#[cold]
pub(crate) fn forked() -> Failure {
    Failure::new(TAPELINE_FORKED, "this process was forked after the handle was opened; open a bus of its own")
}

#[cold]
pub(crate) fn full(of: Type, slots: usize) -> Failure {
    let name = Type::name(of as u64).unwrap_or_default();
    Failure::new(TAPELINE_LIMIT, format_args!("{slots} handles of the type of {name} are open; close some"))
}

/// The objects of one type.
#[derive(Debug)]
pub(crate) struct Table<T, const SLOTS: usize> {
    of: Type,
    slots: [Slot<T>; SLOTS],
    /// A slot that may be free.
    next: AtomicU32,
}

#[derive(Debug)]
struct Slot<T> {
    /// The number of forks before the process that put the object here.
    forks: AtomicU32,
    kept: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    /// Of the object that is or was here last.
    generation: u32,
    object: Option<Arc<T>>,
}

impl<T> Slot<T> {
    const fn new() -> Self {
        Self { forks: AtomicU32::new(0), kept: Mutex::new(Kept { generation: 0, object: None }) }
    }
}

impl<T, const SLOTS: usize> Table<T, SLOTS> {
    pub(crate) const fn new(of: Type) -> Self {
        assert!(SLOTS < 1 << SLOT_BITS);
        Self { of, slots: [const { Slot::new() }; SLOTS], next: AtomicU32::new(0) }
    }

    /// Keeps an object, and returns its handle.
    ///
    /// # Errors
    /// `TAPELINE_LIMIT`.
    pub(crate) fn insert(&self, object: Arc<T>) -> Result<u64, Failure> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        for at in (0..SLOTS).map(|step| start.wrapping_add(step) % SLOTS) {
            let slot = &self.slots[at];
            // A slot that another thread looks at, or that a thread of the parent held when it forked.
            let Ok(mut kept) = slot.kept.try_lock() else { continue };
            if kept.object.is_none() && kept.generation < u32::MAX {
                kept.generation += 1;
                kept.object = Some(object);
                slot.forks.store(forks::generation(), Ordering::Relaxed);
                return Ok(handle(self.of, at, kept.generation));
            }
        }
        Err(full(self.of, SLOTS))
    }

    /// The object of a handle.
    ///
    /// # Errors
    /// `TAPELINE_HANDLE`, `TAPELINE_FORKED`.
    pub(crate) fn get(&self, number: u64) -> Result<Arc<T>, Failure> {
        self.with(number, |object| object.clone())
    }

    /// Takes the object of a handle, which then stands for nothing.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub(crate) fn remove(&self, number: u64) -> Result<Arc<T>, Failure> {
        self.with(number, Option::take)
    }

    fn with(&self, number: u64, take: impl FnOnce(&mut Option<Arc<T>>) -> Option<Arc<T>>) -> Result<Arc<T>, Failure> {
        let at = slot_of(number);
        let slot = self.slots.get(at).ok_or_else(|| unknown(number, self.of))?;
        if slot.forks.load(Ordering::Relaxed) != forks::generation() {
            let is_typed = number >> (SLOT_BITS + GENERATION_BITS) == self.of as u64;
            return Err(if is_typed { forked() } else { unknown(number, self.of) });
        }
        let mut kept = slot.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if handle(self.of, at, kept.generation) != number {
            return Err(unknown(number, self.of));
        }
        take(&mut kept.object).ok_or_else(|| unknown(number, self.of))
    }
}
