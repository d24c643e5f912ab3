//! The examples of `docs/hooks.md`, taken from the page and run as they stand there: kubectl is the stand-in, the agents are real.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use super::proof::{backups, beside_production, restore_agent};
use super::stand_in::{ROOT, StandIn};

/// The first piece of code below a heading, of the given language.
fn code(heading: &str, language: &str) -> String {
    let page = fs::read_to_string(format!("{ROOT}/docs/hooks.md")).unwrap();
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, code) = below.split_once(&format!("\n```{language}\n")).unwrap();
    code.split_once("```\n").unwrap().0.to_owned()
}

/// The whole of the page's second pipeline example: the shell after the job.
fn shell_below(heading: &str) -> String {
    let page = fs::read_to_string(format!("{ROOT}/docs/hooks.md")).unwrap();
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let mut pieces = below.split("```");
    let is_shell = |piece: &&str| piece.starts_with('\n') && piece.contains("kubectl exec");
    pieces.find(is_shell).unwrap().to_owned()
}

fn yaml(text: &str) -> Yaml {
    YamlLoader::load_from_str(text).unwrap().remove(0)
}

#[test]
fn velero_s_hook_makes_a_backup_and_waits_for_it() {
    let patch = yaml(&code("Velero", "yaml"));
    let annotations = &patch["spec"]["template"]["metadata"]["annotations"];
    let hook = |name: &str| {
        annotations[format!("pre.hook.backup.velero.io/{name}").as_str()]
            .as_str()
            .unwrap()
    };
    // Velero reads a list of words from JSON, and runs them without a shell.
    let command: Vec<String> = serde_json::from_str(hook("command")).unwrap();
    assert_eq!(hook("on-error"), "Fail");
    let minutes = |text: &str| text.strip_suffix('m').unwrap().parse::<u32>().unwrap();
    assert!(
        minutes(command.last().unwrap()) < minutes(hook("timeout")),
        "{command:?}"
    );
    assert_eq!(annotations.as_hash().unwrap().len(), 4);

    let (world, cluster, agent) = beside_production();
    let call = [
        "exec",
        "--namespace",
        "app-test",
        "postgres-0",
        "--container",
        hook("container"),
        "--",
    ];
    let words: Vec<String> = call.iter().map(|word| (*word).to_owned()).chain(command).collect();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let hook = format!("kubectl {}", quoted.join(" "));
    cluster.shell(&hook, Path::new("/")).expect(0);
    assert_eq!(backups(&world).len(), 2);
    // Without an agent the hook fails, and with it Velero's backup.
    StandIn::new().shell(&hook, Path::new("/")).expect(1);
    agent.stop();
}

#[test]
fn the_pipeline_s_example_migrates_after_a_backup_and_never_without_one() {
    let job = &yaml(&code("A pipeline", "yaml"))["migrate"];
    let lines: Vec<&str> = job["script"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    let script = lines.join("\n");
    let project = tempfile::tempdir().unwrap();
    let mut migration = fs::OpenOptions::new();
    let migration = migration
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(project.path().join("migrate"));
    std::io::Write::write_all(&mut migration.unwrap(), b"#!/bin/sh\necho migrated\n").unwrap();

    let ended = StandIn::new().shell(&script, project.path()).expect(1);
    assert!(!ended.stdout.contains("migrated"), "{}", ended.stdout);

    let (world, cluster, agent) = beside_production();
    let ended = cluster.shell(&script, project.path()).expect(0);
    assert!(ended.stdout.ends_with("migrated\n"), "{}", ended.stdout);
    assert_eq!(backups(&world).len(), 2);

    let before = backups(&world);
    let named = format!("{}\necho \"$backup\"", shell_below("A pipeline"));
    let named = cluster.shell(&named, project.path()).expect(0);
    let new: Vec<String> = backups(&world)
        .into_iter()
        .filter(|backup| !before.contains(backup))
        .collect();
    assert_eq!(named.stdout.trim(), new.join(" "));
    agent.stop();
}

#[test]
fn the_drill_on_request_ends_well_when_it_certified() {
    let (world, cluster, agent) = beside_production();
    let restore = restore_agent(&world, &cluster);
    let ended = cluster
        .shell(&shell_below("A drill on request"), Path::new("/"))
        .expect(0);
    assert!(ended.stdout.contains("certified"), "{}", ended.stdout);
    restore.stop();
    agent.stop();
}

/// The page's first command, by which every other one here begins.
#[test]
fn the_first_example_asks_and_waits() {
    let (world, cluster, agent) = beside_production();
    let page = fs::read_to_string(format!("{ROOT}/docs/hooks.md")).unwrap();
    let command = page.lines().find(|line| line.starts_with("kubectl exec")).unwrap();
    let asked = cluster
        .shell(&format!("{command} --output json"), Path::new("/"))
        .expect(0);
    let answer: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert!(backups(&world).contains(&answer["run"]["backup_id"].as_str().unwrap().to_owned()));
    agent.stop();
}
