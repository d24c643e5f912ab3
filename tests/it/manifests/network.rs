//! The network policies: everything is denied but DNS, the store, the database's own clients and Prometheus.

use serde_json::{Value, json};

use super::objects::{Object, Pod, list, pods};
use super::reach::{End, Port, is_let, reaches};
use super::render::{Copy, overlays};

const POSTGRES: Port = Port("TCP", 5432);
const METRICS: Port = Port("TCP", 9847);
const HTTPS: Port = Port("TCP", 443);
const DNS: [Port; 2] = [Port("UDP", 53), Port("TCP", 53)];

/// Whatever listens in production: the ports of all rules that there are, and some more.
const ANY: [Port; 9] = [
    POSTGRES,
    METRICS,
    HTTPS,
    Port("UDP", 53),
    Port("TCP", 53),
    Port("TCP", 22),
    Port("TCP", 3900),
    Port("TCP", 8080),
    Port("TCP", 9000),
];

#[test]
fn every_pod_is_denied_everything_that_no_policy_allows() {
    for (overlay, objects) in overlays() {
        // An address that no rule names, on a port that none names.
        let (stranger, port) = (End::machine("198.51.100.1"), Port("TCP", 4));
        for pod in pods(objects) {
            for direction in ["Ingress", "Egress"] {
                let is_open = is_let(direction, objects, &end(&pod), &stranger, port);
                assert!(!is_open, "{overlay}: {direction} of {}", pod.owner);
            }
        }
        // Whatever else comes into the restore agent's namespace; production has other pods, which keep what they have.
        for (namespace, expected) in [("app-restore-test", false), ("app-test", true)] {
            let other = End::pod(namespace, &[("app", "anything")]);
            for direction in ["Ingress", "Egress"] {
                let is_open = is_let(direction, objects, &other, &stranger, port);
                assert_eq!(is_open, expected, "{overlay}: {direction} in {namespace}");
            }
        }
    }
}

#[test]
fn both_agents_reach_dns_and_the_store() {
    let dns = End::pod("kube-system", &[("k8s-app", "kube-dns")]);
    for (overlay, objects) in overlays() {
        let (store, port) = store(overlay);
        for agent in both_sides(objects) {
            for port in DNS {
                assert!(reaches(objects, &agent, &dns, port), "{overlay}: {agent:?}");
            }
            assert!(reaches(objects, &agent, &store, port), "{overlay}: {agent:?}");
        }
    }
}

#[test]
fn agents_reach_nothing_else_inside() {
    for (overlay, objects) in overlays() {
        for agent in both_sides(objects) {
            for other in [
                End::pod("elsewhere", &[]),
                // DNS's neighbours, and its namesake in another namespace.
                End::pod("kube-system", &[("k8s-app", "metrics-server")]),
                End::pod("elsewhere", &[("k8s-app", "kube-dns")]),
                End::pod("monitoring", &[]),
                // The Kubernetes API, the cloud's metadata, and machines beside the cluster.
                End::machine("10.43.0.1"),
                End::machine("169.254.169.254"),
                End::machine("192.168.1.10"),
                End::machine("fd00::1"),
            ] {
                for port in ANY {
                    let is_reached = is_let("Egress", objects, &agent, &other, port);
                    assert!(!is_reached, "{overlay}: {agent:?} reaches {other:?} at {port:?}");
                }
            }
        }
    }
}

/// Whatever production's own policies say, or if it has none.
#[test]
fn the_restore_namespace_has_no_route_to_production() {
    for (overlay, objects) in overlays() {
        for from in [end(&both_pods(objects).0), End::pod("app-restore-test", &[])] {
            for to in in_production(objects) {
                for port in ANY {
                    let is_route = is_let("Egress", objects, &from, &to, port);
                    assert!(!is_route, "{overlay}: {from:?} reaches {to:?} at {port:?}");
                }
            }
        }
    }
}

/// The test above would be worth little if it found nothing in a policy that does lead there.
#[test]
fn rules_that_lead_to_production_are_recognized() {
    for (peer, leads) in [
        (json!({"namespaceSelector": {}}), true),
        (
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "app-test"}}}),
            true,
        ),
        (
            json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"kubebackup.io/agent": "backup"}}}),
            true,
        ),
        (json!({"ipBlock": {"cidr": "0.0.0.0/0"}}), true),
        (
            json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["192.168.0.0/16"]}}),
            true,
        ),
        (json!({"ipBlock": {"cidr": "10.42.0.0/16"}}), true),
        (json!({"podSelector": {}}), false),
        (
            json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}),
            false,
        ),
        (json!({"ipBlock": {"cidr": "192.0.2.10/32"}}), false),
    ] {
        let mut objects = overlays()["aws-irsa"].clone();
        let is_ours = |object: &&mut Object| object.is("NetworkPolicy", "app-restore-test", "kubebackup-to-s3");
        let policy = objects.iter_mut().find(is_ours).unwrap();
        policy.0["spec"]["egress"] = json!([{"to": [peer], "ports": [{"protocol": "TCP", "port": 5432}]}]);
        let (from, to) = both_pods(&objects);
        let (from, to) = (end(&from), end(&to));
        assert_eq!(is_let("Egress", &objects, &from, &to, POSTGRES), leads, "{peer}");
        assert!(!is_let("Egress", &objects, &from, &to, METRICS), "{peer}");
    }
}

