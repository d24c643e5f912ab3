//! What libpq reads besides its arguments: `PG*` variables, the passfile, defaults. And how options come of it all.
//!
//! The environment is a value that the caller hands in, so that nothing here depends on the process's own and source and
//! target can differ. Values of the connection string win over variables, variables over defaults, as in libpq.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::connect::{ConnectOptions, Password};
use super::dsn::Dsn;
use super::error::{Error, Result};
use super::tls::{RootCertificates, TlsMode};

/// libpq waits for ever by default; a backup that hangs unnoticed is worse than one that fails.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where Debian's server puts its socket; upstream's is `/tmp`.
const SOCKET_DIRECTORIES: &[&str] = &["/var/run/postgresql", "/tmp"];

/// Variables, home directory and user name, as libpq would find them.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    user_name: Option<String>,
}

impl Environment {
    /// The environment of this process and its user.
    #[must_use]
    pub fn of_process() -> Self {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<BTreeMap<_, _>>();
        let home = variables.get("HOME").map(PathBuf::from);
        Self {
            home: home.or_else(|| user.as_ref().map(|user| user.dir.clone())),
            user_name: user.map(|user| user.name),
            variables: variables
                .into_iter()
                .filter(|(name, _)| name.starts_with("PG"))
                .collect(),
        }
    }

    /// An environment of these variables alone, whose home is `home`.
    #[must_use]
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>, home: Option<&Path>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            variables: variables.into_iter().map(owned).collect(),
            home: home.map(Path::to_owned),
            user_name: None,
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    fn in_home(&self, file: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(file))
    }

    /// Variables that libpq would follow to another server than this program would.
    fn refuse_unsupported(&self) -> Result<()> {
        match ["PGSERVICE", "PGHOSTADDR"].iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(Error::Settings(format!(
                "{name} is not supported; unset it and give host and port"
            ))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Who wrote a connection string: an argument is seen by every user of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DsnOrigin {
    Argument,
    Settings,
}

/// Which server is meant, before the environment is asked.
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    pub dsn: &'a Dsn,
    pub origin: DsnOrigin,
    /// A file that holds the password and nothing else (a mounted secret).
    pub password_file: Option<&'a Path>,
}

impl ConnectOptions {
    /// Fills in what the connection string leaves open.
    ///
    /// # Errors
    /// `Error::Settings` naming the parameter or variable and the mend.
    pub fn resolve(request: ConnectRequest<'_>, environment: &Environment) -> Result<Self> {
        let dsn = request.dsn;
        if request.origin == DsnOrigin::Argument && dsn.has_password() {
            return Err(Error::Settings(
                "a password in an argument is seen by every user of this machine; leave it out and set PGPASSWORD, \
                 PGPASSFILE (or ~/.pgpass), or the setting password_file"
                    .to_owned(),
            ));
        }
        environment.refuse_unsupported()?;
        let text = |key: &str, variable: &str| dsn.get(key).or_else(|| environment.get(variable)).map(str::to_owned);

        let host = text("host", "PGHOST").unwrap_or_else(default_host);
        if host.contains(',') {
            return Err(Error::Settings(format!(
                "several hosts ('{host}') are not supported; give one"
            )));
        }
        let port = number("port", text("port", "PGPORT"))?.unwrap_or(5432);
        let user = text("user", "PGUSER")
            .or_else(|| environment.user_name.clone())
            .ok_or_else(|| Error::Settings("no user to connect as; give user or set PGUSER".to_owned()))?;
        let database = text("dbname", "PGDATABASE").unwrap_or_else(|| user.clone());
        let seconds: Option<u64> = number("connect_timeout", text("connect_timeout", "PGCONNECT_TIMEOUT"))?;
        let mut options = Self {
            tls: tls_mode(
                text("sslmode", "PGSSLMODE").as_deref(),
                text("sslrootcert", "PGSSLROOTCERT").as_deref(),
                environment,
            )?,
            connect_timeout: seconds
                .filter(|seconds| *seconds > 0)
                .map_or(DEFAULT_CONNECT_TIMEOUT, Duration::from_secs),
            host,
            port,
            user,
            database,
            password: Password::None,
        };
        options.password = find_password(request, environment, &options.database);
        // What cannot be read now is told before anything begins.
        options.password()?;
        Ok(options)
    }
}

fn default_host() -> String {
    let socket = SOCKET_DIRECTORIES
        .iter()
        .find(|directory| Path::new(directory).join(".s.PGSQL.5432").exists());
    socket.map_or_else(|| "localhost".to_owned(), ToString::to_string)
}

fn number<T: std::str::FromStr>(key: &str, text: Option<String>) -> Result<Option<T>> {
    let parse = |text: String| {
        text.trim()
            .parse()
            .map_err(|_| Error::Settings(format!("{key} must be a number, not '{text}'")))
    };
    text.map(parse).transpose()
}

/// libpq's rules: an existing root file makes `require` verify the chain, and verifying needs roots.
fn tls_mode(mode: Option<&str>, roots: Option<&str>, environment: &Environment) -> Result<TlsMode> {
    let roots = match roots {
        Some("system") => Some(RootCertificates::System),
        Some(path) => Some(RootCertificates::File(path.into())),
        None => environment
            .in_home(".postgresql/root.crt")
            .filter(|path| path.exists())
            .map(RootCertificates::File),
    };
    let needed = |roots: Option<RootCertificates>, mode: &str| {
        roots.ok_or_else(|| {
            Error::Settings(format!(
                "sslmode={mode} needs certificates to trust; set sslrootcert (or PGSSLROOTCERT) to a file, or to \
                 'system' for the machine's own"
            ))
        })
    };
    match mode {
        Some("disable") => Ok(TlsMode::Disable),
        None | Some("prefer") => Ok(TlsMode::Prefer),
        Some("require") => Ok(match roots {
            Some(RootCertificates::File(path)) if path.exists() => TlsMode::VerifyCa(RootCertificates::File(path)),
            _ => TlsMode::Require,
        }),
        Some("verify-ca") => Ok(TlsMode::VerifyCa(needed(roots, "verify-ca")?)),
        Some("verify-full") => Ok(TlsMode::VerifyFull(needed(roots, "verify-full")?)),
        Some(other) => Err(Error::Settings(format!(
            "sslmode={other} is not supported; use disable, prefer, require, verify-ca or verify-full"
        ))),
    }
}

/// The connection string's password, else `password_file`, else `PGPASSWORD`, else the passfile's line that fits.
fn find_password(request: ConnectRequest<'_>, environment: &Environment, database: &str) -> Password {
    if let Some(password) = request.dsn.get("password") {
        return password.into();
    }
    if let Some(path) = request.password_file {
        return Password::File(path.to_owned());
    }
    if let Some(password) = environment.get("PGPASSWORD") {
        return password.into();
    }
    let passfile = request.dsn.get("passfile").or_else(|| environment.get("PGPASSFILE"));
    let passfile = passfile.map(PathBuf::from).or_else(|| environment.in_home(".pgpass"));
    passfile.map_or(Password::None, |path| Password::Passfile {
        path,
        database: database.to_owned(),
    })
}

#[cfg(test)]
mod tests;
