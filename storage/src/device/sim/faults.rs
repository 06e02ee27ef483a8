//! Faults of a simulated machine.

use super::Random;

/// One write or call that fails, chosen by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The number of the write or call, counted from 1 over all boots; see [`super::SimDisk::writes`] and
    /// [`super::SimDisk::calls`].
    pub nth: u64,
    /// The error it gets. With `ENOSPC` it leaves nothing behind.
    pub errno: i32,
}

/// The faults to inject: by chance, in parts of 10,000, or at a chosen moment. By default there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The step at which the power goes, counted from 1 over all boots; see [`super::SimDisk::steps`].
    pub crash_at: Option<u64>,
    /// A write of the device fails with `EIO`, with any of its sectors written.
    pub write_error: u32,
    /// A write of the device is confirmed and never reaches the disk.
    pub lost_write: u32,
    /// A blocking call fails with `EIO`. One that changes the disk may have done so, wholly or in part; a failed
    /// creation leaves no file.
    pub call_error: u32,
    /// This write of the device fails.
    pub failing_write: Option<Failure>,
    /// This blocking call fails.
    pub failing_call: Option<Failure>,
    /// This write of the device, counted as in [`Failure::nth`], is lost.
    pub lost_write_nth: Option<u64>,
}

impl Faults {
    pub(super) fn of_write(&self, nth: u64, random: &mut Random) -> Option<i32> {
        draw(self.failing_write, self.write_error, nth, random)
    }

    pub(super) fn of_call(&self, nth: u64, random: &mut Random) -> Option<i32> {
        draw(self.failing_call, self.call_error, nth, random)
    }

    pub(super) fn lose_write(&self, nth: u64, random: &mut Random) -> bool {
        self.lost_write_nth == Some(nth) || random.chance(self.lost_write)
    }
}

fn draw(chosen: Option<Failure>, parts: u32, nth: u64, random: &mut Random) -> Option<i32> {
    match chosen {
        Some(failure) if failure.nth == nth => Some(failure.errno),
        _ => random.chance(parts).then_some(libc::EIO),
    }
}
