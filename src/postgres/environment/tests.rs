//! libpq's order of precedence, and the refusals.

use super::*;

fn resolve(dsn: &str, variables: &[(&'static str, &'static str)]) -> Result<ConnectOptions> {
    let request = ConnectRequest {
        dsn: &Dsn::parse(dsn)?,
        origin: DsnOrigin::Settings,
        password_file: None,
    };
    ConnectOptions::resolve(request, &Environment::new(variables.iter().copied(), None))
}

#[test]
fn the_connection_string_wins_over_variables_and_they_over_defaults() {
    let variables = [("PGHOST", "other"), ("PGUSER", "backup"), ("PGPORT", "5433")];
    let options = resolve("host=db port=6000", &variables).unwrap();
    assert_eq!(options.to_string(), "db:6000/backup as backup");
    assert_eq!(options.tls, TlsMode::Prefer);
    assert_eq!(options.connect_timeout, DEFAULT_CONNECT_TIMEOUT);

    let options = resolve(
        "",
        &[
            ("PGHOST", "h"),
            ("PGUSER", "u"),
            ("PGDATABASE", "d"),
            ("PGCONNECT_TIMEOUT", "3"),
        ],
    );
    let options = options.unwrap();
    assert_eq!(options.to_string(), "h:5432/d as u");
    assert_eq!(options.connect_timeout, Duration::from_secs(3));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let options = resolve("user=u", &[("PGHOST", ""), ("PGPORT", "")]).unwrap();
    assert_eq!(options.port, 5432);
}

#[test]
fn a_password_in_an_argument_is_refused_with_the_mend_and_without_the_password() {
    let request = ConnectRequest {
        dsn: &Dsn::parse("postgres://u:hunter2@h/d").unwrap(),
        origin: DsnOrigin::Argument,
        password_file: None,
    };
    let refused = ConnectOptions::resolve(request, &Environment::default())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("PGPASSWORD") && refused.contains("password_file"),
        "{refused}"
    );
    assert!(!refused.contains("hunter2"), "{refused}");
    assert_eq!(
        resolve("postgres://u:hunter2@h/d", &[])
            .unwrap()
            .password()
            .unwrap()
            .as_deref(),
        Some("hunter2")
    );
}

#[test]
fn the_password_file_wins_over_the_variable_and_loses_its_newline() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from file\n").unwrap();
    let request = ConnectRequest {
        dsn: &Dsn::parse("host=h user=u").unwrap(),
        origin: DsnOrigin::Argument,
        password_file: Some(file.path()),
    };
    let environment = Environment::new([("PGPASSWORD", "from variable")], None);
    let options = ConnectOptions::resolve(request, &environment).unwrap();
    assert_eq!(options.password().unwrap().as_deref(), Some("from file"));
    let shown = format!("{options:?} {:?} {environment:?}", options.password);
    assert!(!shown.contains("from"), "{shown}");

    std::fs::write(file.path(), "from a newer file\n").unwrap();
    let environment = options.with_database("other").child_environment("").unwrap();
    assert!(
        environment.contains(&("PGPASSWORD", "from a newer file".to_owned())),
        "read again"
    );
    std::fs::remove_file(file.path()).unwrap();
    assert!(options.password().unwrap_err().to_string().contains("password_file"));
}

#[test]
fn the_passfile_is_read_again_for_each_connection() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let environment = Environment::new([], Some(home.path()));
    let request = ConnectRequest {
        dsn: &Dsn::parse("host=h user=u dbname=d").unwrap(),
        origin: DsnOrigin::Settings,
        password_file: None,
    };
    let options = ConnectOptions::resolve(request, &environment).unwrap();
    assert_eq!(options.password().unwrap(), None);
    let passfile = home.path().join(".pgpass");
    for password in ["first", "second"] {
        std::fs::write(&passfile, format!("h:*:d:u:{password}\n")).unwrap();
        std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
        let other = options.with_database("other");
        assert_eq!(
            other.password().unwrap().as_deref(),
            Some(password),
            "of the database that was named"
        );
    }
}

#[test]
fn verifying_needs_roots_and_require_verifies_where_a_root_file_exists() {
    let refused = resolve("host=h user=u sslmode=verify-full", &[])
        .unwrap_err()
        .to_string();
    assert!(refused.contains("sslrootcert"), "{refused}");
    let system = resolve("host=h user=u sslmode=verify-full sslrootcert=system", &[]).unwrap();
    assert_eq!(system.tls, TlsMode::VerifyFull(RootCertificates::System));

    let file = tempfile::NamedTempFile::new().unwrap();
    let dsn = format!("host=h user=u sslmode=require sslrootcert={}", file.path().display());
    assert_eq!(
        resolve(&dsn, &[]).unwrap().tls,
        TlsMode::VerifyCa(RootCertificates::File(file.path().into()))
    );
    assert_eq!(
        resolve("host=h user=u sslmode=require sslrootcert=/no", &[])
            .unwrap()
            .tls,
        TlsMode::Require
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (dsn, variables, named) in [
        ("host=a,b user=u", &[][..], "several hosts"),
        ("host=h user=u sslmode=allow", &[], "sslmode=allow"),
        ("host=h user=u", &[("PGSERVICE", "x")], "PGSERVICE"),
        ("host=h user=u", &[("PGHOSTADDR", "1.2.3.4")], "PGHOSTADDR"),
        ("host=h user=u port=x", &[], "port must be a number"),
        ("host=h", &[], "PGUSER"),
    ] {
        let refused = resolve(dsn, variables).unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}

#[test]
fn programs_are_told_what_this_program_would_do() {
    let options = resolve(
        "host=h user=u dbname=d sslmode=verify-ca sslrootcert=/ca.pem password=p",
        &[],
    )
    .unwrap();
    let environment = options.child_environment("").unwrap();
    for expected in [
        ("PGSSLMODE", "verify-ca"),
        ("PGSSLROOTCERT", "/ca.pem"),
        ("PGPASSWORD", "p"),
        ("PGDATABASE", "d"),
    ] {
        assert!(
            environment
                .iter()
                .any(|(name, value)| (*name, value.as_str()) == expected),
            "{expected:?}"
        );
    }
}
