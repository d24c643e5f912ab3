//! The network policies: everything is denied but DNS, the store, the database's own clients and Prometheus.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::objects::{Object, Pod, list, map, pods, selects};
use super::render::{Copy, overlays};

/// Addresses inside clusters and data centres, and those of cloud metadata.
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
];
const PRIVATE_V6: [&str; 2] = ["fc00::/7", "fe80::/10"];

#[test]
fn every_pod_is_denied_everything_that_no_policy_allows() {
    for (overlay, objects) in overlays() {
        for pod in pods(objects) {
            for direction in ["Ingress", "Egress"] {
                let policies = policies_for(objects, &pod, direction);
                assert!(
                    !policies.is_empty(),
                    "{overlay}: nothing restricts {direction} of {}",
                    pod.owner
                );
            }
        }
        // Production has other pods, which keep what they have.
        for (namespace, chosen) in [
            ("app-test", json!({"matchLabels": {"kubebackup.io/agent": "backup"}})),
            ("app-restore-test", json!({})),
        ] {
            let denied = objects
                .iter()
                .find(|object| object.is("NetworkPolicy", namespace, "default-deny"));
            assert_eq!(
                denied.unwrap().spec(),
                &json!({"podSelector": chosen, "policyTypes": ["Ingress", "Egress"]})
            );
        }
    }
}

#[test]
fn agents_reach_dns_and_the_store_and_nothing_else() {
    for (overlay, objects) in overlays() {
        for pod in pods(objects)
            .iter()
            .filter(|pod| pod.labels().contains_key("kubebackup.io/agent"))
        {
            let mut names: Vec<&str> = policies_for(objects, pod, "Egress")
                .into_iter()
                .filter(|policy| policy.spec()["egress"].is_array())
                .map(Object::name)
                .collect();
            names.sort_unstable();
            assert_eq!(
                names,
                ["kubebackup-to-dns", "kubebackup-to-s3"],
                "{overlay}: {}",
                pod.owner
            );
        }
    }
}

#[test]
fn no_rule_leads_from_the_restore_namespace_to_production() {
    for (overlay, objects) in overlays() {
        let (from, to) = both_sides(objects);
        for policy in policies_for(objects, &from, "Egress") {
            for peer in list(&policy.spec()["egress"]).iter().flat_map(peers) {
                assert!(!reaches(peer, &from, &to, objects), "{overlay}: {policy} allows {peer}");
            }
        }
    }
}

/// The evaluation above would be worth little if it found nothing in a policy that does lead there.
#[test]
fn rules_that_lead_to_production_are_recognized() {
    let objects = &overlays()["aws-irsa"];
    let (from, to) = both_sides(objects);
    for leads in [
        json!({"namespaceSelector": {}}),
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "app-test"}}}),
        json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"kubebackup.io/agent": "backup"}}}),
        json!({"ipBlock": {"cidr": "0.0.0.0/0"}}),
        json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE[1..]}}),
        json!({"ipBlock": {"cidr": "10.42.0.0/16"}}),
        json!({"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}),
    ] {
        assert!(reaches(&leads, &from, &to, objects), "{leads}");
    }
    for elsewhere in [
        json!({"podSelector": {}}),
        json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}),
        json!({"ipBlock": {"cidr": "192.0.2.10/32"}}),
    ] {
        assert!(!reaches(&elsewhere, &from, &to, objects), "{elsewhere}");
    }
}

/// For overlays whose policy for the store names the store alone.
#[test]
fn the_webhook_component_lets_the_restore_agent_out_and_not_to_production() {
    let copy = Copy::new();
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../s3-compatible]\n\
                         components: [../../components/webhook]\n";
    copy.add("notified", &[("kustomization.yaml", kustomization)]);
    let objects = copy.render("notified");
    let (from, to) = both_sides(&objects);
    let is_webhook = |policy: &&Object| policy.name() == "kubebackup-to-webhook";
    let policy = policies_for(&objects, &from, "Egress").into_iter().find(is_webhook);
    for peer in list(&policy.unwrap().spec()["egress"]).iter().flat_map(peers) {
        assert!(!reaches(peer, &from, &to, &objects), "{peer}");
    }
    assert!(!policies_for(&objects, &to, "Egress").iter().any(is_webhook));
}

