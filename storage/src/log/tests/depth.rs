//! Devices that take few or many writes at a time.

use super::harness::{Machine, check_all, open, whole_disk};
use crate::device::sim::Faults;

#[test]
fn a_log_keeps_to_the_depth_of_its_device_whether_it_rolls_or_not() {
    for depth in [1, 2, 3, 64] {
        let disk = whole_disk(depth as u64);
        let mut machine = Machine::with_depth(&disk, 7, depth).expect("opens");
        machine.write(0..400, 2000);
        assert!(machine.view().segments().len() > 3, "it rolled");
        assert_eq!(machine.view().durable().get(), 400);
        machine.close();
        let disk = disk.reboot(Faults::default());
        assert_eq!(check_all(open(&disk, 8).expect("opens").view(), 2000), 400, "depth {depth}");
    }
}
