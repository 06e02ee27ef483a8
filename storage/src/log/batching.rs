//! The number of events of a batch: of a block that is written, and of the events that are handed to a backend.

/// Sizes and times of batches. Times are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Fewest events that end a batch before its time. At least 1.
    pub events_min: usize,
    /// Most events that a batch holds. At least `events_min`.
    pub events_max: usize,
    /// Nanoseconds for which the first event of a batch waits for others.
    pub delay_ns: u64,
    /// The window over which the rate of events is measured; `None`: it is not measured, and a batch ends with
    /// `events_max` events or its time.
    pub window_ns: Option<u64>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { events_min: 1_000, events_max: 10_000, delay_ns: 10_000_000, window_ns: Some(100_000_000) }
    }
}

/// The number of events that ends a batch now: as many as come in its time, between the least and the most.
#[derive(Debug)]
pub struct BatchTarget {
    options: BatchOptions,
    events: usize,
    /// The beginning of the measurement, and the number of events until then.
    window: Option<(u64, u64)>,
}

impl BatchTarget {
    /// The target before anything was measured.
    pub fn new(options: BatchOptions) -> Self {
        let events = if options.window_ns.is_some() { options.events_min } else { options.events_max };
        Self { options, events, window: None }
    }

    /// The options.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Events that are to end a batch.
    pub fn events(&self) -> usize {
        self.events
    }

    /// There have been `total` events at `now`. Called for each batch.
    pub fn note(&mut self, now: u64, total: u64) {
        let Some(window_ns) = self.options.window_ns else { return };
        let (since, before) = *self.window.get_or_insert((now, total));
        let elapsed = now.saturating_sub(since);
        if elapsed >= window_ns {
            let come = u128::from(total.saturating_sub(before)) * u128::from(self.options.delay_ns);
            let in_time = usize::try_from(come / u128::from(elapsed.max(1))).unwrap_or(usize::MAX);
            self.events = in_time.clamp(self.options.events_min, self.options.events_max);
            self.window = Some((now, total));
        }
    }
}
