//! A file in a shard's directory that the log needs no more.

use std::io;
use std::sync::Arc;

use super::look::LookedFile;
use crate::device::{Access, Directory, SegmentFile, another_file};
use crate::format::{PAGE_BYTES, SegmentHeader};

/// A file that an opening for writing removes, if its name is still that of the file that the scan looked at.
#[derive(Debug)]
pub(in super::super) struct Leftover {
    pub(in super::super) name: String,
    own: Own,
}

/// The mark by which a file is known again.
#[derive(Debug)]
enum Own {
    File(Arc<dyn SegmentFile>),
    /// A segment, of which there may be too many to hold them open: an epoch is random.
    Segment(SegmentHeader),
}

impl Leftover {
    pub(super) fn of(looked: &LookedFile) -> Self {
        Self { name: looked.name(), own: Own::Segment(looked.header) }
    }

    /// A file that never was a segment.
    pub(super) fn of_file(name: String, file: Arc<dyn SegmentFile>) -> Self {
        Self { name, own: Own::File(file) }
    }

    /// Removes the file.
    ///
    /// # Errors
    /// The kernel's; `AlreadyExists` where the name is another file's, which stays.
    pub(in super::super) fn remove(&self, directory: &dyn Directory) -> io::Result<()> {
        let header = match &self.own {
            Own::File(file) => return directory.remove_own(&self.name, &**file),
            Own::Segment(header) => header,
        };
        let file = directory.open(&self.name, Access::Read)?;
        let mut page = vec![0; PAGE_BYTES];
        let read = file.read_settled(&mut page, 0)?;
        match SegmentHeader::decode(&page[..read]) {
            Ok((found, _)) if found == *header => directory.remove_own(&self.name, &*file),
            _ => Err(another_file(&self.name)),
        }
    }
}
