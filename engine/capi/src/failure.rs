//! Results that are not 0: a code, and a text for people.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::fmt::Display;

use tapeline::consumer::TokenFault;
use tapeline::error::{DirectoryError, FilterError, ParseTokenError, ReadError};
use tapeline::{AdapterError, ConfigError, ConsumerError, IngestionError};

use crate::code::tapeline_code::{self, *};

/// The reason for which a call does not return 0. One pointer: calls that succeed are not to move it.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Box<Reason>);

#[derive(Debug, Clone)]
struct Reason {
    code: tapeline_code,
    text: String,
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The text of the thread's last result that was not 0, which is there until the thread's next one, or its end.
pub(crate) fn last_text() -> *const c_char {
    // A thread that is ending has none.
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

impl Failure {
    #[cold]
    pub(crate) fn new(code: tapeline_code, text: impl Display) -> Self {
        Self(Box::new(Reason { code, text: text.to_string() }))
    }

    #[cold]
    pub(crate) fn timeout() -> Self {
        Self::new(TAPELINE_TIMEOUT, "the time that the caller gave has passed")
    }

    #[cold]
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Self::new(TAPELINE_INTERNAL, format_args!("panic: {}", text.unwrap_or("without a text")))
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> tapeline_code {
        self.0.code
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// Keeps the text for `tapeline_last_error`, and returns the code's number.
    #[cold]
    pub(crate) fn report(self) -> i32 {
        let mut text = self.0.text.into_bytes();
        text.retain(|&byte| byte != 0);
        let _ = LAST.try_with(|last| *last.borrow_mut() = CString::new(text).unwrap_or_default());
        self.0.code as i32
    }
}

impl From<IngestionError> for Failure {
    #[cold]
    fn from(error: IngestionError) -> Self {
        let code = match &error {
            error if error.is_drop() => TAPELINE_DROPPED,
            IngestionError::Backpressure { .. } => TAPELINE_BACKPRESSURE,
            IngestionError::BatchTooLarge { .. }
            | IngestionError::NameTooLong { .. }
            | IngestionError::TooLarge { .. } => TAPELINE_TOO_LARGE,
            IngestionError::Budget { .. }
            | IngestionError::ClosedBudget { .. }
            | IngestionError::EventBudget { .. }
            | IngestionError::Lane { .. }
            | IngestionError::Memory(_) => TAPELINE_MEMORY,
            IngestionError::Cursor { .. } | IngestionError::CursorMode => TAPELINE_CURSOR,
            IngestionError::Forked => TAPELINE_FORKED,
            IngestionError::NoSession => TAPELINE_NO_SESSION,
            IngestionError::Options(_) => TAPELINE_CONFIG,
            IngestionError::Poisoned(_) => TAPELINE_POISONED,
            IngestionError::ReservedKind { .. } => TAPELINE_RESERVED_KIND,
            IngestionError::Serialization(_) => TAPELINE_JSON,
            IngestionError::SessionClosed { .. } => TAPELINE_SESSION_CLOSED,
            IngestionError::ShuttingDown => TAPELINE_SHUTDOWN,
            IngestionError::StorageFull { .. } => TAPELINE_STORAGE_FULL,
            _ => TAPELINE_INTERNAL,
        };
        Self::new(code, error)
    }
}

impl From<AdapterError> for Failure {
    #[cold]
    fn from(error: AdapterError) -> Self {
        Self::new(code_of(&error), error)
    }
}

fn code_of(error: &AdapterError) -> tapeline_code {
    match error {
        AdapterError::Budget { .. } => TAPELINE_MEMORY,
        AdapterError::Config(_) => TAPELINE_CONFIG,
        AdapterError::Directory(DirectoryError::Locked { .. }) => TAPELINE_LOCKED,
        AdapterError::Directory(DirectoryError::Io { .. }) => TAPELINE_IO,
        AdapterError::Directory(_) | AdapterError::Open(_) => TAPELINE_OPEN,
        AdapterError::Dropped { .. } => TAPELINE_DROPPED,
        AdapterError::ForeignTicket { .. } => TAPELINE_TICKET,
        AdapterError::Forked => TAPELINE_FORKED,
        AdapterError::HeldUp { .. } | AdapterError::NoDescriptor { .. } | AdapterError::NoThread { .. } => TAPELINE_IO,
        AdapterError::NotEnded { .. } => TAPELINE_TIMEOUT,
        AdapterError::Poisoned(_) => TAPELINE_POISONED,
        AdapterError::Shutdown => TAPELINE_SHUTDOWN,
        AdapterError::StorageFull { .. } => TAPELINE_STORAGE_FULL,
        _ => TAPELINE_INTERNAL,
    }
}

impl From<ConsumerError> for Failure {
    #[cold]
    fn from(error: ConsumerError) -> Self {
        let code = match &error {
            ConsumerError::Adapter(error) => code_of(error),
            ConsumerError::CursorName(_) | ConsumerError::InvalidCursor { .. } => TAPELINE_CURSOR,
            ConsumerError::CursorStore { .. } | ConsumerError::Read(ReadError::Io { .. }) => TAPELINE_IO,
            ConsumerError::InvalidFilter(_) => TAPELINE_FILTER,
            ConsumerError::InvalidToken { fault: TokenFault::Foreign, .. } => TAPELINE_TOKEN,
            ConsumerError::InvalidToken { .. } => TAPELINE_TOKEN_GONE,
            ConsumerError::Lagged { .. } => TAPELINE_LAGGED,
            ConsumerError::NoSession => TAPELINE_NO_SESSION,
            ConsumerError::Damaged(_) | ConsumerError::Read(_) | ConsumerError::Record { .. } => TAPELINE_DAMAGED,
            _ => TAPELINE_INTERNAL,
        };
        Self::new(code, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(TAPELINE_CONFIG, error)
    }
}

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        Self::new(TAPELINE_FILTER, error)
    }
}

impl From<ParseTokenError> for Failure {
    fn from(error: ParseTokenError) -> Self {
        Self::new(TAPELINE_TOKEN, error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(TAPELINE_JSON, error)
    }
}
