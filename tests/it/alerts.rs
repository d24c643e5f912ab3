//! Alert rules and dashboard: promtool judges them, they speak of metrics that exist, and every alert has a page and a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser as _;
use kubebackup::http::metrics::METRICS;

const RULES: &str = "manifests/components/monitoring/prometheusrule.yaml";
const DASHBOARD: &str = "manifests/components/monitoring/dashboard.json";

#[test]
fn every_alert_fires_when_it_must_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("rules.yaml"), groups()).unwrap();
    let mut files = vec!["check".to_owned(), "rules".to_owned(), "rules.yaml".to_owned()];
    promtool(directory.path(), &files);
    files = vec!["test".to_owned(), "rules".to_owned()];
    for (name, text) in cases() {
        fs::write(directory.path().join(&name), text).unwrap();
        files.push(name);
    }
    promtool(directory.path(), &files);
}

#[test]
fn an_alert_that_would_not_fire_fails_its_test() {
    let directory = tempfile::tempdir().unwrap();
    let broken = groups().replace("kubebackup_last_success_timestamp_seconds", "kubebackup_backups");
    fs::write(directory.path().join("rules.yaml"), broken).unwrap();
    let (_, text) = cases()
        .into_iter()
        .find(|(name, _)| name == "backup_agent.yaml")
        .unwrap();
    fs::write(directory.path().join("case.yaml"), text).unwrap();
    let output = run_promtool(directory.path(), &["test", "rules", "case.yaml"].map(str::to_owned));
    assert!(!output.status.success());
}

#[test]
fn every_alert_has_its_parts_a_page_and_a_case_where_it_fires() {
    let cases: String = cases().into_iter().map(|(_, text)| text).collect();
    let names = alerts();
    assert!(names.len() >= 10, "{names:?}");
    for alert in rules() {
        let name = alert.lines().next().unwrap().trim();
        for part in ["severity:", "summary:", "description:"] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        let page = format!("docs/runbooks/{name}.md");
        assert!(
            alert.contains(&format!("/-/blob/main/{page}\n")),
            "{name} has no link to its page"
        );
        let text = read(&page);
        assert!(text.starts_with(&format!("# {name}\n")), "{page}");
        for part in ["**Means.**", "**Impact.**", "## Look", "## Mend"] {
            assert!(text.contains(part), "{page} has no {part}");
        }
        assert!(
            cases.contains(&format!("- labels: '{{alertname=\"{name}\"")),
            "no case lets {name} fire"
        );
        assert!(
            read("docs/runbooks/README.md").contains(&format!("| [{name}]({name}.md) |")),
            "{name}"
        );
    }
}

/// What a page tells somebody to type at night is something that the program takes.
#[test]
fn every_command_of_a_runbook_is_one_that_the_program_takes() {
    let mut commands = 0;
    for name in alerts() {
        for line in read(&format!("docs/runbooks/{name}.md")).lines() {
            let Some((_, arguments)) = line.split_once(" -- kubebackup ") else {
                continue;
            };
            let words = std::iter::once("kubebackup").chain(arguments.split_whitespace());
            let parsed = kubebackup::cli::Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.unwrap_err());
            commands += 1;
        }
    }
    assert!(commands > 10, "only {commands} commands were found");
}

#[test]
fn pages_of_alerts_that_do_not_exist_are_none() {
    let names = alerts();
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let page = name.strip_suffix(".md").unwrap();
        assert!(!page.starts_with("KubeBackup") || names.contains(page), "{page}");
    }
}

#[test]
fn rules_cases_and_dashboard_speak_of_metrics_that_exist() {
    let known: BTreeSet<String> = METRICS
        .iter()
        .map(kubebackup::http::metrics::Metric::full_name)
        .collect();
    let mut texts = vec![groups(), read(DASHBOARD)];
    texts.extend(cases().into_iter().map(|(_, text)| text));
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        texts.push(fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let mut used = BTreeSet::new();
    for text in texts {
        for name in names_in(&text) {
            assert!(known.contains(name), "there is no metric {name}");
            used.insert(name.to_owned());
        }
    }
    assert!(used.len() > 25, "{used:?}");
}

/// Both sides live in namespaces of their own, so that one choice for both would empty half of the panels.
#[test]
fn the_dashboard_has_a_choice_of_namespaces_for_each_side_and_every_panel_uses_its_own() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let sides = [("$production", "kubebackup-backup"), ("$proof", "kubebackup-restore")];
    for (variable, job) in sides {
        let is_it = |one: &&serde_json::Value| one["name"] == variable[1..];
        let found = dashboard["templating"]["list"].as_array().unwrap().iter().find(is_it);
        let query = found.unwrap()["query"]["query"].as_str().unwrap();
        assert!(query.contains(&format!("job=\"{job}\"")), "{query}");
    }
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let asks_one = |job: &str| expression.contains(&format!("job=\"{job}\""));
            for (variable, job) in sides {
                let is_other = sides.iter().any(|(_, other)| *other != job && asks_one(other));
                assert_eq!(expression.contains(variable), !is_other, "{expression}");
            }
        }
    }
}

#[test]
fn every_panel_of_the_dashboard_asks_what_prometheus_understands() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut rules = "groups:\n  - name: panels\n    rules:\n".to_owned();
    let (mut ids, mut panels) = (BTreeSet::new(), 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels with one id");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"]
                .as_str()
                .unwrap()
                .replace("$production", ".*")
                .replace("$proof", ".*");
            panels += 1;
            rules += &format!("      - record: panel:{panels}\n        expr: '{expression}'\n");
        }
        let is_described = panel["type"] == "row" || panel["description"].is_string();
        assert!(is_described, "{} has no description", panel["title"]);
    }
    assert!(panels > 20);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("rules.yaml"), rules.replace("panel:", "panel_")).unwrap();
    promtool(directory.path(), &["check", "rules", "rules.yaml"].map(str::to_owned));
}

/// `spec` of the `PrometheusRule`, which is what a file of rules holds.
fn groups() -> String {
    let text = read(RULES);
    let (_, spec) = text.split_once("\nspec:\n").unwrap();
    let lines = spec.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Each rule from its name on.
fn rules() -> Vec<String> {
    let groups = groups();
    groups.split("- alert: ").skip(1).map(str::to_owned).collect()
}

fn alerts() -> BTreeSet<String> {
    let name = |rule: &String| rule.lines().next().unwrap().trim().to_owned();
    rules().iter().map(name).collect()
}

/// The tests of the rules, by the names of their files.
fn cases() -> Vec<(String, String)> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(root().join("tests/alerts")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        cases.push((name, fs::read_to_string(&path).unwrap()));
    }
    cases.sort();
    cases
}

/// Words that begin as our metrics do.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("kubebackup_") && !word.ends_with('_'))
}

#[track_caller]
fn promtool(directory: &Path, arguments: &[String]) {
    let output = run_promtool(directory, arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}\n{said}\n{complained}");
}

fn run_promtool(directory: &Path, arguments: &[String]) -> std::process::Output {
    let mut promtool = Command::new("promtool");
    let output = promtool.args(arguments).current_dir(directory).output();
    output.expect("promtool is there; `make setup` installs it")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn read(file: &str) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}