#[test]
fn prometheus_reaches_both_agents_on_the_metrics_port() {
    let prometheus = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    for (overlay, objects) in overlays() {
        for pod in pods(objects)
            .iter()
            .filter(|pod| pod.labels().contains_key("kubebackup.io/agent"))
        {
            let is_allowed = policies_for(objects, pod, "Ingress").iter().any(|policy| {
                list(&policy.spec()["ingress"]).iter().any(|rule| {
                    list(&rule["from"]).contains(&prometheus)
                        && list(&rule["ports"]) == [json!({"protocol": "TCP", "port": 9847})]
                })
            });
            assert!(is_allowed, "{overlay}: {}", pod.owner);
        }
    }
}

/// The throw-away server listens on a Unix socket: there is no port to guard.
#[test]
fn the_restore_pod_has_no_postgres_port() {
    for objects in overlays().values() {
        let (from, _) = both_sides(objects);
        let ports: Vec<&Value> = from
            .containers()
            .into_iter()
            .flat_map(|container| list(&container["ports"]))
            .collect();
        assert_eq!(ports, [&json!({"name": "metrics", "containerPort": 9847})]);
        let is_service = |object: &&Object| object.kind() == "Service" && object.namespace() == "app-restore-test";
        assert_eq!(objects.iter().filter(is_service).count(), 0);
    }
}

/// The restore agent's pod and production's.
fn both_sides(objects: &[Object]) -> (Pod<'_>, Pod<'_>) {
    let side = |namespace| {
        pods(objects)
            .into_iter()
            .find(|pod| pod.namespace() == namespace)
            .unwrap()
    };
    (side("app-restore-test"), side("app-test"))
}

fn policies_for<'a>(objects: &'a [Object], pod: &Pod<'_>, direction: &str) -> Vec<&'a Object> {
    objects
        .iter()
        .filter(|object| object.kind() == "NetworkPolicy" && object.namespace() == pod.namespace())
        .filter(|policy| {
            list(&policy.spec()["policyTypes"])
                .iter()
                .any(|policy_type| policy_type == direction)
        })
        .filter(|policy| selects(&policy.spec()["podSelector"], &pod.labels()))
        .collect()
}

/// A rule without peers allows everybody.
fn peers(rule: &Value) -> &[Value] {
    let peers = list(&rule["to"]);
    assert!(!peers.is_empty(), "{rule} leads everywhere");
    peers
}

/// Whether the peer of a policy in `from`'s namespace may be the pod `to`. Pods have private addresses.
fn reaches(peer: &Value, from: &Pod<'_>, to: &Pod<'_>, objects: &[Object]) -> bool {
    let block = &peer["ipBlock"];
    if let Some(cidr) = block["cidr"].as_str() {
        let has = |ranges: &[&str]| {
            ranges
                .iter()
                .all(|range| list(&block["except"]).iter().any(|out| out == range))
        };
        return match cidr {
            "0.0.0.0/0" => !has(&PRIVATE),
            "::/0" => !has(&PRIVATE_V6),
            // Documentation's own addresses stand for the store's.
            cidr => !cidr.starts_with("192.0.2."),
        };
    }
    let is_namespace = match &peer["namespaceSelector"] {
        Value::Null => from.namespace() == to.namespace(),
        selector => {
            let namespace = objects
                .iter()
                .find(|object| object.is("Namespace", "", to.namespace()))
                .unwrap();
            let mut labels: BTreeMap<&str, &str> = map(&namespace.0["metadata"]["labels"]);
            // Kubernetes labels every namespace with its name.
            labels.insert("kubernetes.io/metadata.name", to.namespace());
            selects(selector, &labels)
        }
    };
    is_namespace && selects(&peer["podSelector"], &to.labels())
}
