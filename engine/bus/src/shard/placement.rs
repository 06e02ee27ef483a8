//! On which core a shard runs.
//!
//! Core ids come from core_affinity and the process's own mask, which know its cpuset.

use core_affinity::CoreId;
use tapeline_storage::format::counted;

use crate::core::config::PlacementConfig;

/// Where a shard is to run, and what stands against it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// The core to pin it to.
    pub(crate) core: Option<usize>,
    /// The cores to leave it to, where it is not pinned. Empty: as the thread was made.
    pub(crate) among: Vec<usize>,
    /// The cores for what has no hurry: all that the process may use, but for the excluded ones.
    pub(crate) free: Vec<usize>,
    pub(crate) notes: Vec<String>,
}

/// A place for the shard of this number: the chosen cores in order, else those of the process from the last, since the
/// first ones serve interrupts; over and over.
pub(crate) fn place(shard: u16, placement: &PlacementConfig) -> Place {
    place_among(shard, placement, &allowed_cores())
}

fn place_among(shard: u16, placement: &PlacementConfig, allowed: &[usize]) -> Place {
    let free: Vec<usize> = allowed.iter().copied().filter(|core| !placement.excluded_cores.contains(core)).collect();
    let mut place = Place { free: free.clone(), ..Place::default() };
    if !placement.pinned {
        place.among = free;
        return place;
    }
    let cores: Vec<usize> = match &placement.cores {
        Some(wanted) => wanted.clone(),
        None => free.into_iter().rev().collect(),
    };
    if cores.is_empty() && !allowed.is_empty() {
        place.notes.push(format!("excluded_cores leaves none of the cores {allowed:?}: not pinned"));
    }
    place.core = cores.get(usize::from(shard) % cores.len().max(1)).copied();
    if !cores.is_empty() && usize::from(shard) >= cores.len() {
        place
            .notes
            .push(format!("shard {shard} is beyond {}: the core is shared", counted(cores.len() as u64, "core")));
    }
    place
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
pub(super) fn pin(place: &mut Place) {
    if !place.among.is_empty() && !leave_to(&place.among) {
        place.notes.push(format!("cores {:?} cannot be had: on those of the thread that opened the bus", place.among));
    }
    if let Some(core) = place.core
        // Beyond the set, core_affinity panics.
        && (core >= libc::CPU_SETSIZE as usize || !core_affinity::set_for_current(CoreId { id: core }))
    {
        place.notes.push(format!("core {core} cannot be had, the process may use {:?}: not pinned", allowed_cores()));
        place.core = None;
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
        (0..3).map(|shard| place_among(shard, placement, allowed).core).collect()
    }

    #[test]
    fn cores_come_from_the_cpuset_and_are_shared_in_turn() {
        let placement = PlacementConfig::default();
        assert_eq!(cores(&placement, &[0, 1]), [Some(1), Some(0), Some(1)]);
        assert!(place_among(1, &placement, &[0, 1]).notes.is_empty());
        assert_eq!(place_among(2, &placement, &[0, 1]).notes, ["shard 2 is beyond 2 cores: the core is shared"]);
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
        assert!(place_among(0, &placement, &[0, 3]).notes[0].contains("excluded_cores"));
        let unpinned = PlacementConfig { pinned: false, ..placement };
        let place = place_among(0, &unpinned, &[0, 1, 2, 3]);
        assert_eq!((place.core, place.among), (None, vec![1, 2]));
    }

    #[test]
    fn shard_that_is_not_pinned_may_run_wherever_the_process_may() {
        let all = allowed_cores();
        let seen = std::thread::spawn(|| {
            pin(&mut Place { core: allowed_cores().first().copied(), ..Place::default() });
            let unpinned = PlacementConfig { pinned: false, ..PlacementConfig::default() };
            pin(&mut place(0, &unpinned));
            core_affinity::get_core_ids().map(|cores| cores.len())
        });
        assert_eq!(seen.join().expect("no panic"), Some(all.len()));
    }

    #[test]
    fn a_core_that_is_not_there_is_reported_and_left() {
        for core in [libc::CPU_SETSIZE as usize - 1, libc::CPU_SETSIZE as usize, usize::MAX] {
            let mut place = Place { core: Some(core), ..Place::default() };
            pin(&mut place);
            assert_eq!(place.core, None);
            assert!(place.notes[0].contains("cannot be had"), "{:?}", place.notes);
        }
    }

    #[test]
    fn a_pinned_caller_leaves_the_other_cores_to_the_shards() {
        let all = allowed_cores();
        let pinned = std::thread::spawn(move || {
            pin(&mut Place { core: all.first().copied(), ..Place::default() });
            (all, allowed_cores())
        });
        let (all, seen) = pinned.join().expect("no panic");
        assert_eq!(seen, all);
    }

    #[test]
    fn without_any_core_shards_run_unpinned() {
        assert_eq!(place_among(0, &PlacementConfig::default(), &[]), Place::default());
    }
}
