//! The receipt of an event, and the ways to learn what became of it, for whichever thread holds it.
//!
//! A ticket names a producer of a bus and an entry of its lane. The lane's numbers outlive the lane's memory for as
//! long as something of it is not acknowledged; a producer that is not among those with a lane is gone and served.

use std::sync::Arc;

use tapeline_reader::source::first_since_from;
use tapeline_reader::{AdapterError, AdapterResult, ConsumerResult, EventId};
use tapeline_storage::format::Sequence;
use tapeline_storage::log::{Grain, LogView};
use tapeline_storage::read::{LogReader, ReadError, Step};

use crate::bus_core::BusCore;
use crate::lane::{LaneHandle, Overflow};
use crate::shard::{Barrier, LaneState, Reach, ShardControl};

/// Events of several producers are stored almost in order of time: none after one that is later by more than this.
const DISORDER_NS: u64 = 1_000_000_000;

/// Receipt of an event: proof that it was taken, and the way to learn when it is durable. Any thread may ask the bus
/// ([`EventBus::durable`](crate::EventBus::durable)) or any of its producers; another bus answers with an error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut producer = bus.producer()?;
/// let ticket = producer.emit(producer.session("chat-42"), kinds::TOKEN, b"hello")?;
/// drop(producer);
/// bus.durable(ticket).await?;
/// assert!(bus.is_durable(ticket));
/// // Another bus does not know the ticket.
/// assert!(EventBus::new(EventBusConfig::default()).await?.durable(ticket).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The shard that got the event.
    pub shard_id: u16,
    /// The two parts of its [`Origin`], in the room beside the shard: each ingest returns a ticket.
    bus: u16,
    producer: u32,
    /// The event's time: nanoseconds since the Unix epoch, strictly rising within a producer.
    pub insertion_ts: u64,
    /// Lane entry that must be durable.
    entry: u64,
}

/// The producer that gave a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The number of its bus in the process, doubled; one more where its lanes evict.
    bus: u16,
    /// Its number on the bus.
    producer: u32,
}

impl Origin {
    pub(super) fn new(core: &BusCore, producer: u64, overflow: Overflow) -> Self {
        let evicts = u16::from(overflow == Overflow::Evict);
        // Numbers repeat after four billion producers, of which the first ones are gone.
        Self { bus: bus_tag(core) | evicts, producer: producer as u32 }
    }

    fn evicts(self) -> bool {
        self.bus & 1 == 1
    }
}

/// The number of a bus as tickets have it. Repeats after 32,768 buses of a process.
fn bus_tag(core: &BusCore) -> u16 {
    (core.producers().bus() as u16) << 1
}

impl Ticket {
    #[inline(always)]
    pub(super) fn new(origin: Origin, shard: u16, entry: u64, timestamp: u64) -> Self {
        let Origin { bus, producer } = origin;
        Self { shard_id: shard, bus, producer, insertion_ts: timestamp, entry }
    }

    /// The ticket as numbers, for a program in another language to keep.
    ///
    /// ```
    /// # use tapeline::{Event, EventBus, Ticket};
    /// # let bus = futures_lite::future::block_on(EventBus::new(Default::default())).unwrap();
    /// let ticket = bus.ingest(Event::from_str("1").unwrap()).unwrap();
    /// assert_eq!(Ticket::from_words(ticket.to_words()), ticket);
    /// ```
    #[inline(always)]
    pub fn to_words(self) -> [u64; 3] {
        let first = u64::from(self.shard_id) | u64::from(self.bus) << 16 | u64::from(self.producer) << 32;
        [first, self.insertion_ts, self.entry]
    }

    /// The ticket of these numbers. One that no event had is as another bus's, or never reaches what is waited for.
    pub fn from_words(words: [u64; 3]) -> Self {
        let [first, insertion_ts, entry] = words;
        let (shard_id, bus, producer) = (first as u16, (first >> 16) as u16, (first >> 32) as u32);
        Self { shard_id, bus, producer, insertion_ts, entry }
    }

    pub(super) fn is_of(self, origin: Origin) -> bool {
        self.origin() == origin
    }

    fn origin(self) -> Origin {
        Origin { bus: self.bus, producer: self.producer }
    }

    pub(super) fn entry(self) -> u64 {
        self.entry
    }

    /// Waits until the event has come as far as `reach`. Holds no reference to a producer or a bus.
    ///
    /// # Errors
    /// As [`EventBus::durable`](crate::EventBus::durable).
    pub(crate) fn reached(
        self,
        core: &BusCore,
        reach: Reach,
    ) -> impl Future<Output = AdapterResult<()>> + Send + use<> {
        let found = self.find(core);
        async move {
            let Found { control, lane } = found?;
            if let Some(lane) = &lane {
                control.reached(&Barrier::of(lane.clone(), self.entry), reach).await?;
            }
            self.check_kept(&control, lane.as_ref())
        }
    }

