//! The producers that handles stand for: a table that the hot path looks into with an index and two comparisons.
//!
//! A producer is for one thread at a time. A slot names the thread that owns its producer, so that ownership costs no
//! atomic exchange:
//!
//! - `owner` is 0, or the id of a thread, with the lowest bit set while that thread is in a call. A thread's id is its
//!   `pthread_self`, whose lowest bit is 0. Two threads that live at the same time have different ids.
//! - Only the owner, in a call, touches the cell. Another thread becomes the owner only from 0, by an exchange.
//! - An owner that ends leaves its slots at 0 ([`Owned`]). Where it cannot, a later thread with its id has them
//!   instead, which began after the owner's end.
//! - The lowest bit keeps a signal handler, which interrupts a call of its own thread, out of the cell.

use std::cell::{RefCell, UnsafeCell};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use tapeline::event::SessionId;
use tapeline::{Producer, Session};

use super::tapeline_producer;
use crate::code::tapeline_code::{TAPELINE_BUSY, TAPELINE_THREAD};
use crate::failure::Failure;
use crate::forks;
use crate::table::{Type, forked, full, handle, slot_of, unknown};

/// The number of slots, a power of two.
const SLOTS: usize = 1 << 14;

/// A producer with its tokens of the sessions that it emitted into last: a token costs a good part of an event.
pub(super) struct Kept {
    producer: Producer,
    /// By the lowest bits of their ids.
    sessions: [Session; SESSIONS],
    /// Calls until the tokens are made anew. After the bus has changed its shards an older one works, but costs more.
    calls_left: u32,
}

/// A power of two.
const SESSIONS: usize = 16;
/// The calls for which a token is kept.
const CALLS: u32 = 4096;

impl Kept {
    fn new(producer: Producer) -> Self {
        Self { sessions: [producer.session(SessionId::NONE); SESSIONS], producer, calls_left: CALLS }
    }

    pub(super) fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The producer, and its token of a session.
    #[inline(always)]
    pub(super) fn with_session(&mut self, id: SessionId) -> (&mut Producer, Session) {
        self.calls_left -= 1;
        if self.calls_left == 0 {
            self.forget();
        }
        let kept = &mut self.sessions[id.0 as usize % SESSIONS];
        if kept.id() != id {
            *kept = self.producer.session(id);
        }
        (&mut self.producer, *kept)
    }

    #[cold]
    fn forget(&mut self) {
        self.sessions = [self.producer.session(SessionId::NONE); SESSIONS];
        self.calls_left = CALLS;
    }
}

/// A slot on a line of its own: its owner writes it in each call.
#[repr(align(128))]
struct Slot {
    /// The handle of the producer that is here. 0: there is none.
    number: AtomicU64,
    owner: AtomicUsize,
    /// The number of forks before the process that put the producer here.
    forks: AtomicU32,
    /// Of the producer that is or was here last.
    generation: AtomicU32,
    producer: UnsafeCell<Option<Box<Kept>>>,
}

// SAFETY: rule 3; a `Producer` is `Send`.
unsafe impl Sync for Slot {}

static PRODUCERS: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];
/// A slot that may be free.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The slots that this thread owns, which it gives up at its end.
#[derive(Debug, Default)]
struct Owned(Vec<usize>);

impl Drop for Owned {
    fn drop(&mut self) {
        for &at in &self.0 {
            // SYNC: gives the cell up; pairs with the exchange in `claim`.
            let _ = PRODUCERS[at].owner.compare_exchange(me(), 0, Ordering::Release, Ordering::Relaxed);
        }
    }
}

thread_local! {
    static OWNED: RefCell<Owned> = RefCell::default();
}

/// This thread's id.
#[inline(always)]
fn me() -> usize {
    // SAFETY: rule 4: has no conditions.
    (unsafe { libc::pthread_self() }) as usize & !1
}

impl Slot {
    const fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
            owner: AtomicUsize::new(0),
            forks: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            producer: UnsafeCell::new(None),
        }
    }

    /// Makes this thread the owner, and has it be in a call. Returns `false` if another one owns the slot.
    fn claim(&self, at: usize) -> bool {
        // SYNC: takes the cell; pairs with the Release of the owner that gave it up.
        let is_mine = self.owner.compare_exchange(0, me() | 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if is_mine {
            let _ = OWNED.try_with(|owned| owned.borrow_mut().0.push(at));
        }
        is_mine
    }

    /// Ends this thread's ownership.
    fn give_up(&self, at: usize) {
        let _ = OWNED.try_with(|owned| owned.borrow_mut().0.retain(|&owned| owned != at));
        // SYNC: gives the cell up; pairs with the exchange in `claim`.
        self.owner.store(0, Ordering::Release);
    }
}

