//! Connections with the settings pinned that both sides must share for their COPY text to be the same.

use std::fmt;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};

/// How a connection is secured; libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Where and as whom to connect. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct ConnectOptions {
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
        environment.extend(self.password.clone().map(|password| ("PGPASSWORD", password)));
        environment
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
/// `Error::Connect` naming the server, never the password.
pub async fn connect(options: &ConnectOptions, purpose: &str) -> Result<Session> {
    let mut config = tokio_postgres::Config::new();
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
    let failed = |source| Error::Connect {
        server: options.to_string(),
        source,
    };
    let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
    let closed = CancellationToken::new();
    let guard = closed.clone().drop_guard();
    tokio::spawn(async move {
        let _guard = guard;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    client.batch_execute(SESSION_SETTINGS).await.map_err(failed)?;
    Ok(Session {
        client,
        closed,
        options: options.clone(),
    })
}
