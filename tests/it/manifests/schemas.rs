//! The rendered objects against the schemas of the Kubernetes API, by the Python package `kubernetes-validate`.
//!
//! It finds fields that are unknown or of a wrong type. Kinds that an operator brings have no schema there.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::any_stateful_set::with_component;
use super::objects::Object;
use super::render::{overlays, tool};

/// The last version without native sidecars, the first with them, and on to the newest that the package knows.
const VERSIONS: [&str; 6] = ["1.28", "1.29", "1.31", "1.33", "1.35", "1.37"];

/// Kinds of the Prometheus operator.
const WITHOUT_SCHEMA: [&str; 2] = ["PodMonitor", "PrometheusRule"];

/// Reads objects, one a line, and prints what is wrong with each in each version.
const VALIDATE: &str = r"
import json, sys
import kubernetes_validate
for line in sys.stdin:
    thing = json.loads(line)
    for version in sys.argv[1:]:
        name = version + ' ' + thing['kind'] + ' ' + thing['metadata']['name'] + ': '
        try:
            if kubernetes_validate.validate(thing, version, strict=True) != version:
                print(name + 'this version has no schemas')
        except kubernetes_validate.ValidationError as error:
            print(name + '.'.join(map(str, error.path)) + ': ' + error.message)
        except kubernetes_validate.SchemaNotFoundError as error:
            print(name + error.message)
";

#[test]
fn every_overlay_fits_the_schemas_of_the_kubernetes_api() {
    let mut distinct = BTreeSet::new();
    let classic = with_component("sidecar-classic");
    for object in overlays().values().flatten().chain(&classic) {
        if !WITHOUT_SCHEMA.contains(&object.kind()) {
            distinct.insert(object.0.to_string());
        }
    }
    assert!(distinct.len() > 20, "only {} objects", distinct.len());
    assert_eq!(complaints(&distinct), "");
}

#[test]
fn an_unknown_field_a_wrong_type_and_an_unknown_kind_are_found_by_the_schemas() {
    let pod = |container: Value| {
        let spec = json!({"containers": [container]});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "wrong"}, "spec": spec})
    };
    for (wrong, expected) in [
        (
            pod(json!({"name": "a", "restartPolice": "Always"})),
            "'restartPolice' was unexpected",
        ),
        (
            pod(json!({"name": "a", "ports": [{"containerPort": "metrics"}]})),
            "'metrics' is not of type 'integer'",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Pot", "metadata": {"name": "wrong"}}),
            "Couldn't find schema",
        ),
    ] {
        let complaints = complaints(&BTreeSet::from([wrong.to_string()]));
        assert_eq!(complaints.matches(expected).count(), VERSIONS.len(), "{complaints}");
    }
}

/// A kind without a schema is not one that nobody thought of.
#[test]
fn no_other_kind_is_left_out() {
    let is_core = |object: &Object| !super::objects::text(&object.0["apiVersion"]).contains("monitoring.coreos.com");
    for object in overlays().values().flatten() {
        assert_eq!(is_core(object), !WITHOUT_SCHEMA.contains(&object.kind()), "{object}");
    }
}

fn complaints(objects: &BTreeSet<String>) -> String {
    let mut python = Command::new(tool("venv/bin/python"))
        .args(["-c", VALIDATE])
        .args(VERSIONS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    let lines = objects.iter().cloned().collect::<Vec<_>>().join("\n");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
