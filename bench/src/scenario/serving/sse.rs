//! The server: each session as server-sent events, whose ids are the tokens to resume by.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response, Sse, sse};
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_lite::StreamExt;
use tapeline::EventBus;
use tapeline::consumer::{RelayRequest, Visibility};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::clients;
use super::load::Load;
use crate::harness::Outcome;
use crate::harness::latencies::Latencies;

/// The state of its handlers.
#[derive(Clone)]
struct Server {
    bus: Arc<EventBus>,
    visibility: Visibility,
}

/// So many clients read the load to its end, which is also theirs.
pub(super) fn measure(
    runtime: &Runtime,
    bus: &Arc<EventBus>,
    load: &Load,
    (clients, visibility): (u32, Visibility),
) -> Outcome<Latencies> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    // Small frames would wait for the acknowledgement of those before.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let server = Server { bus: Arc::clone(bus), visibility };
    let router = Router::new().route("/sessions/{session}", get(relay)).with_state(server);
    let server = runtime.spawn(axum::serve(listener, router).into_future());
    let connected = clients::connect(address, clients, load.sessions)?;
    let emitted = load.run_on(bus)?;
    let latencies = connected.finish(&emitted)?;
    server.abort();
    Ok(latencies)
}

async fn relay(State(server): State<Server>, Path(session): Path<String>) -> Response {
    let relay = match server.bus.relay_with(RelayRequest::new(&session).visibility(server.visibility)).await {
        Ok(relay) => relay,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let events = relay.map(|item| match item {
        Ok(event) => sse::Event::default().id(event.token().to_string()).data(event.raw.to_string()),
        Err(gap) => sse::Event::default().event("gap").data(gap.to_string()),
    });
    Sse::new(events.map(Ok::<_, Infallible>)).into_response()
}
