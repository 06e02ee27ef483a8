//! The end of a shard whose tidying thread gets no core.
use super::*;
use tapeline_storage::format::LogShard;

/// Runs what the log waits for; tidying chores are taken and never come back.
#[derive(Default)]
struct Starved {
    chores: Inline,
    taken: Vec<Chore>,
}

impl Background for Starved {
    fn run(&mut self, chore: Chore) {
        if chore.is_tidying() { self.taken.push(chore) } else { self.chores.run(chore) }
    }

    fn done(&mut self) -> Option<ChoreDone> {
        self.chores.done()
    }
}

#[test]
fn shard_ends_though_its_tidying_thread_does_not() {
    let disk = SimDisk::new(3, Faults::default());
    let mut machine = Machine::start(&disk, 3, 1).expect("starts");
    let mut random = Random::new(3);
    (0..200).for_each(|_| machine.step(&mut random));
    let durable = machine.shards[0].log.view().durable();
    // Segments that a crash left have no index yet.
    disk.crash();
    let disk = disk.reboot(Faults::default());
    let recovered = recover(disk.directory(&directory_name(0)), options(0, 4)).expect("recovers");
    let log = recovered.start(Box::new(disk.device(4)));
    let doorbell = Doorbell::new().expect("doorbell");
    let (view, report) = (Arc::clone(log.view()), ShardReport::default());
    let control = Arc::new(ShardControl::new(view, doorbell, report, MemoryShare::default()));
    let mut shard = Shard::new(control, log, Starved::default());
    let mut now = LogOptions::CALM_NS;
    shard.turn(now);
    assert_eq!(shard.background.taken.len(), 1, "a tidying chore is out");
    shard.finish(|| {
        now += 1_000_000;
        now
    });
    assert!(now <= 2 * LogOptions::CLOSE_TIDYING_NS, "{now}");
    assert!(shard.log.poison().is_none());
    let (view, _) = open_shard(&disk.directory(&directory_name(0)), LogShard::new(LOG, 0)).expect("reads");
    assert!(view.appended() >= durable);
    assert!(view.segments().iter().all(|segment| segment.footer().is_some()));
}
