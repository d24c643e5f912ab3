//! Connections over TLS to a real server with a certificate of our own, in every `sslmode`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use kubebackup::demo::{Cluster, ClusterOptions};
use kubebackup::postgres::program::ClientPrograms;
use kubebackup::postgres::{ConnectOptions, ConnectRequest, Dsn, DsnOrigin, Environment, Password, connect};

use crate::support::library::cluster_options;
use crate::support::{BACKUP_PASSWORD, BACKUP_ROLE, certificates, create_backup_role, source_cluster_with, wait};

/// A server with TLS whose certificate is for `localhost` alone, and the files a client needs.
struct TlsServer {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        admit_tls(&cluster, directory.path());
        Self { cluster, directory }
    }

    fn sql(&self, statement: &str) -> String {
        self.cluster.sql("postgres", statement).unwrap()
    }

    fn reload(&self) {
        reload(&self.cluster);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self, dsn: &str) -> ConnectOptions {
        let dsn = format!(
            "{dsn} port={} user={} dbname=postgres",
            self.cluster.port(),
            self.cluster.superuser()
        );
        let request = ConnectRequest {
            dsn: &Dsn::parse(&dsn).unwrap(),
            origin: DsnOrigin::Argument,
            password_file: None,
        };
        let environment = Environment::new([("PGPASSWORD", self.cluster.password())], None);
        ConnectOptions::resolve(request, &environment).unwrap()
    }

    /// Whether a connection came about, and if so whether the server sees it encrypted.
    async fn is_encrypted(&self, dsn: &str) -> Result<bool, String> {
        let session = connect(&self.options(dsn), "test").await.map_err(chain)?;
        let row = session
            .client
            .query_one(
                "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()",
                &[],
            )
            .await
            .unwrap();
        Ok(row.get(0))
    }
}

