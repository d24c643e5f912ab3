//! Whatever a rendered object names is there: pods behind selectors, `ConfigMaps`, Secrets, claims, accounts, volumes, ports.

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::{Object, Pod, data, list, map, pods, selects, text};
use super::render::overlays;

/// Secrets that whoever wants them creates by hand; the volume says `optional`.
const BY_HAND: [&str; 1] = ["kubebackup-notify"];

#[test]
fn every_selector_finds_its_pods() {
    each_overlay(|objects| {
        let pods = pods(objects);
        for pod in &pods {
            let selector = &pod.owner.spec()["selector"];
            assert!(!map(&selector["matchLabels"]).is_empty(), "{}", pod.owner);
            assert!(selects(selector, &pod.labels()), "{}", pod.owner);
        }
        for object in objects {
            let selector = match object.kind() {
                "Service" => serde_json::json!({"matchLabels": object.spec()["selector"]}),
                "NetworkPolicy" => object.spec()["podSelector"].clone(),
                "PodMonitor" => object.spec()["selector"].clone(),
                _ => continue,
            };
            let found = chosen(&pods, object, &selector);
            assert!(!found.is_empty(), "{object} selects no pod");
        }
    });
}

#[test]
fn every_port_that_is_named_is_one_of_the_pods() {
    each_overlay(|objects| {
        let pods = pods(objects);
        for pod in &pods {
            for container in pod.containers() {
                let own = ports(container);
                for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                    for action in ["httpGet", "tcpSocket"] {
                        let port = &container[probe][action]["port"];
                        assert!(
                            port.is_null() || own.contains(&port.to_string()),
                            "{}: {port}",
                            pod.owner
                        );
                    }
                }
            }
        }
        for object in objects {
            let (selector, wanted) = match object.kind() {
                "Service" => {
                    let targets = list(&object.spec()["ports"]).iter().map(|port| &port["targetPort"]);
                    (
                        serde_json::json!({"matchLabels": object.spec()["selector"]}),
                        targets.collect(),
                    )
                }
                "NetworkPolicy" => (object.spec()["podSelector"].clone(), ingress_ports(object)),
                "PodMonitor" => {
                    let endpoints = list(&object.spec()["podMetricsEndpoints"]);
                    (
                        object.spec()["selector"].clone(),
                        endpoints.iter().map(|endpoint| &endpoint["port"]).collect(),
                    )
                }
                _ => continue,
            };
            for pod in chosen(&pods, object, &selector) {
                let there: BTreeSet<String> = pod.containers().into_iter().flat_map(ports).collect();
                for port in &wanted {
                    assert!(
                        there.contains(&port.to_string()),
                        "{object}: {port} is no port of {}",
                        pod.owner
                    );
                }
            }
        }
    });
}

#[test]
fn every_volume_is_there_and_every_one_is_mounted() {
    each_overlay(|objects| {
        for pod in pods(objects) {
            let volumes: BTreeSet<&str> = pod.volumes().into_keys().collect();
            let mounts: Vec<&Value> = pod
                .containers()
                .into_iter()
                .flat_map(|container| list(&container["volumeMounts"]))
                .collect();
            let mounted: BTreeSet<&str> = mounts.iter().map(|mount| text(&mount["name"])).collect();
            assert_eq!(volumes, mounted, "{}", pod.owner);
            // A mount of a single file would never see what replaces it.
            assert!(mounts.iter().all(|mount| mount["subPath"].is_null()), "{}", pod.owner);
        }
    });
}

#[test]
fn every_configuration_secret_claim_and_account_exists() {
    each_overlay(|objects| {
        let mut referred = 0;
        for pod in pods(objects) {
            for (kind, name, is_optional) in references(&pod) {
                referred += 1;
                let is_there = objects.iter().any(|object| object.is(kind, pod.namespace(), name));
                let is_by_hand = kind == "Secret" && is_optional && BY_HAND.contains(&name);
                assert!(is_there || is_by_hand, "{}: there is no {kind} '{name}'", pod.owner);
            }
        }
        assert!(referred >= 8, "only {referred} references were found");
    });
}

