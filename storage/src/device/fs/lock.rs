//! The lock that keeps a second writer out of a directory, and what becomes of it in a forked child.

use std::io;
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::thread;
use std::time::Duration;

use super::call;
use super::directory::open_directory;

const RETRY: Duration = Duration::from_millis(10);

/// No descriptor.
const NONE: i32 = -1;

/// A lock on a directory, held until it is dropped or the process ends.
///
/// It is an `flock` of a file in it, and of the directory itself: a file can be removed and made again while it is
/// locked. A forked child shares these open files and would keep the locks when the parent is gone, so the child closes
/// their descriptors before `fork` returns there.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: FileLock,
    /// `None` on a file system that has no locks of directories.
    _directory: Option<FileLock>,
}

/// The lock of one open file.
#[derive(Debug)]
struct FileLock {
    held: &'static Held,
}

/// Locks the file `name` in the directory `path`, which is created if need be and never removed. Tries again every
/// 10 ms for as long as `patience`.
///
/// # Errors
/// `WouldBlock` if another opener holds the lock; else the kernel's.
pub fn lock_exclusive(path: &Path, name: &str, patience: Duration) -> io::Result<DirectoryLock> {
    let name = call::plain_name(name)?;
    let directory = open_directory(path)?;
    let file = FileLock::open(|| call::open_at(&directory, &name, libc::O_RDWR | libc::O_CREAT))?;
    file.wait(patience)?;
    let own = FileLock::open(|| Ok(directory))?;
    let directory = match own.wait(patience) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
        outcome => outcome.is_ok().then_some(own),
    };
    Ok(DirectoryLock { _file: file, _directory: directory })
}

impl FileLock {
    /// # Errors
    /// `WouldBlock` if another opener holds the lock for longer than `patience`; else the kernel's.
    fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            match call::try_lock(self.held.descriptor.load(Ordering::Relaxed)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && waited < patience => {}
                outcome => return outcome,
            }
            thread::sleep(RETRY);
            waited += RETRY;
        }
    }

    /// No fork comes between the opening of the file and its listing: a child would not know what to close.
    fn open(open: impl FnOnce() -> io::Result<std::fs::File>) -> io::Result<Self> {
        watch_forks();
        let lock = Self { held: Held::free() };
        let _no_fork = NoFork::begin();
        lock.held.descriptor.store(open()?.into_raw_fd(), Ordering::Relaxed);
        Ok(lock)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _no_fork = NoFork::begin();
        self.held.close();
        self.held.is_free.store(true, Ordering::Release);
    }
}

/// The descriptor of one lock, in a list that a forked child walks: entries are used again, never freed.
#[derive(Debug)]
struct Held {
    /// [`NONE`]: closed, or not open yet. In a child it may be closed while the lock still lives.
    descriptor: AtomicI32,
    is_free: AtomicBool,
    next: AtomicPtr<Held>,
}

static FIRST: AtomicPtr<Held> = AtomicPtr::new(ptr::null_mut());

impl Held {
    /// An entry that no lock uses.
    fn free() -> &'static Self {
        let taken =
            |held: &&Self| held.is_free.compare_exchange(true, false, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if let Some(held) = Self::all().find(taken) {
            return held;
        }
        let made: &'static mut Self = Box::leak(Box::new(Self {
            descriptor: AtomicI32::new(NONE),
            is_free: AtomicBool::new(false),
            next: AtomicPtr::new(FIRST.load(Ordering::Acquire)),
        }));
        let made = &raw mut *made;
        // SAFETY: made from a leaked box, which nothing changes but through its atomics.
        #[allow(unsafe_code)]
        let held: &'static Self = unsafe { &*made };
        loop {
            let next = held.next.load(Ordering::Relaxed);
            // SYNC: pairs with the Acquire loads in all().
            match FIRST.compare_exchange(next, made, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return held,
                Err(first) => held.next.store(first, Ordering::Relaxed),
            }
        }
    }

    /// Every entry. Safe to call from a forked child: atomics only.
    fn all() -> impl Iterator<Item = &'static Self> {
        // SAFETY: the list holds leaked entries only, each whole before it was linked.
        #[allow(unsafe_code)]
        let at = |entry: &AtomicPtr<Self>| unsafe { entry.load(Ordering::Acquire).as_ref() };
        std::iter::successors(at(&FIRST), move |held| at(&held.next))
    }

    /// Closes the descriptor, once.
    fn close(&self) {
        let descriptor = self.descriptor.swap(NONE, Ordering::Relaxed);
        if descriptor != NONE {
            call::close(descriptor);
        }
    }
}

/// Set while a lock's file is being opened or closed, and while the process forks: neither begins during the other.
static OPENING: AtomicBool = AtomicBool::new(false);

struct NoFork;

impl NoFork {
    fn begin() -> Self {
        seize();
        Self
    }
}

impl Drop for NoFork {
    fn drop(&mut self) {
        release();
    }
}

fn seize() {
    while OPENING.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        thread::yield_now();
    }
}

extern "C" fn before_fork() {
    seize();
}

extern "C" fn release() {
    OPENING.store(false, Ordering::Release);
}

/// Closes every lock in the child. Atomics and `close` alone, which are allowed there.
extern "C" fn in_child() {
    Held::all().for_each(Held::close);
    release();
}

/// Has every later fork close the locks in its child.
#[allow(unsafe_code)]
fn watch_forks() {
    static WATCHES: AtomicBool = AtomicBool::new(false);
    // No `Once`: a child that was forked in its midst would wait for ever.
    if WATCHES.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: the handlers are functions of this program, and do what a forked child may do. The call fails only for
    // want of memory; children then keep the lock.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(release), Some(in_child)) };
}
