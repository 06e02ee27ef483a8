//! Windows: the active segment's file is read in large steps, once for all readers, and elsewhere if they ask for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use tapeline_testing::seeds;

use super::harness::with_memory;
use super::harness::*;
use crate::device::sim::{Faults, Random};
use crate::format::Sequence;
use crate::log::{LoadJob, Loader, LogOptions};
use crate::read::{Loading, LogReader, ReadError, Step};

/// Longest filling of a payload.
const LONGEST: u64 = 3000;

/// Keeps jobs until a test runs them.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<LoadJob>>);

impl Loader for Kept {
    fn load(&self, job: LoadJob) -> Result<(), LoadJob> {
        self.0.lock().expect("whole").push(job);
        Ok(())
    }
}

impl Kept {
    fn take(&self) -> Vec<LoadJob> {
        std::mem::take(&mut *self.0.lock().expect("whole"))
    }
}

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn loading() -> (Arc<Kept>, Arc<Woken>, Loading) {
    let (kept, woken) = (Arc::new(Kept::default()), Arc::new(Woken::default()));
    let loading = Loading { loader: Arc::clone(&kept) as Arc<dyn Loader>, waker: Waker::from(Arc::clone(&woken)) };
    (kept, woken, loading)
}

/// A log in one segment, of whose events only the last are in memory.
fn long(seed: u64, window_bytes: usize) -> Machine {
    let options = LogOptions { segment_bytes: 64 << 20, ..options(seed) };
    let options = with_memory(options, |memory| (memory.index_bytes, memory.window_bytes) = (0, window_bytes));
    let mut machine = Machine::without_repacking(&whole_disk(seed), options);
    // No time passes for the copying of small blocks.
    let mut next = 0;
    while next < 300 {
        next += machine.append(next..300, LONGEST);
        machine.turn_awaited();
        machine.now -= 1_000_000;
        machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
    }
    machine.turn_until_durable();
    machine
}

fn reader(machine: &Machine, from: u64) -> LogReader {
    LogReader::new(Arc::clone(machine.view()), Sequence::new(from))
}

#[test]
fn readers_that_do_not_wait_get_what_a_scan_gets() {
    for seed in seeds(20) {
        let mut random = Random::new(seed);
        let machine = long(seed, [0, 300 << 10, 8 << 20][random.below(3) as usize]);
        let (kept, _, loading) = loading();
        let mut readers: Vec<_> = (0..5).map(|_| reader(&machine, random.below(300))).collect();
        let mut pending = 0;
        while readers.iter().any(|reader| reader.next_sequence() < reader.end()) {
            let at = random.below(5) as usize;
            let next = readers[at].next_sequence().get();
            match readers[at].poll_step(&loading).expect("reads") {
                Poll::Pending => pending += 1,
                Poll::Ready(Step::Block(block)) => {
                    assert_eq!(block.first_sequence().get(), next, "seed {seed}");
                    let block = if random.chance(5000) { block.detached() } else { block };
                    for (number, record) in (next..).zip(block.records()) {
                        assert_eq!(record.expect("a record").payload(), payload(number, LONGEST), "seed {seed}");
                    }
                }
                Poll::Ready(Step::End) => {}
                Poll::Ready(Step::Gap(gap)) => panic!("seed {seed}: {gap:?}"),
            }
            if random.chance(3000) {
                kept.take().into_iter().for_each(LoadJob::run);
            }
        }
        assert!(pending > 0, "seed {seed}: nothing was read elsewhere");
        drop(readers);
        assert!(machine.view().window_bytes() <= 8 << 20);
    }
}

