//! Server-sent events: a server streams answers of a model, and each client may lose its connection and resume.
//!
//! `POST /sessions/NAME` starts an answer, `GET /sessions/NAME` streams it, from the header `Last-Event-ID` on if the
//! client sends one. `sse_server DIRECTORY ADDRESS` serves until SIGTERM: then everything becomes durable, and every
//! stream ends. Without arguments the program is its own client, which loses its connection once.

use std::{path::Path, sync::Arc, time::Duration};

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use axum::{Router, routing::get, serve::ListenerExt};
use futures_lite::StreamExt;
use tapeline::consumer::{Gap, TokenFault, Visibility};
use tapeline::event::{SessionChange, SessionMetadata, SessionOutcome};
use tapeline::{ConsumerError, EventBus, EventBusConfig, IngestionError, RelayRequest, StoredEvent, kinds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::SignalKind;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Refusal = (StatusCode, String);

async fn stream(
    State(bus): State<Arc<EventBus>>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refusal> {
    // A client sees only what no crash can take from it.
    let mut request = RelayRequest::new(&name).visibility(Visibility::Durable);
    if let Some(last) = headers.get("last-event-id") {
        let token = last.to_str().unwrap_or_default().parse();
        request = request.after(token.map_err(|error| (StatusCode::BAD_REQUEST, format!("Last-Event-ID: {error}")))?);
    }
    let frames = bus.relay_with(request).await.map_err(refused)?.map(|item| match item {
        Ok(event) => Ok(frame(&event)),
        // The client is told, and the stream goes on: an error would end it, again and again.
        Err(ConsumerError::Gap(gap)) => Ok(hole(&gap)),
        // The body breaks off, and the client comes back with its last id.
        Err(error) => Err(error),
    });
    Ok(Sse::new(frames).keep_alive(KeepAlive::default()))
}

fn frame(event: &StoredEvent) -> Event {
    // Lines end at carriage returns, too, which JSON escapes.
    let data = serde_json::Value::from(event.raw.to_string()).to_string();
    let frame = Event::default().id(event.token().to_string()).data(data);
    match event.kind {
        kinds::SESSION if SessionChange::is_close(&event.raw) => frame.event("end"),
        kinds::SESSION => frame.event("session"),
        _ => frame,
    }
}

fn hole(gap: &Gap) -> Event {
    let frame = Event::default().event("gap").data(gap.to_string());
    // A client that breaks off here resumes after the gap.
    if let Some(token) = gap.token { frame.id(token.to_string()) } else { frame }
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

async fn start(State(bus): State<Arc<EventBus>>, UrlPath(name): UrlPath<String>) -> Result<StatusCode, Refusal> {
    let opened = bus.open_session_with(&name, &SessionMetadata::new());
    opened.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    tokio::spawn(answer(bus, name));
    Ok(StatusCode::ACCEPTED)
}

/// Stands for a model. Ends early if the bus does.
async fn answer(bus: Arc<EventBus>, name: String) -> Result<(), IngestionError> {
    let mut producer = bus.producer()?;
    let session = producer.session(&name);
    for number in 0..200 {
        producer.emit(session, kinds::TOKEN, format!("token {number}\r\n").as_bytes())?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    producer.close_session(session, SessionOutcome::Finished).map(drop)
}

/// Serves until SIGTERM, then until every stream has ended.
pub(crate) async fn serve(directory: &Path, listener: TcpListener) -> Outcome<()> {
    let bus = Arc::new(EventBus::new(EventBusConfig::builder().directory(directory).build()?).await?);
    for session in bus.unfinished().await? {
        bus.close_session(session.session, SessionOutcome::Failed)?;
    }
    let router = Router::new().route("/sessions/{name}", get(stream).post(start)).with_state(Arc::clone(&bus));
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
        if let Err(error) = bus.shutdown_via_ref().await {
            eprintln!("not everything is durable: {error}");
        }
    };
    // A small frame would wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
}

/// Sends a request, and reads the answer up to `until` or its end.
async fn ask(address: &str, request: &str, until: &str) -> Outcome<String> {
    let (mut connection, mut text) = (TcpStream::connect(address).await?, Vec::new());
    connection.write_all(format!("{request}Host: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    while !String::from_utf8_lossy(&text).contains(until) && connection.read_buf(&mut text).await? > 0 {}
    Ok(String::from_utf8(text)?)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    if let [directory, address] = &std::env::args().skip(1).collect::<Vec<_>>()[..] {
        return serve(Path::new(directory), TcpListener::bind(address).await?).await;
    }
    let directory = std::env::temp_dir().join(format!("tapeline-sse-{}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, served) = (listener.local_addr()?.to_string(), directory.clone());
    let serving = tokio::spawn(async move { serve(&served, listener).await });
    ask(&address, "POST /sessions/chat HTTP/1.1\r\n", "\r\n\r\n").await?;
    let seen = ask(&address, "GET /sessions/chat HTTP/1.1\r\n", "token 50").await?;
    let last = seen.rsplit("id: ").next().and_then(|rest| rest.get(..32)).ok_or("no id")?;
    println!("the connection breaks after {last}");
    let request = format!("GET /sessions/chat HTTP/1.1\r\nLast-Event-ID: {last}\r\n");
    let rest = ask(&address, &request, "event: end").await?;
    assert_eq!((seen + &rest).matches("data: \"token").count(), 200, "each token once");
    std::process::Command::new("kill").arg(std::process::id().to_string()).status()?;
    serving.await??;
    Ok(std::fs::remove_dir_all(directory)?)
}
