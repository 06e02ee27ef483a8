//! Settings and surroundings that do not fit: a clear error, or a fallback that says why.

use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::config::{Driver, Durability};
use tapeline::log::{plan_repair, repair_log};
use tapeline::{
    BackpressureMode, BatchConfig, ConfigError, EventBus, EventBusConfig, IngestionError, LogFiles, RawEvent,
    ScalingPolicy, kinds,
};

use crate::scratch::{Scratch, open};

#[test]
fn every_setting_out_of_range_is_named() {
    let builder = EventBusConfig::builder;
    let cases = [
        (builder().num_shards(0), "num_shards"),
        (builder().num_shards(4097), "num_shards"),
        (builder().scaling(ScalingPolicy { max_shards: 4097, ..ScalingPolicy::default() }), "num_shards"),
        (builder().ring_buffer_capacity(1000), "ring_buffer_capacity"),
        (builder().ring_buffer_capacity(512), "ring_buffer_capacity"),
        (builder().ring_buffer_capacity(1 << 21), "ring_buffer_capacity"),
        (builder().lane_bytes(1 << 15), "lane_bytes"),
        (builder().lane_bytes((1 << 20) + 1), "lane_bytes"),
        (builder().segment_bytes(4096), "segment_bytes"),
        (builder().memory_bytes(1 << 20), "memory_bytes"),
        (builder().durability(Durability::Durable), "durability"),
        (builder().directory("x").durability(Durability::Memory), "durability"),
        (builder().batch(BatchConfig { min_size: 0, ..BatchConfig::default() }), "min_size"),
        (builder().batch(BatchConfig { max_size: 999, ..BatchConfig::default() }), "max_size"),
        (builder().batch(BatchConfig { max_size: 1_000_001, ..BatchConfig::default() }), "max_size"),
        (builder().batch(BatchConfig { max_delay: Duration::ZERO, ..BatchConfig::default() }), "max_delay"),
        (builder().batch(BatchConfig { velocity_window: Duration::ZERO, ..BatchConfig::default() }), "velocity_window"),
        (builder().cores(Vec::new()), "cores"),
        (builder().cores(vec![0]).pinned(false), "cores"),
        (builder().cores(vec![0, 1]).excluded_cores(vec![1]), "cores"),
        (builder().memory_budget(1 << 20), "memory_budget"),
        (builder().backpressure_mode(BackpressureMode::Sample { rate: 0 }), "backpressure_mode"),
        (builder().num_shards(3).scaling(ScalingPolicy::default_for_cpus(2)), "num_shards"),
        (builder().scaling(ScalingPolicy { min_shards: 0, ..ScalingPolicy::default() }), "min_shards"),
    ];
    for (case, setting) in cases {
        let Err(ConfigError::InvalidValue(message)) = case.build() else { panic!("{setting} is accepted") };
        assert!(message.starts_with(setting), "{message}");
    }
}

#[test]
fn directory_that_holds_something_else_is_left_alone() {
    let scratch = Scratch::new("foreign");
    std::fs::create_dir_all(scratch.path()).expect("creates");
    std::fs::write(scratch.path().join("thesis.txt"), "precious").expect("writes");
    let error = block_on(EventBus::new(scratch.config().build().expect("configuration"))).expect_err("foreign");
    assert!(error.to_string().contains("not a log, and not empty"), "{error}");
    let error = LogFiles::open(scratch.path()).expect_err("no log");
    assert!(error.to_string().contains("meta"), "{error}");
}

#[test]
fn repair_sets_aside_what_is_no_file() {
    let scratch = Scratch::new("no-file");
    let bus = open(scratch.config());
    bus.ingest_raw(RawEvent::from_str("kept")).expect("taken");
    block_on(bus.shutdown()).expect("ends");
    let in_log = |name: &str| scratch.path().join(name);
    for name in ["eras", "shard-0000/gaps", "shard-0000/repack.tmp", "shard-0000/00000000000000000777.seg"] {
        let _ = std::fs::remove_file(in_log(name));
        std::fs::create_dir(in_log(name)).expect("made");
    }
    std::os::unix::fs::symlink("/dev/zero", in_log("shard-0000/00000000000000000888.seg")).expect("linked");
    assert!(block_on(EventBus::new(scratch.config().build().expect("configuration"))).is_err());
    repair_log(scratch.path(), |_| {}).expect("repaired");
    assert_eq!(plan_repair(scratch.path(), |_| {}).expect("a plan"), []);
    drop(open(scratch.config()));
    let events = LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays");
    assert_eq!(events.filter(|event| event.is_ok()).count(), 1);
}

#[test]
fn meta_file_is_made_anew_for_the_shards_that_the_log_has() {
    let scratch = Scratch::new("shards");
    let bus = open(scratch.config().num_shards(3));
    bus.ingest_raw(RawEvent::from_str("kept")).expect("taken");
    block_on(bus.shutdown()).expect("ends");
    let in_log = |name: &str| scratch.path().join(name);
    let segment = std::fs::read_dir(in_log("shard-0000")).expect("a directory").find_map(|entry| {
        let path = entry.expect("an entry").path();
        path.extension().is_some_and(|extension| extension == "seg").then_some(path)
    });
    let segment = segment.expect("a segment");
    // Directories that the log did not make; the last is no shard's, whatever it holds.
    for stray in ["shard-0007", "shard-4096", "shard-9999", "shard-65535"] {
        std::fs::create_dir(in_log(stray)).expect("made");
    }
    std::fs::copy(&segment, in_log("shard-65535").join(segment.file_name().expect("a name"))).expect("copied");
    std::fs::write(in_log("meta"), "damaged").expect("written");
    repair_log(scratch.path(), |_| {}).expect("repaired");
    assert_eq!(plan_repair(scratch.path(), |_| {}).expect("a plan"), []);
    let files = LogFiles::open(scratch.path()).expect("opens");
    assert_eq!(files.shards().len(), 3);
    assert_eq!(files.replay_all().expect("replays").filter(|event| event.is_ok()).count(), 1);
}

