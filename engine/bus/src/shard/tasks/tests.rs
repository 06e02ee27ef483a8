//! The tasks of a companion without their bus.

use std::future::poll_fn;
use std::io;
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::*;

fn new(task: impl Future<Output = ()> + Send + 'static) -> NewTask {
    NewTask::new(move || Box::pin(task))
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn spec() -> io::Result<CompanionSpec> {
    Ok(CompanionSpec::default())
}

/// Hands in a task that keeps the companion until the sender is dropped. Returns once it runs.
fn block(tasks: &ShardTasks) -> mpsc::Sender<()> {
    let (end, may_end) = mpsc::channel::<()>();
    let (begin, has_begun) = mpsc::channel();
    let blocked = async move {
        let _ = begin.send(());
        let _ = may_end.recv();
    };
    tasks.submit(new(blocked), spec).expect("taken");
    has_begun.recv().expect("runs");
    end
}

#[test]
fn tasks_take_turns() {
    let (tasks, (report, order)) = (ShardTasks::default(), mpsc::channel());
    let (open, gate) = mpsc::channel::<()>();
    // The companion waits until all are there.
    let gate = async move {
        let _ = gate.recv();
    };
    tasks.submit(new(gate), spec).expect("taken");
    for number in 0..2 {
        let report = report.clone();
        let turns = async move {
            for _ in 0..3 {
                let _ = report.send(number);
                yield_now().await;
            }
        };
        tasks.submit(new(turns), spec).expect("taken");
    }
    drop((open, report));
    assert_eq!(order.iter().collect::<Vec<i32>>(), [0, 1, 0, 1, 0, 1]);
    tasks.close();
    assert!(tasks.join(far()));
}

#[test]
fn companion_is_made_for_the_first_task_and_ends_with_the_shard() {
    let tasks = ShardTasks::default();
    assert!(tasks.runtime().is_none() && tasks.join(far()), "no task, no thread");
    let (begin, has_begun) = mpsc::channel();
    let line = tasks.submit(
        new(async move {
            let _ = begin.send(std::thread::current().id());
            std::future::pending().await
        }),
        spec,
    );
    let companion = has_begun.recv().expect("runs");
    let again = tasks.submit(new(async {}), || unreachable!("there is one")).expect("taken");
    assert!(Arc::ptr_eq(&line.expect("taken"), &again) && !again.is_here());
    assert_ne!(companion, std::thread::current().id());
    assert!(["glommio", "plain"].contains(&tasks.runtime().expect("made").0));
    tasks.close();
    assert!(tasks.join(far()) && again.has_ended());
    assert!(matches!(tasks.submit(new(async {}), spec), Err(Refusal::Closed)));
}

#[test]
fn task_that_does_not_return_is_waited_for_no_longer_than_asked() {
    let tasks = ShardTasks::default();
    let end = block(&tasks);
    tasks.close();
    assert!(!tasks.join(Instant::now()));
    drop(end);
    assert!(tasks.join(far()), "it is still waited for");
}

#[test]
fn reminders_end_while_they_are_not_heard() {
    let tasks = ShardTasks::default();
    let end = block(&tasks);
    // More than glommio can count.
    (0..100_000).for_each(|_| tasks.remind());
    drop(end);
    let (report, reported) = mpsc::channel();
    let again = poll_fn(move |_| {
        let _ = report.send(());
        Poll::Ready(())
    });
    tasks.submit(new(again), spec).expect("taken");
    reported.recv().expect("goes on");
    tasks.close();
    assert!(tasks.join(far()));
}
