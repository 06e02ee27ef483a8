//! The drops of the parts of a bus: in any order, each on any kind of thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapeline::EventBus;
use tapeline_storage::device::sim::Random;

use super::surroundings::TASKS;
use crate::runner::step;

/// Anything that goes away at some time.
pub(crate) type Part = Box<dyn Send>;

thread_local! {
    /// The parts that go when their thread does.
    static LAST: RefCell<Vec<Part>> = const { RefCell::new(Vec::new()) };
}

/// Drops the parts in any order, on any threads, and waits until each is gone. The bus is among them, and may go last
/// on a thread of its own shard.
pub(crate) fn drop_all(bus: Arc<EventBus>, mut parts: Vec<Part>, random: &mut Random) {
    let on_shard = (random.below(4) == 0).then(|| leave_to_shard(&bus, random));
    let place = parts.len();
    parts.push(Box::new(bus));
    let last = random.below(parts.len() as u64) as usize;
    parts.swap(place, last);
    for part in parts {
        drop_somewhere(part, random);
    }
    if let Some(go) = on_shard {
        step("drop the bus on its shard");
        go.store(true, Ordering::SeqCst);
    }
}

/// A task on a shard keeps the bus until it may drop it.
fn leave_to_shard(bus: &Arc<EventBus>, random: &mut Random) -> Arc<AtomicBool> {
    let (go, owner) = (Arc::new(AtomicBool::new(false)), Arc::clone(bus));
    let may_go = Arc::clone(&go);
    let shard = random.below(u64::from(bus.num_shards())) as u16;
    TASKS.fetch_add(1, Ordering::Relaxed);
    // Refused by a bus that has ended: then the task is dropped here, and the bus with it.
    let _ = bus.run_on_shard(shard, move |context| async move {
        while !may_go.load(Ordering::SeqCst) {
            context.yield_now().await;
        }
        drop(owner);
    });
    go
}

fn drop_somewhere(part: Part, random: &mut Random) {
    match random.below(5) {
        0 => {
            step("drop a part on the main thread");
            drop(part);
        }
        1 => {
            step("drop a part on another thread");
            join(std::thread::spawn(move || drop(part)));
        }
        2 => {
            step("drop a part at the end of a thread");
            join(std::thread::spawn(move || LAST.with_borrow_mut(|last| last.push(part))));
        }
        3 => {
            step("drop a part in a runtime");
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
            runtime.block_on(async move {
                let _ = tokio::spawn(async move { drop(part) }).await;
            });
        }
        _ => {
            step("drop a part in a thread that panics");
            let thread = std::thread::spawn(move || {
                let _part = part;
                std::panic::panic_any(format!("{}: the owner of a part", crate::runner::ON_PURPOSE));
            });
            let _ = thread.join();
        }
    }
}

fn join(thread: std::thread::JoinHandle<()>) {
    // The panic hook reports a panic.
    let _ = thread.join();
}