#[test]
fn blocking_driver_does_the_same() {
    let scratch = Scratch::new("blocking");
    let bus = open(scratch.config().driver(Driver::Blocking));
    assert_eq!(bus.shard_stats()[0].host.device, "blocking");
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    let ticket = producer.emit(session, kinds::TOKEN, b"x").expect("emits");
    producer.wait_durable(ticket).expect("durable");
}

#[test]
fn what_is_refused_is_replaced_or_reported() {
    let scratch = Scratch::new("probe");
    let bus = open(scratch.config());
    let stats = bus.shard_stats().remove(0);
    match stats.host.device {
        "uring" | "io_uring" => {}
        "blocking" => {
            assert!(stats.host.notes.iter().any(|note| note.contains("io_uring") || note.contains("O_DIRECT")))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn core_that_is_not_there_is_reported_and_done_without() {
    let bus = open(EventBusConfig::builder().cores(vec![4095]).num_shards(2));
    let stats = bus.shard_stats();
    assert_eq!(stats[0].host.core, None);
    assert!(stats[0].host.notes.iter().any(|note| note.contains("core 4095")), "{:?}", stats[0].host.notes);
    assert!(stats[1].host.notes.iter().any(|note| note.contains("shared")), "{:?}", stats[1].host.notes);
}

#[test]
fn session_of_another_bus_is_refused() {
    let open = |shards| block_on(EventBus::new(EventBusConfig::builder().num_shards(shards).build().expect("valid")));
    let (wide, narrow) = (open(8).expect("opens"), open(1).expect("opens"));
    let foreign = wide.producer().expect("a producer");
    let session = (0..).map(|number: u32| foreign.session(&number.to_string())).find(|session| session.shard_id() == 5);
    let mut producer = narrow.producer().expect("a producer");
    let refused = producer.emit(session.expect("one of many"), kinds::TOKEN, b"lost");
    assert!(matches!(refused, Err(IngestionError::NoShard { shard_id: 5 })), "{refused:?}");
}

#[test]
fn full_lane_fails_or_blocks_as_it_is_set() {
    // A shard that is slow to take: tiny lanes, a flood.
    let flood = |mode, least_refused| {
        let config = EventBusConfig::builder().lane_bytes(1 << 16).ring_buffer_capacity(1024).backpressure_mode(mode);
        let bus = open(config);
        let mut producer = bus.producer().expect("producer");
        let session = producer.session("s");
        let (mut taken, mut refused) = (0u64, 0u64);
        // A producer that loses its core is no flood for a while.
        while taken + refused < 20_000 || (refused < least_refused && taken < 20_000_000) {
            match producer.emit(session, kinds::TOKEN, &[0; 200]) {
                Ok(_) => taken += 1,
                Err(IngestionError::Backpressure { shard_id: 0 }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        block_on(bus.flush()).expect("flushes");
        let stats = bus.stats();
        assert_eq!((stats.events_ingested, stats.refusals.total()), (taken, refused));
        refused
    };
    assert!(flood(BackpressureMode::FailProducer, 1) > 0);
    assert_eq!(flood(BackpressureMode::Block { deadline: Duration::from_secs(30) }, 0), 0);
}

#[test]
fn shards_run_where_and_how_they_are_set() {
    let all = core_affinity();
    let open = |builder: tapeline::EventBusConfigBuilder| {
        let bus = block_on(EventBus::new(builder.build().expect("configuration"))).expect("opens");
        bus.shard_stats()
    };
    let unpinned = open(EventBusConfig::builder().pinned(false));
    assert_eq!(
        (unpinned[0].host.core, unpinned[0].host.notes.len()),
        (None, open(EventBusConfig::builder())[0].host.notes.len())
    );
    let (first, others) = all.split_first().expect("a core");
    if !others.is_empty() {
        let excluded = open(EventBusConfig::builder().excluded_cores(others.to_vec()).num_shards(2));
        assert!(excluded.iter().all(|shard| shard.host.core == Some(*first)), "{excluded:?}");
    }
    let nowhere = open(EventBusConfig::builder().excluded_cores(all));
    assert!(nowhere[0].host.core.is_none() && nowhere[0].host.notes.iter().any(|note| note.contains("excluded_cores")));
    let busy = EventBusConfig::builder().idle(tapeline::config::IdleMode::BusyPoll).build();
    let bus = block_on(EventBus::new(busy.expect("configuration"))).expect("opens");
    bus.ingest(tapeline::Event::from_str("1").expect("JSON")).expect("taken");
    block_on(bus.flush()).expect("flushes");
    block_on(bus.shutdown()).expect("ends");
}

/// The cores that this process may use.
fn core_affinity() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<usize>().expect("a core")..=last.parse::<usize>().expect("a core")
    };
    list.trim().split(',').flat_map(range).collect()
}
