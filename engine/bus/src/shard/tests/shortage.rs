//! Descriptors and memory run out: callers that wait get an error that names the cause, and everything goes on later.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tapeline_reader::AdapterError;
use tapeline_storage::device::sim::Failure;

use super::*;
use crate::shard::Reach;

/// Makes turns until the future has an answer. Blocking calls of the disk fail with `errno` meanwhile, if there is one.
fn answer<T>(machine: &mut Machine, errno: Option<i32>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..200 {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
        turn(machine, errno);
    }
    panic!("no answer with {errno:?}");
}

/// A turn, 10 ms after the one before.
fn turn(machine: &mut Machine, errno: Option<i32>) {
    let failing_call = errno.map(|errno| Failure { nth: machine.disk.calls() + 1, errno });
    machine.disk.set_faults(Faults { failing_call, ..Faults::default() });
    machine.now += 10_000_000;
    machine.shards[0].turn(machine.now);
}

#[test]
fn waiters_learn_of_a_shortage_and_everything_goes_on_when_it_is_over() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN, libc::EINTR] {
        let disk = SimDisk::new(1, Faults::default());
        let mut machine = Machine::start(&disk, 1, 1).expect("starts");
        let mut random = Random::new(1);
        // Until the log has no segment to go on in.
        while machine.core.shards().all()[0].view().shortage().is_none() {
            machine.speak(&mut random);
            turn(&mut machine, Some(errno));
        }
        let (core, control) = (Arc::clone(&machine.core), Arc::clone(&machine.shards[0].control));
        let flush = || async { control.reached(&control.barrier(), Reach::Durable).await };
        for _ in 0..2 {
            let error = answer(&mut machine, Some(errno), flush()).expect_err("nothing is written");
            let AdapterError::HeldUp { shard_id: 0, trouble } = &error else { panic!("{errno}: {error}") };
            assert_eq!((trouble.operation, trouble.errno), ("prepare segment", Some(errno)));
            assert!(error.is_retryable() && !error.is_fatal(), "{error}");
            assert!(
                error.to_string().contains("spare.seg") && error.to_string().ends_with(trouble.remedy()),
                "{error}"
            );
            answer(&mut machine, Some(errno), core.wait_readable()).expect("readers read what is readable");
        }
        let producer = &machine.producers[0];
        let ticket =
            *machine.said.values().flat_map(|said| said.tickets.last()).max_by_key(|it| it.insertion_ts).expect("one");
        assert!(!producer.is_durable(ticket));
        answer(&mut machine, None, flush()).expect("a shortage that is over is not reported");
        assert!(control.can_write() && core.stats().is_balanced());
        machine.look();
        machine.said.values().for_each(|said| assert_eq!(said.acknowledged, said.tickets.len(), "{errno}"));
    }
}

#[test]
fn waiters_do_not_learn_of_a_single_failure() {
    let disk = SimDisk::new(1, Faults::default());
    let mut machine = Machine::start(&disk, 1, 1).expect("starts");
    let mut random = Random::new(1);
    let control = Arc::clone(&machine.shards[0].control);
    // Until the log has no segment to go on in.
    while control.view().troubles().is_empty() {
        machine.speak(&mut random);
        turn(&mut machine, Some(libc::EMFILE));
    }
    let flushed = answer(&mut machine, None, async { control.reached(&control.barrier(), Reach::Durable).await });
    flushed.expect("by the second attempt the shortage is over");
}
