//! The machine as a test holds it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::SimDirectory;
use super::machine::Machine;
use super::{Faults, SimDevice};
use crate::device::Directory;

/// One boot of a simulated machine with its disk. Clones are the same boot.
///
/// Boots of one machine share its disk: what [`SimDisk::overwrite`] and its like do, and what they see, is the same
/// through each of them, with or without power.
#[derive(Clone)]
pub struct SimDisk {
    machine: Arc<Mutex<Machine>>,
    open_files: Arc<OpenFiles>,
    boot: u64,
}

/// Counts open files: as many descriptors as a process would hold.
#[derive(Default)]
pub(super) struct OpenFiles {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl OpenFiles {
    pub(super) fn add(&self) {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SimDisk {
    /// A machine with an empty disk.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { machine: Arc::new(Mutex::new(Machine::new(seed, faults))), open_files: Arc::default(), boot: 0 }
    }

    /// A directory on the disk; made if it is not there.
    pub fn directory(&self, name: &str) -> Arc<dyn Directory> {
        self.lock().image.add_directory(name);
        Arc::new(SimDirectory::new(self.clone(), name))
    }

    /// A write queue of the machine, for at most `depth` writes in flight. There may be several.
    ///
    /// # Panics
    /// If the depth is 0.
    pub fn device(&self, depth: usize) -> SimDevice {
        SimDevice::new(self.clone(), depth)
    }

    /// Steps so far, over all boots; the module says what a step is. To try each of them, run once, and then once for
    /// each step with it as [`Faults::crash_at`].
    pub fn steps(&self) -> u64 {
        self.lock().steps()
    }

    /// Writes that devices have taken so far, over all boots.
    pub fn writes(&self) -> u64 {
        self.lock().writes()
    }

    /// Blocking calls so far, over all boots, but for those that were refused or cut short by the power.
    pub fn calls(&self) -> u64 {
        self.lock().calls()
    }

    /// Files that are open now, over all boots.
    pub fn open_files(&self) -> usize {
        self.open_files.now.load(Ordering::Relaxed)
    }

    /// Most files that were open at a time since the last call.
    pub fn most_open_files(&self) -> usize {
        self.open_files.most.swap(self.open_files(), Ordering::Relaxed)
    }

    pub(super) fn count_of_open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    /// Returns whether this boot has power. A host that waits for completions asks, because without power none will
    /// come.
    pub fn is_on(&self) -> bool {
        self.lock().is_on(self.boot)
    }

    /// Takes this boot's power away. Nothing happens if it has none.
    pub fn crash(&self) {
        let mut machine = self.lock();
        if machine.is_on(self.boot) {
            machine.crash();
        }
    }

    /// The machine in its next boot, with the same disk and other faults. If the power was still on, it goes first, as
    /// in a crash.
    #[must_use]
    pub fn reboot(&self, faults: Faults) -> Self {
        let boot = self.lock().reboot(faults);
        Self { machine: Arc::clone(&self.machine), open_files: Arc::clone(&self.open_files), boot }
    }

    /// Changes what goes wrong from here on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Limits the space that all files together take, in bytes: what was allocated at creation, and whole pages for
    /// what was written elsewhere.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().image.set_capacity(bytes);
    }

    pub(super) fn boot(&self) -> u64 {
        self.boot
    }

    /// Returns whether both are the same boot of the same machine.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.boot == other.boot && Arc::ptr_eq(&self.machine, &other.machine)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Machine>> {
        self.machine.try_lock().ok()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("boot", &self.boot).finish_non_exhaustive()
    }
}
