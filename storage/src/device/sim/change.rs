//! Blocking calls that change the disk: what they do, and what is left of one when the power goes in its midst.

use std::io;

use super::Random;
use super::image::{FileId, Image, check_whole_pages};
use super::tear::tear;
use crate::format::PAGE_BYTES;

/// One blocking call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Create { directory: &'a str, name: &'a str, length: u64 },
    Rename { directory: &'a str, from: &'a str, to: &'a str },
    Replace { directory: &'a str, from: &'a str, to: &'a str },
    Link { directory: &'a str, from: &'a str, to: &'a str },
    Remove { directory: &'a str, name: &'a str },
    Write { file: FileId, bytes: &'a [u8], offset: u64 },
    Truncate { file: FileId, length: u64 },
}

impl Change<'_> {
    /// Refuses what the kernel would refuse before it does anything.
    pub(super) fn check(&self) -> io::Result<()> {
        match *self {
            Self::Create { name, .. } => check_plain(name),
            Self::Rename { from, to, .. } | Self::Replace { from, to, .. } | Self::Link { from, to, .. } => {
                check_plain(from).and_then(|()| check_plain(to))
            }
            Self::Remove { name, .. } => check_plain(name),
            Self::Write { bytes, offset, .. } => check_whole_pages(offset, bytes.len()),
            Self::Truncate { .. } => Ok(()),
        }
    }

    /// Does it, durably. Returns the file that was created.
    pub(super) fn apply(&self, image: &mut Image) -> io::Result<Option<FileId>> {
        match *self {
            Self::Create { directory, name, length } => return image.create(directory, name, length).map(Some),
            Self::Rename { directory, from, to } => image.rename(directory, from, to)?,
            Self::Replace { directory, from, to } => image.replace(directory, from, to)?,
            Self::Link { directory, from, to } => image.link(directory, from, to)?,
            Self::Remove { directory, name } => image.remove(directory, name)?,
            Self::Write { file, bytes, offset } => image.write(file, bytes, offset)?,
            Self::Truncate { file, length } => image.truncate(file, length)?,
        }
        Ok(None)
    }

    /// Leaves what may be there when the power goes in its midst: the old state, the new one, or one between.
    pub(super) fn interrupt(&self, image: &mut Image, random: &mut Random) {
        // What the image refuses would have been refused without an interruption as well, and leaves nothing.
        match *self {
            Self::Create { directory, name, length } => {
                // The name may become durable before all of the space is.
                let pages = random.below(length / PAGE_BYTES as u64 + 1);
                let reached = [None, Some(0), Some(pages * PAGE_BYTES as u64), Some(length)];
                if let Some(length) = reached[random.below(4) as usize] {
                    let _ = image.create(directory, name, length);
                }
            }
            Self::Write { file, bytes, offset } => {
                for part in tear(random, bytes.len()) {
                    let _ = image.write(file, &bytes[part.clone()], offset + part.start as u64);
                }
            }
            Self::Rename { .. }
            | Self::Replace { .. }
            | Self::Link { .. }
            | Self::Remove { .. }
            | Self::Truncate { .. } => {
                if random.chance(5000) {
                    let _ = self.apply(image);
                }
            }
        }
    }

    /// Leaves what may be there after the call has failed with `number`.
    pub(super) fn fail(&self, number: i32, image: &mut Image, random: &mut Random) {
        let cleans_up = matches!(self, Self::Create { .. });
        if !cleans_up && number != libc::ENOSPC {
            self.interrupt(image, random);
        }
    }
}

/// A name as [`crate::device::fs`] takes it.
pub(super) fn check_plain(name: &str) -> io::Result<()> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name"))
    } else {
        Ok(())
    }
}
