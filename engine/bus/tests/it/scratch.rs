//! Directories that go away, and buses in them.

use std::path::Path;
use std::time::Duration;

use futures_lite::future::block_on;
use tapeline::retention::RetentionPolicy;
use tapeline::{EventBus, EventBusConfig, EventBusConfigBuilder};

/// A directory of its own for one test.
pub(crate) struct Scratch(tapeline_testing::Scratch);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(tapeline_testing::Scratch::new(name))
    }

    /// In a file system in memory, where there is one: for logs of many files, which a disk takes long to sync.
    pub(crate) fn in_memory(name: &str) -> Self {
        tapeline_testing::Scratch::in_memory(name).map_or_else(|| Self::new(name), Self)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A configuration of a bus here, with small segments.
    pub(crate) fn config(&self) -> EventBusConfigBuilder {
        EventBusConfig::builder().directory(self.path()).segment_bytes(4 << 20)
    }
}

pub(crate) fn open(config: EventBusConfigBuilder) -> EventBus {
    block_on(EventBus::new(config.build().expect("configuration"))).expect("opens")
}

/// Waits until the bus has sealed all segments but the active one of each shard: until then, no trim removes them.
pub(crate) fn wait_until_sealed(bus: &EventBus) {
    let everything = RetentionPolicy::new().max_age(Duration::from_nanos(1));
    while bus.plan_trim(&everything).expect("plans").segments_left > usize::from(bus.num_shards()) {
        std::thread::yield_now();
    }
}
