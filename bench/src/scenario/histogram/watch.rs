//! Observations of events after their call, made between calls.

use std::collections::VecDeque;

use tapeline::event::SessionId;
use tapeline::{Producer, Subscription, Ticket};

use crate::harness::Outcome;
use crate::harness::clock::ticks;

/// The events of one producer that have become durable, and their times.
#[derive(Debug)]
pub(super) struct Durables {
    /// Accepted and not yet durable, the oldest first.
    waiting: VecDeque<Ticket>,
    /// The time at which the event of each call was seen to be durable, in ticks.
    pub(super) seen: Vec<u64>,
}

impl Durables {
    /// Room for so many events.
    pub(super) fn new(events: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(events.min(1 << 16)), seen: touched(events) }
    }

    /// An event was accepted.
    #[inline]
    pub(super) fn accepted(&mut self, ticket: Ticket) {
        self.waiting.push_back(ticket);
    }

    /// Looks once.
    #[inline]
    pub(super) fn look(&mut self, producer: &Producer) {
        while let Some(&ticket) = self.waiting.front()
            && producer.is_durable(ticket)
        {
            self.seen.push(ticks());
            self.waiting.pop_front();
        }
    }
}

/// The events that a live subscriber has been handed, and their times: one after the other of each producer's session.
#[derive(Debug)]
pub(super) struct Deliveries {
    subscription: Subscription,
    sessions: Vec<SessionId>,
    /// For each producer, when the event of each call was delivered, in ticks.
    pub(super) seen: Vec<Vec<u64>>,
}

impl Deliveries {
    /// Deliveries by a subscription of the events of some sessions, so many of each.
    pub(super) fn new(subscription: Subscription, sessions: Vec<SessionId>, events: usize) -> Self {
        let seen = sessions.iter().map(|_| touched(events)).collect();
        Self { subscription, sessions, seen }
    }

    /// Looks once: takes the batch that is there.
    ///
    /// # Errors
    /// If the subscription fails, or something is missing.
    #[inline]
    pub(super) fn look(&mut self) -> Outcome<()> {
        let Some(batch) = self.subscription.try_next_batch() else { return Ok(()) };
        let batch = batch?;
        for event in batch.events() {
            let event = event.map_err(|gap| gap.to_string())?;
            let producer = self.sessions.iter().position(|session| *session == event.session());
            let seen = producer.and_then(|producer| self.seen.get_mut(producer));
            seen.ok_or("an event of another session")?.push(ticks());
        }
        Ok(())
    }

    /// The number of delivered events.
    pub(super) fn count(&self) -> usize {
        self.seen.iter().map(Vec::len).sum()
    }
}

/// An empty list whose memory has been written: no page of it is new in the loop.
pub(super) fn touched(capacity: usize) -> Vec<u64> {
    let mut list = vec![1; capacity];
    list.clear();
    list
}
