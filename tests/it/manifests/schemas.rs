//! The rendered objects against the schemas of the Kubernetes API, by the Python package `kubernetes-validate`, and those of the
//! Prometheus operator against models made of its own schemas, by `cloudcoil.models.prometheus_operator`.
//!
//! Both find fields that are unknown or of a wrong type, and the second one that lacks. What an operator says to an expression
//! or to a name is not asked.

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
const OF_OPERATOR: [&str; 2] = ["PodMonitor", "PrometheusRule"];

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

/// The models take unknown fields and drop them, so that what comes back is compared with what went in.
const VALIDATE_OF_OPERATOR: &str = r"
import json, sys
import pydantic
from cloudcoil.models.prometheus_operator import v1

def lost(before, after, path):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], path + '.' + key) if key in after else [path + '.' + key]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, path + '.' + str(index))
    elif before != after:
        yield path

for line in sys.stdin:
    thing = json.loads(line)
    name = thing['kind'] + ' ' + thing['metadata']['name'] + ': '
    if thing['apiVersion'] != 'monitoring.coreos.com/v1':
        print(name + 'apiVersion: ' + thing['apiVersion'])
    try:
        model = getattr(v1, thing['kind']).model_validate_json(line, strict=True)
        again = json.loads(model.model_dump_json(by_alias=True, exclude_unset=True))
        for path in lost(thing, again, ''):
            print(name + path[1:] + ': no such field')
    except pydantic.ValidationError as error:
        for wrong in error.errors():
            print(name + '.'.join(map(str, wrong['loc'])) + ': ' + wrong['msg'])
";

#[test]
fn every_overlay_fits_the_schemas_of_the_prometheus_operator() {
    let of_operator: BTreeSet<String> = overlays()
        .values()
        .flatten()
        .filter(|object| is_of_operator(object))
        .map(to_line)
        .collect();
    assert_eq!(of_operator.len(), OF_OPERATOR.len());
    assert_eq!(complaints(VALIDATE_OF_OPERATOR, &[], &of_operator), "");
}

#[test]
fn an_unknown_field_a_wrong_type_and_a_field_that_lacks_are_found_by_the_operator_s_schemas() {
    type Spoil = fn(&mut Value);
    let spoils: [(&str, Spoil, &str); 6] = [
        (
            "PodMonitor",
            |spec| spec["podMetricsEndpoints"][0]["scrapeTimeot"] = json!("10s"),
            "spec.podMetricsEndpoints.0.scrapeTimeot: no such field",
        ),
        (
            "PodMonitor",
            |spec| spec["podMetricsEndpoints"][0]["relabelings"][0]["action"] = json!("keeep"),
            "spec.podMetricsEndpoints.0.relabelings.0.action: Input should be",
        ),
        (
            "PodMonitor",
            |spec| spec["podMetricsEndpoints"][0]["interval"] = json!(30),
            "spec.podMetricsEndpoints.0.interval: Input should be a valid string",
        ),
        (
            "PodMonitor",
            |spec| {
                spec.as_object_mut().unwrap().remove("selector");
            },
            "spec.selector: Field required",
        ),
        (
            "PrometheusRule",
            |spec| spec["groups"][0]["rules"][0]["fore"] = json!("5m"),
            "spec.groups.0.rules.0.fore: no such field",
        ),
        (
            "PrometheusRule",
            |spec| spec["groups"][0]["rules"][0]["labels"]["severity"] = json!(1),
            "spec.groups.0.rules.0.labels.severity: Input should be a valid string",
        ),
    ];
    for (kind, spoil, expected) in spoils {
        let mut objects = overlays()["s3-compatible"].iter();
        let mut object = objects.find(|object| object.kind() == kind).unwrap().clone();
        spoil(&mut object.0["spec"]);
        let complaints = complaints(VALIDATE_OF_OPERATOR, &[], &BTreeSet::from([to_line(&object)]));
        assert!(complaints.contains(expected), "{expected} is not in:\n{complaints}");
    }
}

#[test]
fn every_overlay_fits_the_schemas_of_the_kubernetes_api() {
    let mut distinct = BTreeSet::new();
    let classic = with_component("sidecar-classic");
    for object in overlays().values().flatten().chain(&classic) {
        if !is_of_operator(object) {
            distinct.insert(to_line(object));
        }
    }
    assert!(distinct.len() > 20, "only {} objects", distinct.len());
    assert_eq!(complaints(VALIDATE, &VERSIONS, &distinct), "");
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
        let complaints = complaints(VALIDATE, &VERSIONS, &BTreeSet::from([wrong.to_string()]));
        assert_eq!(complaints.matches(expected).count(), VERSIONS.len(), "{complaints}");
    }
}

/// What the operator brings is named above, so that no kind is asked of the wrong schemas.
#[test]
fn every_kind_is_asked_of_the_schemas_that_know_it() {
    let is_core = |object: &Object| !super::objects::text(&object.0["apiVersion"]).contains("monitoring.coreos.com");
    for object in overlays().values().flatten() {
        assert_eq!(is_core(object), !OF_OPERATOR.contains(&object.kind()), "{object}");
    }
}

fn is_of_operator(object: &Object) -> bool {
    OF_OPERATOR.contains(&object.kind())
}

fn to_line(object: &Object) -> String {
    object.0.to_string()
}

/// What a program in Python says to objects, one a line.
fn complaints(program: &str, arguments: &[&str], objects: &BTreeSet<String>) -> String {
    let mut python = Command::new(tool("venv/bin/python"))
        .args(["-c", program])
        .args(arguments)
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
