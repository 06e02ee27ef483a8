//! The device, read past the page cache: whole blocks, several at a time, in file order.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use memmap2::MmapMut;

use super::{BLOCK_BYTES, DEPTH};
use crate::harness::{Outcome, files};

/// Most bytes that are read for the measurement.
const READ_BYTES_MAX: u64 = 1 << 30;

/// Bytes a second read from `paths` with O_DIRECT. 0 where there is nothing to read.
pub(crate) fn read_rate(paths: &[PathBuf]) -> Outcome<f64> {
    let start = Instant::now();
    let mut bytes = 0;
    for path in paths {
        if bytes >= READ_BYTES_MAX {
            break;
        }
        let file = files::open_direct(path).map_err(|error| format!("open {}: {error}", path.display()))?;
        bytes += read_file(&file)?;
    }
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

/// Reads one file by as many threads as there are transfers in flight; each takes the next block.
fn read_file(file: &File) -> Outcome<u64> {
    let length = file.metadata()?.len();
    let next = AtomicU64::new(0);
    let work = || -> Outcome<u64> {
        // Anonymous mappings start at a page, which O_DIRECT asks for.
        let mut buffer = MmapMut::map_anon(BLOCK_BYTES)?;
        let mut bytes = 0;
        loop {
            let offset = next.fetch_add(BLOCK_BYTES as u64, Ordering::Relaxed);
            if offset >= length {
                return Ok(bytes);
            }
            bytes += file.read_at(&mut buffer, offset)? as u64;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..DEPTH).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_fold(0, |sum, thread| {
            let bytes: Outcome<u64> = thread.join().unwrap_or_else(|_| Err("a reading thread panicked".into()));
            Ok(sum + bytes?)
        })
    })
}
