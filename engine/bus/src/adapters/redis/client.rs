//! The connection to a server, on a thread of its own with a runtime of tokio.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, Value};
use tapeline_reader::{AdapterError, AdapterResult, ConfigError};

use crate::adapters::thread::{LinkThread, choose_tls};
use crate::core::config::RedisAdapterConfig;

/// The thread that has the connection.
pub(super) type Client = LinkThread<Link>;

/// Starts the thread. Connects to nothing.
///
/// # Errors
/// [`AdapterError::Config`], [`AdapterError::NoThread`].
pub(super) fn start(config: Arc<RedisAdapterConfig>) -> AdapterResult<Client> {
    let client = open(&config)?;
    LinkThread::start("the connection to Redis", move || Link::new(client, config))
}

/// The server's client, from the settings.
fn open(config: &RedisAdapterConfig) -> AdapterResult<redis::Client> {
    let invalid = |what: String| AdapterError::from(ConfigError::InvalidValue(what));
    // The library's own message may quote the URL.
    let no_url = || invalid("the URL is none of redis://HOST, rediss://HOST or redis+unix:///PATH".into());
    let info = redis::IntoConnectionInfo::into_connection_info(config.url()).map_err(|_| no_url())?;
    let is_tls = matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. });
    if is_tls {
        choose_tls();
    }
    match &config.root_certificates {
        None => redis::Client::open(info).map_err(|_| no_url()),
        Some(_) if !is_tls => Err(invalid("root_certificates are set, but the URL is not of rediss".into())),
        Some(file) => {
            let unread = |error: &dyn std::fmt::Display| {
                invalid(format!("the certificates {} cannot be used: {error}", file.display()))
            };
            let root_cert = std::fs::read(file).map_err(|error| unread(&error))?;
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
            redis::Client::build_with_tls(info, certificates).map_err(|error| unread(&error))
        }
    }
}

/// The connection, as the thread's work uses it.
pub(super) struct Link {
    client: redis::Client,
    config: Arc<RedisAdapterConfig>,
    connection: RefCell<Option<MultiplexedConnection>>,
    /// The server's own limit of a value, once it is known.
    bulk_bytes_max: Cell<usize>,
}

impl Link {
    fn new(client: redis::Client, config: Arc<RedisAdapterConfig>) -> Self {
        Self { client, config, connection: RefCell::default(), bulk_bytes_max: Cell::new(usize::MAX) }
    }

    pub(super) fn config(&self) -> &RedisAdapterConfig {
        &self.config
    }

    /// Bytes of a payload that the server takes.
    pub(super) fn payload_bytes_max(&self) -> usize {
        self.config.payload_bytes_max.min(self.bulk_bytes_max.get())
    }

    pub(super) async fn ping(&self) -> AdapterResult<()> {
        self.command(&redis::cmd("PING")).await.map(|_| ())
    }

    pub(super) async fn command(&self, command: &redis::Cmd) -> AdapterResult<Value> {
        let mut connection = self.connected().await?;
        match connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(self.refused(&error)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The answer to each command.
    pub(super) async fn pipeline(&self, commands: &redis::Pipeline) -> AdapterResult<Vec<Value>> {
        let mut connection = self.connected().await?;
        let answers = connection.send_packed_commands(commands, 0, commands.len()).await;
        answers.map_err(|error| self.failed(error))
    }

    /// The answer to each command of a transaction, all of which the server has carried out or refused one by one.
    ///
    /// # Errors
    /// The server has carried out none of them, as far as is known.
    pub(super) async fn transaction(&self, commands: &redis::Pipeline) -> AdapterResult<Vec<Value>> {
        let mut connection = self.connected().await?;
        let answers = connection.send_packed_commands(commands, commands.len() + 1, 1).await;
        match answers.map_err(|error| self.failed(error))?.pop() {
            Some(Value::Array(answers)) if answers.len() == commands.len() => Ok(answers),
            Some(Value::ServerError(error)) => Err(self.refused(&error)),
            _ => Err(AdapterError::Transient(format!("{}: a transaction had no answer", self.config.server()))),
        }
    }

    async fn connected(&self) -> AdapterResult<MultiplexedConnection> {
        let open = self.connection.borrow().clone();
        if let Some(connection) = open {
            return Ok(connection);
        }
        let (connect, command) = (self.config.connect_timeout, self.config.command_timeout);
        let options =
            AsyncConnectionConfig::new().set_connection_timeout(Some(connect)).set_response_timeout(Some(command));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&options);
        let mut connection = match tokio::time::timeout(connect, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => {
                return Err(AdapterError::Connection(format!("{}: none within {connect:?}", self.config.server())));
            }
        };
        self.learn_limit(&mut connection).await;
        *self.connection.borrow_mut() = Some(connection.clone());
        Ok(connection)
    }

    /// Asks for the server's limit of a value; a user that may not ask learns of none.
    async fn learn_limit(&self, connection: &mut MultiplexedConnection) {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("proto-max-bulk-len");
        if let Ok(Value::Array(answer)) = connection.send_packed_command(&ask).await
            && let Some(Value::BulkString(bytes)) = answer.get(1)
            && let Ok(Ok(bytes)) = std::str::from_utf8(bytes).map(str::parse)
        {
            self.bulk_bytes_max.set(bytes);
        }
    }

    /// The error of a call that had no answer, or only an error for answer.
    fn failed(&self, error: RedisError) -> AdapterError {
        if let Some((_, first)) = error.clone().into_server_errors().and_then(|errors| errors.first().cloned()) {
            return self.refused(&first);
        }
        if let Some(code) = error.code() {
            return self.classify(code, error.detail().unwrap_or_default());
        }
        // The answers that are still to come belong to calls that are given up.
        *self.connection.borrow_mut() = None;
        let text = self.text(&error.to_string());
        match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => AdapterError::Denied(text),
            _ if error.is_timeout() => AdapterError::Transient(text),
            _ => AdapterError::Connection(text),
        }
    }

    /// The error that the server answered with.
    pub(super) fn refused(&self, error: &redis::ServerError) -> AdapterError {
        self.classify(error.code(), error.details().unwrap_or_default())
    }

    fn classify(&self, code: &str, details: &str) -> AdapterError {
        let text = self.text(&format!("{code} {details}"));
        match code {
            "OOM" | "MISCONF" => AdapterError::Backpressure(text),
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "WRONGTYPE" | "MOVED" | "CROSSSLOT" => AdapterError::Denied(text),
            _ => AdapterError::Transient(text),
        }
    }

    /// A message with the server, without the password.
    fn text(&self, message: &str) -> String {
        let settings = self.client.get_connection_info().redis_settings();
        let message = match settings.password().filter(|password| !password.is_empty()) {
            Some(password) => message.replace(password, "(password)"),
            None => message.to_owned(),
        };
        format!("{}: {message}", self.config.server())
    }
}
