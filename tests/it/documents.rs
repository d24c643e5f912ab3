//! Pages whose tables come from the code. `UPDATE_DOCS=1` writes them; otherwise a difference fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Parser as _;

use crate::support::World;

#[test]
fn the_page_of_settings_says_what_the_code_says() {
    keep_equal("docs/configuration.md", "settings", &kubebackup::config::markdown());
}

#[test]
fn the_page_of_exit_codes_says_what_the_code_says() {
    keep_equal("docs/exit-codes.md", "exit codes", &kubebackup::cli::exit::markdown());
}

#[test]
fn the_page_of_metrics_says_what_the_code_says() {
    keep_equal("docs/metrics.md", "metrics", &kubebackup::http::metrics::markdown());
}

#[test]
fn the_page_of_operations_says_what_is_retried_as_the_code_does() {
    keep_equal("docs/operations.md", "retries", &kubebackup::cli::meaning::markdown());
}

#[test]
fn settings_that_are_shown_to_users_can_be_loaded() {
    let page = read("docs/configuration.md");
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.yaml");
    fs::write(&file, example).unwrap();
    let settings = kubebackup::config::load(Some(&file), []).unwrap();
    settings.repository.require_location().unwrap();
}

/// A role made by the script that users are told to run is enough for every row, also behind row-level security and
/// where CONNECT has been taken away.
#[test]
fn the_documented_script_makes_a_role_that_can_back_everything_up() {
    let world = World::start();
    world.source_sql(
        "CREATE SCHEMA hidden; CREATE TABLE hidden.t AS SELECT 1 AS one; ALTER TABLE hidden.t ENABLE ROW LEVEL SECURITY;
         REVOKE ALL ON DATABASE shop FROM PUBLIC; SELECT lo_from_bytea(0, 'a large object');",
    );
    let script = format!("\\set role scripted\n{}", read("manifests/backup-role.sql"));
    for _ in 0..2 {
        world.source.sql("postgres", &script).unwrap();
    }
    world
        .source
        .sql("postgres", "ALTER ROLE scripted PASSWORD 'of the scripted role'")
        .unwrap();
    let dsn = world.source.dsn("scripted", "shop");
    let backup = world
        .program(&["--output", "json", "backup"])
        .env(
            "KUBEBACKUP_SOURCE_DSN",
            &format!("{dsn} password='of the scripted role'"),
        )
        .run()
        .expect(0);
    let backup: serde_json::Value = serde_json::from_str(&backup.stdout).unwrap();
    assert_eq!(backup["stats"]["rows"], 1);
}

#[test]
fn every_fact_is_shown_by_tests_that_exist_or_is_not_yet_used() {
    let tests = names_of_tests();
    let page = read("docs/facts.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=34).collect::<Vec<_>>());
    for row in rows {
        let [number, _, shown] = row[..] else {
            panic!("{row:?} has not three columns")
        };
        if shown == "not yet used" {
            continue;
        }
        for name in shown.split("<br>").map(|name| name.trim_matches('`')) {
            assert!(tests.contains(name), "fact {number}: there is no test '{name}'");
        }
    }
}

/// Functions with a test attribute, in the sources and here.
fn names_of_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut directories = vec!["src", "tests"]
        .into_iter()
        .map(|name| root().join(name))
        .collect::<Vec<_>>();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let after = |marker| text.split(marker).skip(1).map(str::to_owned).collect::<Vec<_>>();
                for following in after("#[test]").into_iter().chain(after("#[tokio::test")) {
                    let name = following.split_once("fn ").and_then(|(_, name)| name.split_once('('));
                    names.extend(name.map(|(name, _)| name.to_owned()));
                }
            }
        }
    }
    names
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

/// Compares what stands between `<!-- name: begin ... -->` and `<!-- name: end -->` with `expected`.
fn keep_equal(page: &str, name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap();
    let begin = text.find(&format!("<!-- {name}: begin")).expect("the begin marker");
    let start = begin + text[begin..].find("-->\n").expect("the end of the begin marker") + "-->\n".len();
    let end = text.find(&format!("<!-- {name}: end -->")).expect("the end marker");
    if text[start..end] == *expected {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{}{expected}{}", &text[..start], &text[end..])).unwrap();
    } else {
        panic!("{page} differs from the code; UPDATE_DOCS=1 writes it anew. It should say:\n{expected}");
    }
}

/// A flag that a page shows and the program does not know is worse than no page.
#[test]
fn every_command_that_a_page_shows_is_one_that_the_program_takes() {
    let pages = [
        "README.md",
        "docs/restore.md",
        "docs/escape-hatch.md",
        "docs/configuration.md",
        "docs/signals.md",
        "manifests/README.md",
    ];
    let mut commands = 0;
    for page in pages {
        for line in read(page).lines() {
            let line = line.trim().trim_start_matches("$ ").trim_matches('`');
            let Some(arguments) = line.strip_prefix("kubebackup ") else {
                continue;
            };
            let arguments = words(arguments.split(" #").next().unwrap_or_default());
            let parsed =
                kubebackup::cli::Arguments::try_parse_from(std::iter::once("kubebackup".to_owned()).chain(arguments));
            assert!(parsed.is_ok(), "{page}: {line}: {}", parsed.unwrap_err());
            commands += 1;
        }
    }
    assert!(commands >= 6, "only {commands} commands were found");
}

/// Words as a shell splits them; double quotes group.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut quoted, mut open) = (vec![String::new()], false, false);
    for character in text.trim().chars() {
        match character {
            '"' => (quoted, open) = (!quoted, true),
            ' ' if !quoted => {
                if open || !words[words.len() - 1].is_empty() {
                    words.push(String::new());
                }
                open = false;
            }
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}
