//! A plan removes what its policy says, all of it and nothing else; shards carry it out; readers get gaps.

use tapeline_reader::named::Pin;
use tapeline_reader::trim::plan;
use tapeline_reader::{RetentionPolicy, TrimPlan, TrimReason};

use tapeline_testing::seeds;

use super::*;

fn random_policy(random: &mut Random, views: &[Arc<LogView>], now: u64) -> RetentionPolicy {
    let segments: Vec<_> = views.iter().flat_map(|view| view.segments()).collect();
    let times: Vec<_> = segments.iter().filter_map(|segment| segment.footer()).map(|it| it.last_timestamp).collect();
    let mut policy = RetentionPolicy::new();
    if random.chance(5000) {
        policy = policy.max_segments(1 + random.below(segments.len() as u64 + 1) as usize);
    }
    if random.chance(5000) {
        let bytes: u64 = segments.iter().map(|segment| segment.file_bytes()).sum();
        policy = policy.max_bytes(random.below(bytes + 1));
    }
    if !times.is_empty() && random.chance(5000) {
        let time = times[random.below(times.len() as u64) as usize];
        policy = policy.max_age(std::time::Duration::from_nanos(now - time + random.below(3)));
    }
    policy
}

/// The oldest first, of each shard a beginning, each for a reason that held; and no reason holds for what is left.
fn check(seed: u64, views: &[Arc<LogView>], policy: &RetentionPolicy, pins: &[Pin], now: u64, plan: &TrimPlan) {
    let oldest = policy.max_age.map_or(0, |age| now - age.as_nanos() as u64);
    let (mut segments, mut bytes) = (0, 0);
    for view in views {
        let there = view.segments();
        segments += there.len();
        bytes += there.iter().map(|segment| segment.file_bytes()).sum::<u64>();
        let gone: Vec<_> =
            plan.removed.iter().filter(|gone| gone.shard_id == view.shard()).map(|gone| gone.base).collect();
        let begins = there.iter().map(|segment| segment.base()).take(gone.len());
        assert!(gone.iter().copied().eq(begins), "seed {seed}: a beginning of shard {}", view.shard());
    }
    for gone in &plan.removed {
        let holds = match gone.reason {
            TrimReason::Age => gone.last_insertion_ts < oldest,
            TrimReason::Bytes => policy.max_bytes.is_some_and(|most| bytes > most),
            TrimReason::Segments => policy.max_segments.is_some_and(|most| segments > most),
            reason => panic!("{reason}"),
        };
        assert!(holds, "seed {seed}: {gone:?}");
        assert!(pins.iter().all(|pin| pin.shard != gone.shard_id || pin.next >= gone.end), "seed {seed}: {gone:?}");
        (segments, bytes) = (segments - 1, bytes - gone.bytes);
    }
    assert_eq!((plan.segments_left, plan.bytes_left), (segments, bytes), "seed {seed}");
    let left = |view: &Arc<LogView>| {
        let cut = plan.cuts().get(&view.shard()).copied().unwrap_or_default();
        let sealed = view.segments().into_iter().filter(|segment| segment.footer().is_some());
        sealed.filter(|segment| segment.base() >= cut).collect::<Vec<_>>()
    };
    let left: Vec<_> = views.iter().flat_map(left).collect();
    if plan.kept.is_empty() && !left.is_empty() {
        assert!(policy.max_bytes.is_none_or(|most| bytes <= most), "seed {seed}: too many bytes are left");
        assert!(policy.max_segments.is_none_or(|most| segments <= most), "seed {seed}: too many segments are left");
        let old = left.iter().filter_map(|segment| segment.footer()).any(|footer| footer.last_timestamp < oldest);
        assert!(!old, "seed {seed}: something old is left");
    }
    for kept in &plan.kept {
        assert!(pins.iter().any(|pin| pin.cursor == kept.cursor && pin.shard == kept.segment.shard_id), "seed {seed}");
    }
}

fn run(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(seed, Faults::default());
    let mut machine = Machine::start(&disk, seed, 1 + random.below(3) as u16).expect("starts");
    for _ in 0..random.below(800) {
        machine.step(&mut random);
    }
    let views: Vec<_> = machine.core.shards().views().collect();
    let now = 1 + views
        .iter()
        .flat_map(|view| view.segments())
        .filter_map(|it| it.footer().map(|it| it.last_timestamp))
        .max()
        .unwrap_or(1);
    let policy = random_policy(&mut random, &views, now);
    let mut pins = Vec::new();
    for view in &views {
        if random.chance(3000) {
            let next = Sequence::new(random.below(view.appended().get() + 1));
            pins.push(Pin { cursor: "reader".into(), shard: view.shard(), next, fault: None });
        }
    }
    let plan = plan(&views, &policy, &pins, now);
    check(seed, &views, &policy, &pins, now, &plan);
    for (shard, to) in plan.cuts() {
        machine.core.shards().get(shard).expect("shard").inbox().ask_to_trim(to);
    }
    (0..200).for_each(|_| machine.turn(&mut random));
    for view in &views {
        let cut = plan.cuts().get(&view.shard()).copied().unwrap_or_default();
        assert_eq!(view.trimmed(), cut, "seed {seed}");
        let names = disk.files(&directory_name(view.shard()));
        match names.iter().filter(|name| name.starts_with('0')).min() {
            Some(first) => assert!(first.starts_with(&format!("{:020}", cut.get())), "seed {seed}: {first} but {cut}"),
            // Everything written so far is gone, and nothing has been written since.
            None => assert_eq!(cut, view.durable(), "seed {seed}"),
        }
    }
    // A reader that stood at the beginning gets a gap for the hole, and the rest.
    for view in &views {
        let mut reader = LogReader::new(Arc::clone(view), Sequence::ZERO);
        if view.trimmed() > Sequence::ZERO {
            let gap = reader.step().expect("reads");
            assert!(matches!(gap, Step::Gap(gap) if gap.to == view.trimmed()), "seed {seed}: {gap:?}");
        }
        while let Step::Block(block) = reader.step().expect("reads") {
            assert!(block.first_sequence() >= view.trimmed(), "seed {seed}");
        }
        assert_eq!(reader.next_sequence(), view.appended(), "seed {seed}");
    }
    plan.removed.len()
}

#[test]
fn plans_keep_to_their_policies_and_are_carried_out() {
    let removed: usize = seeds(300).map(run).sum();
    assert!(removed > 200, "something is removed: {removed}");
}
