//! A plain client of a server: sends the fields that the relay sends, as a program without a log of its own would.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, IntoFuture, poll_fn};
use std::task::Poll;

use async_nats::HeaderMap;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, StorageType};
use tapeline::kinds;
use tapeline_testing::server::Server;

use crate::args::{RelayArgs, RelayBackend};
use crate::harness::Outcome;
use crate::harness::payloads::Payloads;

/// Events of a pipeline: those of the adapters.
const PIPELINE: usize = 1000;

/// Pipelines that are under way at a time: each number is tried, and the best one counts.
pub(super) const UNDER_WAY: [usize; 2] = [1, 4];

/// A log and a session of any name.
const ID: &str = "000102030405060708090a0b0c0d0e0f";

/// The time of the first event.
const TIME: u64 = 1_700_000_000_000_000_000;

/// Sends the events, and waits until the server has confirmed all of them.
pub(super) fn send(backend: RelayBackend, server: &Server, args: &RelayArgs, under_way: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match backend {
        RelayBackend::Redis => runtime.block_on(redis(server, args, under_way)),
        RelayBackend::Jetstream => runtime.block_on(jetstream(server, args, PIPELINE * under_way)),
    }
}

async fn redis(server: &Server, args: &RelayArgs, under_way: usize) -> Outcome<()> {
    let (next, payloads) = (Cell::new(0), Payloads::new(args.common.payload));
    let client = redis::Client::open(server.url())?;
    let connection = client.get_multiplexed_async_connection().await?;
    let work = || async {
        let mut connection = connection.clone();
        while next.get() < args.events {
            let first = next.replace(next.get() + PIPELINE as u64);
            let mut pipeline = redis::pipe();
            for number in first..(first + PIPELINE as u64).min(args.events) {
                let add = pipeline.cmd("XADD").arg("plain").arg("*");
                add.arg("dedup_id").arg(format!("{ID}-0-{number}"));
                add.arg("ts").arg(TIME + number);
                add.arg("session").arg(ID);
                add.arg("kind").arg(kinds::TOKEN.0);
                add.arg("payload").arg(payloads.of(number)).ignore();
            }
            pipeline.query_async::<()>(&mut connection).await?;
        }
        Ok::<(), redis::RedisError>(())
    };
    let mut working: Vec<_> = (0..under_way).map(|_| Box::pin(work())).collect();
    poll_fn(|context| {
        let mut failed = None;
        working.retain_mut(|work| match work.as_mut().poll(context) {
            Poll::Ready(outcome) => {
                failed = failed.take().or(outcome.err());
                false
            }
            Poll::Pending => true,
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if working.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await?;
    Ok(())
}

/// With so many messages at most that are not acknowledged.
async fn jetstream(server: &Server, args: &RelayArgs, unacknowledged: usize) -> Outcome<()> {
    let client = async_nats::connect(server.url()).await?;
    let context = ContextBuilder::new().max_ack_inflight(unacknowledged).build(client);
    let config = Config {
        name: "plain".into(),
        subjects: vec!["plain.>".into()],
        storage: StorageType::File,
        ..Config::default()
    };
    context.create_stream(config).await?;
    let payloads = Payloads::new(args.common.payload);
    let mut acks = VecDeque::new();
    for number in 0..args.events {
        if acks.len() >= unacknowledged
            && let Some(ack) = acks.pop_front()
        {
            IntoFuture::into_future(ack).await?;
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{ID}-0-{number}"));
        headers.insert("Tapeline-Shard", "0");
        headers.insert("Tapeline-Sequence", number.to_string());
        headers.insert("Tapeline-Timestamp", (TIME + number).to_string());
        headers.insert("Tapeline-Session", ID);
        headers.insert("Tapeline-Kind", kinds::TOKEN.0.to_string());
        let message = PublishMessage::build().headers(headers).payload(payloads.of(number).to_vec().into());
        acks.push_back(context.send_publish("plain.0", message).await?);
    }
    for ack in acks {
        ack.await?;
    }
    Ok(())
}
