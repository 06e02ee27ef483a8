//! Segments that are written no more, until they have their last form: a footer, then an index, or a dense copy in
//! place of the file.

use std::sync::Arc;

use crate::format::Footer;
use crate::log::{LogView, OpenError, Segment, read_footer};

/// Segments that a follower looks at again, less and less often, until they have an index. That also closes a file that
/// a dense copy has replaced, so that its space is free.
#[derive(Debug, Default)]
pub(super) struct Unindexed(Vec<Recheck>);

#[derive(Debug)]
struct Recheck {
    segment: Arc<Segment>,
    looks: u32,
}

impl Unindexed {
    /// Returns whether the segment may get another form.
    pub(super) fn concerns(segment: &Segment) -> bool {
        segment.footer().is_none_or(|footer| footer.index.is_none())
    }

    pub(super) fn add(&mut self, segment: &Arc<Segment>) {
        self.0.push(Recheck { segment: Arc::clone(segment), looks: 0 });
    }

    pub(super) fn forget(&mut self, segment: &Segment) {
        self.0.retain(|recheck| recheck.segment.base() != segment.base());
    }

    /// Puts the form that a segment has now into the view. One that cannot be had stays as it is.
    pub(super) fn look(
        &mut self,
        view: &LogView,
        open: impl Fn(&str) -> Result<Option<(Arc<Segment>, Footer)>, OpenError>,
    ) {
        self.0.retain_mut(|Recheck { segment, looks }| {
            *looks += 1;
            if looks.is_power_of_two()
                && let Ok(Some((named, _))) = open(&Segment::file_name(segment.base()))
                && let Some(now) = sealed(&named, segment)
            {
                view.segment_list().replace(Arc::clone(&now));
                *segment = now;
            }
            Self::concerns(segment)
        });
    }
}

/// The segment as its file is sealed, if it is, and holds the same events as `known`.
fn sealed(named: &Arc<Segment>, known: &Segment) -> Option<Arc<Segment>> {
    let file = named.file().ok()?;
    let (footer, filter) = read_footer(&file, named.header(), file.length().ok()?).ok().flatten()?;
    let is_same = named.epoch() == known.epoch() && footer.end_sequence == known.end_sequence();
    let is_news = known.footer() != Some(&footer);
    (is_same && is_news).then(|| known.sealed_again(footer, filter))
}
