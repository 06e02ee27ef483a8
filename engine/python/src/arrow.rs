//! Events as columns, through the Arrow C stream interface: any library of Arrow data takes them without a copy, and
//! this one needs none of them.
//!
//! The structures are those of the interface's specification, which also has the rules that the code keeps:
//!
//! 1. A structure whose `release` is not null belongs to its holder, which calls `release` once; `release` sets itself
//!    to null.
//! 2. `private_data` is the box that the structure was made with, and `release` alone takes it back.
//! 3. A child that its holder has moved away has a null `release`, and is left alone.
//! 4. One thread at a time uses a stream.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use tapeline::consumer::Gap as RustGap;
use tapeline::event::{EventView, Kind, Sequence, SessionId};
use tapeline::{ConsumerError, StoredEvent};

use crate::event::Gap;
use crate::failure::Failure;

/// Events that end a batch, with those of the block that the last of them lies in.
const BATCH_EVENTS: usize = 65_536;
/// Bytes of payloads that end a batch: what lies after them fits as well, for offsets are 32 bits wide.
const BATCH_BYTES: usize = 64 << 20;

/// Events as columns: `shard`, `sequence`, `insertion_ts`, `session`, `kind` and `payload`. Read once.
#[pyclass(frozen, module = "tapeline._native")]
pub(crate) struct ArrowEvents {
    replay: Mutex<Option<tapeline::Replay>>,
    gaps: Arc<Mutex<Vec<RustGap>>>,
    at_gap: AtGap,
}

/// The meaning of a gap for a stream of columns, which cannot have one in its midst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtGap {
    Fail,
    /// It is kept for the program to look at.
    Keep,
}

impl ArrowEvents {
    pub(crate) fn new(replay: tapeline::Replay, keep_gaps: bool) -> Self {
        let at_gap = if keep_gaps { AtGap::Keep } else { AtGap::Fail };
        Self { replay: Mutex::new(Some(replay)), gaps: Arc::default(), at_gap }
    }
}

#[pymethods]
impl ArrowEvents {
    /// The gaps that the stream has met.
    fn gaps(&self) -> Vec<Gap> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().map(Gap::from).collect()
    }

    /// The stream as a capsule.
    fn stream<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>, Failure> {
        let replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner).take();
        let replay = replay.ok_or_else(|| Failure::in_use("these events were read; replay them again"))?;
        let (gaps, at_gap, failure) = (Arc::clone(&self.gaps), self.at_gap, CString::default());
        let events = Events { replay, gaps, at_gap, failure, last: (0, 0) };
        let stream = ArrowStream {
            get_schema,
            get_next,
            get_last_error,
            release: Some(release_stream),
            private_data: Box::into_raw(Box::new(events)).cast(),
        };
        Ok(PyCapsule::new_with_value(py, stream, c"arrow_array_stream")?)
    }
}

/// The columns: their names and formats.
const COLUMNS: [(&CStr, &CStr); 6] = [
    (c"shard", c"S"),
    (c"sequence", c"L"),
    (c"insertion_ts", c"tsn:UTC"),
    (c"session", c"w:16"),
    (c"kind", c"S"),
    (c"payload", c"z"),
];

#[repr(C)]
struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut ArrowSchema,
    dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut ArrowArray,
    dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowStream {
    get_schema: unsafe extern "C" fn(*mut ArrowStream, *mut ArrowSchema) -> c_int,
    get_next: unsafe extern "C" fn(*mut ArrowStream, *mut ArrowArray) -> c_int,
    get_last_error: unsafe extern "C" fn(*mut ArrowStream) -> *const c_char,
    release: Option<unsafe extern "C" fn(*mut ArrowStream)>,
    private_data: *mut c_void,
}

// SAFETY: rule 4; what the stream owns is `Events`, which is `Send`.
unsafe impl Send for ArrowStream {}

impl Drop for ArrowStream {
    /// A stream that no library has taken out of its capsule.
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: rule 1.
            unsafe { release(self) };
        }
    }
}

/// The events that a stream reads.
struct Events {
    replay: tapeline::Replay,
    gaps: Arc<Mutex<Vec<RustGap>>>,
    at_gap: AtGap,
    failure: CString,
    /// The events and the bytes of the last batch: the next one is likely to have as many.
    last: (usize, usize),
}

impl Events {
    /// The next events, in columns. `None`: there are no more.
    fn next(&mut self) -> Result<Option<Columns>, ConsumerError> {
        let mut columns = Columns::with_room(self.last);
        while columns.kinds.len() < BATCH_EVENTS && columns.payloads.len() < BATCH_BYTES {
            match self.replay.show_next(|event| columns.push_shown(event)) {
                None => break,
                Some(Ok(shown)) => shown.iter().for_each(|event| columns.push_stored(event)),
                Some(Err(ConsumerError::Gap(gap))) if self.at_gap == AtGap::Keep => {
                    self.gaps.lock().unwrap_or_else(PoisonError::into_inner).push(gap);
                }
                Some(Err(error)) => return Err(error),
            }
        }
        self.last = (columns.kinds.len(), columns.payloads.len());
        Ok((!columns.kinds.is_empty()).then_some(columns))
    }

