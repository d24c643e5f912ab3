//! Nothing secret is in git: Secrets come from files that git ignores, and the examples of those hold no value.

use std::fs;
use std::path::{Path, PathBuf};

use super::OVERLAYS;
use super::objects::{data, list, pods, text};
use super::render::{Copy, overlays, read_yaml, root};

/// What stands for a value in an example.
const PLACEHOLDER: &str = "change-me";

#[test]
fn no_manifest_is_a_secret_or_gives_one_as_a_value() {
    for file in files(&root().join("manifests")) {
        let text = fs::read_to_string(&file).unwrap();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            for document in read_yaml(&text) {
                assert_ne!(document["kind"], "Secret", "{}", file.display());
            }
        }
        // What every key of AWS begins with, and every private one.
        for sign in ["AKIA", "ASIA", "PRIVATE KEY"] {
            assert!(!text.contains(sign), "{} contains {sign}", file.display());
        }
    }
    for pod in overlays().values().flat_map(|objects| pods(objects)) {
        for variable in pod.containers().iter().flat_map(|container| list(&container["env"])) {
            let name = text(&variable["name"]);
            let is_secret = ["PASSWORD", "SECRET", "TOKEN", "ACCESS_KEY", "WEBHOOK"]
                .iter()
                .any(|word| name.contains(word));
            assert!(
                !is_secret || name.ends_with("_FILE") || variable["value"].is_null(),
                "{}: {name}",
                pod.owner
            );
        }
    }
}

#[test]
fn every_value_of_a_secret_comes_from_an_example_without_one() {
    let mut values = 0;
    for object in overlays().values().flatten().filter(|object| object.kind() == "Secret") {
        for contents in data(object).into_values() {
            let words: Vec<&str> = contents
                .lines()
                .map(|line| line.rsplit(['=', ' ']).next().unwrap())
                .collect();
            assert!(
                words.iter().all(|word| [PLACEHOLDER, "[default]"].contains(word)),
                "{object}: {contents}"
            );
            values += words.len();
        }
    }
    assert!(values > 10, "only {values} values were looked at");
}

#[test]
fn git_ignores_the_files_that_secrets_are_made_of() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    for line in [
        "/manifests/overlays/*/secrets/*",
        "!/manifests/overlays/*/secrets/*.example",
        "!/manifests/overlays/*/secrets/kustomization.yaml",
    ] {
        assert!(ignored.lines().any(|ignored| ignored == line), "{line}");
    }
    for overlay in OVERLAYS {
        let directory = root().join("manifests/overlays").join(overlay).join("secrets");
        let kustomization = fs::read_to_string(directory.join("kustomization.yaml")).unwrap();
        for generator in list(&read_yaml(&kustomization)[0]["secretGenerator"]) {
            assert!(generator["literals"].is_null(), "{overlay}");
            for source in list(&generator["envs"]).iter().chain(list(&generator["files"])) {
                let file = text(source).rsplit('=').next().unwrap();
                assert!(!file.contains('/'), "{overlay}: {file}");
                assert!(directory.join(format!("{file}.example")).exists(), "{overlay}: {file}");
            }
        }
    }
}

/// Applying an overlay touches no Secret, so that whoever made them last, a person or a pipeline, has the say.
#[test]
fn an_overlay_makes_no_secret_itself() {
    let copy = Copy::new();
    for overlay in OVERLAYS {
        let objects = copy.render(overlay);
        assert!(objects.iter().all(|object| object.kind() != "Secret"), "{overlay}");
    }
}

/// Every file below, but those of a machine's user that git ignores.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !directory.ends_with("secrets") || path.extension().is_some_and(|extension| extension != "env") {
            found.push(path);
        }
    }
    found
}
