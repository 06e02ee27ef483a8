//! Dead letters: the events that an adapter does not take, each with the reason.
//!
//! In a file each is a line of JSON: `id`, `insertion_ts`, `session`, `kind`, `reason`, `refused_ts` (the time, in
//! nanoseconds), and the payload as `text` where it is UTF-8, else as the hexadecimal digits of `hex`. A line is
//! durable before the cursor passes its event. A crash may leave part of a last line, whose event comes again.
//!
//! To deliver them again, the file is renamed to `NAME.redrive` and removed at the end, so that a crash in between
//! leaves them all.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{EventId, StoredEvent};
use tapeline_storage::device::fs;
use tapeline_storage::format::{Kind, SessionId};

use crate::core::lock::lock;

/// Bytes of payloads that are kept where there is no file: of more, the oldest go.
const MEMORY_BYTES: usize = 8 << 20;

/// The dead letters of one relay.
#[derive(Debug)]
pub(super) struct DeadLetters(Mutex<Place>);

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Memory(VecDeque<StoredEvent>),
}

impl DeadLetters {
    /// Those in the file at `path`, whose directory is made where it is missing, or in memory.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self(Mutex::new(Place::Memory(VecDeque::new())))) };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_directory(directory)?;
        }
        Ok(Self(Mutex::new(Place::File(path))))
    }

    /// The number of them, those included that were about to be delivered again.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn count(&self) -> io::Result<u64> {
        match &*lock(&self.0) {
            Place::Memory(events) => Ok(events.len() as u64),
            Place::File(path) => Ok(count_lines(path)? + count_lines(&redriven(path))?),
        }
    }

    /// Adds one; durable when it returns.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn add(&self, event: &StoredEvent, reason: &str) -> io::Result<()> {
        match &mut *lock(&self.0) {
            Place::File(path) => append(path, &line(event, reason)),
            Place::Memory(events) => {
                events.push_back(event.clone());
                while events.len() > 1 && events.iter().map(|event| event.raw.len()).sum::<usize>() > MEMORY_BYTES {
                    let _ = events.pop_front();
                }
                Ok(())
            }
        }
    }

    /// Takes those that are there, to be delivered again. `None`: there are none.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn take(&self) -> io::Result<Option<Taken>> {
        match &mut *lock(&self.0) {
            Place::Memory(events) if events.is_empty() => Ok(None),
            Place::Memory(events) => Ok(Some(Taken::Memory(std::mem::take(events)))),
            Place::File(path) => {
                let redriven = redriven(path);
                let (file, is_left) = match open(&redriven) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => match std::fs::rename(path, &redriven) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                        renamed => (renamed.and_then(|()| open(&redriven))?, false),
                    },
                    file => (file?, true),
                };
                Ok(Some(Taken::File { path: redriven, lines: BufReader::new(file), number: 0, is_left }))
            }
        }
    }
}

/// Dead letters that are delivered again.
#[derive(Debug)]
pub(super) enum Taken {
    Memory(VecDeque<StoredEvent>),
    File {
        path: PathBuf,
        lines: BufReader<File>,
        number: u64,
        /// An earlier call had taken them, and did not come to its end.
        is_left: bool,
    },
}

impl Taken {
    /// Returns whether an earlier call had taken them, so that there may be others.
    pub(super) fn is_left(&self) -> bool {
        matches!(self, Self::File { is_left: true, .. })
    }

    /// The next one.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::InvalidData`], where a line is none.
    pub(super) fn next(&mut self) -> io::Result<Option<StoredEvent>> {
        let (path, lines, number) = match self {
            Self::Memory(events) => return Ok(events.pop_front()),
            Self::File { path, lines, number, .. } => (path, lines, number),
        };
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        *number += 1;
        // Part of a line was left by a crash: its event is before no cursor.
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        let malformed = || format!("line {number} of {} is no dead letter; mend or remove it", path.display());
        parse(&line).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, malformed()))
    }

    /// All were delivered, or are dead letters again.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File { path, .. } => std::fs::remove_file(path),
        }
    }
}

fn redriven(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".redrive");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn count_lines(path: &Path) -> io::Result<u64> {
    let mut lines = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => BufReader::new(file?),
    };
    let mut count = 0;
    loop {
        let read = lines.fill_buf()?;
        if read.is_empty() {
            return Ok(count);
        }
        count += read.iter().filter(|byte| **byte == b'\n').count() as u64;
        let bytes = read.len();
        lines.consume(bytes);
    }
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let options = OpenOptions::new().read(true).append(true).create(true).custom_flags(libc::O_NOFOLLOW).to_owned();
    let mut file = options.clone().mode(0o600).open(path)?;
    // Part of a line that a crash has left does not become part of this one.
    let mut last = [b'\n'];
    let is_new = file.metadata()?.len() == 0;
    if !is_new {
        let _ = file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let begin: &[u8] = if last == *b"\n" { b"" } else { b"\n" };
    file.write_all(&[begin, line].concat())?;
    file.sync_data()?;
    match path.parent() {
        Some(directory) if is_new => {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            File::open(directory)?.sync_all()
        }
        _ => Ok(()),
    }
}

