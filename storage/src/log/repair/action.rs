//! The actions that follow from a survey. Looks at nothing else.

use std::cmp::Reverse;
use std::fmt;

use super::super::Segment;
use super::super::names::SPARE_NAME;
use super::super::scan::{is_missing, trims_elsewhere};
use super::super::survey::Stretch;
use super::survey::{Content, FileSurvey, FoundBlocks, ShardSurvey};
use crate::format::{Gaps, LogId, Sequence, counted, sequences};

/// One step of a repair.
///
/// ```
/// # use tapeline_storage::format::Sequence;
/// # use tapeline_storage::log::RepairAction;
/// let action = RepairAction::Lose { from: Sequence::new(10), to: Sequence::new(15) };
/// assert_eq!(action.name(), "lose");
/// assert_eq!(action.to_string(), "write down as lost, because no file holds them: sequences 10 to 14 (5 events)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairAction {
    /// The log's meta file is set aside, if it is there, and made anew.
    ReplaceMeta {
        /// The fault.
        reason: String,
        /// Identity of the log, as most segments state it.
        log_id: LogId,
        /// Shards up to the last whose directory holds a segment of the log, and the directories that follow it without
        /// a hole.
        shards: u16,
    },
    /// The directory of a shard is made. What was in it is gone without a trace.
    MakeDirectory {
        /// The shard.
        shard_id: u16,
    },
    /// A file is given the name `<name>.aside`: it is no segment of this shard, or a copy of one.
    SetAside {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// A segment is given its own name again.
    Rename {
        /// The name that it has.
        file: String,
        /// The name that it had.
        to: String,
    },
    /// The header page of a segment is made anew, as its blocks prove it. The page that it replaces is kept under the
    /// name `<name>.aside`.
    MendHeader {
        /// The file.
        file: String,
        /// The fault of the page.
        reason: String,
    },
    /// A segment is set aside, and its intact blocks are written to new segments.
    Rewrite {
        /// The file.
        file: String,
        /// The blocks that are intact.
        kept: Vec<Stretch>,
        /// The fault of the rest.
        reason: String,
    },
    /// Sequences are written down as lost: no file holds them.
    Lose {
        /// The first.
        from: Sequence,
        /// The one after the last.
        to: Sequence,
    },
    /// Nothing is done: how many events are lost at the end of the shard is stated nowhere.
    LoseEnd {
        /// The sequence that the first of them had, and that an event gets again.
        from: Sequence,
    },
    /// The file of the gaps is set aside and made anew.
    ReplaceGaps {
        /// The fault.
        reason: String,
    },
    /// A segment gets a new index.
    Reindex {
        /// The file.
        file: String,
    },
    /// A segment gets a new footer and index: all of its blocks are intact, and the footer is not.
    Reseal {
        /// The file.
        file: String,
    },
    /// The file is written that says that records hold cursors: they do, and it is missing.
    ExpectCursors,
}

impl RepairAction {
    /// The action in one word: a name for scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReplaceMeta { .. } => "replace_meta",
            Self::MakeDirectory { .. } => "make_directory",
            Self::SetAside { .. } => "set_aside",
            Self::Rename { .. } => "rename",
            Self::MendHeader { .. } => "mend_header",
            Self::Rewrite { .. } => "rewrite",
            Self::Lose { .. } => "lose",
            Self::LoseEnd { .. } => "lose_end",
            Self::ReplaceGaps { .. } => "replace_gaps",
            Self::Reindex { .. } => "reindex",
            Self::Reseal { .. } => "reseal",
            Self::ExpectCursors => "expect_cursors",
        }
    }
}

impl fmt::Display for RepairAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplaceMeta { reason, log_id, shards } => {
                let shards = counted(u64::from(*shards), "shard");
                write!(f, "make the meta file anew, for log {log_id} of {shards} as the segments say: {reason}")
            }
            Self::MakeDirectory { shard_id: shard } => write!(
                f,
                "make a directory for shard {shard}: it is missing; how many events it held is written nowhere"
            ),
            Self::SetAside { file, reason } => write!(f, "set {file} aside: {reason}"),
            Self::Rename { file, to } => write!(f, "rename {file} to {to}, as its header says"),
            Self::MendHeader { file, reason } => {
                write!(f, "write the header of {file} anew, as its blocks prove it: {reason}")
            }
            Self::Rewrite { file, kept, reason } => {
                write!(f, "set {file} aside and write what is intact of it [")?;
                for (at, Stretch { first, end, .. }) in kept.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { "; " }, sequences(*first, *end))?;
                }
                write!(f, "{}] to new segments: {reason}", if kept.is_empty() { "none" } else { "" })
            }
            Self::Lose { from, to } => {
                write!(f, "write down as lost, because no file holds them: {}", sequences(*from, *to))
            }
            Self::LoseEnd { from } => {
                write!(f, "events from sequence {from} on may be lost: how many there were is written nowhere")
            }
            Self::ReplaceGaps { reason } => write!(f, "set the file gaps aside and make it anew: {reason}"),
            Self::Reindex { file } => write!(f, "write the index of {file} anew: it does not check"),
            Self::Reseal { file } => {
                write!(f, "write the footer of {file} anew: it does not check, and all events before it are intact")
            }
            Self::ExpectCursors => f.write_str("write cursors/.noted anew: it is missing, and records hold cursors"),
        }
    }
}

