//! A thread with a runtime of tokio, which has the connection of an adapter.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::thread;

use futures_channel::oneshot;
use tapeline_reader::{AdapterError, AdapterResult};
use tokio::sync::mpsc;

/// Work for the thread.
type Work<L> = Box<dyn FnOnce(Rc<L>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The way to the thread, which ends when this is dropped. Its work is done with an `L`, the connection.
pub(super) struct LinkThread<L>(mpsc::UnboundedSender<Work<L>>);

impl<L> fmt::Debug for LinkThread<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkThread")
    }
}

impl<L: 'static> LinkThread<L> {
    /// Starts the thread, which makes its link. `purpose` names it in errors.
    ///
    /// # Errors
    /// [`AdapterError::NoThread`].
    pub(super) fn start(purpose: &'static str, link: impl FnOnce() -> L + Send + 'static) -> AdapterResult<Self> {
        let (sender, mut work) = mpsc::unbounded_channel::<Work<L>>();
        let no_thread = |source| AdapterError::NoThread { purpose, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let run = move || {
            let link = Rc::new(link());
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                while let Some(work) = work.recv().await {
                    tokio::task::spawn_local(work(Rc::clone(&link)));
                }
            });
        };
        thread::Builder::new().name("tapeline-link".into()).spawn(run).map_err(no_thread)?;
        Ok(Self(sender))
    }

    /// Has the thread do some work, and waits for the answer. Work whose answer is not waited for any more is dropped.
    pub(super) fn ask<T, W, F>(&self, work: W) -> impl Future<Output = AdapterResult<T>> + Send + use<L, T, W, F>
    where
        T: Send + 'static,
        W: FnOnce(Rc<L>) -> F + Send + 'static,
        F: Future<Output = AdapterResult<T>> + 'static,
    {
        let (mut sender, answer) = oneshot::channel();
        let work: Work<L> = Box::new(move |link| {
            let work = work(link);
            Box::pin(async move {
                let answer = tokio::select! {
                    () = sender.cancellation() => return,
                    answer = work => answer,
                };
                // Dropped in this moment.
                let _ = sender.send(answer);
            })
        });
        let sent = self.0.send(work);
        async move {
            let ended = || AdapterError::Transient("the thread of the connection has ended".into());
            sent.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        }
    }
}

/// Has TLS done by ring, where the process has not chosen another library.
pub(super) fn choose_tls() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another part of the process may have come first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
