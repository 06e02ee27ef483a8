//! Server-sent events: a server streams answers of a model, and each client may lose its connection and resume.
//!
//! `POST /sessions/NAME` starts an answer; `GET /sessions/NAME` streams it, after the event in `Last-Event-ID`, if any.
//! `sse_server DIRECTORY ADDRESS` serves until SIGTERM: then everything becomes durable, and every stream ends. Without
//! arguments the program is its own client, which loses its connection once.

use std::{sync::Arc, time::Duration};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Sse, sse::Event};
use axum::{Router, routing::get, serve::ListenerExt};
use futures_lite::StreamExt;
use tapeline::consumer::{RelayRequest, TokenFault, Visibility};
use tapeline::event::{SessionChange, SessionOutcome};
use tapeline::{ConsumerError, EventBus, EventBusConfig, IngestionError, StoredEvent, kinds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Refusal = (StatusCode, String);
type Bus = State<Arc<EventBus>>;

async fn stream(State(bus): Bus, Path(name): Path<String>, headers: HeaderMap) -> Result<impl IntoResponse, Refusal> {
    // A client sees only what no crash can take from it.
    let mut request = RelayRequest::new(&name).visibility(Visibility::Durable);
    if let Some(last) = headers.get("last-event-id") {
        let token = last.to_str().unwrap_or_default().parse();
        request = request.after(token.map_err(|error| (StatusCode::BAD_REQUEST, format!("Last-Event-ID: {error}")))?);
    }
    let frames = bus.relay_with(request).await.map_err(refused)?.map(frame);
    Ok(Sse::new(frames).keep_alive(Default::default()))
}

fn frame(item: Result<StoredEvent, ConsumerError>) -> Result<Event, ConsumerError> {
    let (token, name, data) = match item {
        Ok(event) => {
            let of_session = || if SessionChange::is_close(&event.raw) { "end" } else { "session" };
            let name = if event.kind == kinds::SESSION { of_session() } else { "message" };
            // Lines end at carriage returns, too, which JSON escapes.
            (Some(event.token()), name, serde_json::Value::from(event.raw.to_string()).to_string())
        }
        // The client gets a report, and resumes after the gap: an error would end its stream, again and again.
        Err(ConsumerError::Gap(gap)) => (gap.token, "gap", gap.to_string()),
        // The body breaks off, and the client comes back with its last id.
        Err(error) => return Err(error),
    };
    let frame = if let Some(token) = token { Event::default().id(token.to_string()) } else { Event::default() };
    Ok(frame.event(name).data(data))
}

fn refused(error: ConsumerError) -> Refusal {
    let status = match &error {
        ConsumerError::InvalidToken { fault: TokenFault::Foreign, .. } => StatusCode::BAD_REQUEST,
        // The message has the earliest token that still works.
        ConsumerError::InvalidToken { .. } => StatusCode::GONE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, error.to_string())
}

async fn start(State(bus): Bus, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    let unavailable = |error: IngestionError| (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let mut producer = bus.producer().map_err(unavailable)?;
    let session = producer.open_session(&name).map_err(unavailable)?;
    // Stands for a model. Ends early if the bus does.
    tokio::spawn(async move {
        for number in 0..200 {
            producer.emit(session, kinds::TOKEN, format!("token {number}\r\n").as_bytes())?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        producer.close_session(session, SessionOutcome::Finished)
    });
    Ok(StatusCode::ACCEPTED)
}

/// Serves until SIGTERM, then until every stream has ended.
pub(crate) async fn serve(directory: &std::path::Path, listener: TcpListener) -> Outcome<()> {
    let bus = Arc::new(EventBus::new(EventBusConfig::builder().directory(directory).build()?).await?);
    for session in bus.unfinished().await? {
        bus.close_session(session.session, SessionOutcome::Failed)?;
    }
    let router = Router::new().route("/sessions/{name}", get(stream).post(start)).with_state(Arc::clone(&bus));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
        bus.shutdown_via_ref().await.unwrap_or_else(|error| eprintln!("not everything is durable: {error}"));
    };
    // A small frame would wait for the acknowledgement of the one before.
    Ok(axum::serve(listener.tap_io(|tcp| drop(tcp.set_nodelay(true))), router).with_graceful_shutdown(stop).await?)
}

/// Reads the answer up to `until` or its end.
async fn ask(address: &str, request: &str, until: &str) -> Outcome<String> {
    let (mut connection, mut text) = (TcpStream::connect(address).await?, Vec::new());
    connection.write_all(format!("{request}Host: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    while !String::from_utf8_lossy(&text).contains(until) && connection.read_buf(&mut text).await? > 0 {}
    Ok(String::from_utf8(text)?)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    if let [directory, address] = &std::env::args().skip(1).collect::<Vec<_>>()[..] {
        return serve(directory.as_ref(), TcpListener::bind(address).await?).await;
    }
    let directory = std::env::temp_dir().join(format!("tapeline-sse-{}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, served) = (listener.local_addr()?.to_string(), directory.clone());
    let serving = tokio::spawn(async move { serve(&served, listener).await });
    ask(&address, "POST /sessions/chat HTTP/1.1\r\n", "\r\n\r\n").await?;
    let seen = ask(&address, "GET /sessions/chat HTTP/1.1\r\n", "token 50").await?;
    let last = seen.rsplit("id: ").next().and_then(|rest| rest.get(..32)).ok_or("no id")?;
    let request = format!("GET /sessions/chat HTTP/1.1\r\nLast-Event-ID: {last}\r\n");
    let text = seen + &ask(&address, &request, "event: end").await?;
    assert_eq!(text.matches("data: \"token").count(), 200, "each token once");
    std::process::Command::new("kill").arg(std::process::id().to_string()).status()?;
    serving.await??;
    Ok(std::fs::remove_dir_all(directory)?)
}
