//! Foreign code on the threads of a bus: tasks and wakers of users. A panic in them ends here, and so does one in the drop
//! of what they panicked with.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does the work; a panic becomes its message.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(message)
}

/// Drops what users made.
pub(crate) fn discard<T>(made_by_users: T) {
    // The panic has been printed.
    let _ = contain(move || drop(made_by_users));
}

/// The text that was panicked with, where it is one.
fn message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Its drop may panic as well: leaked, so that this comes to an end.
        std::mem::forget(again);
    }
    text
}
