//! A server that has fallen silent: stopped by a signal or a stuck disk, it keeps its connections and answers nothing. Whoever
//! waits for it waits for ever, since to the network it is there; only new connections tell.

use std::time::Duration;

use tokio::time::sleep;

use super::connect::{ConnectOptions, connect};
use super::error::Error;

/// How long after an answer the next one is asked for.
const PERIOD: Duration = Duration::from_secs(2);

/// New connections in a row that nobody answers before a server counts as silent; each is waited for as long as
/// `connect_timeout`. One that is merely very busy answers one of them.
pub const SILENT_LOOKS: u32 = 5;

/// What `work` answers; dropped when the server of `options` falls silent.
///
/// # Errors
/// The work's own, or `Error::Silent`.
pub async fn while_it_answers<T, E: From<Error>>(
    options: &ConnectOptions,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        // What has ended has ended, whoever is silent.
        biased;
        done = work => done,
        silent = fallen_silent(options, PERIOD) => Err(silent.into()),
    }
}

/// Returns only when the server is silent.
async fn fallen_silent(options: &ConnectOptions, period: Duration) -> Error {
    let mut looks = 0;
    while looks < SILENT_LOOKS {
        sleep(period).await;
        looks = match connect(options, "watch").await {
            Err(Error::ConnectTimeout { .. }) => looks + 1,
            // The work's own sessions tell what else is wrong.
            _ => 0,
        };
    }
    Error::Silent {
        server: options.to_string(),
        looks,
        seconds: options.connect_timeout.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::postgres::{Password, TlsMode};

    /// The kernel takes connections for whoever has opened the port, as for a server that is stopped.
    #[tokio::test]
    async fn a_server_that_answers_no_new_connection_has_fallen_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = ConnectOptions {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            user: "restore".to_owned(),
            database: "postgres".to_owned(),
            password: Password::None,
            tls: TlsMode::Disable,
            connect_timeout: Duration::from_millis(20),
        };
        let silent = fallen_silent(&options, Duration::ZERO).await;
        assert!(
            matches!(
                silent,
                Error::Silent {
                    looks: SILENT_LOOKS,
                    ..
                }
            ),
            "{silent:?}"
        );
        let said = silent.to_string();
        assert!(said.contains("none of 5 new connections in a row"), "{said}");
    }
}
