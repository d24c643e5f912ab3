//! Every container as the pod security standard `restricted` wants it, and three things more: a read-only root, requests
//! equal to limits, and no token of a service account.

use serde_json::Value;

use super::AGENT;
use super::objects::{Pod, list, map, pods, text};
use super::render::overlays;

#[test]
fn every_container_is_restricted_with_a_read_only_root() {
    each_container(|pod, container, name| {
        let own = &container["securityContext"];
        let effective = |field: &str| match &own[field] {
            Value::Null => &pod.spec()["securityContext"][field],
            value => value,
        };
        assert_eq!(effective("runAsNonRoot"), true, "{name}");
        assert!(effective("runAsUser").as_u64().is_some_and(|user| user > 0), "{name}");
        assert!(
            effective("runAsGroup").as_u64().is_some_and(|group| group > 0),
            "{name}"
        );
        assert_eq!(effective("seccompProfile")["type"], "RuntimeDefault", "{name}");
        assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(own["capabilities"], serde_json::json!({"drop": ["ALL"]}), "{name}");
        assert!(own["privileged"].is_null() && own["procMount"].is_null(), "{name}");
        let ports = list(&container["ports"]);
        assert!(ports.iter().all(|port| port["hostPort"].is_null()), "{name}");
    });
}

#[test]
fn no_pod_shares_anything_with_its_node() {
    each_pod(|pod, name| {
        for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(pod.spec()[field].is_null(), "{name}: {field}");
        }
        for (volume_name, volume) in pod.volumes() {
            if volume["kind"] == "PersistentVolumeClaim" || volume["spec"].is_object() {
                continue;
            }
            let allowed = ["configMap", "emptyDir", "persistentVolumeClaim", "secret"];
            let source = volume.as_object().unwrap().keys().find(|key| *key != "name").unwrap();
            assert!(
                allowed.contains(&source.as_str()),
                "{name}: {volume_name} is a {source}"
            );
            if source == "emptyDir" {
                assert!(
                    volume["emptyDir"]["sizeLimit"].is_string(),
                    "{name}: {volume_name} has no bound"
                );
            }
        }
    });
}

/// So that a Guaranteed pod stays one, and no container starves its neighbours.
#[test]
fn requests_equal_limits_for_cpu_and_memory() {
    each_container(|_, container, name| {
        let resources = &container["resources"];
        assert_eq!(resources["requests"], resources["limits"], "{name}");
        let named: Vec<&str> = map(&resources["limits"]).into_keys().collect();
        assert!(
            [&["cpu", "memory"][..], &["cpu", "ephemeral-storage", "memory"]].contains(&&named[..]),
            "{name}"
        );
    });
}

/// The scheduler knows nothing of an `emptyDir`, and the kubelet evicts a pod that needs more than its node has.
#[test]
fn a_node_is_chosen_that_has_room_for_the_rebuilt_databases() {
    let gibibytes = |value: &Value| text(value).strip_suffix("Gi").unwrap().parse::<u32>().unwrap();
    each_pod(|pod, name| {
        let Some(scratch) = pod.volumes().get("scratch").copied() else {
            return;
        };
        let server = pod.container("postgres").unwrap();
        let requested = gibibytes(&server["resources"]["requests"]["ephemeral-storage"]);
        assert!(requested > gibibytes(&scratch["emptyDir"]["sizeLimit"]), "{name}");
    });
}

#[test]
fn no_container_has_a_token_of_its_service_account() {
    each_pod(|pod, name| {
        assert_eq!(pod.spec()["automountServiceAccountToken"], false, "{name}");
    });
    for object in overlays()
        .values()
        .flatten()
        .filter(|object| object.kind() == "ServiceAccount")
    {
        assert_eq!(object.0["automountServiceAccountToken"], false, "{object}");
    }
}

/// Production's own pods may not meet it: enforced there, it would refuse the database at its next start.
#[test]
fn every_namespace_but_production_enforces_the_restricted_standard() {
    for (overlay, objects) in overlays() {
        for object in objects.iter().filter(|object| object.kind() == "Namespace") {
            let labels = map(&object.0["metadata"]["labels"]);
            assert_eq!(labels["pod-security.kubernetes.io/warn"], "restricted", "{object}");
            let enforced = labels.get("pod-security.kubernetes.io/enforce").copied();
            let is_production = object.name() == "app-test" && *overlay != "k3s-demo";
            assert_eq!(
                enforced,
                (!is_production).then_some("restricted"),
                "{overlay}: {object}"
            );
        }
    }
}

/// `latest` would be another program tomorrow.
#[test]
fn every_image_has_a_tag() {
    each_container(|_, container, name| {
        let image = text(&container["image"]);
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image}"));
        assert!(!tag.contains('/') && tag != "latest", "{name}: {image}");
    });
}

/// So that the tests above are not about nothing.
#[test]
fn both_agents_are_there_in_every_overlay() {
    for (overlay, objects) in overlays() {
        let agents = pods(objects)
            .iter()
            .filter(|pod| pod.container(AGENT).is_some())
            .count();
        assert_eq!(agents, 2, "{overlay}");
    }
}

fn each_pod(check: impl Fn(&Pod<'_>, &str)) {
    for (overlay, objects) in overlays() {
        for pod in pods(objects) {
            check(&pod, &format!("{overlay}: {}", pod.owner));
        }
    }
}

fn each_container(check: impl Fn(&Pod<'_>, &Value, &str)) {
    each_pod(|pod, name| {
        for container in pod.containers() {
            check(pod, container, &format!("{name}: {}", text(&container["name"])));
        }
    });
}
