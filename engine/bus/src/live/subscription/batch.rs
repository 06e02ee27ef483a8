//! Events where they lie.

use std::sync::Arc;

use tapeline_reader::selection::Selection;
use tapeline_reader::{CompiledFilter, EventView, Gap, kinds, note};
use tapeline_storage::format::{Records, Sequence};
use tapeline_storage::read::Block;

/// Events of one block of one shard, in order, where they lie. Holding on to it holds on to the block's memory, which
/// is the shard's or a mapping's; where readers hold half of a shard's blocks already, and in a file that is being
/// written, it is a copy of its own, of 1 MiB at most.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig, SubscribeRequest};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest(Event::from_str("1")?)?;
/// let mut events = bus.subscribe(SubscribeRequest::new()).await?;
/// let batch = events.next_batch().await.unwrap()?;
/// for event in batch.events() {
///     // Borrowed from the shard's memory.
///     assert_eq!(event.unwrap().payload(), b"1");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EventBatch {
    shard_id: u16,
    block: Block,
    selection: Arc<Selection>,
}

impl EventBatch {
    pub(super) fn new(shard_id: u16, block: Block, selection: Arc<Selection>) -> Self {
        Self { shard_id, block, selection }
    }

    /// The shard.
    pub fn shard_id(&self) -> u16 {
        self.shard_id
    }

    /// Sequence of the first event, whether it was asked for or not.
    pub fn first_sequence(&self) -> Sequence {
        self.block.first_sequence()
    }

    /// Events in the block, those that were not asked for included.
    pub fn scanned(&self) -> usize {
        self.block.count()
    }

    /// The events that were asked for, and a gap for each record that does not check or reports one. Costs 7 to 12 ns
    /// for each record of 64 bytes, and the filter besides.
    #[inline]
    pub fn events(&self) -> Events<'_> {
        Events {
            shard_id: self.shard_id,
            next: self.block.first_sequence(),
            records: self.block.records(),
            filter: self.selection.filter(),
            selection: &self.selection,
        }
    }
}

/// Iterates over the events of a batch.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, RawEvent, SubscribeRequest};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut subscription = bus.subscribe(SubscribeRequest::live()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let batch = subscription.next_batch().await.expect("the bus runs")?;
/// for event in batch.events() {
///     match event {
///         Ok(event) => println!("{} bytes", event.payload().len()),
///         Err(gap) => println!("{gap}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Events<'a> {
    shard_id: u16,
    /// Sequence of the next record.
    next: Sequence,
    records: Records<'a>,
    filter: Option<&'a CompiledFilter>,
    selection: &'a Selection,
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<EventView<'a>, Gap>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = self.records.next()?;
            let sequence = self.next;
            self.next = sequence.plus(1);
            let event = match record {
                Ok(record) if note::is_reserved(record.kind()) => {
                    match Gap::of_note(self.shard_id, sequence, &record, self.selection) {
                        Some(gap) => return Some(Err(gap)),
                        None => continue,
                    }
                }
                Ok(record) => {
                    if record.kind() == kinds::SESSION {
                        self.selection.names().open().meet(record.session(), record.payload());
                    }
                    EventView::new(self.shard_id, sequence, record).named_by(self.selection.names())
                }
                Err(error) => return Some(Err(Gap::of_record(self.shard_id, sequence, &error))),
            };
            if self.filter.is_none_or(|filter| filter.matches(&event)) {
                return Some(Ok(event));
            }
        }
    }
}