    /// Keeps the reason for a program to ask for, and returns a number of the system's for it.
    fn fail(&mut self, reason: &str) -> c_int {
        self.failure = CString::new(reason.replace('\0', " ")).unwrap_or_default();
        libc::EIO
    }
}

/// The columns of a batch.
struct Columns {
    shards: Vec<u16>,
    sequences: Vec<u64>,
    times: Vec<u64>,
    sessions: Vec<u8>,
    kinds: Vec<u16>,
    /// The first byte of each payload, and the end of the last.
    offsets: Vec<i32>,
    payloads: Vec<u8>,
}

impl Columns {
    /// Without events, with room for so many events and bytes.
    fn with_room((events, bytes): (usize, usize)) -> Self {
        let mut offsets = Vec::with_capacity(events + 1);
        offsets.push(0);
        Self {
            shards: Vec::with_capacity(events),
            sequences: Vec::with_capacity(events),
            times: Vec::with_capacity(events),
            sessions: Vec::with_capacity(16 * events),
            kinds: Vec::with_capacity(events),
            offsets,
            payloads: Vec::with_capacity(bytes),
        }
    }

    #[inline]
    fn push_shown(&mut self, event: &EventView<'_>) {
        self.times.push(event.insertion_ts());
        self.push((event.shard_id(), event.sequence()), (event.session(), event.kind()), event.payload());
    }

    fn push_stored(&mut self, event: &StoredEvent) {
        self.times.push(event.insertion_ts);
        self.push((event.shard_id, event.sequence), (event.session, event.kind), &event.raw);
    }

    /// The rest of an event whose time was pushed.
    #[inline]
    fn push(&mut self, (shard, sequence): (u16, Sequence), (session, kind): (SessionId, Kind), payload: &[u8]) {
        self.shards.push(shard);
        self.sequences.push(sequence.get());
        self.sessions.extend_from_slice(&session.0.to_be_bytes());
        self.kinds.push(kind.0);
        self.payloads.extend_from_slice(payload);
        // BATCH_BYTES and one payload more: far below the end.
        self.offsets.push(i32::try_from(self.payloads.len()).unwrap_or(i32::MAX));
    }

    /// As one array of structures.
    fn into_array(self) -> ArrowArray {
        let length = self.kinds.len() as i64;
        let columns = [
            Values::Wide(self.shards),
            Values::Long(self.sequences),
            Values::Long(self.times),
            Values::Bytes(self.sessions),
            Values::Wide(self.kinds),
            Values::Binary(self.offsets, self.payloads),
        ];
        let children = columns.map(|values| Box::into_raw(Box::new(values.into_array(length))));
        let mut parent = Box::new(Parent { children, buffers: [null()] });
        ArrowArray {
            length,
            null_count: 0,
            offset: 0,
            n_buffers: 1,
            n_children: COLUMNS.len() as i64,
            buffers: parent.buffers.as_mut_ptr(),
            children: parent.children.as_mut_ptr(),
            dictionary: null_mut(),
            release: Some(release_parent),
            private_data: Box::into_raw(parent).cast(),
        }
    }
}

/// The memory of a column.
enum Values {
    Wide(Vec<u16>),
    Long(Vec<u64>),
    Bytes(Vec<u8>),
    Binary(Vec<i32>, Vec<u8>),
}

/// The memory that a column's array owns. A buffer for what is null, of which there is none, and those of the values.
struct Column {
    _values: Values,
    buffers: [*const c_void; 3],
}

impl Values {
    fn into_array(self, length: i64) -> ArrowArray {
        let (count, first, second) = match &self {
            Self::Wide(values) => (2, values.as_ptr().cast(), null()),
            Self::Long(values) => (2, values.as_ptr().cast(), null()),
            Self::Bytes(values) => (2, values.as_ptr().cast(), null()),
            Self::Binary(offsets, values) => (3, offsets.as_ptr().cast(), values.as_ptr().cast()),
        };
        let mut column = Box::new(Column { _values: self, buffers: [null(), first, second] });
        ArrowArray {
            length,
            null_count: 0,
            offset: 0,
            n_buffers: count,
            n_children: 0,
            buffers: column.buffers.as_mut_ptr(),
            children: null_mut(),
            dictionary: null_mut(),
            release: Some(release_column),
            private_data: Box::into_raw(column).cast(),
        }
    }
}