/// Plans the actions, in order.
pub(super) fn plan(survey: &ShardSurvey) -> Vec<RepairAction> {
    let mut actions = Vec::new();
    let mut segments = Vec::new();
    let mut headless_base = None;
    for FileSurvey { name, content } in &survey.files {
        match content {
            Content::Segment(found) => segments.push((name.as_str(), &**found)),
            Content::Foreign(reason) | Content::OtherVersion(reason) | Content::Headless(reason) => {
                if let (Content::Headless(_), Some(base)) = (content, Segment::base_of_name(name)) {
                    headless_base = headless_base.max(Some(base));
                }
                actions.push(RepairAction::SetAside { file: name.clone(), reason: reason.clone() });
            }
            Content::Spare => {}
        }
    }
    // Of several with the same base the one that holds most counts, and of copies the one under its own name.
    segments.sort_by_key(|(name, found)| {
        let held = (found.blocks.events, found.footer.is_some(), has_own_name(name, found));
        (found.header.base_sequence, Reverse(held))
    });
    let gaps = match survey.gaps.clone().and_then(|gaps| check_gaps(gaps, &segments)) {
        Ok(gaps) => gaps,
        Err(reason) => {
            actions.push(RepairAction::ReplaceGaps { reason });
            Gaps::default()
        }
    };
    let durable = durable_of(&segments).max(gaps.sealed());
    let planning = Planning { gaps, durable, headless_base, is_sealed_before: None, is_cut_short: false, actions };
    let mut actions = planning.run(&segments);
    // As they are done: what is set aside makes room for names.
    actions.sort_by_key(|action| match action {
        RepairAction::ReplaceGaps { .. } => 0,
        RepairAction::MendHeader { .. } => 1,
        RepairAction::SetAside { .. } => 2,
        RepairAction::Rename { .. } => 3,
        _ => 4,
    });
    actions
}

/// The gaps, unless all segments were trimmed by what they say, and not as far as it says.
fn check_gaps(gaps: Gaps, segments: &[(&str, &FoundBlocks)]) -> Result<Gaps, String> {
    let last = segments.last().filter(|(_, last)| last.header.base_sequence < gaps.trimmed());
    match last.and_then(|(_, last)| trims_elsewhere(&gaps, last.end())) {
        Some(reason) => Err(reason.to_string()),
        None => Ok(gaps),
    }
}

fn has_own_name(name: &str, found: &FoundBlocks) -> bool {
    name == Segment::file_name(found.header.base_sequence)
}

/// Everything below was acknowledged, as any block or footer says.
fn durable_of(segments: &[(&str, &FoundBlocks)]) -> Sequence {
    let known = |(_, found): &(&str, &FoundBlocks)| {
        found.blocks.durable.max(found.footer.map_or(Sequence::ZERO, |_| found.end()))
    };
    segments.iter().map(known).max().unwrap_or_default()
}

struct Planning {
    gaps: Gaps,
    durable: Sequence,
    /// The first sequence of the last segments of which nothing is known but their names.
    headless_base: Option<Sequence>,
    /// True if the last segment so far is sealed once the plan is done; `None` before the first.
    is_sealed_before: Option<bool>,
    /// True if the last segment so far may have lost events that no record counts.
    is_cut_short: bool,
    actions: Vec<RepairAction>,
}

/// Returns whether a crash may have left a segment without its own name: only the last, where it is not sealed.
fn may_be_spare(found: &FoundBlocks, after: &[(&str, &FoundBlocks)]) -> bool {
    after.is_empty() && found.footer.is_none()
}

