//! Memory of the caller: read, and written, where it is not null.

use std::ffi::{CStr, c_char};

use crate::code::tapeline_code::{
    TAPELINE_ARGUMENT, TAPELINE_BUFFER, TAPELINE_NULL, TAPELINE_STRUCT_SIZE, TAPELINE_UTF8,
};
use crate::failure::Failure;

/// A structure of numbers and pointers that begins with its size, and of which all bytes may be 0.
///
/// # Safety
/// The type is `repr(C)`, begins with a `usize` that is its size, has no padding that matters, and any bytes are a
/// value.
pub(super) unsafe trait Versioned: Copy {}

#[cold]
pub(super) fn null(name: &str) -> Failure {
    Failure::new(TAPELINE_NULL, format_args!("{name}: the pointer is null"))
}

#[cold]
fn unaligned(name: &str) -> Failure {
    Failure::new(TAPELINE_ARGUMENT, format_args!("{name}: the pointer is not aligned"))
}

/// The bytes at `data`.
///
/// # Safety
/// Rule 1.
#[inline(always)]
pub(super) unsafe fn bytes<'a>(name: &str, data: *const u8, len: usize) -> Result<&'a [u8], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(null(name));
    }
    if len > isize::MAX as usize {
        return Err(Failure::new(TAPELINE_ARGUMENT, format_args!("{name}: no memory has {len} bytes")));
    }
    // SAFETY: rule 1; not null, and no larger than memory can be.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// The elements at `data`.
///
/// # Safety
/// Rule 1; any bytes are a value of the type.
pub(super) unsafe fn slice<'a, T: Copy>(name: &str, data: *const T, len: usize) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(null(name));
    }
    if !data.is_aligned() {
        return Err(unaligned(name));
    }
    if len > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::new(TAPELINE_ARGUMENT, format_args!("{name}: no memory has {len} elements")));
    }
    // SAFETY: rule 1; not null, aligned, and no larger than memory can be.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// As [`slice`], to be written.
///
/// # Safety
/// Rule 1; any bytes are a value of the type.
pub(super) unsafe fn slice_mut<'a, T: Copy>(name: &str, data: *mut T, len: usize) -> Result<&'a mut [T], Failure> {
    // SAFETY: rule 1.
    let read = unsafe { slice(name, data, len) }?;
    if read.is_empty() {
        return Ok(&mut []);
    }
    // SAFETY: rule 1; as the slice above, which nothing uses any more.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, len) })
}

/// A text that must be given.
///
/// # Safety
/// Rule 2.
pub(super) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: rule 2.
    unsafe { optional_text(name, text) }?.ok_or_else(|| null(name))
}

/// A text that may be null.
///
/// # Safety
/// Rule 2.
pub(super) unsafe fn optional_text<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: rule 2.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|error| Failure::new(TAPELINE_UTF8, format_args!("{name}: {error}")))
}

/// UTF-8 of a length.
///
/// # Safety
/// Rule 1.
pub(super) unsafe fn text_of<'a>(name: &str, data: *const c_char, len: usize) -> Result<&'a str, Failure> {
    // SAFETY: rule 1.
    let bytes = unsafe { bytes(name, data.cast(), len) }?;
    std::str::from_utf8(bytes).map_err(|error| Failure::new(TAPELINE_UTF8, format_args!("{name}: {error}")))
}

/// A place for a result: found to be there before the call does anything.
#[derive(Debug)]
pub(super) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Errors
    /// The pointer is null, or not aligned.
    #[inline(always)]
    pub(super) fn new(name: &str, place: *mut T) -> Result<Self, Failure> {
        if place.is_null() { Err(null(name)) } else { Self::optional(name, place) }
    }

    /// As [`Out::new`], where null means that the caller does not want the result.
    #[inline(always)]
    pub(super) fn optional(name: &str, place: *mut T) -> Result<Self, Failure> {
        if place.is_aligned() { Ok(Self(place)) } else { Err(unaligned(name)) }
    }

    /// Writes the result.
    ///
    /// # Safety
    /// Rule 1.
    #[inline(always)]
    pub(super) unsafe fn put(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: rule 1; not null, and aligned.
            unsafe { self.0.write(value) };
        }
    }
}

