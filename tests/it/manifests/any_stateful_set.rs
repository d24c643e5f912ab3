//! The two sidecar components over `StatefulSets` that know nothing of them: they add the agent and change nothing else.

use std::fs;

use serde_json::Value;

use super::objects::{Object, list, pods, text};
use super::render::{Copy, overlays, root};
use super::{AGENT, OVERLAYS};

/// One with nothing optional, and one with init containers, volumes, labels and a pod security context of its own.
const DATABASES: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: plain, namespace: app-test}
spec:
  serviceName: plain
  selector: {matchLabels: {app: plain}}
  template:
    metadata: {labels: {app: plain}}
    spec:
      containers:
        - {name: database, image: "postgres:15"}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: rich, namespace: app-test}
spec:
  serviceName: rich
  selector: {matchLabels: {app.kubernetes.io/name: rich}}
  template:
    metadata:
      labels: {app.kubernetes.io/name: rich, kubernetes.io/of: theirs}
      annotations: {an: annotation}
    spec:
      serviceAccountName: patroni
      terminationGracePeriodSeconds: 7
      securityContext: {fsGroup: 999, runAsUser: 999}
      initContainers:
        - {name: permissions, image: "busybox:1.36", command: ["true"]}
        - {name: exporter, image: "exporter:1.0", restartPolicy: Always}
      containers:
        - name: patroni
          image: patroni:4.0
          volumeMounts: [{name: data, mountPath: /data}, {name: settings, mountPath: /etc/patroni}]
        - {name: pooler, image: "pgbouncer:1.22"}
      volumes:
        - {name: settings, configMap: {name: patroni}}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"#;

/// The two `StatefulSets` as the component leaves them.
pub(super) fn with_component(component: &str) -> Vec<Object> {
    render(&format!("components: [../../components/{component}]\n"))
}

fn render(more: &str) -> Vec<Object> {
    let kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [databases.yaml]\n{more}"
    );
    let copy = Copy::new();
    copy.add(
        "theirs",
        &[("kustomization.yaml", &kustomization), ("databases.yaml", DATABASES)],
    );
    copy.render("theirs")
}

#[test]
fn a_component_adds_the_agent_to_any_stateful_set_and_changes_nothing_else() {
    let before = render("");
    for (component, place) in [("sidecar", "initContainers"), ("sidecar-classic", "containers")] {
        let mut after = with_component(component);
        assert_eq!(after.len(), 2);
        for object in &mut after {
            let template = &mut object.0["spec"]["template"];
            let labels = template["metadata"]["labels"].as_object_mut().unwrap();
            assert_eq!(labels.remove("kubebackup.io/agent").unwrap(), "backup");
            let spec = template["spec"].as_object_mut().unwrap();
            for (field, is_ours) in [
                (place, (|name| name == AGENT) as fn(&str) -> bool),
                ("volumes", |name| name.starts_with("kubebackup-")),
            ] {
                let items = spec[field].as_array_mut().unwrap();
                let all = items.len();
                items.retain(|item| !is_ours(text(&item["name"])));
                assert!(items.len() < all, "{component}: nothing was added to {field}");
                if items.is_empty() {
                    spec.remove(field);
                }
            }
        }
        assert_eq!(after, before, "{component}");
    }
}

/// The first step of whoever has a database already.
#[test]
fn every_overlay_can_be_built_with_other_databases_than_the_example() {
    for overlay in OVERLAYS {
        let copy = Copy::new();
        let file = root().join(format!("manifests/overlays/{overlay}/kustomization.yaml"));
        let kustomization = fs::read_to_string(file).unwrap();
        let replaced = kustomization.replace("- ../../example", "- databases.yaml");
        assert_ne!(replaced, kustomization, "{overlay}");
        copy.write(&format!("{overlay}/kustomization.yaml"), &replaced);
        copy.write(&format!("{overlay}/databases.yaml"), DATABASES);
        let objects = copy.render(overlay);
        let pods = pods(&objects);
        let agents = pods.iter().filter(|pod| pod.container(AGENT).is_some());
        assert_eq!(agents.count(), 3, "{overlay}");
    }
}

