//! The process around a bus: its threads and descriptors, its limits, its children, and threads that take its cores.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest that something takes that needs no more than a turn of some thread.
const PATIENCE: Duration = Duration::from_secs(45);

/// Asks again and again until there is no complaint any more.
pub(crate) fn eventually(mut complaint: impl FnMut() -> Option<String>) -> Result<(), String> {
    let begun = Instant::now();
    while let Some(text) = complaint() {
        if begun.elapsed() > PATIENCE {
            return Err(text);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Tasks that this process has started. glommio 0.9 forgets an eventfd of each of its executors that ended, of which
/// there is one a shard at most for each opening of a bus that has a task.
pub(crate) static TASKS: AtomicUsize = AtomicUsize::new(0);

/// Descriptor and thread that refuse system calls.
const KERNEL: &str = "anon_inode:seccomp";
pub(crate) const KERNEL_THREAD: &str = "kernel";

/// The resources of a process beside memory: descriptors and threads, by number.
#[derive(Debug)]
pub(crate) struct Belongings {
    descriptors: BTreeMap<String, String>,
    threads: BTreeMap<String, String>,
}

impl Belongings {
    pub(crate) fn now() -> Self {
        let entries = |path: &str| fs::read_dir(path).into_iter().flatten().flatten();
        let descriptors = entries("/proc/self/fd").filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            // The descriptor through which these are listed is gone when it is looked at.
            let is_known = ["/proc/", KERNEL].iter().any(|known| target.starts_with(known));
            (!is_known).then(|| (entry.file_name().to_string_lossy().into_owned(), target))
        });
        let threads = entries("/proc/self/task").filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?.trim().to_owned();
            (name != KERNEL_THREAD).then(|| (entry.file_name().to_string_lossy().into_owned(), name))
        });
        Self { descriptors: descriptors.collect(), threads: threads.collect() }
    }

    /// Waits until there is nothing that was not there before.
    pub(crate) fn are_all(&self) -> Result<(), String> {
        eventually(|| {
            let now = Self::now();
            let is_new = |(number, target): &(&String, &String)| self.descriptors.get(*number) != Some(*target);
            let mut descriptors: Vec<_> = now.descriptors.iter().filter(is_new).map(|(_, target)| target).collect();
            let events = descriptors.iter().filter(|target| target.ends_with("[eventfd]")).count();
            if events <= TASKS.load(Ordering::Relaxed) {
                descriptors.retain(|target| !target.ends_with("[eventfd]"));
            }
            // A thread may get its name a little later than it is there.
            let threads = now.threads.iter().filter(|(number, _)| !self.threads.contains_key(*number));
            let threads: Vec<_> = threads.map(|(_, name)| name).collect();
            // Without a thread it could not be looked at.
            let is_clean = descriptors.is_empty() && threads.is_empty() && !now.threads.is_empty();
            (!is_clean).then(|| format!("left: descriptors {descriptors:?}, threads {threads:?}"))
        })
    }
}

/// Threads that do nothing, all the time, on the cores of the shards.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Starts `count` threads, `eager` ones with precedence over the shards where the process may do that.
    pub(crate) fn start(count: u64, eager: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|number| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                // The last core is the first shard's.
                let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
                pin(last.saturating_sub(number as usize % 2));
                if eager {
                    hurry();
                }
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        Self { threads: threads.collect(), stop }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("ends"));
    }
}

#[allow(unsafe_code, reason = "sched_setaffinity")]
fn pin(core: usize) {
    // SAFETY: plain numbers; all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the core is below the size of a set.
    unsafe { libc::CPU_SET(core % 1024, &mut set) };
    // SAFETY: a pointer to a live set of this size. A core that is not there is refused, and nothing is lost.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}

#[allow(unsafe_code, reason = "setpriority")]
fn hurry() {
    // SAFETY: no pointers. A process that may not is refused, and nothing is lost.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -5) };
}

/// A limit of this process that is lowered while this lives.
#[derive(Debug)]
pub(crate) struct Limit {
    resource: libc::__rlimit_resource_t,
    before: libc::rlimit,
}

#[allow(unsafe_code, reason = "getrlimit, setrlimit, signal")]
impl Limit {
    pub(crate) fn lower(resource: libc::__rlimit_resource_t, to: u64) -> Self {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a pointer to a live structure.
        assert_eq!(unsafe { libc::getrlimit(resource, &raw mut before) }, 0);
        let now = libc::rlimit { rlim_cur: to, ..before };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setrlimit(resource, &raw const now) }, 0);
        Self { resource, before }
    }

    /// Descriptors: so many more than there are.
    pub(crate) fn descriptors(more: u64) -> Self {
        let last = fs::read_dir("/proc/self/fd").expect("proc").flatten();
        let last = last.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok()).max();
        Self::lower(libc::RLIMIT_NOFILE, last.unwrap_or_default() + 1 + more)
    }

    /// Length of files. A write beyond it is an error instead of a signal.
    pub(crate) fn file_bytes(bytes: u64) -> Self {
        // SAFETY: an integer that stands for "ignore".
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        Self::lower(libc::RLIMIT_FSIZE, bytes)
    }
}

#[allow(unsafe_code, reason = "setrlimit")]
impl Drop for Limit {
    fn drop(&mut self) {
        // SAFETY: a pointer to a live structure.
        unsafe { libc::setrlimit(self.resource, &raw const self.before) };
    }
}

/// A forked child of this process.
#[derive(Debug)]
pub(crate) struct Fork(libc::pid_t);

#[allow(unsafe_code, reason = "fork, prctl, waitpid, kill")]
impl Fork {
    /// Has a child do `work` and end with its outcome; `None` lives on until it is ended.
    pub(crate) fn start(work: impl FnOnce() -> Option<bool>) -> Self {
        // SAFETY: the child calls nothing but `work`, which is what is tested, and `_exit`.
        let child = unsafe { libc::fork() };
        if child != 0 {
            return Self(child);
        }
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        match work() {
            // SAFETY: ends the child without the parent's exit handlers.
            Some(outcome) => unsafe { libc::_exit(i32::from(!outcome)) },
            None => loop {
                // SAFETY: no pointers.
                unsafe { libc::pause() };
            },
        }
    }

    /// Waits for a child that ends by itself.
    pub(crate) fn outcome(self) -> Result<(), String> {
        let mut status = 0;
        eventually(|| {
            // SAFETY: a live integer.
            let ended = unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) };
            (ended != self.0).then(|| "a forked child does not end".to_owned())
        })?;
        std::mem::forget(self);
        if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
            Ok(())
        } else {
            Err(format!("a forked child was not refused, or died: status {status:#x}"))
        }
    }
}

#[allow(unsafe_code, reason = "kill, waitpid")]
impl Drop for Fork {
    fn drop(&mut self) {
        // SAFETY: no pointers; the child was not waited for, so its number is its own.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}
