//! On which core a shard runs.
//!
//! Core ids come from core_affinity, which knows the process's cpuset; glommio's own placement does not.

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
    let allowed: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    place_on(shards, wanted, &allowed)
}

fn place_on(shards: u16, wanted: Option<&[usize]>, allowed: &[usize]) -> Vec<Place> {
    let cores: Vec<usize> = match wanted {
        Some(wanted) => wanted.to_vec(),
        None => allowed.iter().rev().copied().collect(),
    };
    let one = |shard: u16| {
        let mut notes = Vec::new();
        let core = (!cores.is_empty()).then(|| cores[usize::from(shard) % cores.len()]);
        let core = core.filter(|core| {
            let usable = allowed.contains(core);
            if !usable {
                notes.push(format!("core {core} is not in the process's cpuset {allowed:?}: not pinned"));
            }
            usable
        });
        if usize::from(shard) >= cores.len() && !cores.is_empty() {
            notes.push(format!("{shards} shards on {} cores: the core is shared", cores.len()));
        }
        Place { core, notes }
    };
    (0..shards).map(one).collect()
}

/// Pins the calling thread. Notes where that fails.
pub(super) fn pin(place: &mut Place) {
    if let Some(core) = place.core
        && !core_affinity::set_for_current(CoreId { id: core })
    {
        place.notes.push(format!("core {core} refused the thread: not pinned"));
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
    fn wanted_core_outside_of_the_cpuset_is_reported_and_left() {
        let places = place_on(2, Some(&[5, 1]), &[0, 1]);
        assert_eq!(places[0].core, None);
        assert!(places[0].notes[0].contains("core 5 is not in the process's cpuset"));
        assert_eq!(places[1].core, Some(1));
    }

    #[test]
    fn without_any_core_shards_run_unpinned() {
        assert_eq!(place_on(1, None, &[]), [Place { core: None, notes: Vec::new() }]);
    }
}
