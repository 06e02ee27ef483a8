//! The connection to a server.
//!
//! A [`Session`] is a connection together with the end of the stream as it was found. After an error nothing is assumed
//! about either: the session ends, and the next call makes another.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use async_nats::jetstream::context::{
    ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind, RequestError, RequestErrorKind,
};
use async_nats::jetstream::stream::{Config, Info, LastRawMessageErrorKind as RawMessageErrorKind, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap};
use tapeline_reader::{AdapterError, AdapterResult, ConfigError, Payload, StoredEvent};
use tapeline_storage::format::{LogId, Sequence};
use tokio::sync::{Mutex, watch};

use super::{message, stream};
use crate::adapters::thread::{LinkThread, choose_tls};
use crate::core::config::{Credentials, JetStreamAdapterConfig, JetStreamCreation};

/// The thread that has the connection.
pub(super) type Client = LinkThread<Link>;

/// Starts the thread. Connects to nothing.
///
/// # Errors
/// [`AdapterError::Config`], [`AdapterError::NoThread`].
pub(super) fn start(config: Arc<JetStreamAdapterConfig>) -> AdapterResult<Client> {
    let servers = config.servers()?;
    let credentials = config.credentials()?;
    if let Some(file) = &config.root_certificates
        && let Err(error) = std::fs::File::open(file)
    {
        let unread = format!("the certificates {} cannot be used: {error}", file.display());
        return Err(ConfigError::InvalidValue(unread).into());
    }
    choose_tls();
    let link = move || Link {
        config,
        servers,
        credentials,
        session: RefCell::default(),
        connecting: Mutex::default(),
        stored: RefCell::default(),
    };
    LinkThread::start("the connection to NATS", link)
}

/// The last event of a shard that the stream is known to hold or to have held.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) sequence: Sequence,
    /// Its place in the stream.
    pub(super) position: u64,
}

/// The connection, as the thread's work uses it.
pub(super) struct Link {
    config: Arc<JetStreamAdapterConfig>,
    servers: Vec<String>,
    credentials: Option<Credentials>,
    session: RefCell<Option<Rc<Session>>>,
    /// Held while a session is made, so that there is one.
    connecting: Mutex<()>,
    /// Of each shard. It outlives sessions, since the stream may have dropped the event.
    stored: RefCell<HashMap<(LogId, u16), Stored>>,
}

/// A connection, and the end of the stream.
pub(super) struct Session {
    pub(super) context: Context,
    pub(super) stream: Stream,
    /// Held while messages are published: they follow each other in the order in which they were given their
    /// expectation.
    pub(super) tail: Mutex<Tail>,
    /// The shards whose last event has been looked up.
    known: RefCell<HashSet<(LogId, u16)>>,
    trouble: watch::Receiver<Option<Trouble>>,
}

/// The last message of the stream.
pub(super) enum Tail {
    /// The one of this place, as the server said.
    At(u64),
    /// The one of this id, which was published after that.
    After(String),
}

/// The reason for which a connection does not serve any more.
#[derive(Debug, Clone)]
enum Trouble {
    Lost(String),
    Denied(String),
}

impl Session {
    /// Waits until the connection does not serve any more.
    pub(super) async fn trouble(&self, link: &Link) -> AdapterError {
        let mut trouble = self.trouble.clone();
        let text = |text: &str| link.text(text);
        match trouble.wait_for(Option::is_some).await.ok().and_then(|trouble| trouble.clone()) {
            Some(Trouble::Denied(reason)) => AdapterError::Denied(text(&reason)),
            Some(Trouble::Lost(reason)) => AdapterError::Connection(text(&reason)),
            None => AdapterError::Connection(text("the connection was closed")),
        }
    }
}

impl Link {
    pub(super) fn config(&self) -> &JetStreamAdapterConfig {
        &self.config
    }

    /// The session, made where there is none.
    async fn session(&self) -> AdapterResult<Rc<Session>> {
        let _one_at_a_time = self.connecting.lock().await;
        let open = self.session.borrow().clone();
        if let Some(session) = open.filter(|session| session.trouble.borrow().is_none()) {
            return Ok(session);
        }
        let session = Rc::new(self.open().await?);
        *self.session.borrow_mut() = Some(Rc::clone(&session));
        Ok(session)
    }

    /// Ends a session: the next call makes another.
    fn end(&self, session: &Rc<Session>) {
        self.session.borrow_mut().take_if(|current| Rc::ptr_eq(current, session));
    }

