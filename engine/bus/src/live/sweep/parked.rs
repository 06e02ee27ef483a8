//! Sweeps between two pages.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::Sweep;
use crate::live::request::ConsumeRequest;

/// Readers in order of time that a bus remembers between two pages. Others pay for their blocks anew.
const PARKED_MAX: usize = 4;

/// The sweeps whose next page has not been asked for. Each holds the events of a few blocks.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    /// The page that goes on with it asks for this, whatever its limit and patience.
    request: ConsumeRequest,
    sweep: Sweep,
}

impl Parked {
    pub(crate) fn take(&self, request: &ConsumeRequest) -> Option<Sweep> {
        let wanted = key(request, request.from_id.clone()?);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.iter().position(|entry| entry.request == wanted)?;
        let mut sweep = entries.remove(at)?.sweep;
        sweep.renew();
        Some(sweep)
    }

    pub(crate) fn put(&self, request: &ConsumeRequest, cursor: String, sweep: Sweep) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back(Entry { request: key(request, cursor), sweep });
        if entries.len() > PARKED_MAX {
            entries.pop_front();
        }
    }
}

fn key(request: &ConsumeRequest, cursor: String) -> ConsumeRequest {
    let any = ConsumeRequest::new(0);
    ConsumeRequest { from_id: Some(cursor), start: any.start, limit: any.limit, wait: any.wait, ..request.clone() }
}
