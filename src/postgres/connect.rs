//! Connections with the settings pinned that both sides must share for their COPY text to be the same.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::copies::Copies;
use super::error::{Error, Result};
use super::gather::{Gather, GatherTls};
use super::passfile;
use super::server_error::ServerError;
use super::socket::{Place, Socket};
use super::tls::TlsMode;

/// Where and as whom to connect. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct ConnectOptions {
    /// A name, an address, or the directory of a Unix socket (begins with `/`).
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: Password,
    pub tls: TlsMode,
    pub connect_timeout: Duration,
}

/// Where the password comes from. Files are read for each connection: one may be replaced while a run goes on.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    None,
    Given(String),
    /// Holds the password and nothing else.
    File(PathBuf),
    /// libpq's; the line that fits this database, whichever is connected to.
    Passfile {
        path: PathBuf,
        database: String,
    },
}

impl<T: Into<String>> From<T> for Password {
    fn from(password: T) -> Self {
        Self::Given(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Given(_) => "Given(...)",
            Self::File(_) => "File(...)",
            Self::Passfile { .. } => "Passfile(...)",
        })
    }
}

impl ConnectOptions {
    /// The same server and user, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..self.clone()
        }
    }

    /// The password as it is now.
    ///
    /// # Errors
    /// `Error::Settings` when its file cannot be read.
    pub fn password(&self) -> Result<Option<String>> {
        match &self.password {
            Password::None => Ok(None),
            Password::Given(password) => Ok(Some(password.clone())),
            Password::File(path) => passfile::read_password_file(path).map(Some),
            Password::Passfile { path, database } => passfile::look_up(path, &self.with_database(database)),
        }
    }

    /// Environment for libpq programs (`pg_dump`, `pg_restore`): the password never goes to their arguments. `further` options
    /// of the session each begin with a blank.
    ///
    /// # Errors
    /// As for [`ConnectOptions::password`].
    pub fn child_environment(&self, further: &str) -> Result<Vec<(&'static str, String)>> {
        let mut environment = vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGDATABASE", self.database.clone()),
            ("PGCONNECT_TIMEOUT", self.connect_timeout.as_secs().max(2).to_string()),
            ("PGOPTIONS", format!("{STARTUP_OPTIONS}{further}")),
            // Ours like the rest: whoever looks at the server's sessions sees whose they are.
            ("PGAPPNAME", "kubebackup client program".to_owned()),
        ];
        environment.extend(self.tls.child_environment());
        environment.extend(self.password()?.map(|password| ("PGPASSWORD", password)));
        Ok(environment)
    }

    /// What `asked` brings, where it comes within the time that a connection may take: for a question of which a server that
    /// lets somebody in has the answer at hand.
    ///
    /// # Errors
    /// Its own, or `Error::ConnectTimeout`.
    pub async fn answered_in_time<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.connect_timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silence()),
        }
    }

    fn silence(&self) -> Error {
        Error::ConnectTimeout {
            server: self.to_string(),
            seconds: self.connect_timeout.as_secs(),
        }
    }

    fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for ConnectOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}/{} as {}",
            self.host, self.port, self.database, self.user
        )
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConnectOptions({self})")
    }
}

/// An open connection. Dropped, it closes.
#[derive(Debug)]
pub struct Session {
    pub client: Client,
    /// Cancelled once the connection is gone, whoever closed it.
    pub closed: CancellationToken,
    pub options: ConnectOptions,
    last_word: LastWord,
    pub(super) copies: Arc<Copies>,
    _hang_up: DropGuard,
}

/// What ended a connection, where nobody had asked the server anything.
type LastWord = Arc<Mutex<Option<ServerError>>>;

