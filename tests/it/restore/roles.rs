//! The roles of a cluster, by each way of restoring them.

use kubebackup::restore::preflight::Problem;
use kubebackup::restore::{Error, RestoreOptions, RolesMode};

use super::{creating, try_restore};
use crate::support::World;
use crate::support::library::{backup_once, error_chain, memory_repository};

/// Of another restore's roles nothing is changed; created ones are as they were, but for their passwords.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_roles_come_back_with_what_they_may_and_existing_ones_stay_as_they_are() {
    let world = World::start();
    world.source_sql(
        "CREATE ROLE chief LOGIN CREATEDB CONNECTION LIMIT 3 VALID UNTIL '2030-01-01 00:00:00+00';
         CREATE ROLE team NOINHERIT; GRANT team TO chief WITH ADMIN OPTION; GRANT pg_monitor TO team;
         CREATE ROLE taken CREATEROLE; GRANT team TO taken; COMMENT ON ROLE team IS 'us';
         ALTER ROLE chief SET search_path = a, \"B c\"; CREATE TABLE t (id int); ALTER TABLE t OWNER TO taken;
         CREATE ROLE once_drilled; COMMENT ON ROLE once_drilled IS 'created by a kubebackup drill, which drops it again'",
    );
    world.target.sql("postgres", "CREATE ROLE taken NOLOGIN").unwrap();
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let options = RestoreOptions {
        roles: RolesMode::Full,
        ..creating()
    };
    let report = try_restore(&world, &repository, &backup, "back", &options)
        .await
        .unwrap_or_else(|error| panic!("{}", error_chain(error)));
    assert_eq!(report.roles_created, ["chief", "kubebackup", "once_drilled", "team"]);
    assert_eq!(report.roles_without_password, ["chief", "kubebackup"]);
    assert!(
        report
            .skipped
            .contains(&"role taken: exists already, left as it is".to_owned())
    );
    let question = "SELECT rolname, rolcanlogin, rolcreatedb, rolinherit, rolconnlimit, rolvaliduntil AT TIME ZONE 'UTC', rolconfig,
                           (SELECT array_agg(m.roleid::regrole::text || m.admin_option) FROM pg_auth_members m WHERE m.member = r.oid)
                    FROM pg_roles r WHERE rolname IN ('chief', 'team') ORDER BY 1;
                    SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'team'";
    assert_eq!(world.target.sql("back", question).unwrap(), world.source_sql(question));
    // The next drill on that server drops what is called so.
    let said = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'once_drilled'";
    assert_eq!(world.target.sql("back", said).unwrap(), options.role_comment);
    let taken = "SELECT rolcreaterole, (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r
                 WHERE rolname = 'taken'";
    assert_eq!(world.target.sql("back", taken).unwrap(), "f|0");

    let options = RestoreOptions {
        roles: RolesMode::None,
        ..creating()
    };
    world.source_sql("CREATE ROLE late; ALTER TABLE t OWNER TO late");
    let backup = backup_once(&world, &repository).await;
    let result = try_restore(&world, &repository, &backup, "other", &options).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if problems[..] == [Problem::MissingRoles(vec!["late".to_owned()])]),
        "{result:?}"
    );
    let made = "SELECT count(*) FROM pg_database WHERE datname = 'other'";
    assert_eq!(world.target.sql("postgres", made).unwrap(), "0", "nothing was touched");
}