    /// Does some work with the session, and ends that where the work fails or the connection is lost. An event that is
    /// not taken is no failure.
    pub(super) async fn with<T>(&self, work: impl AsyncFnOnce(&Session) -> AdapterResult<T>) -> AdapterResult<T> {
        let session = self.session().await?;
        let answer = tokio::select! {
            biased;
            answer = work(&session) => answer,
            trouble = session.trouble(self) => Err(trouble),
        };
        if !matches!(answer, Ok(_) | Err(AdapterError::Serialization(_))) {
            self.end(&session);
        }
        answer
    }

    /// Asks the server for the stream, on the connection that is there or on a new one.
    pub(super) async fn check(&self) -> AdapterResult<()> {
        let gone = || AdapterError::Transient(self.text("the stream was removed"));
        self.with(async |session| self.info(&session.context).await?.map(drop).ok_or_else(gone)).await
    }

    /// The last event of a shard that the stream is known to hold or to have held.
    pub(super) async fn stored(&self, session: &Session, shard: (LogId, u16)) -> AdapterResult<Option<Stored>> {
        if !session.known.borrow().contains(&shard) {
            let filter = self.config.stream.shard_filter(shard.0, shard.1);
            match session.stream.get_last_raw_message_by_subject(&filter).await {
                Ok(found) => {
                    let position = found.sequence;
                    let event = self.event(Some(&found.headers), found.payload, position)?;
                    self.note_stored(&event, position);
                }
                Err(error) => match error.kind() {
                    RawMessageErrorKind::NoMessageFound => {}
                    RawMessageErrorKind::JetStream(error) => return Err(self.refused(&error)),
                    _ => return Err(self.unanswered(&error)),
                },
            }
            session.known.borrow_mut().insert(shard);
        }
        Ok(self.stored.borrow().get(&shard).copied())
    }

    /// Notes that the stream holds an event, and where.
    pub(super) fn note_stored(&self, event: &StoredEvent, position: u64) {
        let mut stored = self.stored.borrow_mut();
        let last =
            stored.entry((event.id.log, event.shard_id)).or_insert(Stored { sequence: event.sequence, position });
        if last.sequence < event.sequence {
            *last = Stored { sequence: event.sequence, position };
        }
    }

    /// The event of a message.
    pub(super) fn event(
        &self,
        headers: Option<&HeaderMap>,
        payload: impl Into<Payload>,
        position: u64,
    ) -> AdapterResult<StoredEvent> {
        let foreign = || {
            self.text(&format!("message {position} of stream {} is no event of Tapeline", self.config.stream.name()))
        };
        message::event(headers, payload.into()).ok_or_else(|| AdapterError::Denied(foreign()))
    }

    /// Connects, and finds or creates the stream.
    async fn open(&self) -> AdapterResult<Session> {
        let (reporter, trouble) = watch::channel(None);
        let context = self.connect(reporter).await?;
        let asked = stream::config(&self.config.stream);
        let stream = match (self.info(&context).await?, self.config.creation) {
            (Some(stream), JetStreamCreation::Operator) => stream,
            (Some(stream), JetStreamCreation::Adapter) => {
                self.check_settings(&asked, stream.cached_info())?;
                stream
            }
            (None, JetStreamCreation::Operator) => {
                return Err(AdapterError::NotFound(self.text(&format!("there is no stream {}", asked.name))));
            }
            (None, JetStreamCreation::Adapter) => {
                let stream = self.create(&context, asked).await?;
                // Another stream than the one that had those events.
                self.stored.borrow_mut().clear();
                stream
            }
        };
        let tail = Mutex::new(Tail::At(stream.cached_info().state.last_sequence));
        Ok(Session { context, stream, tail, known: RefCell::default(), trouble })
    }

    async fn connect(&self, reporter: watch::Sender<Option<Trouble>>) -> AdapterResult<Context> {
        let (connect, request) = (self.config.connect_timeout, self.config.request_timeout);
        let reporter = Arc::new(reporter);
        let mut options = ConnectOptions::new()
            .name("tapeline")
            .connection_timeout(connect)
            .request_timeout(Some(request))
            .ping_interval(request)
            // A lost connection is not mended: the next call makes another.
            .max_reconnects(self.servers.len())
            .ignore_discovered_servers()
            .event_callback(move |event| {
                report(&reporter, event);
                std::future::ready(())
            });
        if let Some(file) = &self.config.root_certificates {
            options = options.require_tls(true).add_root_certificates(file.clone());
        }
        options = match &self.credentials {
            None => options,
            Some(Credentials::Password { user, password }) => options.user_and_password(user.clone(), password.clone()),
            Some(Credentials::Token(token)) => options.token(token.clone()),
            Some(Credentials::File(file)) => options.credentials_file(file).await.map_err(|error| {
                AdapterError::Denied(format!("the credentials {} cannot be used: {}", file.display(), error.kind()))
            })?,
        };
        // A name that is not resolved counts, too.
        let longest = connect.saturating_mul(u32::try_from(self.servers.len()).unwrap_or(u32::MAX));
        match tokio::time::timeout(longest, options.connect(&self.servers)).await {
            Ok(Ok(client)) => {
                let context = ContextBuilder::new().timeout(request).ack_timeout(request);
                Ok(context.max_ack_inflight(self.config.pipeline_size).build(client))
            }
            Ok(Err(error)) => Err(self.not_connected(&error)),
            Err(_) => Err(AdapterError::Connection(self.text(&format!("no connection within {longest:?}")))),
        }
    }

