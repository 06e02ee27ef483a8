//! A shard that has nothing to do costs little, and is quick to notice that it has.

use super::*;

const NOTHING: Turn = Turn { drained: 0, moved: false };
const NO_NEEDS: Needs = Needs { chore: false, followed: false, retired: false, writes: false };
const CHORE: Needs = Needs { chore: true, ..NO_NEEDS };

/// Steps an idle shard from `now` until it has been idle for `idle_ns`. Returns its naps.
fn naps(pacer: &mut Pacer, now: &mut u64, idle_ns: u64, needs: Needs) -> Vec<Duration> {
    let (start, mut naps) = (*now, Vec::new());
    while *now - start < idle_ns {
        match pacer.after(NOTHING, *now, needs) {
            Pace::Nap(nap) => {
                *now += nap.as_nanos() as u64;
                naps.push(nap);
            }
            Pace::Spin | Pace::Poll => *now += 100,
            Pace::Gather(_) => panic!("gathers where nothing comes"),
        }
    }
    naps
}

#[test]
fn an_idle_shard_spins_then_naps_longer_and_longer() {
    let (mut pacer, mut now) = (Pacer::default(), 5);
    assert!(naps(&mut pacer, &mut now, SPIN_NS - 100, NO_NEEDS).is_empty(), "it spins first");
    let between_bursts = naps(&mut pacer, &mut now, DOZE_AFTER_NS / 2, NO_NEEDS);
    assert_eq!(between_bursts[0], NAP_MIN);
    assert!(between_bursts.is_sorted() && between_bursts.last() == Some(&NAP_MAX));
    let unused = naps(&mut pacer, &mut now, 2 * DOZE_AFTER_NS, NO_NEEDS);
    assert!(unused.is_sorted() && unused.last() == Some(&DOZE_MAX));
}

#[test]
fn whatever_moves_wakes_a_shard_all_the_way() {
    let (mut pacer, mut now) = (Pacer::default(), 5);
    naps(&mut pacer, &mut now, 3 * DOZE_AFTER_NS, NO_NEEDS);
    assert_eq!(pacer.after(Turn { drained: 0, moved: true }, now, NO_NEEDS), Pace::Spin);
    assert!(naps(&mut pacer, &mut now, SPIN_NS, NO_NEEDS).is_empty(), "it spins first");
    assert_eq!(naps(&mut pacer, &mut now, DOZE_AFTER_NS / 2, NO_NEEDS).last(), Some(&NAP_MAX));
}

#[test]
fn a_chore_that_runs_is_not_slept_through() {
    let (mut pacer, mut now) = (Pacer::default(), 5);
    assert_eq!(naps(&mut pacer, &mut now, 3 * DOZE_AFTER_NS, CHORE).last(), Some(&NAP_CHORE));
}

#[test]
fn a_shard_that_is_followed_naps_briefly_in_use_and_does_not_doze() {
    let (mut pacer, mut now) = (Pacer::default(), 5);
    let followed = Needs { followed: true, ..NO_NEEDS };
    assert_eq!(naps(&mut pacer, &mut now, IN_USE_NS / 2, followed).last(), Some(&NAP_FOLLOWED));
    assert_eq!(naps(&mut pacer, &mut now, 3 * DOZE_AFTER_NS, followed).last(), Some(&NAP_MAX));
}

#[test]
fn retired_shard_sleeps_unless_a_reader_follows_it() {
    let (mut pacer, mut now) = (Pacer::default(), 5);
    let retired = Needs { retired: true, ..NO_NEEDS };
    assert_eq!(naps(&mut pacer, &mut now, 5 * DOZE_AFTER_NS, retired).last(), Some(&SLEEP_MAX));
    let followed = Needs { followed: true, ..retired };
    assert_eq!(naps(&mut pacer, &mut now, DOZE_AFTER_NS, followed).last(), Some(&DOZE_MAX));
}

#[test]
fn a_busy_polling_shard_never_naps_until_it_is_retired() {
    let (mut pacer, mut now) = (Pacer::new(IdleMode::BusyPoll), 5);
    assert!(naps(&mut pacer, &mut now, 1_000_000, NO_NEEDS).is_empty());
    assert!(!naps(&mut pacer, &mut now, DOZE_AFTER_NS, Needs { retired: true, ..NO_NEEDS }).is_empty());
}

#[test]
fn a_stream_is_gathered_a_flood_for_longer_and_a_backlog_not_at_all() {
    let mut pacer = Pacer::default();
    let mut now = 0;
    let mut pace = |drained: usize, after_ns| {
        now += after_ns;
        pacer.after(Turn { drained, moved: true }, now, NO_NEEDS)
    };
    assert_eq!(pace(1, 1_000), Pace::Spin, "one event");
    assert_eq!(pace(10, 5_000), Pace::Gather(GATHER_NS), "2 M/s");
    assert_eq!(pace(0, 100), Pace::Spin, "the disk moved");
    assert_eq!(pace(300, 3_000), Pace::Gather(GATHER_FLOOD_NS), "100 M/s");
    assert_eq!(pace(BACKLOG_EVENTS, 100_000), Pace::Spin, "behind");
}

#[test]
fn a_shard_that_polls_leaves_its_core_to_the_writes_that_are_under_way() {
    let mut pacer = Pacer::new(IdleMode::BusyPoll);
    let writes = Needs { writes: true, ..NO_NEEDS };
    let mut now = 5;
    pacer.after(NOTHING, now, writes);
    now += SPIN_NS;
    assert_eq!(pacer.after(NOTHING, now, writes), Pace::Nap(NAP_WRITES));
    assert_eq!(pacer.after(NOTHING, now, NO_NEEDS), Pace::Poll);
}