#[test]
fn production_s_clients_reach_the_database_and_nobody_else_does() {
    for (overlay, objects) in overlays() {
        let (restore, database) = both_pods(objects);
        let (restore, database) = (end(&restore), end(&database));
        let client = End::pod("app-test", &[("app", "shop")]);
        assert!(reaches(objects, &client, &database, POSTGRES), "{overlay}");
        assert!(!reaches(objects, &client, &database, METRICS), "{overlay}");
        for other in [restore, End::pod("elsewhere", &[]), End::machine("192.168.1.10")] {
            assert!(!reaches(objects, &other, &database, POSTGRES), "{overlay}: {other:?}");
        }
        // The application goes on as before.
        for other in [End::pod("elsewhere", &[]), End::machine("203.0.113.7")] {
            assert!(reaches(objects, &client, &other, HTTPS), "{overlay}: {other:?}");
            assert!(
                reaches(objects, &other, &client, Port("TCP", 8080)),
                "{overlay}: {other:?}"
            );
        }
    }
}

#[test]
fn prometheus_reaches_both_agents_on_the_metrics_port_and_nobody_else_does() {
    for (overlay, objects) in overlays() {
        for agent in both_sides(objects) {
            let prometheus = End::pod("monitoring", &[("app", "prometheus")]);
            assert!(reaches(objects, &prometheus, &agent, METRICS), "{overlay}: {agent:?}");
            assert!(!reaches(objects, &prometheus, &agent, POSTGRES), "{overlay}: {agent:?}");
            let other = End::pod("elsewhere", &[("app", "prometheus")]);
            assert!(!reaches(objects, &other, &agent, METRICS), "{overlay}: {agent:?}");
        }
    }
}

/// Where the store is on the internet the same rule lets messages out; elsewhere the component does, for one side alone.
#[test]
fn notifications_get_out_by_the_component_and_from_the_restore_agent_alone() {
    let receiver = End::machine("203.0.113.7");
    for (overlay, objects) in overlays() {
        for agent in both_sides(objects) {
            let is_out = reaches(objects, &agent, &receiver, HTTPS);
            assert_eq!(is_out, *overlay == "aws-irsa", "{overlay}: {agent:?}");
        }
    }
    let copy = Copy::new();
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../s3-compatible]\n\
                         components: [../../components/webhook]\n";
    copy.add("notified", &[("kustomization.yaml", kustomization)]);
    let objects = copy.render("notified");
    let [restore, database] = both_sides(&objects);
    assert!(reaches(&objects, &restore, &receiver, HTTPS));
    assert!(!reaches(&objects, &restore, &End::machine("10.43.0.1"), HTTPS));
    assert!(!reaches(&objects, &database, &receiver, HTTPS));
}

/// The demo's store is reached by the agents alone, and reaches nobody.
#[test]
fn the_demo_s_store_serves_its_agents_and_nobody_else() {
    let objects = &overlays()["k3s-demo"];
    let (store, port) = store("k3s-demo");
    for other in [
        End::pod("app-test", &[("app", "shop")]),
        End::pod("elsewhere", &[]),
        End::machine("192.168.1.10"),
    ] {
        assert!(!reaches(objects, &other, &store, port), "{other:?}");
        assert!(!reaches(objects, &store, &other, HTTPS), "{other:?}");
    }
}

/// The throw-away server listens on a Unix socket: there is no port to guard.
#[test]
fn the_restore_pod_has_no_postgres_port() {
    for objects in overlays().values() {
        let (from, _) = both_pods(objects);
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

/// The overlay's store, as its policies name it.
fn store(overlay: &str) -> (End, Port) {
    match overlay {
        "k3s-demo" => {
            let store = End::pod("kubebackup-s3", &[("app.kubernetes.io/name", "store")]);
            (store, Port("TCP", 3900))
        }
        "s3-compatible" => (End::machine("192.0.2.10"), Port("TCP", 9000)),
        _ => (End::machine("203.0.113.80"), HTTPS),
    }
}

/// The restore agent's pod and production's.
fn both_pods(objects: &[Object]) -> (Pod<'_>, Pod<'_>) {
    let side = |namespace| {
        pods(objects)
            .into_iter()
            .find(|pod| pod.namespace() == namespace)
            .unwrap()
    };
    (side("app-restore-test"), side("app-test"))
}

fn both_sides(objects: &[Object]) -> [End; 2] {
    let (restore, database) = both_pods(objects);
    [end(&restore), end(&database)]
}

/// The database's pod, and others of its namespace.
fn in_production(objects: &[Object]) -> [End; 3] {
    let (_, database) = both_pods(objects);
    let others = [&[][..], &[("app", "shop")]].map(|labels| End::pod("app-test", labels));
    let [first, second] = others;
    [end(&database), first, second]
}

fn end(pod: &Pod<'_>) -> End {
    let labels: Vec<(&str, &str)> = pod.labels().into_iter().collect();
    End::pod(pod.namespace(), &labels)
}