/// Whoever applies an overlay unread takes the database down with an image that no node can pull; this one says so.
#[test]
fn an_overlay_for_a_cluster_of_one_s_own_names_an_image_that_nobody_can_mistake_for_a_real_one() {
    for (overlay, objects) in overlays() {
        for pod in pods(objects) {
            if let Some(agent) = pod.container(AGENT) {
                let expected = match *overlay {
                    "k3s-demo" => "kubebackup:dev",
                    // Capitals are no part of a repository's name, so that nothing is asked of any registry.
                    _ => "registry.example.org/CHANGE-ME/kubebackup:CHANGE-ME",
                };
                assert_eq!(agent["image"], expected, "{overlay}: {}", pod.owner);
            }
        }
    }
}

/// The command of manifests/README.md: all that has to be in the database's namespace goes there with it.
#[test]
fn a_namespace_is_renamed_everywhere_by_the_command_that_the_page_gives() {
    let page = fs::read_to_string(root().join("manifests/README.md")).unwrap();
    let command = page
        .lines()
        .find(|line| line.starts_with("grep -rlZ app-test"))
        .unwrap();
    let copy = Copy::new();
    copy.run(command);
    let theirs = command
        .replace("app-test", "app-restore-test")
        .replace("shop-prod", "shop-proof");
    copy.run(&theirs);
    for overlay in OVERLAYS {
        let renamed = copy.render(overlay);
        let places: Vec<String> = renamed.iter().map(place).collect();
        let before = Copy::new().render(overlay);
        let expected: Vec<String> = before
            .iter()
            .map(place)
            .map(|place| {
                place
                    .replace("app-test", "shop-prod")
                    .replace("app-restore-test", "shop-proof")
            })
            .collect();
        assert_eq!(sorted(places), sorted(expected), "{overlay}");
        for object in &renamed {
            for name in ["app-test", "app-restore-test"] {
                assert!(!object.0.to_string().contains(name), "{overlay}: {object}");
            }
        }
    }
}

/// Kind, namespace and name. Names of generated `ConfigMaps` end in a digest of their contents.
fn place(object: &Object) -> String {
    let name = match object.kind() {
        "ConfigMap" => object.name().rsplit_once('-').map_or(object.name(), |(name, _)| name),
        _ => object.name(),
    };
    format!("{} {}/{name}", object.kind(), object.namespace())
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[test]
fn the_classic_sidecar_is_the_native_one_in_another_place() {
    let native = agent_of(&with_component("sidecar")[0], "initContainers");
    let classic = agent_of(&with_component("sidecar-classic")[0], "containers");
    let mut expected = native.clone();
    assert_eq!(
        expected.as_object_mut().unwrap().remove("restartPolicy").unwrap(),
        "Always"
    );
    assert_eq!(classic, expected);
}

/// The agent is a guest in production's pod: its trouble stays its own.
#[test]
fn nothing_about_backups_keeps_the_database_from_running() {
    for (component, place) in [("sidecar", "initContainers"), ("sidecar-classic", "containers")] {
        for object in with_component(component) {
            let agent = agent_of(&object, place);
            for field in ["startupProbe", "readinessProbe", "lifecycle"] {
                assert!(agent[field].is_null(), "{component}: {field}");
            }
            assert_eq!(agent["livenessProbe"]["httpGet"]["path"], "/livez");
            for volume in list(&object.spec()["template"]["spec"]["volumes"]) {
                if text(&volume["name"]).starts_with("kubebackup-") {
                    let sources = [&volume["configMap"], &volume["secret"]];
                    let may_be_absent = sources.iter().any(|source| source["optional"] == true);
                    assert!(may_be_absent || volume["emptyDir"].is_object(), "{component}: {volume}");
                }
            }
        }
    }
}

/// The pod may mount a token for its own purposes; Kubernetes adds none where something is mounted already.
#[test]
fn the_sidecar_gets_no_token_even_where_the_pod_has_one() {
    for (component, place) in [("sidecar", "initContainers"), ("sidecar-classic", "containers")] {
        for object in with_component(component) {
            let agent = agent_of(&object, place);
            let mount = list(&agent["volumeMounts"])
                .iter()
                .find(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount")
                .unwrap();
            let volumes = list(&object.spec()["template"]["spec"]["volumes"]);
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            assert!(volume["emptyDir"].is_object(), "{component}");
        }
    }
}

fn agent_of(object: &Object, place: &str) -> Value {
    let containers = list(&object.spec()["template"]["spec"][place]);
    let agent = containers.iter().find(|container| container["name"] == AGENT);
    agent.unwrap_or_else(|| panic!("{object} has no agent")).clone()
}