impl Session {
    /// What the server, or the network, said when it ended the connection by itself; told once.
    #[must_use]
    pub fn last_word(&self) -> Option<ServerError> {
        self.last_word.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A backend that works or waits for a lock does not look at its socket: without this, a run that was cancelled or killed
/// would leave its sessions, with their locks and their snapshot, until they next write. Not every platform has it.
const NOTICE_A_LOST_CLIENT: &str = "SET client_connection_check_interval = '1s'";

/// In force from the first statement on, for our sessions and for client programs: a role's or a database's own time-outs
/// would otherwise end the very statement that switches them off.
const STARTUP_OPTIONS: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 \
                               -c idle_session_timeout=0 -c default_transaction_read_only=off";

/// Pinned on both sides (fact 4 of the design): whatever an `ALTER ROLE ... SET` says, the text is the same. What reads the
/// catalogs of a large database looks dear enough to the planner to be compiled first, which takes longer than it saves;
/// assertions are not compiled either.
const SESSION_SETTINGS: &str = "
    SET search_path = '';
    SET TimeZone = 'UTC';
    SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres';
    SET extra_float_digits = 3;
    SET bytea_output = 'hex';
    SET xmlbinary = 'base64';
    SET lc_monetary = 'C';
    SET row_security = off;
    SET synchronize_seqscans = off;
    SET standard_conforming_strings = on;
    SET quote_all_identifiers = off;
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET idle_session_timeout = 0;
    SET default_transaction_read_only = off;
    SET jit = off;
    SELECT pg_catalog.set_config('transaction_timeout', '0', false)
        WHERE pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL;
    SELECT pg_catalog.set_config('lc_messages', 'C', false) WHERE pg_catalog.current_setting('is_superuser') = 'on';
";

/// Connects with pinned settings; `purpose` ends the `application_name` (`kubebackup <purpose>`).
///
/// # Errors
/// `Error::Connect` naming the server, never the password; `Error::Settings` when the roots to trust cannot be read.
pub async fn connect(options: &ConnectOptions, purpose: &str) -> Result<Session> {
    // The driver's own timeout covers the TCP connection alone; a server may accept and then say nothing.
    options.answered_in_time(Box::pin(establish(options, purpose))).await
}

async fn establish(options: &ConnectOptions, purpose: &str) -> Result<Session> {
    let failed = |source: tokio_postgres::Error| Error::Connect {
        server: options.to_string(),
        source: source.into(),
    };
    let (client, ends) = open(options, purpose).await?;
    client.batch_execute(SESSION_SETTINGS).await.map_err(failed)?;
    if let Err(error) = client.batch_execute(NOTICE_A_LOST_CLIENT).await {
        tracing::debug!(%error, "the server cannot notice a lost client while it works");
    }
    Ok(Session {
        client,
        closed: ends.closed,
        options: options.clone(),
        last_word: ends.last_word,
        copies: ends.copies,
        _hang_up: ends.hang_up.drop_guard(),
    })
}

/// Opens at the first of the host's addresses at which a server lets us in. Each has its part of the time that is left.
async fn open(options: &ConnectOptions, purpose: &str) -> Result<(Client, Ends)> {
    let config = configuration(options, purpose)?;
    let connector = if options.is_socket() {
        None
    } else {
        options.tls.connector()?
    };
    let places = Place::all(options).await.map_err(|error| Error::Connect {
        server: options.to_string(),
        source: error.into(),
    })?;
    open_first(&places, &config, options, connector.as_ref()).await
}

async fn open_first(
    places: &[Place],
    config: &Config,
    options: &ConnectOptions,
    connector: Option<&MakeRustlsConnect>,
) -> Result<(Client, Ends)> {
    let deadline = Instant::now() + options.connect_timeout;
    let mut last = None;
    for (tried, place) in (0_u32..).zip(places) {
        let left = u32::try_from(places.len())
            .unwrap_or(u32::MAX)
            .saturating_sub(tried)
            .max(1);
        let part = deadline.saturating_duration_since(Instant::now()) / left;
        match tokio::time::timeout(part, open_at(place, config, options, connector.cloned())).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(source)) => {
                let server = options.to_string();
                last = Some(Error::Connect { server, source });
            }
            // What another address has said tells more than its silence.
            Err(_) => last = last.or_else(|| Some(options.silence())),
        }
    }
    Err(last.unwrap_or_else(|| options.silence()))
}

