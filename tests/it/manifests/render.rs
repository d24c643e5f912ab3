//! Rendering: kustomize over a copy of the manifests in which every secret's example stands for the secret.
//!
//! Each overlay is rendered once; `scripts/test-tools.sh` fetches kustomize.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use super::OVERLAYS;
use super::objects::Object;

/// A copy of `manifests/` that can be rendered and added to.
pub(super) struct Copy {
    directory: tempfile::TempDir,
}

impl Copy {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(&root().join("manifests"), &directory.path().join("manifests"));
        Self { directory }
    }

    /// Adds a directory `name` beside the overlays, made of these files.
    pub(super) fn add(&self, name: &str, files: &[(&str, &str)]) {
        let directory = self.manifests().join("overlays").join(name);
        fs::create_dir(&directory).unwrap();
        for (file, text) in files {
            fs::write(directory.join(file), text).unwrap();
        }
    }

    /// Writes a file of an overlay, over what may be there.
    pub(super) fn write(&self, file: &str, text: &str) {
        fs::write(self.manifests().join("overlays").join(file), text).unwrap();
    }

    /// An overlay together with its Secrets, which are applied by themselves.
    fn render_with_secrets(&self, overlay: &str) -> Vec<Object> {
        let mut objects = self.render(overlay);
        for object in self.render(&format!("{overlay}/secrets")) {
            // Both have the namespaces.
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        objects
    }

    /// What `kubectl apply -k manifests/overlays/<overlay>` would send.
    pub(super) fn render(&self, overlay: &str) -> Vec<Object> {
        let directory = self.manifests().join("overlays").join(overlay);
        let output = Command::new(tool("bin/kustomize"))
            .arg("build")
            .arg(&directory)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{overlay}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        read_yaml(&String::from_utf8(output.stdout).unwrap())
            .into_iter()
            .map(Object)
            .collect()
    }

    /// Runs a command of a page in the directory that holds the copy of `manifests/`.
    pub(super) fn run(&self, command: &str) {
        let status = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(self.directory.path())
            .status()
            .unwrap();
        assert!(status.success(), "{command}");
    }

    fn manifests(&self) -> PathBuf {
        self.directory.path().join("manifests")
    }
}

/// Every overlay with its objects.
pub(super) fn overlays() -> &'static BTreeMap<&'static str, Vec<Object>> {
    static RENDERED: OnceLock<BTreeMap<&'static str, Vec<Object>>> = OnceLock::new();
    RENDERED.get_or_init(|| {
        let copy = Copy::new();
        OVERLAYS
            .iter()
            .map(|overlay| (*overlay, copy.render_with_secrets(overlay)))
            .collect()
    })
}

/// A program below `target/tools`.
pub(super) fn tool(path: &str) -> PathBuf {
    let tool = root().join("target/tools").join(path);
    assert!(
        tool.exists(),
        "{} is not there; run `make tools`, which fetches it",
        tool.display()
    );
    tool
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of `text`.
pub(super) fn read_yaml(text: &str) -> Vec<Value> {
    YamlLoader::load_from_str(text).unwrap().iter().map(to_json).collect()
}

fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(number) => number.parse::<f64>().unwrap().into(),
        Yaml::Integer(number) => (*number).into(),
        Yaml::String(text) => text.as_str().into(),
        Yaml::Boolean(flag) => (*flag).into(),
        Yaml::Array(items) => items.iter().map(to_json).collect(),
        Yaml::Hash(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), to_json(value)))
            .collect(),
        Yaml::Null => Value::Null,
        Yaml::Alias(_) | Yaml::BadValue => panic!("{yaml:?} in rendered YAML"),
    }
}

/// Copies a directory; each `name.example` is there as `name` too, and secrets of this machine's user are not.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let is_secrets = from.ends_with("secrets");
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.extension().is_some_and(|extension| extension == "example") {
            fs::copy(&path, target.with_extension("")).unwrap();
        } else if !is_secrets || path.ends_with("kustomization.yaml") {
            fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn the_overlays_that_are_tested_are_those_that_exist() {
    let mut found: Vec<String> = fs::read_dir(root().join("manifests/overlays"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, OVERLAYS);
}
