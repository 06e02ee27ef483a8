//! Errors that pass: the log waits, says so, and goes on.

use tapeline_testing::seeds;

use super::super::harness::*;
use crate::device::sim::{Failure, Faults};
use crate::log::Urgency;

/// The next blocking call fails.
fn fail_next_call(machine: &Machine, errno: i32) {
    let failing_call = Some(Failure { nth: machine.disk.calls() + 1, errno });
    machine.disk.set_faults(Faults { failing_call, ..Faults::default() });
}

#[test]
fn chores_wait_for_descriptors_and_memory_and_say_so() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN, libc::EINTR] {
        let disk = whole_disk(3);
        let mut machine = Machine::start(&disk, 3).expect("opens");
        let (mut next, mut idle) = (0, 0);
        // Until the log takes nothing more, because it has no segment to go on in.
        while idle < 500 {
            let taken = machine.append(next..next + 4, 3000);
            next += taken;
            fail_next_call(&machine, errno);
            machine.turn_awaited();
            idle = if taken == 0 { idle + 1 } else { 0 };
        }
        assert!(machine.log.poison().is_none(), "{errno}");
        assert!(!machine.view().is_full(), "{errno} is no full disk");
        let [trouble] = &machine.view().troubles()[..] else { panic!("{errno}: {:?}", machine.view().troubles()) };
        assert!(trouble.is_retried && trouble.times > 3, "{trouble}");
        assert_eq!(trouble.operation, "prepare segment");
        assert!(trouble.place.ends_with("spare.seg"), "{trouble}");
        assert_eq!(trouble.message, std::io::Error::from_raw_os_error(errno).to_string());
        assert_eq!(trouble.errno, Some(errno));
        assert_eq!(machine.view().shortage().as_ref(), Some(trouble), "it keeps the log from writing");
        disk.set_faults(Faults::default());
        machine.write(next..next + 50, 3000);
        assert_eq!(machine.view().troubles(), [], "{errno}");
        assert_eq!(machine.view().shortage(), None, "{errno}");
        assert_eq!(check_all(machine.view(), 3000), next + 50);
        machine.close();
        assert_eq!(check_all(open(&disk, 9).expect("opens").view(), 3000), next + 50);
    }
}

#[test]
fn write_waits_for_memory_and_says_so() {
    for errno in [libc::ENOMEM, libc::EAGAIN, libc::EINTR, libc::ENOSPC] {
        let disk = whole_disk(4);
        let mut machine = Machine::start(&disk, 4).expect("opens");
        machine.write(0..3, 500);
        let failing_write = Some(Failure { nth: disk.writes() + 1, errno });
        disk.set_faults(Faults { failing_write, ..Faults::default() });
        machine.append(3..6, 500);
        for _ in 0..20 {
            machine.turn_awaited();
        }
        assert_eq!((machine.view().durable().get(), machine.view().is_full()), (3, errno == libc::ENOSPC), "{errno}");
        let [trouble] = &machine.view().troubles()[..] else { panic!("{errno}: {:?}", machine.view().troubles()) };
        assert_eq!((trouble.operation, trouble.is_retried), ("write", true));
        assert!(trouble.place.ends_with("offset 8192"), "{trouble}");
        machine.turn_until_durable();
        assert_eq!(machine.view().durable().get(), 6);
        assert_eq!((machine.view().troubles(), machine.view().is_full()), (Vec::new(), false));
        machine.close();
        assert_eq!(check_all(open(&disk, 9).expect("opens").view(), 500), 6);
    }
}