fn line(event: &StoredEvent, reason: &str) -> Vec<u8> {
    let mut line = json!({
        "id": event.id.to_string(),
        "insertion_ts": event.insertion_ts,
        "session": event.session.to_string(),
        "kind": event.kind.0,
        "reason": reason,
        "refused_ts": Clock::global().now(),
    });
    event.session_name().into_iter().for_each(|name| line["session_name"] = name.into());
    match event.raw_str() {
        Ok(text) => line["text"] = text.into(),
        Err(_) => line["hex"] = event.raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
    let mut line = line.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn parse(line: &[u8]) -> Option<StoredEvent> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let id: EventId = text("id")?.parse().ok()?;
    let payload = match text("text") {
        Some(text) => text.as_bytes().to_vec(),
        None => unhex(text("hex")?)?,
    };
    Some(StoredEvent {
        id,
        raw: payload.into(),
        insertion_ts: line.get("insertion_ts")?.as_u64()?,
        shard_id: id.shard_id,
        sequence: id.sequence,
        session: SessionId(u128::from_str_radix(text("session")?, 16).ok()?),
        kind: Kind(line.get("kind")?.as_u64()?.try_into().ok()?),
        name: text("session_name").map(Into::into),
    })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|four| four as u8);
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    digits.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use tapeline_storage::format::{LogId, Sequence};
    use tapeline_testing::Scratch;

    use super::*;

    fn event(sequence: u64, payload: &[u8]) -> StoredEvent {
        let sequence = Sequence::new(sequence);
        StoredEvent {
            id: EventId { log: LogId([7; 16]), shard_id: 3, sequence },
            raw: payload.to_vec().into(),
            insertion_ts: 1 << 60,
            shard_id: 3,
            sequence,
            session: SessionId(u128::MAX - 5),
            kind: Kind(9),
            name: None,
        }
    }

    fn all(letters: &DeadLetters) -> Vec<StoredEvent> {
        let mut taken = letters.take().expect("takes").expect("there are some");
        let mut events = Vec::new();
        while let Some(event) = taken.next().expect("a dead letter") {
            events.push(event);
        }
        taken.finish().expect("removes");
        events
    }

    #[test]
    fn dead_letters_come_back_byte_for_byte() {
        let scratch = Scratch::new("dead-letters");
        let every_byte: Vec<u8> = (0..=255).collect();
        let events = [event(0, b"line\r\n\"text\"\\ \xc3\xa4"), event(1, &every_byte), event(2, b"")];
        for path in [None, Some(scratch.path().join("below/relay.jsonl"))] {
            let letters = DeadLetters::open(path).expect("opens");
            assert!(letters.take().expect("takes").is_none());
            events.iter().for_each(|event| letters.add(event, "too large").expect("adds"));
            assert_eq!(letters.count().expect("counts"), 3);
            assert_eq!(all(&letters), events);
            assert_eq!(letters.count().expect("counts"), 0);
            assert!(letters.take().expect("takes").is_none());
        }
    }

    #[test]
    fn part_of_a_line_that_a_crash_left_harms_no_other() {
        let scratch = Scratch::new("dead-letters-torn");
        let path = scratch.path().join("relay.jsonl");
        let letters = DeadLetters::open(Some(path.clone())).expect("opens");
        letters.add(&event(0, b"first"), "refused").expect("adds");
        let whole = std::fs::read(&path).expect("reads");
        std::fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).expect("writes");
        assert_eq!(all(&letters), [event(0, b"first")]);
        // A line that is whole and none is reported, and stays.
        std::fs::write(&path, [&whole[..whole.len() / 2], b"\n", &whole[..]].concat()).expect("writes");
        letters.add(&event(1, b"second"), "refused").expect("adds");
        let error = letters.take().expect("takes").expect("some").next().expect_err("no dead letter");
        assert!(error.to_string().contains("line 1 of "), "{error}");
        assert_eq!(letters.count().expect("counts"), 3);
    }

    #[test]
    fn a_crash_while_they_are_delivered_again_leaves_them_all() {
        let scratch = Scratch::new("dead-letters-redrive");
        let path = scratch.path().join("relay.jsonl");
        let letters = DeadLetters::open(Some(path.clone())).expect("opens");
        letters.add(&event(0, b"first"), "refused").expect("adds");
        drop(letters.take().expect("takes"));
        let letters = DeadLetters::open(Some(path)).expect("opens");
        letters.add(&event(1, b"second"), "refused").expect("adds");
        assert_eq!(letters.count().expect("counts"), 2);
        assert_eq!(all(&letters), [event(0, b"first")]);
        assert_eq!(all(&letters), [event(1, b"second")]);
    }
}
