//! The library itself.

use std::ffi::c_char;

use crate::{code, failure};

/// The version of the functions and structures in the header. A library with another one is another library.
pub const TAPELINE_ABI_VERSION: u32 = 1;

/// `TAPELINE_ABI_VERSION` of the library that the program runs with.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_abi_version() -> u32 {
    TAPELINE_ABI_VERSION
}

/// The library's version, as `0.1.0`. Always there.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// A code in words. Always there, also of a number that is no code.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_strerror(code: i32) -> *const c_char {
    code::text(code).as_ptr()
}

/// The text of this thread's last result that was not 0, with the facts: names, numbers, paths. Never null. Valid until
/// the thread's next result that is not 0.
///
/// Any thread; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn tapeline_last_error() -> *const c_char {
    failure::last_text()
}
