//! Rendered objects, and the questions that tests ask of them: which pods, which containers, which file at which path.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::Value;

/// One object as kustomize printed it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object(pub(super) Value);

/// The pod that a Deployment or a `StatefulSet` makes.
pub(super) struct Pod<'a> {
    pub(super) owner: &'a Object,
    pub(super) template: &'a Value,
}

impl Object {
    pub(super) fn kind(&self) -> &str {
        text(&self.0["kind"])
    }

    pub(super) fn name(&self) -> &str {
        text(&self.0["metadata"]["name"])
    }

    /// Empty for what belongs to no namespace.
    pub(super) fn namespace(&self) -> &str {
        self.0["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    pub(super) fn spec(&self) -> &Value {
        &self.0["spec"]
    }

    pub(super) fn is(&self, kind: &str, namespace: &str, name: &str) -> bool {
        (self.kind(), self.namespace(), self.name()) == (kind, namespace, name)
    }
}

/// `Deployment app-restore-test/kubebackup-restore`, for messages.
impl std::fmt::Display for Object {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}/{}", self.kind(), self.namespace(), self.name())
    }
}

/// The pods of an overlay. Any other kind that makes pods must be added here before it can be used.
pub(super) fn pods(objects: &[Object]) -> Vec<Pod<'_>> {
    let mut pods = Vec::new();
    for object in objects {
        match object.kind() {
            "Deployment" | "StatefulSet" => pods.push(Pod {
                owner: object,
                template: &object.spec()["template"],
            }),
            kind @ ("Pod" | "Job" | "CronJob" | "DaemonSet" | "ReplicaSet") => panic!("{kind} is not looked at"),
            _ => {}
        }
    }
    assert!(!pods.is_empty());
    pods
}

impl<'a> Pod<'a> {
    pub(super) fn namespace(&self) -> &'a str {
        self.owner.namespace()
    }

    pub(super) fn spec(&self) -> &'a Value {
        &self.template["spec"]
    }

    pub(super) fn labels(&self) -> BTreeMap<&'a str, &'a str> {
        map(&self.template["metadata"]["labels"])
    }

    /// All of them, those that end before the others start included.
    pub(super) fn containers(&self) -> Vec<&'a Value> {
        let spec = self.spec();
        list(&spec["initContainers"])
            .iter()
            .chain(list(&spec["containers"]))
            .collect()
    }

    pub(super) fn container(&self, name: &str) -> Option<&'a Value> {
        self.containers()
            .into_iter()
            .find(|container| container["name"] == name)
    }

    /// Volumes by name, those that a `StatefulSet` claims included.
    pub(super) fn volumes(&self) -> BTreeMap<&'a str, &'a Value> {
        let claims = list(&self.owner.spec()["volumeClaimTemplates"]);
        list(&self.spec()["volumes"])
            .iter()
            .map(|volume| (text(&volume["name"]), volume))
            .chain(claims.iter().map(|claim| (text(&claim["metadata"]["name"]), claim)))
            .collect()
    }

    /// What `path` holds in `container`, when a `ConfigMap` or a Secret of `objects` is mounted there.
    pub(super) fn file(&self, container: &Value, path: &str, objects: &[Object]) -> Option<String> {
        let (directory, name) = path.rsplit_once('/')?;
        let mount = list(&container["volumeMounts"])
            .iter()
            .find(|mount| mount["mountPath"] == directory)?;
        let volume = self.volumes()[text(&mount["name"])];
        for (field, kind, name_field) in [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")] {
            if let Some(source) = volume[field][name_field].as_str() {
                let object = objects
                    .iter()
                    .find(|object| object.is(kind, self.namespace(), source))?;
                return data(object).remove(name);
            }
        }
        None
    }
}

/// The contents of a `ConfigMap` or a Secret by key.
pub(super) fn data(object: &Object) -> BTreeMap<String, String> {
    let decode = |value: &str| match object.kind() {
        "Secret" => {
            let folded: String = value.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(folded).unwrap();
            String::from_utf8(bytes).unwrap()
        }
        _ => value.to_owned(),
    };
    map(&object.0["data"])
        .into_iter()
        .map(|(key, value)| (key.to_owned(), decode(value)))
        .collect()
}

/// The value of an environment variable that stands in the container itself.
pub(super) fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    list(&container["env"])
        .iter()
        .find(|variable| variable["name"] == name)?["value"]
        .as_str()
}

/// Whether a label selector picks these labels. An empty one picks everything.
pub(super) fn selects(selector: &Value, labels: &BTreeMap<&str, &str>) -> bool {
    let all_equal = map(&selector["matchLabels"])
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    let all_hold = list(&selector["matchExpressions"]).iter().all(|expression| {
        let label = labels.get(text(&expression["key"]));
        match text(&expression["operator"]) {
            "Exists" => label.is_some(),
            "In" => label.is_some_and(|label| list(&expression["values"]).iter().any(|value| value == label)),
            operator => panic!("{operator} is not known here"),
        }
    });
    all_equal && all_hold
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Nothing where there is no list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Nothing where there is no mapping.
pub(super) fn map(value: &Value) -> BTreeMap<&str, &str> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), text(value)))
        .collect()
}