    /// The stream. `None`: there is none.
    async fn info(&self, context: &Context) -> AdapterResult<Option<Stream>> {
        match context.get_stream(self.config.stream.name()).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                GetStreamErrorKind::JetStream(error) => Err(self.refused(&error)),
                _ => Err(self.unanswered(&error)),
            },
        }
    }

    async fn create(&self, context: &Context, asked: Config) -> AdapterResult<Stream> {
        match context.create_stream(asked).await {
            Ok(stream) => Ok(stream),
            Err(error) => match error.kind() {
                CreateStreamErrorKind::JetStream(error) => Err(self.refused(&error)),
                _ => Err(self.unanswered(&error)),
            },
        }
    }

    fn check_settings(&self, asked: &Config, found: &Info) -> AdapterResult<()> {
        match stream::difference(asked, &found.config) {
            None => Ok(()),
            Some(difference) => {
                let name = &asked.name;
                let text = format!("the stream {name} has other settings: {difference}; change one of both");
                Err(AdapterError::Denied(self.text(&text)))
            }
        }
    }

    /// The error of a request that JetStream refused.
    pub(super) fn refused(&self, error: &async_nats::jetstream::Error) -> AdapterError {
        let text = self.text(&error.to_string());
        match error.error_code() {
            // The stream, the account or the server is full, or its disk is. A stream that is at a limit says so with
            // the code of a store that failed.
            ErrorCode::STREAM_STORE_FAILED
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED => AdapterError::Backpressure(text),
            ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
                AdapterError::Serialization(text)
            }
            ErrorCode::STREAM_SUBJECT_OVERLAP
            | ErrorCode::STREAM_NAME_EXIST
            | ErrorCode::STREAM_INVALID_CONFIG
            | ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED
            | ErrorCode::STREAM_SEALED
            | ErrorCode::BAD_REQUEST
            | ErrorCode::JETSTREAM_NOT_ENABLED
            | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
            | ErrorCode::MAXIMUM_STREAMS_LIMIT
            | ErrorCode::NO_ACCOUNT => AdapterError::Denied(text),
            _ => AdapterError::Transient(text),
        }
    }

    /// The error of a request that has no answer of JetStream.
    pub(super) fn unanswered(&self, error: &(dyn std::error::Error + 'static)) -> AdapterError {
        let source = error.source().and_then(|source| source.downcast_ref::<RequestError>());
        let has_no_responders = source.is_some_and(|source| source.kind() == RequestErrorKind::NoResponders);
        AdapterError::Transient(if has_no_responders {
            self.text("JetStream does not answer: it starts, or is not enabled (nats-server -js)")
        } else {
            self.text(&error.to_string())
        })
    }

    fn not_connected(&self, error: &ConnectError) -> AdapterError {
        let text = self.text(&error.to_string());
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => AdapterError::Denied(text),
            _ => AdapterError::Connection(text),
        }
    }

    /// A message with the servers, without credentials.
    pub(super) fn text(&self, message: &str) -> String {
        let mut message = message.to_owned();
        let secrets = self.credentials.iter().flat_map(Credentials::secrets).filter(|secret| !secret.is_empty());
        for secret in secrets {
            message = message.replace(secret, "(credentials)");
        }
        format!("{}: {message}", self.servers.join(","))
    }
}

/// Notes the first event after which a connection does not serve any more.
fn report(reporter: &watch::Sender<Option<Trouble>>, event: Event) {
    let trouble = match event {
        Event::Disconnected | Event::Closed => Trouble::Lost("the connection was lost".into()),
        Event::ServerError(error) => {
            let text = error.to_string();
            let is_denied = ["ermission", "uthorization", "uthentication"].iter().any(|word| text.contains(word));
            if is_denied { Trouble::Denied(text) } else { Trouble::Lost(text) }
        }
        _ => return,
    };
    reporter.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert(trouble);
        is_first
    });
}