    /// As [`Ticket::reached`], blocking the thread.
    ///
    /// # Errors
    /// As [`EventBus::durable`](crate::EventBus::durable).
    pub(crate) fn wait_reached(self, core: &BusCore, reach: Reach) -> AdapterResult<()> {
        let Found { control, lane } = self.find(core)?;
        if let Some(lane) = &lane {
            control.wait_reached(&Barrier::of(lane.clone(), self.entry), reach)?;
        }
        self.check_kept(&control, lane.as_ref())
    }

    /// Returns whether the event has come as far as `reach`; `false` of another bus's.
    pub(crate) fn has_reached(self, core: &BusCore, reach: Reach) -> bool {
        let Ok(Found { control, lane }) = self.find(core) else { return false };
        let is_there = lane.as_ref().is_none_or(|lane| Barrier::of(lane.clone(), self.entry).is_reached(reach));
        is_there && self.check_kept(&control, lane.as_ref()).is_ok()
    }

    /// The id of the event, once it can be read; `None` where the log does not have it, or has several events of the
    /// ticket's time.
    ///
    /// # Errors
    /// As [`EventBus::event_id`](crate::EventBus::event_id).
    pub(crate) fn event_id(
        self,
        core: &BusCore,
    ) -> impl Future<Output = ConsumerResult<Option<EventId>>> + Send + use<> {
        let (readable, log_id) = (self.reached(core, Reach::Appended), core.log_id());
        let control = core.shards().get(self.shard_id);
        async move {
            readable.await?;
            let Some(control) = control else { return Ok(None) };
            let sequence = sequence_at(control.view(), control.facts().opened_at(), self.insertion_ts)?;
            Ok(sequence.map(|sequence| EventId { log: log_id, shard_id: self.shard_id, sequence }))
        }
    }

    /// # Errors
    /// [`AdapterError::ForeignTicket`], [`AdapterError::Forked`].
    fn find(self, core: &BusCore) -> AdapterResult<Found> {
        core.check_fork()?;
        let foreign = AdapterError::ForeignTicket { shard_id: self.shard_id };
        if self.bus & !1 != bus_tag(core) {
            return Err(foreign);
        }
        let control = core.shards().get(self.shard_id).ok_or(foreign)?;
        let lane = match control.lanes().state(self.producer()) {
            LaneState::Present(lane) => Some(lane),
            LaneState::Retired => None,
        };
        Ok(Found { control, lane })
    }

    fn producer(self) -> u64 {
        u64::from(self.producer)
    }

    /// # Errors
    /// [`AdapterError::Dropped`].
    fn check_kept(self, control: &ShardControl, lane: Option<&LaneHandle>) -> AdapterResult<()> {
        let is_lost = self.origin().evicts()
            && match lane {
                Some(lane) => lane.was_evicted(self.entry),
                None => control.lanes().may_have_evicted(self.producer(), self.entry),
            };
        if is_lost { Err(AdapterError::Dropped { shard_id: self.shard_id }) } else { Ok(()) }
    }
}

/// The sequence of the only event of this time, at `opened_at` or after it. `None` also where that one may be trimmed,
/// and another one has its time. Looks at the blocks that begin up to [`DISORDER_NS`] later, and reads those that can
/// hold it.
///
/// # Errors
/// The kernel's, where files cannot be read.
fn sequence_at(view: &Arc<LogView>, opened_at: Sequence, time: u64) -> ConsumerResult<Option<Sequence>> {
    let from = view.trimmed().max(opened_at);
    let mut reader = LogReader::new(Arc::clone(view), first_since_from(view, from, time)?);
    let mut found = None;
    if reader.next_sequence() == from && from > opened_at {
        return Ok(None);
    }
    while let Some(span) = view.span(reader.next_sequence(), view.appended(), Grain::Block).ok().flatten() {
        if span.first_timestamp > time.saturating_add(DISORDER_NS) {
            break;
        }
        if !(span.first_timestamp..=span.last_timestamp).contains(&time) {
            reader.return_to(span.end);
            continue;
        }
        match reader.step() {
            Ok(Step::Block(block)) => {
                for (at, record) in block.records().enumerate() {
                    if record.is_ok_and(|record| record.timestamp() == time)
                        && found.replace(block.first_sequence().plus(at as u64)).is_some()
                    {
                        return Ok(None);
                    }
                }
            }
            // Of other events, or of one that the log has no more.
            Ok(Step::Gap(_)) => {}
            Err(ReadError::Corrupt { .. }) => drop(reader.pass_damage()),
            Ok(Step::End) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// The lane of a ticket, while there is one.
struct Found {
    control: Arc<ShardControl>,
    lane: Option<LaneHandle>,
}
