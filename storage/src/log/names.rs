//! Names of the files in a shard's directory.

use crate::format::Sequence;

/// Name of the segment that starts at `base`.
pub(super) fn segment_name(base: Sequence) -> String {
    format!("{:020}.seg", base.get())
}

/// The base sequence in a file name, if it is one of a segment.
pub(super) fn base_of(name: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(".seg")?;
    let canonical = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    canonical.then(|| digits.parse().ok().map(Sequence::new)).flatten()
}

/// The segment that is prepared and not yet in use.
pub(crate) const SPARE_NAME: &str = "spare.seg";

/// A dense copy, or a merged segment, until it is complete.
pub(super) const REPACK_NAME: &str = "repack.tmp";

/// A segment that a repair writes, until it is complete.
pub(super) const REPAIR_NAME: &str = "repair.tmp";

/// A segment that is restored, until it is complete.
pub(super) const RESTORE_NAME: &str = "restore.tmp";

/// The shard's gaps.
pub(super) const GAPS_NAME: &str = "gaps";

/// Names that files have until they are segments.
pub(super) const UNFINISHED: [&str; 4] = [SPARE_NAME, REPACK_NAME, REPAIR_NAME, RESTORE_NAME];