/// A producer in a call of the thread that owns it.
pub(super) struct InCall {
    slot: &'static Slot,
    at: usize,
    /// This thread.
    me: usize,
}

impl Deref for InCall {
    type Target = Kept;

    #[inline(always)]
    fn deref(&self) -> &Kept {
        // SAFETY: rule 3: this thread owns the slot, and is in no other call.
        let kept = unsafe { &*self.slot.producer.get() };
        // SAFETY: `enter` found the handle in the slot, so the producer is there; only `close` takes it, and ends the
        // call.
        unsafe { kept.as_deref().unwrap_unchecked() }
    }
}

impl DerefMut for InCall {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Kept {
        // SAFETY: rule 3: this thread owns the slot, and is in no other call.
        let kept = unsafe { &mut *self.slot.producer.get() };
        // SAFETY: as in `deref`.
        unsafe { kept.as_deref_mut().unwrap_unchecked() }
    }
}

impl Drop for InCall {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::Release);
        self.slot.owner.store(self.me, Ordering::Relaxed);
    }
}

/// Begins a call with a producer.
///
/// # Errors
/// `TAPELINE_HANDLE`, `TAPELINE_FORKED`, `TAPELINE_THREAD`, `TAPELINE_BUSY`.
#[inline(always)]
pub(super) fn enter(producer: tapeline_producer) -> Result<InCall, Failure> {
    let at = slot_of(producer.number) % SLOTS;
    let slot = &PRODUCERS[at];
    if slot.number.load(Ordering::Acquire) != producer.number || producer.number == 0 {
        return Err(unknown(producer.number, Type::Producer));
    }
    if slot.forks.load(Ordering::Relaxed) != forks::generation() {
        return Err(forked());
    }
    let me = me();
    if slot.owner.load(Ordering::Relaxed) != me {
        return claim(producer, at);
    }
    slot.owner.store(me | 1, Ordering::Relaxed);
    compiler_fence(Ordering::Acquire);
    Ok(InCall { slot, at, me })
}

/// Begins a call of a thread that does not own the producer yet.
#[cold]
fn claim(producer: tapeline_producer, at: usize) -> Result<InCall, Failure> {
    let slot = &PRODUCERS[at];
    if !slot.claim(at) {
        return Err(if slot.owner.load(Ordering::Relaxed) == me() | 1 {
            Failure::new(TAPELINE_BUSY, "this thread is in a call with the producer; a signal handler has none")
        } else {
            Failure::new(
                TAPELINE_THREAD,
                "the producer belongs to another thread, which gives it up with tapeline_producer_release; open one for each thread",
            )
        });
    }
    let call = InCall { slot, at, me: me() };
    // The owner before may have closed it.
    if slot.number.load(Ordering::Relaxed) != producer.number {
        end(call);
        return Err(unknown(producer.number, Type::Producer));
    }
    Ok(call)
}

/// Ends a call, and this thread's ownership with it.
fn end(call: InCall) {
    let (slot, at) = (call.slot, call.at);
    std::mem::forget(call);
    slot.give_up(at);
}

/// Keeps a producer, which this thread owns.
///
/// # Errors
/// `TAPELINE_LIMIT`.
pub(super) fn insert(producer: Producer) -> Result<tapeline_producer, Failure> {
    let start = NEXT.fetch_add(1, Ordering::Relaxed);
    for at in (0..SLOTS).map(|step| start.wrapping_add(step) % SLOTS) {
        let slot = &PRODUCERS[at];
        if slot.number.load(Ordering::Relaxed) != 0 || !slot.claim(at) {
            continue;
        }
        let call = InCall { slot, at, me: me() };
        let generation = slot.generation.load(Ordering::Relaxed);
        if slot.number.load(Ordering::Relaxed) != 0 || generation == u32::MAX {
            end(call);
            continue;
        }
        // SAFETY: rule 3: this thread owns the slot, and is in this call.
        unsafe { *slot.producer.get() = Some(Box::new(Kept::new(producer))) };
        slot.generation.store(generation + 1, Ordering::Relaxed);
        slot.forks.store(forks::generation(), Ordering::Relaxed);
        let number = handle(Type::Producer, at, generation + 1);
        // SYNC: publishes the slot; pairs with the Acquire in `enter`.
        slot.number.store(number, Ordering::Release);
        return Ok(tapeline_producer { number });
    }
    Err(full(Type::Producer, SLOTS))
}

/// Lets the next thread that uses the producer own it.
pub(super) fn release(call: InCall) {
    end(call);
}

/// Takes the producer out of its slot.
pub(super) fn close(call: InCall) -> Option<Box<Kept>> {
    // SAFETY: rule 3: this thread owns the slot, and is in this call.
    let producer = unsafe { (*call.slot.producer.get()).take() };
    call.slot.number.store(0, Ordering::Release);
    end(call);
    producer
}