/// Nothing is generated that no pod uses: it would be a misspelled name.
#[test]
fn every_configuration_and_secret_is_used() {
    each_overlay(|objects| {
        for object in objects {
            if object.kind() == "ConfigMap" && object.0["metadata"]["labels"]["grafana_dashboard"].is_string() {
                continue;
            }
            if ["ConfigMap", "Secret"].contains(&object.kind()) {
                let is_used = pods(objects).iter().any(|pod| {
                    pod.namespace() == object.namespace()
                        && references(pod)
                            .iter()
                            .any(|(kind, name, _)| (*kind, *name) == (object.kind(), object.name()))
                });
                assert!(is_used, "{object} is used by nobody");
                assert!(!data(object).is_empty(), "{object}");
            }
        }
    });
}

#[test]
fn every_object_lies_in_a_namespace_that_is_made_too() {
    each_overlay(|objects| {
        for object in objects.iter().filter(|object| object.kind() != "Namespace") {
            let is_there = objects
                .iter()
                .any(|other| other.is("Namespace", "", object.namespace()));
            assert!(is_there, "{object}");
        }
    });
}

#[test]
fn the_restore_agent_is_replaced_and_never_doubled() {
    each_overlay(|objects| {
        let agent = objects
            .iter()
            .find(|object| object.is("Deployment", "app-restore-test", "kubebackup-restore"))
            .unwrap();
        assert_eq!(agent.spec()["strategy"]["type"], "Recreate");
        assert_eq!(agent.spec()["replicas"], 1);
    });
}

fn each_overlay(check: impl Fn(&[Object])) {
    for objects in overlays().values() {
        check(objects);
    }
}

/// The pods that a selector of `object` picks. A `PodMonitor` may look into other namespaces.
fn chosen<'a, 'b>(pods: &'b [Pod<'a>], object: &Object, selector: &Value) -> Vec<&'b Pod<'a>> {
    let elsewhere: Vec<&str> = list(&object.spec()["namespaceSelector"]["matchNames"])
        .iter()
        .map(text)
        .collect();
    pods.iter()
        .filter(|pod| pod.namespace() == object.namespace() || elsewhere.contains(&pod.namespace()))
        .filter(|pod| selects(selector, &pod.labels()))
        .collect()
}

/// Names and numbers as JSON, as a reference may give either.
fn ports(container: &Value) -> BTreeSet<String> {
    list(&container["ports"])
        .iter()
        .flat_map(|port| [port["name"].to_string(), port["containerPort"].to_string()])
        .collect()
}

fn ingress_ports(policy: &Object) -> Vec<&Value> {
    list(&policy.spec()["ingress"])
        .iter()
        .flat_map(|rule| list(&rule["ports"]))
        .map(|port| &port["port"])
        .collect()
}

/// Kind, name and whether it may be absent, of everything in its namespace that the pod refers to.
fn references<'a>(pod: &Pod<'a>) -> Vec<(&'static str, &'a str, bool)> {
    let mut found = Vec::new();
    let mut add = |kind, reference: &'a Value, field: &str| {
        if let Some(name) = reference[field].as_str() {
            found.push((kind, name, reference["optional"] == true));
        }
    };
    for volume in pod.volumes().into_values() {
        add("ConfigMap", &volume["configMap"], "name");
        add("Secret", &volume["secret"], "secretName");
        add("PersistentVolumeClaim", &volume["persistentVolumeClaim"], "claimName");
    }
    for container in pod.containers() {
        for source in list(&container["envFrom"]) {
            add("ConfigMap", &source["configMapRef"], "name");
            add("Secret", &source["secretRef"], "name");
        }
        for variable in list(&container["env"]) {
            add("ConfigMap", &variable["valueFrom"]["configMapKeyRef"], "name");
            add("Secret", &variable["valueFrom"]["secretKeyRef"], "name");
        }
    }
    add("ServiceAccount", pod.spec(), "serviceAccountName");
    found
}
