//! Sessions that moved from shard to shard are put together by eras: a reader reads all of an era, in every shard that
//! it reads, before the next.

use tapeline_storage::format::Eras;
use tapeline_storage::read::Block;

use crate::gap::Gap;
use crate::source::Source;

/// The era of the source that is furthest behind. `None` where there is nothing to wait for.
pub fn earliest<'a>(eras: &Eras, sources: impl Iterator<Item = &'a Source>) -> Option<usize> {
    if eras.is_empty() { None } else { sources.filter(|source| !source.is_over()).map(|source| source.era(eras)).min() }
}

/// Cuts `block`, which `source` has just handed out, off where its era ends. `false`, and the source stands before the
/// block again, if the `others` have not finished the era before it.
///
/// `eras` was read after `source` found the block.
pub fn admit(eras: &Eras, others: Option<usize>, source: &mut Source, block: &mut Block) -> bool {
    let shard = source.shard_id();
    let era = eras.of(shard, block.first_sequence());
    if others.is_some_and(|others| others < era) {
        source.return_to(block.first_sequence());
        return false;
    }
    if let Some(end) = eras.end_of(era, shard)
        && end < source.next_sequence()
    {
        block.end_at(end);
        source.return_to(end);
    }
    true
}

/// The same for a gap of the log.
pub fn admit_gap(eras: &Eras, others: Option<usize>, source: &mut Source, gap: &mut Gap) -> bool {
    let era = eras.of(gap.shard_id, gap.from);
    if others.is_some_and(|others| others < era) {
        source.return_to(gap.from);
        return false;
    }
    if let Some(end) = eras.end_of(era, gap.shard_id)
        && end < gap.to
    {
        gap.to = end;
        source.return_to(end);
    }
    true
}
