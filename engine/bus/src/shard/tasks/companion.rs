//! The companion: the thread that the tasks of a shard run on.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::CompanionSpec;
use super::line::Line;
use super::runtime::{Runtime, SLICE};
use super::set::{TaskSet, yield_now};
use crate::core::foreign;
use crate::shard::core_choice;

/// By how much a companion's nice value is above its shard's: the kernel then gives the tasks a tenth of a core that
/// the shard wants as well.
const NICE: libc::c_int = 10;

/// Starts a companion.
///
/// # Errors
/// The kernel's, where no thread can be made.
pub(super) fn start(spec: CompanionSpec, line: &Arc<Line>) -> io::Result<JoinHandle<()>> {
    let line = Arc::clone(line);
    thread::Builder::new().name(spec.name.clone()).spawn(move || {
        line.begin();
        if !spec.cores.is_empty() {
            // Refused, it runs where its maker may.
            let _ = core_choice::leave_to(&spec.cores);
        }
        yield_to_the_shard();
        live(&line);
        drop(spec.hold);
        line.set_ended();
    })
}

/// The companion's work: runs tasks until it is asked to end, or a panic ends it that is no task's.
fn live(line: &Arc<Line>) {
    let (runtime, note) = Runtime::make();
    line.set_runtime(runtime.name(), note);
    // The set is not the runtime's: what the runtime does with a future after a panic is not known.
    let tasks = Rc::new(RefCell::new(TaskSet::default()));
    let outcome = foreign::contain(|| runtime.run(serve(Arc::clone(line), Rc::clone(&tasks), &runtime)));
    line.finish(outcome.err());
    tasks.borrow_mut().clear();
    foreign::discard(runtime);
}

async fn serve(line: Arc<Line>, tasks: Rc<RefCell<TaskSet>>, runtime: &Runtime) {
    let mut slices = Slices::new();
    poll_fn(|context| {
        line.answer(context.waker());
        if line.is_closing() {
            return Poll::Ready(());
        }
        if slices.is_looking(context) {
            return Poll::Pending;
        }
        let mut tasks = tasks.borrow_mut();
        line.take().into_iter().for_each(|task| tasks.admit(&line, task));
        if tasks.step() {
            slices.go_on(runtime, context);
        } else {
            slices = Slices::new();
        }
        Poll::Pending
    })
    .await;
    line.finish(None);
    tasks.borrow_mut().clear();
    // The runtime's own tasks that those of users have started end when they run the next time.
    yield_now().await;
}

/// The time of tasks that are always ready, in slices, between which the runtime looks at timers, files and sockets.
struct Slices {
    begun: Instant,
    /// Ready once the runtime has looked.
    look: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Slices {
    fn new() -> Self {
        Self { begun: Instant::now(), look: None }
    }

    /// Returns whether the runtime has still to look; then it wakes the caller. Tasks that are ready wait until then:
    /// while any is polled, the runtime does not look.
    fn is_looking(&mut self, context: &mut Context<'_>) -> bool {
        let is_looking = self.look.as_mut().is_some_and(|look| look.as_mut().poll(context).is_pending());
        if self.look.is_some() && !is_looking {
            *self = Self::new();
        }
        is_looking
    }

    /// Has the caller polled again: at once, or when the runtime has looked.
    fn go_on(&mut self, runtime: &Runtime, context: &mut Context<'_>) {
        if self.begun.elapsed() > SLICE {
            self.look = runtime.look();
            if self.is_looking(context) {
                return;
            }
            self.begun = Instant::now();
        }
        context.waker().wake_by_ref();
    }
}

/// The calling thread gets a tenth of a core that the shard wants.
#[allow(unsafe_code)]
fn yield_to_the_shard() {
    // SAFETY: the call takes no pointers. It concerns the calling thread; a refusal leaves its priority as it is.
    unsafe { libc::nice(NICE) };
}