impl Planning {
    fn run(mut self, segments: &[(&str, &FoundBlocks)]) -> Vec<RepairAction> {
        let mut end = self.gaps.trimmed();
        let mut before: Option<(&str, Sequence)> = None;
        // The last segment, if it is an intact one that holds what was in several.
        let mut merged: Option<&FoundBlocks> = None;
        for (at, (name, found)) in segments.iter().enumerate() {
            let base = found.header.base_sequence;
            if let Some((kept, _)) = before.filter(|(_, of_kept)| *of_kept == base) {
                let reason = format!("starts at sequence {base} like {kept}, which holds as much or more");
                self.actions.push(RepairAction::SetAside { file: (*name).to_owned(), reason });
                continue;
            }
            before = Some((name, base));
            if self.is_left(found, end, merged) {
                self.leave(name, found);
                continue;
            }
            if base < end {
                let reason = format!("starts at sequence {base}, but the segment before it ends at {end}");
                self.actions.push(RepairAction::SetAside { file: (*name).to_owned(), reason });
                continue;
            }
            self.lose_unless_known(end, base);
            if let Some(reason) = found.bad_header.clone() {
                self.actions.push(RepairAction::MendHeader { file: (*name).to_owned(), reason });
            }
            let is_whole = found.header.is_merged && found.footer.is_some() && found.blocks.damage.is_empty();
            merged = is_whole.then_some(*found);
            let after = &segments[at + 1..];
            let is_named = has_own_name(name, found) || (*name == SPARE_NAME && may_be_spare(found, after));
            let file = if is_named { (*name).to_owned() } else { self.rename((*name).to_owned(), base) };
            end = self.segment(file, found);
        }
        // Sequences that were acknowledged are not given again.
        self.lose_unless_known(end, self.durable);
        let end = self.gaps.after_lost(end).max(self.durable);
        if self.is_cut_short || self.headless_base.is_some_and(|base| base >= end) {
            self.actions.push(RepairAction::LoseEnd { from: end });
        }
        self.actions
    }

    /// Returns whether the log needs nothing of a segment: trimming or merging was interrupted, or it follows a torn
    /// end, after which no block was acknowledged.
    fn is_left(&self, found: &FoundBlocks, end: Sequence, merged: Option<&FoundBlocks>) -> bool {
        let base = found.header.base_sequence;
        if base < self.gaps.trimmed() {
            return true;
        }
        if base < end {
            return merged.is_some_and(|merged| found.is_within(merged));
        }
        let is_hole = base > end && !self.gaps.is_lost(end, base);
        is_hole && self.durable <= end && !is_missing(self.is_sealed_before)
    }

    /// Opening the log removes the file, but for one that it does not know as its own.
    fn leave(&mut self, name: &str, found: &FoundBlocks) {
        if found.bad_header.is_some() || (name != SPARE_NAME && !has_own_name(name, found)) {
            let reason = format!("holds sequences from {}, of which the log needs none", found.header.base_sequence);
            self.actions.push(RepairAction::SetAside { file: name.to_owned(), reason });
        }
    }

    /// Counts the sequences between these two as lost, unless they are known to be.
    fn lose_unless_known(&mut self, from: Sequence, to: Sequence) {
        if to > from && !self.gaps.is_lost(from, to) {
            self.lose(from, to);
        }
    }

    fn lose(&mut self, from: Sequence, to: Sequence) {
        self.actions.push(RepairAction::Lose { from, to });
    }

    /// Returns where the segment ends.
    fn segment(&mut self, file: String, found: &FoundBlocks) -> Sequence {
        let unlike_crash = found.unlike_crash(self.gaps.sealed());
        self.is_cut_short = unlike_crash.is_some();
        if unlike_crash.is_some() || (!found.blocks.damage.is_empty() && self.is_hurt(found)) {
            return self.rewrite(file, found);
        }
        if found.has_bad_index {
            self.actions.push(RepairAction::Reindex { file });
        } else if found.has_bad_footer {
            self.actions.push(RepairAction::Reseal { file });
        }
        self.is_sealed_before = Some(found.footer.is_some());
        found.opened_end()
    }

    /// Returns the name that the segment has then.
    fn rename(&mut self, file: String, base: Sequence) -> String {
        let to = Segment::file_name(base);
        self.actions.push(RepairAction::Rename { file, to: to.clone() });
        to
    }

    /// Returns whether damage took something, and is not only the blank or torn rest of a segment that is written,
    /// where an opening cuts it.
    fn is_hurt(&self, found: &FoundBlocks) -> bool {
        if found.footer.is_some() {
            return true;
        }
        let cut = found.opened_end();
        let is_taken_in = found.blocks.walked.is_some_and(|walked| {
            // Records that do not check, in a block that does.
            found.blocks.damage.iter().any(|place| place.offset < walked.to)
        });
        let is_more_than_rest =
            found.blocks.durable > cut || found.blocks.stretches.len() > 1 || cut == found.header.base_sequence;
        is_taken_in || (self.durable > cut && is_more_than_rest)
    }

    fn rewrite(&mut self, file: String, found: &FoundBlocks) -> Sequence {
        let place = found.unlike_crash(self.gaps.sealed()).or(found.blocks.damage.first());
        let reason = place.map_or_else(String::new, |place| format!("offset {}: {}", place.offset, place.reason));
        let kept = found.blocks.stretches.clone();
        self.actions.push(RepairAction::Rewrite { file, kept, reason });
        self.is_sealed_before = Some(true);
        let mut end = found.header.base_sequence;
        for stretch in &found.blocks.stretches {
            if stretch.first > end {
                self.lose(end, stretch.first);
            }
            end = stretch.end;
        }
        if found.end() > end {
            self.lose(end, found.end());
        }
        // A footer may have said less than the blocks hold.
        found.end().max(end)
    }
}
