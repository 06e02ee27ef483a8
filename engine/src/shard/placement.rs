//! On which core a shard runs.
//!
//! Core ids come from core_affinity and the process's own mask, which know its cpuset; glommio's placement does not.

use core_affinity::CoreId;

/// Where shards are to run, and what stands against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) core: Option<usize>,
    pub(crate) notes: Vec<String>,
}

/// A place for each of `shards` shards: the `wanted` cores in order, else those of the process from the last, since
/// the first ones serve interrupts.
pub(crate) fn place(shards: u16, wanted: Option<&[usize]>) -> Vec<Place> {
    place_on(shards, wanted, &allowed_cores())
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

/// A place for the shard of this number, beside those of lower numbers.
pub(crate) fn place_one(shard: u16, placement: &crate::config::PlacementConfig) -> Place {
    place(shard + 1, placement.cores.as_deref()).pop().unwrap_or(Place { core: None, notes: Vec::new() })
}

fn place_on(shards: u16, wanted: Option<&[usize]>, allowed: &[usize]) -> Vec<Place> {
    let cores: Vec<usize> = match wanted {
        Some(wanted) => wanted.to_vec(),
        None => allowed.iter().rev().copied().collect(),
    };
    let one = |shard: u16| {
        let mut notes = Vec::new();
        let core = (!cores.is_empty()).then(|| cores[usize::from(shard) % cores.len()]);
        if usize::from(shard) >= cores.len() && !cores.is_empty() {
            notes.push(format!("{shards} shards on {} cores: the core is shared", cores.len()));
        }
        Place { core, notes }
    };
    (0..shards).map(one).collect()
}

/// Pins the calling thread. Notes where that fails: the kernel refuses cores outside of the cpuset.
pub(super) fn pin(place: &mut Place) {
    if let Some(core) = place.core
        // Beyond the set, core_affinity panics.
        && (core >= libc::CPU_SETSIZE as usize || !core_affinity::set_for_current(CoreId { id: core }))
    {
        place.notes.push(format!("core {core} cannot be had, the process may use {:?}: not pinned", allowed_cores()));
        place.core = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_come_from_the_cpuset_and_are_shared_in_turn() {
        let places = place_on(3, None, &[0, 1]);
        assert_eq!(places.iter().map(|place| place.core).collect::<Vec<_>>(), [Some(1), Some(0), Some(1)]);
        assert!(places[0].notes.is_empty());
        assert_eq!(places[2].notes, ["3 shards on 2 cores: the core is shared"]);
    }

    #[test]
    fn wanted_cores_are_taken_in_order() {
        let places = place_on(2, Some(&[5, 1]), &[0, 1]);
        assert_eq!(places.iter().map(|place| place.core).collect::<Vec<_>>(), [Some(5), Some(1)]);
    }

    #[test]
    fn a_core_that_is_not_there_is_reported_and_left() {
        for core in [libc::CPU_SETSIZE as usize - 1, libc::CPU_SETSIZE as usize, usize::MAX] {
            let mut place = Place { core: Some(core), notes: Vec::new() };
            pin(&mut place);
            assert_eq!(place.core, None);
            assert!(place.notes[0].contains("cannot be had"), "{:?}", place.notes);
        }
    }

    #[test]
    fn a_pinned_caller_leaves_the_other_cores_to_the_shards() {
        let all = allowed_cores();
        let pinned = std::thread::spawn(move || {
            pin(&mut Place { core: all.first().copied(), notes: Vec::new() });
            (all, allowed_cores())
        });
        let (all, seen) = pinned.join().expect("no panic");
        assert_eq!(seen, all);
    }

    #[test]
    fn without_any_core_shards_run_unpinned() {
        assert_eq!(place_on(1, None, &[]), [Place { core: None, notes: Vec::new() }]);
    }
}
