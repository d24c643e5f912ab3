//! What a row holds stays among rows: a program that quotes one as it fails, or as it warns, is not quoted in turn, whatever
//! is printed, stored, shown or sent. What failed is named all the same.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use kubebackup::http::status::Outcome;
use serde_json::Value;

use crate::backup_agent::Agent;
use crate::restore_agent::receiver::{Answer, Receiver};
use crate::support::{World, WorldOptions};

/// In a row, and in nothing else.
const MARKER: &str = "marker-61f0-of-a-row";
/// A day that is none where months come first.
const DAY: &str = "30/11/2087";
/// In a definition.
const LITERAL: &str = "literal-77c1-of-a-view";

const KEPT_BACK: &str = "(words that may quote a row; the server's log has them)";

/// A world that says everything it can, and what it said.
struct Ground {
    world: World,
    printed: String,
}

impl Ground {
    /// With one backup of what `statements` make.
    fn of(statements: &[&str]) -> Self {
        let world = World::with(WorldOptions {
            settings: "log: {level: trace}\nagent: {poll_interval: 200ms}\nnotify: {format: generic}\n",
            ..WorldOptions::default()
        });
        for statement in statements {
            world.source_sql(statement);
        }
        let mut ground = Self {
            world,
            printed: String::new(),
        };
        ground.run(0, &["backup"]);
        ground.world.mark_targets();
        ground
    }

    /// Whose target's functions see this setting.
    fn judging(self, how: &str) -> Self {
        let role = self.world.target.superuser();
        let set = format!("ALTER ROLE {role} SET test.judge = '{how}'");
        self.world.target.sql("postgres", &set).unwrap();
        self
    }

    fn run(&mut self, code: i32, arguments: &[&str]) -> String {
        self.run_with(code, arguments, &[])
    }

    fn run_with(&mut self, code: i32, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let program = self.world.program(arguments).env("RUST_LOG", "trace");
        let ended = program.envs(variables.iter().copied()).run().expect(code);
        self.printed.push_str(&ended.printed());
        ended.stdout
    }

    /// The certificate of a drill that ends so.
    fn drill(&mut self, code: i32) -> Value {
        let stdout = self.run(code, &["--output", "json", "drill"]);
        self.run(code, &["drill"]);
        serde_json::from_str(&stdout).unwrap()
    }

    /// Except in the log of the server, which quoted it.
    #[track_caller]
    fn assert_told_nowhere(&self, secret: &str) {
        let log = self.world.target.log();
        assert!(log.contains(secret), "it was not quoted at all: {log}");
        let mut places = vec![("output".to_owned(), self.printed.clone().into_bytes())];
        let keys = self.world.keys("");
        // Where the rows are.
        let told = keys.into_iter().filter(|key| !key.starts_with("chunks/"));
        places.extend(told.map(|key| (key.clone(), self.world.s3.read(&World::object(&key)))));
        assert!(places.iter().any(|(key, _)| key.starts_with("certificates/")));
        for (place, bytes) in &places {
            let text = String::from_utf8_lossy(bytes);
            let found = text.lines().find(|line| line.contains(secret));
            assert!(found.is_none(), "{secret} in {place}: {}", found.unwrap());
        }
    }
}

/// A table and an index whose function complains of each row where a setting says so.
fn judged() -> String {
    format!(
        "CREATE FUNCTION judge(word text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF current_setting('test.judge', true) = 'fail' THEN
                 RAISE EXCEPTION 'bad %', word USING DETAIL = word, HINT = word;
             ELSIF current_setting('test.judge', true) = 'warn' THEN
                 RAISE WARNING 'odd %', word USING DETAIL = word, HINT = word;
             END IF;
             RETURN word; END $$;
         CREATE TABLE t AS SELECT '{MARKER} ' || n AS word FROM generate_series(1, 3) n;
         CREATE INDEX t_judged ON t (judge(word));"
    )
}

#[track_caller]
fn assert_failed(certificate: &Value, parts: &[&str]) {
    assert_eq!(certificate["verdict"], "failed", "{certificate}");
    let reasons = certificate["reasons"].to_string().replace("\\\"", "\"");
    for part in parts {
        assert!(reasons.contains(part), "{part}: {reasons}");
    }
}

