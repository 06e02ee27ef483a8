//! Sessions that are routed to daemons: which worker has which, and which wait for one.
//!
//! A worker is a daemon that shares work with others. This is what the process knows of workers and sessions; the log
//! has all of it, too, in the openings of the sessions and the notes of the workers. A session passes from one worker
//! to the next here, under the lock, and only where the first has ended or has said in the log that it gives it back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use tapeline_capability::{CapabilitySet, RequiredCapability};
use tapeline_storage::format::SessionId;

use super::DaemonStatus;
use super::daemons::Load;
use crate::core::lock::lock;

/// The start of what a session's next worker has to process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The first event of the session as a routed one.
    Earliest,
    /// The opening of this time.
    Time(u64),
    /// After what this cursor covers.
    Cursor(String),
}

/// A session that is to be opened and routed.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) session: SessionId,
    pub(crate) needs: &'a RequiredCapability,
    /// The capabilities of the session's source.
    pub(crate) source: CapabilitySet,
}

/// The reason why no worker gets a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unassigned {
    /// No worker meets the requirement.
    NoWorker,
    /// Those that do take no further session.
    Saturated,
    /// A worker has the session that does not meet the requirement.
    Elsewhere { worker: String },
}

/// A session that is routed.
#[derive(Debug)]
struct Assigned {
    needs: RequiredCapability,
    source: CapabilitySet,
    /// The worker's number. `None`: it waits for one.
    worker: Option<u64>,
    begin: Begin,
    /// The time of its last opening by this process.
    opened_at: u64,
}

/// A worker, as others know it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) status: Arc<DaemonStatus>,
    pub(crate) capabilities: CapabilitySet,
    /// The requirements that the sources of its sessions meet.
    pub(crate) requirements: Vec<RequiredCapability>,
}

impl Worker {
    fn can_do(&self, needs: &RequiredCapability, source: &CapabilitySet) -> bool {
        needs.evaluate(&self.capabilities) && self.requirements.iter().all(|requirement| requirement.evaluate(source))
    }
}

#[derive(Debug)]
struct Entered {
    number: u64,
    worker: Worker,
    sessions: u64,
    /// It takes no further session, because it is about to end.
    is_leaving: bool,
    waker: Option<Waker>,
}

impl Entered {
    /// The order in which workers are chosen. `None`: it takes no further session.
    fn rank(&self) -> Option<(bool, u64, u32)> {
        let Load { is_degraded, saturation } = self.worker.status.load().filter(|_| !self.is_leaving)?;
        Some((is_degraded, self.sessions, (saturation.max(0.0) * 1000.0) as u32))
    }
}

#[derive(Debug, Default)]
struct Book {
    is_recovered: bool,
    next_number: u64,
    workers: Vec<Entered>,
    sessions: HashMap<SessionId, Assigned>,
    /// Those without a worker.
    waiting: Vec<SessionId>,
}

/// The workers of a bus and the sessions that are routed to them.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    book: Mutex<Book>,
    /// Rises when sessions begin to wait.
    changes: AtomicU64,
}