/// Makes certificates in `directory` and lets the server take encrypted connections with its own.
pub(crate) fn admit_tls(cluster: &Cluster, directory: &Path) {
    certificates::make(directory);
    for name in ["server.crt", "server.key"] {
        let installed = cluster.data().join(name);
        fs::copy(directory.join(name), &installed).unwrap();
        fs::set_permissions(&installed, fs::Permissions::from_mode(0o600)).unwrap();
        let owner = fs::metadata(cluster.data()).unwrap();
        std::os::unix::fs::chown(&installed, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    cluster.sql("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
    reload(cluster);
}

/// Reloads and waits until new connections see it.
fn reload(cluster: &Cluster) {
    let loaded = || cluster.sql("postgres", "SELECT pg_conf_load_time()").unwrap();
    let before = loaded();
    cluster.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    wait::until("the settings to be loaded", || loaded() != before);
}

fn chain(error: kubebackup::postgres::Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sslmode_verifies_what_libpq_verifies() {
    let server = TlsServer::start();
    let (ca, other) = (server.file("ca.crt"), server.file("other.crt"));
    let (ca, other) = (ca.display(), other.display());

    assert_eq!(server.is_encrypted("host=localhost sslmode=disable").await, Ok(false));
    for dsn in [
        "host=localhost".to_owned(),
        "host=127.0.0.1 sslmode=require".to_owned(),
        format!("host=127.0.0.1 sslmode=verify-ca sslrootcert={ca}"),
        format!("host=localhost sslmode=verify-full sslrootcert={ca}"),
        format!("host=localhost sslmode=require sslrootcert={ca}"),
        // The server's own certificate as the root: nothing else was signed by it, but it is the one.
        format!(
            "host=localhost sslmode=verify-full sslrootcert={}",
            server.file("server.crt").display()
        ),
    ] {
        assert_eq!(server.is_encrypted(&dsn).await, Ok(true), "{dsn}");
    }
    for (dsn, cause) in [
        (
            format!("host=127.0.0.1 sslmode=verify-full sslrootcert={ca}"),
            "not valid for name",
        ),
        (
            format!("host=localhost sslmode=verify-full sslrootcert={other}"),
            "UnknownIssuer",
        ),
        (
            format!("host=localhost sslmode=verify-ca sslrootcert={other}"),
            "UnknownIssuer",
        ),
        (
            format!("host=localhost sslmode=require sslrootcert={other}"),
            "UnknownIssuer",
        ),
        (
            "host=localhost sslmode=verify-full sslrootcert=system".to_owned(),
            "UnknownIssuer",
        ),
        (
            "host=localhost sslmode=verify-full sslrootcert=/nonexistent".to_owned(),
            "/nonexistent",
        ),
    ] {
        let refused = server.is_encrypted(&dsn).await.unwrap_err();
        assert!(refused.contains(cause), "{dsn}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_follows_the_server_and_require_insists() {
    let server = TlsServer::start();
    let rules = server.cluster.data().join("pg_hba.conf");

    // The server's rules admit no encrypted connection.
    fs::write(&rules, "hostnossl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    server.reload();
    assert_eq!(server.is_encrypted("host=localhost sslmode=prefer").await, Ok(false));
    let refused = server.is_encrypted("host=localhost sslmode=require").await.unwrap_err();
    assert!(refused.contains("pg_hba.conf"), "{refused}");

    // The server has no TLS at all.
    server.sql("ALTER SYSTEM SET ssl = off");
    server.reload();
    assert_eq!(server.is_encrypted("host=localhost sslmode=prefer").await, Ok(false));
    let refused = server.is_encrypted("host=localhost sslmode=require").await.unwrap_err();
    assert!(refused.contains("does not support TLS"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_programs_verify_as_the_connection_does() {
    let server = TlsServer::start();
    let major = server.sql("SELECT current_setting('server_version_num')::int / 10000");
    let programs = ClientPrograms::find(major.parse().unwrap(), Some(server.cluster.bin_directory()))
        .await
        .unwrap();
    let schema_only = ["--schema-only".into()];

    let trusted = format!(
        "host=localhost sslmode=verify-full sslrootcert={}",
        server.file("ca.crt").display()
    );
    programs
        .run(&programs.pg_dump(), &schema_only, Some(&server.options(&trusted)))
        .await
        .unwrap();
    let untrusted = format!(
        "host=localhost sslmode=verify-full sslrootcert={}",
        server.file("other.crt").display()
    );
    let refused = programs
        .run(&programs.pg_dump(), &schema_only, Some(&server.options(&untrusted)))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("certificate verify failed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_directory_is_a_host() {
    let sockets = tempfile::tempdir().unwrap();
    fs::set_permissions(sockets.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let directory = sockets.path().display().to_string();
    let cluster = Cluster::start(&ClusterOptions {
        settings: vec![("unix_socket_directories".to_owned(), directory.clone())],
        ..ClusterOptions::default()
    })
    .unwrap();
    let dsn = format!("host={directory} port={} user=postgres sslmode=require", cluster.port());
    let request = ConnectRequest {
        dsn: &Dsn::parse(&dsn).unwrap(),
        origin: DsnOrigin::Argument,
        password_file: None,
    };
    let environment = Environment::new([("PGPASSWORD", cluster.password())], None);
    let options = ConnectOptions::resolve(request, &environment).unwrap();
    let session = connect(&options, "test").await.unwrap();
    let row = session
        .client
        .query_one("SELECT inet_client_addr() IS NULL", &[])
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0), "not through the socket");
}

/// A TCP connection is not an answer.
#[tokio::test]
async fn a_server_that_takes_the_connection_and_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = kubebackup::postgres::ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().unwrap().port(),
        user: "u".to_owned(),
        database: "d".to_owned(),
        password: Password::None,
        tls: kubebackup::postgres::TlsMode::Disable,
        connect_timeout: std::time::Duration::from_secs(1),
    };
    let error = kubebackup::postgres::connect(&options, "test").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("connect to {options}: no answer within 1 seconds")
    );
}

/// What client programs write down of a server is understood in English alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_role_and_superusers_are_answered_in_english_whatever_the_server_speaks() {
    let cluster = source_cluster_with(&[("lc_messages", "C.utf8")]);
    create_backup_role(&cluster, true);
    assert_eq!(cluster.sql("postgres", "SHOW lc_messages").unwrap(), "C.utf8");
    let as_role = cluster.sql_as(BACKUP_ROLE, BACKUP_PASSWORD, "postgres", "SHOW lc_messages");
    assert_eq!(as_role.unwrap(), "C");
    let session = connect(&cluster_options(&cluster, "postgres"), "test").await.unwrap();
    let row = session.client.query_one("SHOW lc_messages", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "C");
}