#[test]
fn a_value_that_an_index_cannot_take_is_told_nowhere_and_the_index_is() {
    let day = format!("CREATE TABLE visits AS SELECT '{DAY}' AS day; CREATE INDEX visits_day ON visits (as_date(day))");
    let mut ground = Ground::of(&[
        "ALTER DATABASE shop SET datestyle = 'SQL, DMY';
         CREATE FUNCTION as_date(text) RETURNS date LANGUAGE sql IMMUTABLE AS 'SELECT $1::date'",
        &day,
    ]);
    let certificate = ground.drill(3);
    let hint = "HINT:  Perhaps you need a different \"datestyle\" setting.";
    let kind = "ERROR:  date/time field value out of range: ...";
    assert_failed(&certificate, &["CREATE INDEX visits_day ON public.visits ", kind, hint]);
    ground.assert_told_nowhere(DAY);
}

#[test]
fn what_a_function_raises_about_a_row_is_told_by_no_agent_and_to_no_receiver() {
    let mut ground = Ground::of(&[&judged()]).judging("fail");
    let receiver = Receiver::start(Answer::Ok);
    let program = ground.world.program(&["restore-agent"]).env("RUST_LOG", "trace");
    let mut agent = Agent::of_program(program, &[("KUBEBACKUP_NOTIFY_WEBHOOK", &receiver.url())]);
    agent.wait_until("a failed drill", |status| {
        status.runs.iter().any(|run| run.outcome == Outcome::Failed)
    });
    let bodies = receiver.wait_for(1);
    assert_failed(
        &bodies[0],
        &["CREATE INDEX t_judged ON public.t ", "ERROR:  ", KEPT_BACK],
    );
    ground.printed.push_str(&Value::from(bodies).to_string());
    for path in ["/status", "/", "/metrics"] {
        ground.printed.push_str(&agent.get(path));
    }
    ground.printed.push_str(&agent.stop().printed());
    ground.assert_told_nowhere(MARKER);
}

/// By this program's own session, and not by `pg_restore`.
#[test]
fn a_row_that_a_materialized_view_cannot_take_is_told_nowhere() {
    let view = "DROP INDEX t_judged; CREATE MATERIALIZED VIEW judgements AS SELECT judge(word) FROM t";
    let mut ground = Ground::of(&[&judged(), view]).judging("fail");
    let certificate = ground.drill(3);
    assert_failed(&certificate, &["judgements", KEPT_BACK, "(P0001)"]);
    ground.assert_told_nowhere(MARKER);
}

/// `pg_restore` passes warnings on where it is verbose.
#[test]
fn rows_that_a_function_warns_of_are_not_in_the_certificate_of_a_restore_that_works() {
    let mut ground = Ground::of(&[&judged()]).judging("warn");
    let bin = verbose_programs(&ground.world);
    let set = [("KUBEBACKUP_TARGET_BIN_DIRECTORY", bin.as_str())];
    let certificate: Value = serde_json::from_str(&ground.run_with(0, &["--output", "json", "drill"], &set)).unwrap();
    let remarks = certificate["databases"][0]["remarks"].to_string();
    for told in [&format!("WARNING:  {KEPT_BACK}"), "INDEX t_judged"] {
        assert!(remarks.contains(told), "{told}: {remarks}");
    }
    let into = ground.world.target.dsn(ground.world.target.superuser(), "again");
    let password = ground.world.target.password();
    let set = [set[0], ("PGPASSWORD", password)];
    let restored = ground.run_with(0, &["restore", "--into", &into, "--create-database"], &set);
    assert!(restored.contains(KEPT_BACK), "{restored}");
    ground.assert_told_nowhere(MARKER);
}

/// A `pg_restore` that says all that it does.
fn verbose_programs(world: &World) -> String {
    let bin = world.directory().join("bin");
    fs::create_dir(&bin).unwrap();
    for (program, option) in [("pg_dump", ""), ("pg_restore", "--verbose")] {
        let real = world.target.bin_directory().join(program);
        let script = format!("#!/bin/sh\nexec '{}' {option} \"$@\"\n", real.display());
        fs::write(bin.join(program), script).unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin.display().to_string()
}

/// A function that lies where no backup takes it from, as system catalogues do.
#[test]
fn a_statement_that_fails_is_told_nowhere_and_its_object_is() {
    let view = format!("CREATE VIEW greeting AS SELECT pg_catalog.greet('{LITERAL}') AS words");
    let mut ground = Ground::of(&[
        "CREATE FUNCTION pg_catalog.greet(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        &view,
    ]);
    let certificate = ground.drill(3);
    assert_failed(
        &certificate,
        &[
            "CREATE VIEW public.greeting ",
            "ERROR:  function ",
            "greet(text) does not exist",
        ],
    );
    ground.assert_told_nowhere(LITERAL);
}
