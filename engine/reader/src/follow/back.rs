//! The last events of a log: found from the end, block by block.

use std::sync::Arc;

use tapeline_storage::format::{Eras, Sequence};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{LogReader, Step};

use crate::event::EventView;
use crate::filter::Selection;
use crate::gap::note;
use crate::kinds;

/// The sequence in each shard at which reading starts for the last `count` selected events of all of them, in order of
/// era and time. Events that open sessions are not counted. Costs the reading of the blocks after these positions.
pub(super) fn last(views: &[Arc<LogView>], selection: &Selection, eras: &Eras, count: usize) -> Vec<Sequence> {
    let mut shards: Vec<_> = views.iter().map(Backwards::new).collect();
    for _ in 0..count {
        shards.iter_mut().for_each(|shard| shard.fill(selection, eras));
        let latest = shards.iter_mut().filter(|shard| !shard.found.is_empty()).max_by_key(|shard| shard.latest());
        let Some(latest) = latest else { break };
        latest.take();
    }
    shards.into_iter().map(|shard| shard.start).collect()
}

/// One shard, read from its end.
struct Backwards<'a> {
    view: &'a Arc<LogView>,
    /// Everything from here on was looked at.
    looked_to: Sequence,
    /// Era, time and sequence of the selected events of a block that were not taken, in its order.
    found: Vec<(usize, u64, Sequence)>,
    /// The earliest that was taken, or the end.
    start: Sequence,
}

impl<'a> Backwards<'a> {
    fn new(view: &'a Arc<LogView>) -> Self {
        let end = view.appended();
        Self { view, looked_to: end, found: Vec::new(), start: end }
    }

    /// Era, time and shard of the last event that was not taken.
    fn latest(&self) -> Option<(usize, u64, u16)> {
        self.found.last().map(|(era, time, _)| (*era, *time, self.view.shard()))
    }

    fn take(&mut self) {
        if let Some((_, _, sequence)) = self.found.pop() {
            self.start = sequence;
        }
    }

    /// Goes back until there is an event, or to the beginning. What cannot be read holds none.
    fn fill(&mut self, selection: &Selection, eras: &Eras) {
        while self.found.is_empty()
            && let Ok(Some(first)) = self.view.block_before(self.looked_to)
        {
            let mut reader = LogReader::new(Arc::clone(self.view), first);
            while reader.next_sequence() < self.looked_to
                && let Ok(Step::Block(mut block)) = reader.step()
            {
                block.end_at(self.looked_to);
                let shard = self.view.shard();
                let sequences = (block.first_sequence().get()..).map(Sequence::new);
                self.found.extend(sequences.zip(block.records()).filter_map(|(sequence, record)| {
                    let event = EventView::new(shard, sequence, record.ok()?);
                    let counts = event.kind() != kinds::SESSION && !note::is_reserved(event.kind());
                    (counts && selection.matches(&event))
                        .then(|| (eras.of(shard, sequence), event.insertion_ts(), sequence))
                }));
            }
            self.looked_to = first;
        }
    }
}
