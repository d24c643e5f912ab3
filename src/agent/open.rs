//! Stores, repositories and connections by the settings.

use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Result};
use crate::config::{self, Location, RepositorySettings, Settings};
use crate::postgres::{self, ConnectOptions, ConnectRequest, Dsn, DsnOrigin, Environment};
use crate::repository::Repository;
use crate::repository::id::RepositoryId;
use crate::repository::layout;
use crate::storage::{
    self, Encryption, ErrorKind, FilesystemStore, Lock, LockMode, ObjectStore, Protection, S3Options, S3Store,
};

/// The store of a repository. No request is made yet.
///
/// # Errors
/// When neither bucket nor directory is set, or the options cannot work.
pub async fn open_store(repository: &RepositorySettings) -> Result<Arc<dyn ObjectStore>> {
    let bucket = match repository.require_location()? {
        Location::Bucket(bucket) => bucket,
        Location::Directory(directory) => {
            let store = FilesystemStore::new(directory.to_owned(), &repository.prefix);
            return Ok(Arc::new(store.with_patience(repository.attempt_timeout.0)));
        }
    };
    let options = S3Options {
        prefix: repository.prefix.clone(),
        region: repository.region.clone(),
        endpoint: repository.endpoint.clone(),
        path_style: repository.path_style,
        profile: repository.profile.clone(),
        ca_file: repository.ca_file.clone(),
        protection: protection(repository),
        connect_timeout: repository.connect_timeout.0,
        read_timeout: repository.read_timeout.0,
        attempt_timeout: repository.attempt_timeout.0,
        max_attempts: repository.max_attempts,
        ..S3Options::new(bucket)
    };
    Ok(Arc::new(S3Store::open(options).await?))
}

/// What must outlive whoever steals the credentials that wrote it is locked. Leases and marks have to go.
const LOCKED: [&str; 4] = [
    layout::CHUNKS,
    layout::MANIFESTS,
    layout::CERTIFICATES,
    layout::REPOSITORY,
];

fn protection(repository: &RepositorySettings) -> Protection {
    let lock = repository.lock_mode.zip(repository.lock_days).map(|(mode, days)| Lock {
        mode: match mode {
            config::LockMode::Governance => LockMode::Governance,
            config::LockMode::Compliance => LockMode::Compliance,
        },
        days,
        keys: LOCKED.map(str::to_owned).into(),
        // They have to go again.
        except: vec![layout::CERTIFICATE_PROBES.to_owned()],
    });
    let encryption = repository.encryption.map(|encryption| match encryption {
        config::Encryption::SseS3 => Encryption::Store,
        config::Encryption::SseKms => Encryption::Kms {
            key_id: repository.kms_key.clone(),
        },
    });
    Protection { lock, encryption }
}

/// The repository that the settings name; it must exist.
///
/// # Errors
/// Whatever keeps it from being read.
pub async fn open_repository(settings: &Settings) -> Result<Repository> {
    Ok(Repository::open(open_store(&settings.repository).await?).await?)
}

/// The same for a backup: creates the repository when there is none, and learns what the store can do.
///
/// # Errors
/// Whatever keeps it from being written.
pub async fn create_repository(settings: &Settings) -> Result<Repository> {
    prepare_repository(open_store(&settings.repository).await?).await
}

/// The same in a store that is open.
pub(super) async fn prepare_repository(store: Arc<dyn ObjectStore>) -> Result<Repository> {
    probe(store.as_ref()).await?;
    Ok(Repository::open_or_create(store, RepositoryId::new(rand::random())).await?)
}

/// Learns what the store can do; an error where it cannot do what the settings promise.
pub(super) async fn probe(store: &dyn ObjectStore) -> Result<()> {
    match store.capabilities(layout::PROBES).await {
        // A store may take a lock and forget it: nobody would know before the day it is needed.
        Ok(capabilities) if store.lock_period().is_some() && !capabilities.object_lock => {
            let error = storage::Error::new(ErrorKind::Settings, "lock", layout::CHUNKS);
            return Err(error
                .with_source("lock_days is set, and the bucket does not keep what it is told to retain")
                .into());
        }
        Ok(capabilities) => tracing::debug!(?capabilities, "store probed"),
        // Whoever may write backups need not be allowed to probe; the store then asks before each put.
        // Locks that nobody may try are promised to nobody.
        Err(error) if error.kind == ErrorKind::Denied && store.lock_period().is_none() => {
            tracing::debug!(%error, "store not probed");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The server that is backed up.
///
/// # Errors
/// What is wrong with the connection string or the environment.
pub fn source(settings: &Settings, environment: &Environment) -> Result<ConnectOptions> {
    let text = settings.source.dsn.as_ref().map_or("", |dsn| dsn.expose());
    let password_file = settings.source.password_file.as_deref();
    resolve(text, DsnOrigin::Settings, password_file, environment).map_err(|error| of_section("source", error))
}

/// A database to rebuild in, and one of the same server to be connected to meanwhile.
#[derive(Clone, Debug)]
pub struct Target {
    pub database: ConnectOptions,
    pub maintenance: ConnectOptions,
}

/// Where a drill rebuilds `database` of the source.
///
/// # Errors
/// When `target.dsn` is not set: what is destroyed is never guessed from the environment.
pub fn drill_target(settings: &Settings, environment: &Environment, database: &str) -> Result<Target> {
    let text = settings.require_target_dsn()?.expose();
    let target = &settings.target;
    let server = resolve(text, DsnOrigin::Settings, target.password_file.as_deref(), environment)
        .map_err(|error| of_section("target", error))?;
    Ok(Target {
        maintenance: server.with_database(&target.maintenance_database),
        database: server.with_database(target.database_for(database)),
    })
}

/// Looks at what [`drill_target`] will need, before anybody is asked for anything.
///
/// # Errors
/// The same.
pub(super) fn check_drill_target(settings: &Settings, environment: &Environment) -> Result<()> {
    drill_target(settings, environment, "").map(drop)
}

/// Where a person wants a restore, as arguments say it.
#[derive(Clone, Debug)]
pub struct RestoreTarget<'a> {
    pub into: &'a str,
    pub password_file: Option<&'a Path>,
    pub maintenance_database: &'a str,
}

/// The database that the connection string names.
///
/// # Errors
/// What is wrong with the connection string, above all a password in it.
pub fn restore_target(target: &RestoreTarget<'_>, environment: &Environment) -> Result<Target> {
    let database = resolve(target.into, DsnOrigin::Argument, target.password_file, environment)?;
    Ok(Target {
        maintenance: database.with_database(target.maintenance_database),
        database,
    })
}

/// A connection's settings go by the same names in both sections.
fn of_section(section: &str, error: Error) -> Error {
    match error {
        Error::Postgres(postgres::Error::Settings(text)) => {
            let key = if text.starts_with("password_file ") {
                "."
            } else {
                ".dsn: "
            };
            postgres::Error::Settings(format!("{section}{key}{text}")).into()
        }
        error => error,
    }
}

fn resolve(
    dsn: &str,
    origin: DsnOrigin,
    password_file: Option<&Path>,
    environment: &Environment,
) -> Result<ConnectOptions> {
    let request = ConnectRequest {
        dsn: &Dsn::parse(dsn)?,
        origin,
        password_file,
    };
    Ok(ConnectOptions::resolve(request, environment)?)
}