impl Assignments {
    /// Adds the sessions that the log has without a worker, the first time.
    pub(crate) fn recover<E>(
        &self,
        find: impl FnOnce() -> Result<Vec<(SessionId, RequiredCapability, CapabilitySet, Begin)>, E>,
    ) -> Result<(), E> {
        let mut book = lock(&self.book);
        if !book.is_recovered {
            for (session, needs, source, begin) in find()? {
                book.sessions.insert(session, Assigned { needs, source, worker: None, begin, opened_at: 0 });
                book.waiting.push(session);
            }
            book.is_recovered = true;
        }
        drop(book);
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Enters a worker, and returns its number.
    pub(crate) fn enter(&self, worker: Worker) -> u64 {
        let mut book = lock(&self.book);
        let number = book.next_number;
        book.next_number += 1;
        book.workers.push(Entered { number, worker, sessions: 0, is_leaving: false, waker: None });
        number
    }

    /// The worker takes no further session.
    pub(crate) fn prepare_to_leave(&self, number: u64) {
        if let Some(entered) = lock(&self.book).worker(number) {
            entered.is_leaving = true;
        }
    }

    /// The worker has ended. `begin` is where the next worker begins with one of its sessions; `None`: where this one
    /// was to.
    pub(crate) fn leave(&self, number: u64, begin: impl Fn(SessionId) -> Option<Begin>) {
        let mut book = lock(&self.book);
        book.workers.retain(|entered| entered.number != number);
        book.free(number, begin);
        self.call(book);
    }

    /// The worker has said in the log that it gives all of its sessions back.
    pub(crate) fn give_back(&self, number: u64, begin: impl Fn(SessionId) -> Option<Begin>) {
        let mut book = lock(&self.book);
        book.free(number, begin);
        if let Some(entered) = book.worker(number) {
            entered.sessions = 0;
        }
        self.call(book);
    }

    /// Wakes the workers: sessions wait.
    fn call(&self, mut book: std::sync::MutexGuard<'_, Book>) {
        let wakers: Vec<_> = book.workers.iter_mut().filter_map(|entered| entered.waker.take()).collect();
        self.changes.fetch_add(1, Ordering::Release);
        drop(book);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Rises when sessions begin to wait.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Gives a session that waits to a worker that looks for one. Where there is none that it can take, it is woken
    /// when there are others. `Err`: it takes no further session at present.
    pub(crate) fn take(&self, number: u64, waker: &Waker) -> Result<Option<(SessionId, Begin)>, ()> {
        let mut book = lock(&self.book);
        let Book { workers, sessions, waiting, .. } = &mut *book;
        let Some(entered) = workers.iter_mut().find(|entered| entered.number == number) else { return Ok(None) };
        if entered.rank().is_none() {
            return Err(());
        }
        let can_do = |session: &SessionId| {
            sessions.get(session).is_some_and(|assigned| entered.worker.can_do(&assigned.needs, &assigned.source))
        };
        let Some(at) = waiting.iter().position(can_do) else {
            entered.waker = Some(waker.clone());
            return Ok(None);
        };
        let session = waiting.swap_remove(at);
        entered.sessions += 1;
        Ok(sessions.get_mut(&session).map(|assigned| {
            assigned.worker = Some(number);
            (session, assigned.begin.clone())
        }))
    }

    /// Assigns a session, unless a worker has it, and opens it with `open`, which returns the time of the opening. The
    /// lock is held meanwhile: a worker that reads the opening finds the session assigned.
    pub(crate) fn open<T, E: From<Unassigned>>(
        &self,
        job: Job<'_>,
        open: impl FnOnce() -> Result<(T, u64), E>,
    ) -> Result<T, E> {
        let mut book = lock(&self.book);
        let choice = book.choose(&job)?;
        let (opened, time) = open()?;
        let Job { session, needs, source } = job;
        match book.sessions.get_mut(&session) {
            Some(assigned) => {
                (assigned.opened_at, assigned.needs, assigned.source) = (time, needs.clone(), source);
            }
            None => {
                let (begin, needs) = (Begin::Time(time), needs.clone());
                book.sessions.insert(session, Assigned { needs, source, worker: choice, begin, opened_at: time });
                if let Some(entered) = choice.and_then(|number| book.worker(number)) {
                    entered.sessions += 1;
                }
            }
        }
        Ok(opened)
    }

    /// Returns whether the worker was given the session with the opening of this time, and not with an opening that
    /// this worker, which may lag, has yet to read.
    pub(crate) fn begins_with(&self, number: u64, session: SessionId, time: u64) -> bool {
        let book = lock(&self.book);
        let assigned = book.sessions.get(&session).filter(|assigned| assigned.worker == Some(number));
        assigned.is_some_and(|assigned| matches!(assigned.begin, Begin::Time(begin) if begin <= time))
    }

    /// Returns whether the session was not opened again after this time.
    pub(crate) fn is_over(&self, session: SessionId, closed_at: u64) -> bool {
        lock(&self.book).sessions.get(&session).is_none_or(|assigned| assigned.opened_at < closed_at)
    }

    /// Forgets a session that was closed at this time. Returns whether it has: not if it was opened again.
    pub(crate) fn forget(&self, session: SessionId, closed_at: u64) -> bool {
        let mut book = lock(&self.book);
        match book.sessions.get(&session) {
            Some(assigned) if assigned.opened_at >= closed_at => false,
            Some(assigned) => {
                let worker = assigned.worker;
                book.sessions.remove(&session);
                if let Some(entered) = worker.and_then(|number| book.worker(number)) {
                    entered.sessions = entered.sessions.saturating_sub(1);
                }
                true
            }
            None => true,
        }
    }
}

impl Book {
    fn worker(&mut self, number: u64) -> Option<&mut Entered> {
        self.workers.iter_mut().find(|entered| entered.number == number)
    }

    /// The worker of a session: the one that has it, or the freest. `None`: it waits for one.
    fn choose(&mut self, job: &Job<'_>) -> Result<Option<u64>, Unassigned> {
        let known = self.sessions.get(&job.session);
        if let Some(number) = known.and_then(|assigned| assigned.worker) {
            let Some(entered) = self.worker(number) else { return Err(Unassigned::NoWorker) };
            return if entered.worker.can_do(job.needs, &job.source) {
                Ok(Some(number))
            } else {
                Err(Unassigned::Elsewhere { worker: entered.worker.status.name().to_owned() })
            };
        }
        let is_waiting = known.is_some();
        let able = self.workers.iter().filter(|entered| entered.worker.can_do(job.needs, &job.source));
        let able: Vec<_> = able.collect();
        let free = able.iter().filter_map(|entered| Some((entered.rank()?, entered.number)));
        match free.min() {
            Some((_, number)) => Ok(Some(number).filter(|_| !is_waiting)),
            None if able.is_empty() => Err(Unassigned::NoWorker),
            None => Err(Unassigned::Saturated),
        }
    }

    /// Has the sessions of a worker wait for another.
    fn free(&mut self, number: u64, begin: impl Fn(SessionId) -> Option<Begin>) {
        for (session, assigned) in &mut self.sessions {
            if assigned.worker == Some(number) {
                assigned.worker = None;
                assigned.begin = begin(*session).unwrap_or_else(|| assigned.begin.clone());
                self.waiting.push(*session);
            }
        }
    }
}
