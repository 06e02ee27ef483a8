//! The thread that keeps a log within its retention policy.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tapeline_reader::RetentionPolicy;

use super::{carry_out, plan_for_bus};
use crate::bus_core::BusCore;
use crate::core::lock::lock;
use crate::core::seam::Step;
use crate::core::{foreign, seam};
use crate::factory::ShardFactory;

/// The time between two looks at the log.
const PERIOD: Duration = Duration::from_secs(1);

/// The bus's hold on the thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// The thread ends when it is dropped.
    end: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn start(policy: RetentionPolicy, core: Arc<BusCore>, factory: Arc<ShardFactory>) -> io::Result<Self> {
        seam::pass(core.log_id(), Step::Keeper)?;
        let (end, ended) = mpsc::channel();
        let work = move || {
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                // A trim that fails now is tried again: nothing depends on it but space.
                let _ = plan_for_bus(&core, &policy).and_then(|mut plan| carry_out(&core, factory.store(), &mut plan));
            }
        };
        let thread = std::thread::Builder::new().name("tapeline-keeper".into()).spawn(work)?;
        Ok(Self { end: Mutex::new(Some(end)), thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        drop(lock(&self.end).take());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            foreign::discard(thread.join());
        }
    }

    /// In a forked child: the thread is the parent's, and so may be the lock of its handle.
    pub(crate) fn forget_thread(self: &Arc<Self>) {
        match self.thread.try_lock() {
            Ok(mut thread) => std::mem::forget(thread.take()),
            Err(_) => std::mem::forget(Arc::clone(self)),
        }
    }
}
