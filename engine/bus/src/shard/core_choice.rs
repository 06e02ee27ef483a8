//! The choice of the core that a shard's thread is pinned to.
//!
//! Core ids come from core_affinity and the process's own mask, which know its cpuset.

use core_affinity::CoreId;
use tapeline_storage::format::counted;

use crate::core::config::PlacementConfig;

/// The core that a shard's thread is to run on, and the reasons why it does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CoreChoice {
    /// The core to pin it to.
    pub(crate) core: Option<usize>,
    /// The cores to leave it to, where it is not pinned. Empty: as the thread was made.
    pub(crate) among: Vec<usize>,
    /// The cores for what has no hurry: all that the process may use, but for the excluded ones.
    pub(crate) free: Vec<usize>,
    pub(crate) notes: Vec<String>,
}

/// Chooses the core of the shard of this number: the wanted cores in order, else those of the process from the last,
/// since the first ones serve interrupts; over and over.
pub(crate) fn choose_core(shard: u16, placement: &PlacementConfig) -> CoreChoice {
    choose_among(shard, placement, &allowed_cores())
}

fn choose_among(shard: u16, placement: &PlacementConfig, allowed: &[usize]) -> CoreChoice {
    let free: Vec<usize> = allowed.iter().copied().filter(|core| !placement.excluded_cores.contains(core)).collect();
    let mut choice = CoreChoice { free: free.clone(), ..CoreChoice::default() };
    if !placement.pinned {
        choice.among = free;
        return choice;
    }
    let cores: Vec<usize> = match &placement.cores {
        Some(wanted) => wanted.clone(),
        None => free.into_iter().rev().collect(),
    };
    if cores.is_empty() && !allowed.is_empty() {
        choice.notes.push(format!("excluded_cores leaves none of the cores {allowed:?}: not pinned"));
    }
    choice.core = cores.get(usize::from(shard) % cores.len().max(1)).copied();
    if !cores.is_empty() && usize::from(shard) >= cores.len() {
        choice
            .notes
            .push(format!("shard {shard} is beyond {}: the core is shared", counted(cores.len() as u64, "core")));
    }
    choice
}

/// The cores that the process may use, in order: those of its main thread, and those of the caller. A caller that is
/// pinned does not want the shards on its own core.
fn allowed_cores() -> Vec<usize> {
    let own = core_affinity::get_core_ids().unwrap_or_default();
    let mut cores: Vec<usize> = own.into_iter().map(|core| core.id).chain(main_thread_cores()).collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

#[allow(unsafe_code)]
fn main_thread_cores() -> Vec<usize> {
    // SAFETY: no bit set is a valid set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a live set of the length given; the process is this one, and its id fits.
    let found = unsafe { libc::sched_getaffinity(std::process::id() as libc::pid_t, size_of_val(&set), &raw mut set) };
    if found != 0 {
        return Vec::new();
    }
    // SAFETY: the set was filled in, and the index stays within it.
    (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

/// Pins the calling thread, or frees it. Notes where that fails: the kernel refuses cores outside of the cpuset.
pub(super) fn pin(choice: &mut CoreChoice) {
    if !choice.among.is_empty() && !leave_to(&choice.among) {
        choice
            .notes
            .push(format!("cores {:?} cannot be had: on those of the thread that opened the bus", choice.among));
    }
    if let Some(core) = choice.core
        // Beyond the set, core_affinity panics.
        && (core >= libc::CPU_SETSIZE as usize || !core_affinity::set_for_current(CoreId { id: core }))
    {
        choice.notes.push(format!("core {core} cannot be had, the process may use {:?}: not pinned", allowed_cores()));
        choice.core = None;
    }
}

/// Lets the calling thread run on any of these cores: it was made with those of its maker.
#[allow(unsafe_code)]
pub(super) fn leave_to(cores: &[usize]) -> bool {
    // SAFETY: no bit set is a valid set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores.iter().filter(|core| **core < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index stays within the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: a live set of the length given; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(placement: &PlacementConfig, allowed: &[usize]) -> Vec<Option<usize>> {
        (0..3).map(|shard| choose_among(shard, placement, allowed).core).collect()
    }

    #[test]
    fn cores_come_from_the_cpuset_and_are_shared_in_turn() {
        let placement = PlacementConfig::default();
        assert_eq!(cores(&placement, &[0, 1]), [Some(1), Some(0), Some(1)]);
        assert!(choose_among(1, &placement, &[0, 1]).notes.is_empty());
        assert_eq!(choose_among(2, &placement, &[0, 1]).notes, ["shard 2 is beyond 2 cores: the core is shared"]);
    }

    #[test]
    fn wanted_cores_are_taken_in_order() {
        let placement = PlacementConfig { cores: Some(vec![5, 1]), ..PlacementConfig::default() };
        assert_eq!(cores(&placement, &[0, 1]), [Some(5), Some(1), Some(5)]);
    }

    #[test]
    fn excluded_cores_are_left_alone() {
        let placement = PlacementConfig { excluded_cores: vec![3, 0], ..PlacementConfig::default() };
        assert_eq!(cores(&placement, &[0, 1, 2, 3]), [Some(2), Some(1), Some(2)]);
        assert_eq!(cores(&placement, &[0, 3]), [None, None, None]);
        assert!(choose_among(0, &placement, &[0, 3]).notes[0].contains("excluded_cores"));
        let unpinned = PlacementConfig { pinned: false, ..placement };
        let choice = choose_among(0, &unpinned, &[0, 1, 2, 3]);
        assert_eq!((choice.core, choice.among), (None, vec![1, 2]));
    }

    #[test]
    fn shard_that_is_not_pinned_may_run_wherever_the_process_may() {
        let all = allowed_cores();
        let seen = std::thread::spawn(|| {
            pin(&mut CoreChoice { core: allowed_cores().first().copied(), ..CoreChoice::default() });
            let unpinned = PlacementConfig { pinned: false, ..PlacementConfig::default() };
            pin(&mut choose_core(0, &unpinned));
            core_affinity::get_core_ids().map(|cores| cores.len())
        });
        assert_eq!(seen.join().expect("no panic"), Some(all.len()));
    }

    #[test]
    fn a_core_that_is_not_there_is_reported_and_left() {
        for core in [libc::CPU_SETSIZE as usize - 1, libc::CPU_SETSIZE as usize, usize::MAX] {
            let mut choice = CoreChoice { core: Some(core), ..CoreChoice::default() };
            pin(&mut choice);
            assert_eq!(choice.core, None);
            assert!(choice.notes[0].contains("cannot be had"), "{:?}", choice.notes);
        }
    }

    #[test]
    fn a_pinned_caller_leaves_the_other_cores_to_the_shards() {
        let all = allowed_cores();
        let pinned = std::thread::spawn(move || {
            pin(&mut CoreChoice { core: all.first().copied(), ..CoreChoice::default() });
            (all, allowed_cores())
        });
        let (all, seen) = pinned.join().expect("no panic");
        assert_eq!(seen, all);
    }

    #[test]
    fn without_any_core_shards_run_unpinned() {
        assert_eq!(choose_among(0, &PlacementConfig::default(), &[]), CoreChoice::default());
    }
}