#[test]
fn closing_ends_where_nothing_passes() {
    let disk = whole_disk(5);
    let mut machine = Machine::start(&disk, 5).expect("opens");
    let (mut next, mut idle) = (0, 0);
    while idle < 300 {
        let taken = machine.append(next..next + 4, 3000);
        next += taken;
        fail_next_call(&machine, libc::EMFILE);
        machine.turn_awaited();
        idle = if taken == 0 { idle + 1 } else { 0 };
    }
    let (durable, calls) = (machine.view().durable(), disk.clone());
    let mut clock = ticking(machine.now);
    let mut failing = || {
        let failing_call = Some(Failure { nth: calls.calls() + 1, errno: libc::EMFILE });
        calls.set_faults(Faults { failing_call, ..Faults::default() });
        clock()
    };
    let error = machine.log.close(&machine.doorbell, &mut failing).expect_err("what is left has no segment");
    assert_eq!((error.operation, error.durable), ("close", durable));
    assert!(error.message.contains("prepare segment failed at"), "{error}");
    let disk = disk.reboot(Faults::default());
    assert_eq!(check_all(open(&disk, 9).expect("opens").view(), 3000), durable.get());
}

#[test]
fn spare_that_a_failed_attempt_left_is_made_anew() {
    let disk = whole_disk(6);
    let mut machine = Machine::start(&disk, 6).expect("opens");
    machine.write(0..3, 2000);
    disk.copy_file(DIRECTORY, "00000000000000000000.seg", crate::log::SPARE_NAME);
    machine.write(3..100, 2000);
    assert!(machine.view().segments().len() > 2, "it rolled");
    machine.close();
    assert_eq!(check_all(open(&disk, 9).expect("opens").view(), 2000), 100);
}

#[test]
fn index_that_cannot_be_written_is_reported_and_the_log_goes_on() {
    let disk = whole_disk(7);
    let mut machine = Machine::without_repacking(&disk, options(7));
    let mut next = 0;
    // Until a segment is sealed and its index is due.
    let tidying = loop {
        next += machine.append(next..next + 4, 3000);
        machine.now += 200_000_000;
        machine.turn_untidied(Urgency::Awaited);
        if let Some(chore) = machine.log.next_tidying(machine.now) {
            break chore;
        }
    };
    disk.set_faults(Faults { call_error: 10_000, ..Faults::default() });
    let done = tidying.run();
    disk.set_faults(Faults::default());
    machine.log.chore_done(done, machine.now);
    assert!(machine.log.poison().is_none());
    machine.write(next..next + 50, 3000);
    machine.close();
    assert_eq!(check_all(open(&disk, 9).expect("opens").view(), 3000), next + 50);
}

#[test]
fn trim_that_fails_for_good_is_reported_and_the_log_goes_on() {
    for seed in seeds(20) {
        let disk = whole_disk(seed);
        let mut machine = Machine::start(&disk, seed).expect("opens");
        machine.write(0..100, 2000);
        (0..200).for_each(|_| machine.turn());
        let to = machine.view().segments()[2].base();
        machine.log.trim(to);
        fail_next_call(&machine, libc::EIO);
        (0..200).for_each(|_| machine.turn());
        let troubles = machine.view().troubles();
        let trim = troubles.iter().find(|trouble| trouble.operation == "trim").expect("is told");
        assert!(!trim.is_retried && machine.log.poison().is_none(), "seed {seed}: {troubles:?}");
        machine.write(100..150, 2000);
        machine.close();
        assert!(open(&disk, 9).expect("opens").view().trimmed() <= to);
    }
}

#[test]
fn closing_waits_for_space_that_comes_back() {
    let disk = whole_disk(8);
    disk.set_capacity(3 * 16 * 4096);
    let mut machine = Machine::start(&disk, 8).expect("opens");
    let (mut next, mut idle) = (0, 0);
    while idle < 50 {
        let taken = machine.append(next..next + 4, 3000);
        next += taken;
        machine.turn_awaited();
        idle = if taken == 0 { idle + 1 } else { 0 };
    }
    assert!(machine.view().is_full() && machine.view().durable().get() < next);
    let (mut clock, mut looks) = (ticking(machine.now), 0);
    let waiting = || {
        looks += 1;
        if looks == 50 {
            disk.set_capacity(u64::MAX);
        }
        clock()
    };
    machine.log.close(&machine.doorbell, waiting).expect("there is space again");
    assert_eq!(check_all(open(&disk, 9).expect("opens").view(), 3000), next);
}
