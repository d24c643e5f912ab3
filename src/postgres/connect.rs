//! Connections with the settings pinned that both sides must share for their COPY text to be the same.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Connection, NoTls};
use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};
use super::tls::TlsMode;

/// Where and as whom to connect. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct ConnectOptions {
    /// A name, an address, or the directory of a Unix socket (begins with `/`).
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: Option<String>,
    pub tls: TlsMode,
    pub connect_timeout: Duration,
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

    /// Environment for libpq programs (`pg_dump`, `pg_restore`): the password never goes to their arguments.
    #[must_use]
    pub fn child_environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGDATABASE", self.database.clone()),
            ("PGCONNECT_TIMEOUT", self.connect_timeout.as_secs().to_string()),
        ];
        environment.extend(self.tls.child_environment());
        environment.extend(self.password.clone().map(|password| ("PGPASSWORD", password)));
        environment
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
}

/// Pinned on both sides (fact 4 of the design): whatever an `ALTER ROLE ... SET` says, the text is the same.
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
    SET idle_in_transaction_session_timeout = 0;
    SET idle_session_timeout = 0;
";

/// Connects with pinned settings; `purpose` ends the `application_name` (`kubebackup <purpose>`).
///
/// # Errors
/// `Error::Connect` naming the server, never the password; `Error::Settings` when the roots to trust cannot be read.
pub async fn connect(options: &ConnectOptions, purpose: &str) -> Result<Session> {
    let failed = |source| Error::Connect {
        server: options.to_string(),
        source,
    };
    let (client, closed) = open(options, purpose).await?;
    client.batch_execute(SESSION_SETTINGS).await.map_err(failed)?;
    Ok(Session {
        client,
        closed,
        options: options.clone(),
    })
}

/// Opens by the TLS mode. Under `prefer` a server whose rules admit no encrypted connection is asked again without, as
/// libpq does.
async fn open(options: &ConnectOptions, purpose: &str) -> Result<(Client, CancellationToken)> {
    let failed = |source| Error::Connect {
        server: options.to_string(),
        source,
    };
    let mut config = configuration(options, purpose);
    let connector = if options.is_socket() {
        None
    } else {
        options.tls.connector()?
    };
    let Some(connector) = connector else {
        config.ssl_mode(SslMode::Disable);
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        return Ok((client, drive(connection)));
    };
    let is_preferred = options.tls == TlsMode::Prefer;
    config.ssl_mode(if is_preferred {
        SslMode::Prefer
    } else {
        SslMode::Require
    });
    match config.connect(connector).await {
        Ok((client, connection)) => Ok((client, drive(connection))),
        Err(error) if is_preferred && error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
            Ok((client, drive(connection)))
        }
        Err(error) => Err(failed(error)),
    }
}

fn configuration(options: &ConnectOptions, purpose: &str) -> Config {
    let mut config = Config::new();
    config
        .host(&options.host)
        .port(options.port)
        .user(&options.user)
        .dbname(&options.database)
        .connect_timeout(options.connect_timeout)
        .application_name(format!("kubebackup {purpose}"));
    if let Some(password) = &options.password {
        config.password(password);
    }
    config
}

/// Runs the connection in the background; the token is cancelled once it has ended.
fn drive<S, T>(connection: Connection<S, T>) -> CancellationToken
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let closed = CancellationToken::new();
    let guard = closed.clone().drop_guard();
    tokio::spawn(async move {
        let _guard = guard;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    closed
}