/// A text as a result: its bytes and a 0 in the caller's buffer, and its length, which is also written where the buffer
/// is too small.
///
/// # Safety
/// Rule 1.
pub(super) unsafe fn put_text(
    text: &str,
    (buffer, capacity): (*mut c_char, usize),
    length: *mut usize,
) -> Result<(), Failure> {
    let length = Out::optional("length", length)?;
    // SAFETY: rule 1.
    let buffer = unsafe { slice_mut::<u8>("buffer", buffer.cast(), capacity) }?;
    // SAFETY: rule 1.
    unsafe { length.put(text.len()) };
    let Some((body, rest)) = buffer.split_at_mut_checked(text.len()).filter(|(_, rest)| !rest.is_empty()) else {
        let wanted = text.len() + 1;
        return Err(Failure::new(TAPELINE_BUFFER, format_args!("buffer: {capacity} bytes, where {wanted} are needed")));
    };
    body.copy_from_slice(text.as_bytes());
    rest[0] = 0;
    Ok(())
}

/// The largest size of a structure that is believed.
const STRUCT_BYTES_MAX: usize = 4096;

/// The caller's structure, which may be of an older or a newer version of the header: members that the caller's does
/// not have are 0, and those that this library does not have must be 0. Null stands for all 0.
///
/// # Safety
/// Rule 1: of as many bytes as its first member says.
pub(super) unsafe fn options<T: Versioned>(name: &str, given: *const T, smallest: usize) -> Result<T, Failure> {
    let mut known = std::mem::MaybeUninit::<T>::zeroed();
    if !given.is_null() {
        // SAFETY: rule 1: at least the first member is there.
        let size = unsafe { given.cast::<usize>().read_unaligned() };
        if !(smallest..=STRUCT_BYTES_MAX).contains(&size) {
            return Err(wrong_size(name, size, smallest));
        }
        // SAFETY: rule 1.
        let bytes = unsafe { bytes(name, given.cast(), size) }?;
        let (kept, rest) = bytes.split_at(size.min(size_of::<T>()));
        if rest.iter().any(|&byte| byte != 0) {
            return Err(wrong_size(name, size, smallest));
        }
        // SAFETY: the copy is within the structure, and the caller's memory is not the library's.
        unsafe { known.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(kept.as_ptr(), kept.len()) };
    }
    // SAFETY: any bytes are a value of a `Versioned`.
    Ok(unsafe { known.assume_init() })
}

/// Writes a structure as a result, as much of it as the caller's version has.
///
/// # Safety
/// Rule 1: of as many bytes as its first member says.
pub(super) unsafe fn put_sized<T: Versioned>(name: &str, place: *mut T, value: T) -> Result<(), Failure> {
    if place.is_null() {
        return Err(null(name));
    }
    // SAFETY: rule 1: at least the first member is there.
    let size = unsafe { place.cast::<usize>().read_unaligned() };
    if !(size_of::<usize>()..=STRUCT_BYTES_MAX).contains(&size) {
        return Err(wrong_size(name, size, size_of::<usize>()));
    }
    let (skipped, end) = (size_of::<usize>(), size.min(size_of::<T>()));
    // SAFETY: both have `end` bytes at least; the size stays as the caller wrote it.
    let from = unsafe { std::ptr::from_ref(&value).cast::<u8>().add(skipped) };
    // SAFETY: as above.
    let to = unsafe { place.cast::<u8>().add(skipped) };
    // SAFETY: as above; the value is the library's own.
    unsafe { to.copy_from_nonoverlapping(from, end - skipped) };
    Ok(())
}

#[cold]
fn wrong_size(name: &str, size: usize, smallest: usize) -> Failure {
    let text = format!(
        "{name}: struct_size is {size}; it is sizeof of the structure, {smallest} at least, and members that this library does not know are 0"
    );
    Failure::new(TAPELINE_STRUCT_SIZE, text)
}