/// Opens by the TLS mode. Under `prefer` a server whose rules admit no encrypted connection is asked again without, as
/// libpq does.
async fn open_at(
    place: &Place,
    config: &Config,
    options: &ConnectOptions,
    connector: Option<MakeRustlsConnect>,
) -> Opened {
    let Some(connector) = connector else {
        return open_plain(place, config.clone()).await;
    };
    let is_preferred = options.tls == TlsMode::Prefer;
    let mut config = config.clone();
    config.ssl_mode(if is_preferred {
        SslMode::Prefer
    } else {
        SslMode::Require
    });
    match open_tls(place, &config, options, connector).await {
        Err(error) if is_preferred && error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            open_plain(place, config).await
        }
        opened => opened,
    }
}

async fn open_plain(place: &Place, mut config: Config) -> Opened {
    config.ssl_mode(SslMode::Disable);
    let copies = Arc::<Copies>::default();
    let stream = Gather::new(Socket::open(place).await?, Arc::clone(&copies));
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    Ok((client, drive(connection, copies)))
}

async fn open_tls(
    place: &Place,
    config: &Config,
    options: &ConnectOptions,
    mut connector: MakeRustlsConnect,
) -> Opened {
    let copies = Arc::<Copies>::default();
    let stream = Gather::asking_for_tls(Socket::open(place).await?, Arc::clone(&copies));
    // Verified against this name.
    let Ok(connector) = MakeTlsConnect::<Gather<Socket>>::make_tls_connect(&mut connector, &options.host);
    let tls = GatherTls {
        connector,
        copies: Arc::clone(&copies),
    };
    let (client, connection) = config.connect_raw(stream, tls).await?;
    Ok((client, drive(connection, copies)))
}

fn configuration(options: &ConnectOptions, purpose: &str) -> Result<Config> {
    let mut config = Config::new();
    config
        .host(&options.host)
        .port(options.port)
        .user(&options.user)
        .dbname(&options.database)
        .options(STARTUP_OPTIONS)
        .application_name(format!("kubebackup {purpose}"));
    if let Some(password) = options.password()? {
        config.password(password);
    }
    Ok(config)
}

/// How the two sides of a connection tell each other that it is over.
struct Ends {
    /// Cancelled by the connection once it has ended.
    closed: CancellationToken,
    /// Cancelled by the session when it is dropped.
    hang_up: CancellationToken,
    last_word: LastWord,
    copies: Arc<Copies>,
}

type Opened = std::result::Result<(Client, Ends), ServerError>;

/// How long a dropped session may take to say good-bye to the server.
const GOOD_BYE: Duration = Duration::from_millis(200);

/// Runs the connection in the background. By itself it would wait for the answer to whatever was asked last, however
/// long the server takes: a dropped session hangs up instead.
fn drive<S, T>(connection: Connection<S, T>, copies: Arc<Copies>) -> Ends
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (closed, hang_up) = (CancellationToken::new(), CancellationToken::new());
    let (guard, dropped) = (closed.clone().drop_guard(), hang_up.clone());
    let last_word = LastWord::default();
    let said = Arc::clone(&last_word);
    tokio::spawn(async move {
        let _guard = guard;
        let mut connection = connection;
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = dropped.cancelled() => tokio::time::timeout(GOOD_BYE, connection).await.unwrap_or(Ok(())),
        };
        if let Err(error) = ended.map_err(ServerError::from) {
            tracing::debug!(%error, "connection ended");
            *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    });
    Ends {
        closed,
        hang_up,
        last_word,
        copies,
    }
}

#[cfg(test)]
mod tests;
