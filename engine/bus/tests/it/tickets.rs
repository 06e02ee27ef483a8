//! Tickets: whichever thread holds one learns what became of its event.

use std::sync::Arc;

use futures_lite::future::block_on;
use tapeline::bus::ProducerOptions;
use tapeline::{
    AdapterError, BackpressureMode, Event, EventBusConfig, IngestionError, RawEvent, ReplayRequest, Ticket, kinds,
};

use crate::scratch::{Scratch, open};

#[test]
fn a_ticket_is_answered_by_every_producer_of_its_bus_and_by_no_other_bus() {
    let (bus, other) = (open(EventBusConfig::builder()), open(EventBusConfig::builder()));
    let mut owner = bus.producer().expect("producer");
    let ticket = owner.emit(owner.session("s"), kinds::TOKEN, b"x").expect("emits");
    let mut stranger = bus.producer().expect("producer");
    stranger.emit(stranger.session("s"), kinds::TOKEN, b"y").expect("emits");
    stranger.wait_durable(ticket).expect("durable");
    block_on(bus.readable(ticket)).expect("readable");
    assert!(owner.is_durable(ticket) && stranger.is_durable(ticket) && bus.is_durable(ticket));

    let mut foreign = other.producer().expect("producer");
    foreign.emit(foreign.session("s"), kinds::TOKEN, b"z").expect("emits");
    assert!(!foreign.is_durable(ticket) && !other.is_durable(ticket));
    let is_foreign = |outcome| matches!(outcome, Err(AdapterError::ForeignTicket { shard_id: 0 }));
    assert!(is_foreign(foreign.wait_durable(ticket)));
    assert!(is_foreign(block_on(foreign.durable(ticket))));
    assert!(is_foreign(block_on(other.durable(ticket))));
    assert!(is_foreign(block_on(other.readable(ticket))));
    assert!(block_on(other.event_id(ticket)).is_err());
}

#[test]
fn the_futures_of_tickets_are_send_and_outlive_producer_and_bus() {
    fn task<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let bus = Arc::new(open(EventBusConfig::builder()));
    let mut producer = bus.producer().expect("producer");
    let ticket = producer.emit(producer.session("s"), kinds::TOKEN, b"x").expect("emits");
    let (durable, flushed) = (task(producer.durable(ticket)), task(producer.flush()));
    let (by_bus, readable, id) = (task(bus.durable(ticket)), task(bus.readable(ticket)), task(bus.event_id(ticket)));
    // As in a handler of a server: producer and bus are used across an await.
    let (shared, ours) = (Arc::clone(&bus), bus.producer().expect("producer"));
    let handler = task(async move {
        let mut producer = ours;
        let ticket = producer.emit(producer.session("s"), kinds::TOKEN, b"y").expect("emits");
        producer.durable(ticket).await?;
        producer.flush().await?;
        shared.durable(ticket).await?;
        shared.flush().await
    });
    block_on(handler).expect("durable");
    drop(producer);
    block_on(async {
        durable.await.expect("durable");
        flushed.await.expect("durable");
        by_bus.await.expect("durable");
        readable.await.expect("readable");
        assert!(id.await.expect("readable").is_some());
    });
    let ended = task(bus.durable(ticket));
    block_on(bus.shutdown_via_ref()).expect("ends");
    drop(bus);
    block_on(ended).expect("durable before the end");
}

#[test]
fn a_ticket_is_answered_after_its_producer_and_its_thread_are_gone() {
    let scratch = Scratch::new("tickets-gone");
    let bus = Arc::new(open(scratch.config()));
    let tickets: Vec<Ticket> = (0..8)
        .map(|number: u32| {
            let bus = Arc::clone(&bus);
            let ingest = move || bus.ingest_raw(RawEvent::from_bytes(number.to_le_bytes().to_vec())).expect("taken");
            std::thread::spawn(ingest).join().expect("no panic")
        })
        .collect();
    for ticket in &tickets {
        block_on(bus.durable(*ticket)).expect("durable");
    }
    // By now the lanes of the threads are retired.
    for (number, ticket) in tickets.iter().enumerate() {
        assert!(bus.is_durable(*ticket));
        let id = block_on(bus.event_id(*ticket)).expect("reads").expect("one event of this time");
        let events =
            block_on(bus.replay_with(ReplayRequest::new())).expect("replays").map(|event| event.expect("reads"));
        let found: Vec<_> = events.filter(|event| event.id == id).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].raw[..], (number as u32).to_le_bytes());
    }
}

#[test]
fn the_ticket_of_a_dropped_event_says_so_after_its_producer_is_gone() {
    const PAYLOAD: [u8; 200] = [7; 200];
    let bus = open(EventBusConfig::builder().ring_buffer_capacity(1024));
    // More producers that evict than a shard remembers, once they are gone.
    for round in 0..66 {
        let options = ProducerOptions::new().backpressure_mode(BackpressureMode::DropOldest).lane_bytes(64 << 10);
        let mut producer = bus.producer_with(options).expect("producer");
        let session = producer.session("flood");
        let dropped_before = bus.stats().drops.oldest;
        let mut tickets = Vec::new();
        while bus.stats().drops.oldest == dropped_before {
            for _ in 0..1000 {
                match producer.emit(session, kinds::TOKEN, &PAYLOAD) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(IngestionError::Dropped { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        block_on(producer.flush()).expect("durable");
        let is_lost = |ticket: &&Ticket| !producer.is_durable(**ticket);
        let lost: Vec<_> = tickets.iter().filter(is_lost).copied().collect();
        let last = tickets.last().copied().expect("the newest is kept");
        drop(producer);
        assert!(!lost.is_empty());
        assert!(bus.is_durable(last), "round {round}");
        for ticket in lost {
            assert!(!bus.is_durable(ticket));
            assert!(matches!(block_on(bus.durable(ticket)), Err(AdapterError::Dropped { shard_id: 0 })));
        }
    }
}

#[test]
fn ingest_gives_a_ticket_that_has_the_place_and_the_time_of_its_event() {
    let bus = open(EventBusConfig::builder());
    let ticket = bus.ingest(Event::from_str("1").expect("JSON").with_session("s")).expect("taken");
    let event = block_on(bus.replay("s")).expect("replays").next().expect("an event").expect("reads");
    assert_eq!((event.shard_id, event.insertion_ts), (ticket.shard_id, ticket.insertion_ts));
    assert_eq!(block_on(bus.event_id(ticket)).expect("reads"), Some(event.id));
}

#[test]
fn id_of_an_event_that_is_trimmed_is_none() {
    let bus = open(EventBusConfig::builder().memory_bytes(4 << 20));
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session("s");
    let mut tickets = Vec::new();
    for _ in 0..200 {
        tickets.push(loop {
            match producer.emit(session, kinds::TOKEN, &[7; 100_000]) {
                Ok(ticket) => break ticket,
                Err(_) => std::thread::yield_now(),
            }
        });
    }
    block_on(producer.flush()).expect("readable");
    let kept: Vec<_> = block_on(bus.replay("s")).expect("replays").map(|event| event.expect("reads")).collect();
    assert!((2..200).contains(&kept.len()));
    for ticket in tickets {
        let event = kept.iter().find(|event| event.insertion_ts == ticket.insertion_ts);
        let id = block_on(bus.event_id(ticket)).expect("reads");
        // The first one that is left may stand for one that is not.
        let is_first = event.is_some_and(|event| event.id == kept[0].id);
        assert!(id == event.map(|event| event.id) || (is_first && id.is_none()), "{id:?}");
    }
}