/// The children that an array of structures owns.
struct Parent {
    children: [*mut ArrowArray; COLUMNS.len()],
    buffers: [*const c_void; 1],
}

unsafe extern "C" fn release_column(array: *mut ArrowArray) {
    // SAFETY: rule 1: the array is the holder's, and is there.
    let array = unsafe { &mut *array };
    array.release = None;
    // SAFETY: rule 2.
    drop(unsafe { Box::from_raw(array.private_data.cast::<Column>()) });
}

unsafe extern "C" fn release_parent(array: *mut ArrowArray) {
    // SAFETY: rule 1: the array is the holder's, and is there.
    let array = unsafe { &mut *array };
    array.release = None;
    // SAFETY: rule 2.
    let parent = unsafe { Box::from_raw(array.private_data.cast::<Parent>()) };
    for child in parent.children {
        // SAFETY: rule 2: the box was made with the parent.
        let mut child = unsafe { Box::from_raw(child) };
        if let Some(release) = child.release {
            // SAFETY: rules 1 and 3.
            unsafe { release(&mut *child) };
        }
    }
}

/// The children that a schema of structures owns.
struct Names {
    children: [*mut ArrowSchema; COLUMNS.len()],
}

fn schema_of(name: &'static CStr, format: &'static CStr) -> ArrowSchema {
    ArrowSchema {
        format: format.as_ptr(),
        name: name.as_ptr(),
        metadata: null(),
        flags: 0,
        n_children: 0,
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_name),
        private_data: null_mut(),
    }
}

/// Its texts are constants.
unsafe extern "C" fn release_name(schema: *mut ArrowSchema) {
    // SAFETY: rule 1: the schema is the holder's, and is there.
    unsafe { (*schema).release = None };
}

unsafe extern "C" fn release_names(schema: *mut ArrowSchema) {
    // SAFETY: rule 1: the schema is the holder's, and is there.
    let schema = unsafe { &mut *schema };
    schema.release = None;
    // SAFETY: rule 2.
    let names = unsafe { Box::from_raw(schema.private_data.cast::<Names>()) };
    for child in names.children {
        // SAFETY: rule 2: the box was made with the schema.
        let mut child = unsafe { Box::from_raw(child) };
        if let Some(release) = child.release {
            // SAFETY: rules 1 and 3.
            unsafe { release(&mut *child) };
        }
    }
}

unsafe extern "C" fn get_schema(_: *mut ArrowStream, out: *mut ArrowSchema) -> c_int {
    let children = COLUMNS.map(|(name, format)| Box::into_raw(Box::new(schema_of(name, format))));
    let mut names = Box::new(Names { children });
    let mut schema = schema_of(c"", c"+s");
    schema.n_children = COLUMNS.len() as i64;
    schema.children = names.children.as_mut_ptr();
    schema.release = Some(release_names);
    schema.private_data = Box::into_raw(names).cast();
    // SAFETY: the caller's memory, which holds nothing yet.
    unsafe { out.write(schema) };
    0
}

unsafe extern "C" fn get_next(stream: *mut ArrowStream, out: *mut ArrowArray) -> c_int {
    // SAFETY: rule 1: the stream is the holder's, and is there.
    let stream = unsafe { &mut *stream };
    // SAFETY: rules 2 and 4.
    let events = unsafe { &mut *stream.private_data.cast::<Events>() };
    let array = match catch_unwind(AssertUnwindSafe(|| events.next())) {
        Ok(Ok(Some(columns))) => columns.into_array(),
        Ok(Ok(None)) => end_of_stream(),
        Ok(Err(error)) => return events.fail(&error.to_string()),
        Err(_) => return events.fail("a panic of the library"),
    };
    // SAFETY: the caller's memory, which holds nothing yet.
    unsafe { out.write(array) };
    0
}

/// An array that is released says that there are no more.
fn end_of_stream() -> ArrowArray {
    ArrowArray {
        length: 0,
        null_count: 0,
        offset: 0,
        n_buffers: 0,
        n_children: 0,
        buffers: null_mut(),
        children: null_mut(),
        dictionary: null_mut(),
        release: None,
        private_data: null_mut(),
    }
}

unsafe extern "C" fn get_last_error(stream: *mut ArrowStream) -> *const c_char {
    // SAFETY: rule 1: the stream is the holder's, and is there.
    let stream = unsafe { &*stream };
    // SAFETY: rules 2 and 4.
    let events = unsafe { &*stream.private_data.cast::<Events>() };
    events.failure.as_ptr()
}

unsafe extern "C" fn release_stream(stream: *mut ArrowStream) {
    // SAFETY: rule 1: the stream is the holder's, and is there.
    let stream = unsafe { &mut *stream };
    stream.release = None;
    // SAFETY: rule 2.
    drop(unsafe { Box::from_raw(stream.private_data.cast::<Events>()) });
}
