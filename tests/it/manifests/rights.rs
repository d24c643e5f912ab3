//! The pipeline's runner in the cluster: its rights are what the scripts of `scripts/ci` ask of Kubernetes, and no more.
//!
//! What kubectl asks for each of its verbs is written down here; a verb that a script begins to use must be added.

use std::collections::BTreeSet;
use std::fs;

use super::objects::{Object, list, text};
use super::render::{Copy, overlays, root};

const NAMESPACES: [&str; 2] = ["app-test", "app-restore-test"];

/// One right, or the need of one. A name only where the right names the objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    /// Empty for all of the cluster.
    namespace: String,
    group: String,
    resource: String,
    verb: String,
    /// Empty for any.
    object: String,
}

impl Right {
    fn new(namespace: &str, group: &str, resource: &str, verb: &str, object: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
            object: object.to_owned(),
        }
    }

    /// Whether this right is enough for that need.
    fn allows(&self, need: &Self) -> bool {
        let reaches = self.namespace.is_empty() || self.namespace == need.namespace;
        let names = self.object.is_empty() || self.object == need.object;
        reaches && names && (&self.group, &self.resource, &self.verb) == (&need.group, &need.resource, &need.verb)
    }
}

#[test]
fn the_runner_may_do_what_its_scripts_do() {
    let rights = granted();
    let needs = needed();
    assert!(needs.len() > 50, "only {} needs were found", needs.len());
    for need in &needs {
        assert!(rights.iter().any(|right| right.allows(need)), "not granted: {need:?}");
    }
}

#[test]
fn the_runner_may_do_nothing_that_no_script_does() {
    let needs = needed();
    for right in granted() {
        let is_used = needs.iter().any(|need| {
            // One role is bound in all namespaces, so a right may be of use in one of them alone.
            let anywhere = Right {
                namespace: need.namespace.clone(),
                ..right.clone()
            };
            anywhere.allows(need)
        });
        assert!(is_used, "nobody needs: {right:?}");
    }
}

#[test]
fn no_right_of_the_runner_is_a_pattern_and_nobody_else_has_them() {
    for object in runner() {
        assert!(!object.0.to_string().contains('*'), "{object}");
        for subject in list(&object.0["subjects"]) {
            let expected =
                serde_json::json!({"kind": "ServiceAccount", "name": "runner", "namespace": "kubebackup-runner"});
            assert_eq!(subject, &expected, "{object}");
        }
    }
}

fn runner() -> Vec<Object> {
    Copy::new().render("../runner")
}

/// What the bindings grant.
fn granted() -> BTreeSet<Right> {
    let objects = runner();
    let mut rights = BTreeSet::new();
    for binding in objects.iter().filter(|object| object.kind().ends_with("RoleBinding")) {
        let role = &binding.0["roleRef"];
        let role = objects
            .iter()
            .find(|object| object.kind() == role["kind"] && object.name() == role["name"])
            .unwrap_or_else(|| panic!("{binding} binds nothing"));
        for rule in list(&role.0["rules"]) {
            let names: Vec<&str> = list(&rule["resourceNames"]).iter().map(text).collect();
            for group in list(&rule["apiGroups"]).iter().map(text) {
                for resource in list(&rule["resources"]).iter().map(text) {
                    for verb in list(&rule["verbs"]).iter().map(text) {
                        for name in if names.is_empty() { &[""][..] } else { &names } {
                            rights.insert(Right::new(binding.namespace(), group, resource, verb, name));
                        }
                    }
                }
            }
        }
    }
    rights
}

/// What every call of kubectl in the scripts asks for.
fn needed() -> BTreeSet<Right> {
    let mut needs = BTreeSet::new();
    for call in calls() {
        let words: Vec<&str> = call.split_whitespace().collect();
        match words[..2] {
            // Looks the controller up, then its pods, then enters one: GET or POST, by the version of both sides.
            ["exec", _] => {
                controllers(&["get"], &mut needs);
                in_each("", "pods", &["get", "list"], &mut needs);
                in_each("", "pods/exec", &["get", "create"], &mut needs);
            }
            ["logs", _] => {
                controllers(&["get"], &mut needs);
                in_each("", "pods", &["get", "list"], &mut needs);
                in_each("", "pods/log", &["get"], &mut needs);
            }
            ["rollout", "status"] => controllers(&["get", "list", "watch"], &mut needs),
            ["get", resource @ ("pods" | "events")] => in_each("", resource, &["list"], &mut needs),
            ["create", "secret"] => assert!(call.contains("--dry-run=client"), "{call}"),
            ["apply", "--server-side"] => secrets(&mut needs),
            ["apply", "--kustomize"] => objects(&mut needs),
            _ => panic!("what does kubectl {call} ask for?"),
        }
    }
    needs
}

/// What follows the program's name; a line that ends in a backslash goes on in the next.
fn calls() -> Vec<String> {
    let mut calls = Vec::new();
    for script in scripts() {
        let code = script.replace("\\\n", " ");
        let lines = code.lines().filter(|line| !line.trim_start().starts_with('#'));
        for line in lines {
            calls.extend(line.split("\"$KUBECTL\" ").skip(1).map(str::to_owned));
        }
    }
    assert!(calls.len() >= 10, "{calls:?}");
    calls
}

fn scripts() -> Vec<String> {
    let directory = fs::read_dir(root().join("scripts/ci")).unwrap();
    directory
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}

fn controllers(verbs: &[&str], needs: &mut BTreeSet<Right>) {
    for verb in verbs {
        needs.insert(Right::new("app-test", "apps", "statefulsets", verb, ""));
        needs.insert(Right::new("app-restore-test", "apps", "deployments", verb, ""));
    }
}

fn in_each(group: &str, resource: &str, verbs: &[&str], needs: &mut BTreeSet<Right>) {
    for namespace in NAMESPACES {
        for verb in verbs {
            needs.insert(Right::new(namespace, group, resource, verb, ""));
        }
    }
}

/// The Secrets that the pipeline writes, server-side: made or changed, without a look.
fn secrets(needs: &mut BTreeSet<Right>) {
    let script = fs::read_to_string(root().join("scripts/ci/secrets.sh")).unwrap();
    let names = script.lines().filter_map(|line| {
        let (_, after) = line.split_once("apply_secret \"$")?;
        after.split_whitespace().nth(1)
    });
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        for namespace in NAMESPACES {
            needs.insert(Right::new(namespace, "", "secrets", "create", ""));
            needs.insert(Right::new(namespace, "", "secrets", "patch", name));
        }
    }
}

/// `kubectl apply` of every overlay looks at each object, and makes or changes it. Namespaces are there before.
fn objects(needs: &mut BTreeSet<Right>) {
    for object in overlays().values().flatten().filter(|object| object.kind() != "Secret") {
        let (group, _) = text(&object.0["apiVersion"]).rsplit_once('/').unwrap_or_default();
        let resource = match object.kind() {
            "NetworkPolicy" => "networkpolicies".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let (verbs, name) = match object.kind() {
            "Namespace" => (&["get", "patch"][..], object.name()),
            _ => (&["get", "create", "patch"][..], ""),
        };
        for verb in verbs {
            needs.insert(Right::new(object.namespace(), group, &resource, verb, name));
        }
    }
}