#[test]
fn window_is_read_once_for_all_that_wait_for_it() {
    let machine = long(1, 8 << 20);
    let (kept, woken, loading) = loading();
    let mut readers: Vec<_> = (0..100).map(|_| reader(&machine, 0)).collect();
    assert!(readers.iter_mut().all(|reader| reader.poll_step(&loading).is_ok_and(|step| step.is_pending())));
    let jobs = kept.take();
    assert_eq!(jobs.len(), 1);
    jobs.into_iter().for_each(LoadJob::run);
    assert_eq!(woken.0.load(Ordering::Relaxed), 100);
    let is_block = |step: Poll<Step>| matches!(step, Poll::Ready(Step::Block(_)));
    assert!(readers.iter_mut().all(|reader| reader.poll_step(&loading).is_ok_and(is_block)));
    // And the blocks after it are there.
    assert!(readers.iter_mut().all(|reader| reader.poll_step(&loading).is_ok_and(is_block)));
    assert!(kept.take().is_empty());
}

#[test]
fn error_of_a_read_reaches_its_readers_and_the_next_try_is_a_new_one() {
    let machine = long(2, 8 << 20);
    let (kept, woken, loading) = loading();
    let (mut first, mut second) = (reader(&machine, 0), reader(&machine, 0));
    assert!(first.poll_step(&loading).is_ok_and(|step| step.is_pending()));
    assert!(second.poll_step(&loading).is_ok_and(|step| step.is_pending()));
    machine.disk.set_faults(Faults { call_error: 10_000, ..Faults::default() });
    kept.take().into_iter().for_each(LoadJob::run);
    machine.disk.set_faults(Faults::default());
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    for reader in [&mut first, &mut second] {
        assert!(matches!(reader.poll_step(&loading), Err(ReadError::Io { .. })));
        assert!(reader.poll_step(&loading).is_ok_and(|step| step.is_pending()));
    }
    kept.take().into_iter().for_each(LoadJob::run);
    assert!(matches!(first.poll_step(&loading), Ok(Poll::Ready(Step::Block(_)))));
    assert!(matches!(second.step(), Ok(Step::Block(_))));
}

#[test]
fn job_that_no_thread_runs_is_an_error_and_no_wait_without_end() {
    let machine = long(3, 8 << 20);
    let (kept, woken, loading) = loading();
    let mut waits = reader(&machine, 0);
    assert!(waits.poll_step(&loading).is_ok_and(|step| step.is_pending()));
    drop(kept.take());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(matches!(waits.poll_step(&loading), Err(ReadError::Io { .. })));
}

/// Reads on threads, as the bus does.
#[derive(Debug, Default)]
struct Threads(Mutex<Vec<std::thread::JoinHandle<()>>>);

impl Loader for Threads {
    fn load(&self, job: LoadJob) -> Result<(), LoadJob> {
        let mut threads = self.0.lock().expect("whole");
        threads.push(std::thread::spawn(|| job.run()));
        Ok(())
    }
}

#[test]
fn readers_on_many_threads_get_what_a_scan_gets_in_little_memory() {
    for (seed, window_bytes) in [(4, 0), (5, 300 << 10), (6, 1 << 20)] {
        let machine = long(seed, window_bytes);
        let threads = Arc::new(Threads::default());
        std::thread::scope(|scope| {
            for from in 0..8 {
                let (threads, mut reader) = (Arc::clone(&threads), reader(&machine, from));
                scope.spawn(move || {
                    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                    let loading = Loading { loader: threads, waker };
                    while reader.next_sequence() < reader.end() {
                        let next = reader.next_sequence().get();
                        match reader.poll_step(&loading).expect("reads") {
                            Poll::Pending => std::thread::park(),
                            Poll::Ready(Step::Block(block)) => {
                                for (number, record) in (next..).zip(block.records()) {
                                    let record = record.expect("a record");
                                    assert_eq!(record.payload(), payload(number, LONGEST), "seed {seed}");
                                }
                            }
                            Poll::Ready(other) => panic!("seed {seed}: {other:?}"),
                        }
                    }
                });
            }
        });
        for thread in std::mem::take(&mut *threads.0.lock().expect("whole")) {
            thread.join().expect("reads");
        }
    }
}

/// Has a thread that waits look again.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
