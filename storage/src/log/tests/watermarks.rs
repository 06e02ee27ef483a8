//! Trimmed <= durable <= appended, whatever readers do; what is durable is readable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use tapeline_testing::seeds;

use super::harness::*;
use crate::device::sim::{Faults, SimDevice};
use crate::device::{Completion, Device, Doorbell, Write};
use crate::log::{Log, Urgency, Watermarks, recover};

/// A device that reports its waits and counts the completions that it still has to hand out.
#[derive(Debug)]
struct Watched {
    device: SimDevice,
    held: Arc<AtomicUsize>,
    /// Each wait is over when its waiter has heard of it, or is not there any more.
    waits: SyncSender<()>,
}

impl Device for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn depth(&self) -> usize {
        self.device.depth()
    }

    fn submit(&mut self, write: Write) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.device.submit(write);
    }

    fn complete(&mut self, done: &mut Vec<Completion>) {
        let before = done.len();
        self.device.complete(done);
        self.held.fetch_sub(done.len() - before, Ordering::Relaxed);
    }

    fn wait(&mut self, doorbell: &Doorbell, timeout: Duration) {
        let _ = self.waits.send(());
        self.device.wait(doorbell, timeout);
    }
}

/// A machine over a [`Watched`] device; its waits, and how many writes the device holds.
fn watched(seed: u64) -> (Machine, Receiver<()>, Arc<AtomicUsize>) {
    let disk = whole_disk(seed);
    let (waits, waited) = mpsc::sync_channel(0);
    let held = Arc::new(AtomicUsize::new(0));
    let device = Watched { device: disk.device(4), held: Arc::clone(&held), waits };
    let log = recover(directory(&disk), options(seed)).expect("opens").start(Box::new(device));
    let doorbell = Doorbell::new().expect("doorbell");
    (Machine { disk, log, now: 1, doorbell }, waited, held)
}

#[test]
fn durable_never_passes_appended_while_a_reader_has_the_tail() {
    for seed in 0..10 {
        let disk = whole_disk(seed);
        let mut machine = Machine::start(&disk, seed).expect("opens");
        machine.write(0..seed, 500);
        let view = Arc::clone(machine.view());
        let guard = view.tail().try_lock().expect("free");
        let mut next = seed;
        for _ in 0..50 {
            next += machine.append(next..next + 7, 500);
            machine.turn_awaited();
            let Watermarks { trimmed, durable, appended } = view.watermarks();
            assert!(trimmed <= durable && durable <= appended, "{durable:?} {appended:?}");
            assert!(!machine.log.is_idle(), "something is not readable yet");
        }
        drop(guard);
        machine.turn_until_durable();
        assert_eq!(check_all(&view, 500), next);
        assert_eq!(view.durable().get(), next);
    }
}

#[test]
fn blocks_that_are_listed_are_committed_while_a_reader_has_the_tail() {
    let disk = whole_disk(1);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    let taken = machine.append(0..5, 500);
    machine.log.publish(|_| {});
    let view = Arc::clone(machine.view());
    let _guard = view.tail().try_lock().expect("free");
    // More than fits the open block, which is listed.
    machine.append(taken..100, 2000);
    for _ in 0..50 {
        machine.turn_awaited();
    }
    assert!(view.durable().get() >= taken && view.durable() == view.appended());
}

#[test]
fn closing_waits_for_a_reader_that_has_the_tail() {
    let (mut machine, waited, _) = watched(1);
    assert_eq!(machine.append(0..20, 500), 20);
    let view = Arc::clone(machine.view());
    let (reader, locked) = (Arc::clone(&view), Arc::new(Barrier::new(2)));
    let holding = Arc::clone(&locked);
    let reader = std::thread::spawn(move || {
        let guard = reader.tail().try_lock().expect("free");
        holding.wait();
        // The log naps: it has found nothing more to do.
        (0..3).for_each(|_| waited.recv().expect("the log waits"));
        drop(guard);
        drop(waited);
    });
    locked.wait();
    let now = machine.now;
    machine.log.close(&machine.doorbell, || now).expect("closes");
    reader.join().expect("reader");
    assert_eq!((view.appended().get(), view.durable().get()), (20, 20));
    assert_eq!(check_all(&view, 500), 20, "a reader of this process sees what is durable");
}

#[test]
fn closing_ends_beside_a_reader_that_never_drops_the_tail() {
    let disk = whole_disk(2);
    let mut machine = Machine::start(&disk, 2).expect("opens");
    assert_eq!(machine.append(0..20, 500), 20);
    let view = Arc::clone(machine.view());
    let _guard = view.tail().try_lock().expect("free");
    let now = machine.now;
    let error = machine.log.close(&machine.doorbell, ticking(now)).expect_err("says why");
    assert_eq!((error.operation, error.durable.get()), ("close", 0));
    assert_eq!((view.appended().get(), view.durable().get()), (0, 0), "nothing is acknowledged that is not readable");
}

#[test]
fn closing_waits_by_time_for_a_reader_however_often_it_is_woken() {
    let disk = whole_disk(2);
    let mut machine = Machine::start(&disk, 2).expect("opens");
    assert_eq!(machine.append(0..20, 500), 20);
    let view = Arc::clone(machine.view());
    let mut guard = view.tail().try_lock();
    let (mut looks, now) = (0, machine.now);
    // The reader has lost its core, and other threads ring.
    machine.doorbell.ring();
    let clock = || {
        looks += 1;
        if looks == 50_000 {
            guard.take();
        }
        now + looks
    };
    machine.log.close(&machine.doorbell, clock).expect("closes");
    assert!(!machine.doorbell.is_rung(), "a bell that stays rung keeps the thread from sleeping");
    assert_eq!(check_all(&view, 500), 20);
}

#[test]
fn memory_log_lists_what_it_shows() {
    let mut log = Log::in_memory(&options(1));
    let view = Arc::clone(log.view());
    let guard = view.tail().try_lock().expect("free");
    let (records, lengths) = run_of(0..3, 500);
    assert_eq!(log.append(&records, &lengths, 1).0, 3);
    log.publish(|_| {});
    assert_eq!(view.watermarks(), Watermarks::default());
    assert!(!log.is_idle());
    drop(guard);
    log.publish(|_| {});
    assert_eq!(check_all(&view, 500), 3);
    assert!(log.is_idle());
}

#[test]
fn poisoned_log_leaves_nothing_with_its_device_and_takes_nothing_more() {
    let mut open_blocks = 0;
    for seed in seeds(10) {
        let (mut machine, _, held) = watched(seed);
        machine.disk.set_faults(Faults { write_error: 10_000, ..Faults::default() });
        let mut next = 0;
        while machine.log.poison().is_none() {
            next += machine.append(next..next + 4, 3000);
            machine.turn_awaited();
        }
        open_blocks += u64::from(machine.log.open_sequence() < machine.log.next_sequence());
        assert_eq!(machine.append(next..next + 10, 100), 0, "seed {seed}: also where a block is open");
        assert_eq!(machine.log.commit_due(), None, "seed {seed}: nothing will be committed");
        let durable = machine.view().durable();
        for _ in 0..50 {
            assert!(!machine.log.turn(machine.now, Urgency::Awaited), "nothing moves any more");
            machine.log.wait(&machine.doorbell, Duration::ZERO);
        }
        assert_eq!(held.load(Ordering::Relaxed), 0, "seed {seed}: a device that holds completions does not sleep");
        assert_eq!(machine.view().durable(), durable);
    }
    assert!(open_blocks > 0, "some logs have an open block");
}
