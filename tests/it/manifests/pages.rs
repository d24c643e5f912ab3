//! Pages against manifests: the directories that `kubectl -k` is told exist, and so do the namespaces, pods and containers
//! that commands name. What runs inside a pod is a command that the program takes.

use std::fs;
use std::path::PathBuf;

use clap::Parser as _;

use super::objects::pods;
use super::render::{overlays, root};

/// One line that a page shows, with the page for messages.
struct Shown {
    page: String,
    line: String,
}

impl Shown {
    /// What follows one of these flags.
    fn after(&self, flags: &[&str]) -> Option<&str> {
        let words: Vec<&str> = self.line.split_whitespace().collect();
        let place = words.iter().position(|word| flags.contains(word))?;
        words.get(place + 1).copied()
    }

    fn namespace(&self) -> Option<&str> {
        self.after(&["-n", "--namespace"])
    }

    /// The name of the controller whose pod is meant, written as `statefulset/postgres` or `postgres-0`.
    fn pod(&self) -> Option<&str> {
        let mut words = self.line.split_whitespace();
        words.find(|word| ["exec", "logs", "status", "port-forward"].contains(word))?;
        let is_controller = |word: &&str| word.starts_with("deployment/") || word.starts_with("statefulset/");
        let name = words.find(|word| is_controller(word) || word.ends_with("-0"))?;
        Some(name.trim_end_matches("-0").rsplit('/').next().unwrap_or(name))
    }
}

#[test]
fn every_directory_that_kubectl_is_told_can_be_applied() {
    let mut told = 0;
    for shown in shown() {
        if let Some(directory) = shown
            .after(&["-k", "--kustomize"])
            .filter(|directory| directory.starts_with("manifests"))
        {
            let file = root().join(directory).join("kustomization.yaml");
            assert!(file.exists(), "{}: {}", shown.page, shown.line);
            told += 1;
        }
    }
    assert!(told >= 5, "only {told} directories were found");
}

#[test]
fn every_pod_and_container_that_a_command_names_is_one_of_the_manifests() {
    let mut named = 0;
    for shown in shown() {
        let (Some(namespace), Some(pod)) = (shown.namespace(), shown.pod()) else {
            continue;
        };
        let pods: Vec<_> = overlays().values().flat_map(|objects| pods(objects)).collect();
        let meant = pods
            .iter()
            .find(|found| (found.namespace(), found.owner.name()) == (namespace, pod));
        let meant = meant.unwrap_or_else(|| panic!("{}: {}", shown.page, shown.line));
        if let Some(container) = shown.after(&["-c", "--container"]) {
            assert!(meant.container(container).is_some(), "{}: {}", shown.page, shown.line);
        }
        named += 1;
    }
    assert!(named >= 15, "only {named} pods were found");
}

#[test]
fn every_command_inside_a_pod_is_one_that_the_program_takes() {
    let mut commands = 0;
    for shown in shown() {
        let Some((_, command)) = shown.line.split_once(" -- kubebackup ") else {
            continue;
        };
        let arguments = command.split(['|', ')']).next().unwrap_or_default().split_whitespace();
        let parsed = kubebackup::cli::Arguments::try_parse_from(std::iter::once("kubebackup").chain(arguments));
        assert!(
            parsed.is_ok(),
            "{}: {}: {}",
            shown.page,
            shown.line,
            parsed.unwrap_err()
        );
        commands += 1;
    }
    assert!(commands >= 6, "only {commands} commands were found");
}

/// Every command of `kubectl` that a page shows; a line that ends in a backslash goes on in the next.
fn shown() -> Vec<Shown> {
    let mut pages = vec![root().join("README.md"), root().join("manifests/README.md")];
    collect_pages(root().join("docs"), &mut pages);
    let mut found = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap().replace("\\\n", " ");
        for line in text.lines() {
            // A manifest may quote the same command behind a dash.
            if let Some(start) = line.find("kubectl ").filter(|_| !line.starts_with('|')) {
                found.push(Shown {
                    page: page.strip_prefix(root()).unwrap().display().to_string(),
                    line: line[start..].split('`').next().unwrap_or_default().to_owned(),
                });
            }
        }
    }
    found
}

fn collect_pages(directory: PathBuf, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_pages(path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}
