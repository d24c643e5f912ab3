//! Who reaches whom by the network policies, as a plug-in that enforces them would have it.
//!
//! A connection needs a rule at both ends: one that lets it out of its pod and one that lets it into the other, and a pod that
//! no policy picks for a direction is open in it. Probes of the kubelet, which no policy keeps out, are no part of this.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::objects::{Object, list, map, selects, text};

/// One end of a connection.
#[derive(Clone, Debug)]
pub(super) enum End {
    Pod {
        namespace: String,
        labels: BTreeMap<String, String>,
        /// An address in the cluster, for rules by address.
        address: IpAddr,
    },
    /// A machine that is no pod, or a service's own address.
    Machine(IpAddr),
}

impl End {
    pub(super) fn pod(namespace: &str, labels: &[(&str, &str)]) -> Self {
        Self::Pod {
            namespace: namespace.to_owned(),
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            address: "10.42.0.7".parse().unwrap(),
        }
    }

    pub(super) fn machine(address: &str) -> Self {
        Self::Machine(address.parse().unwrap())
    }

    fn address(&self) -> IpAddr {
        match self {
            Self::Pod { address, .. } | Self::Machine(address) => *address,
        }
    }
}

/// What is connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port(pub(super) &'static str, pub(super) u16);

/// Whether the policies of `objects` let `from` connect to `to`.
pub(super) fn reaches(objects: &[Object], from: &End, to: &End, port: Port) -> bool {
    is_let("Egress", objects, from, to, port) && is_let("Ingress", objects, to, from, port)
}

/// Whether `own`'s policies let it connect to `other` (`Egress`) or be connected to by it (`Ingress`).
pub(super) fn is_let(direction: &str, objects: &[Object], own: &End, other: &End, port: Port) -> bool {
    let End::Pod { namespace, labels, .. } = own else {
        return true;
    };
    let (rules, peers) = match direction {
        "Egress" => ("egress", "to"),
        _ => ("ingress", "from"),
    };
    let own_labels = borrowed(labels);
    let policies: Vec<&Object> = objects
        .iter()
        .filter(|object| object.kind() == "NetworkPolicy" && object.namespace() == namespace)
        .filter(|policy| list(&policy.spec()["policyTypes"]).contains(&direction.into()))
        .filter(|policy| selects(&policy.spec()["podSelector"], &own_labels))
        .collect();
    let rule_lets = |rule: &Value| {
        let peers = list(&rule[peers]);
        let ports = list(&rule["ports"]);
        // Neither peers nor ports: all of them.
        (peers.is_empty() || peers.iter().any(|peer| is_meant(peer, objects, namespace, other)))
            && (ports.is_empty() || ports.iter().any(|allowed| is_port(allowed, port)))
    };
    policies.is_empty()
        || policies
            .iter()
            .any(|policy| list(&policy.spec()[rules]).iter().any(rule_lets))
}

fn is_port(allowed: &Value, port: Port) -> bool {
    assert!(allowed["endPort"].is_null(), "ranges are not known here");
    allowed["protocol"] == port.0 && allowed["port"] == port.1
}

fn is_meant(peer: &Value, objects: &[Object], own_namespace: &str, other: &End) -> bool {
    if let Some(cidr) = peer["ipBlock"]["cidr"].as_str() {
        let is_out = |except: &Value| contains(text(except), other.address());
        return contains(cidr, other.address()) && !list(&peer["ipBlock"]["except"]).iter().any(is_out);
    }
    let End::Pod { namespace, labels, .. } = other else {
        return false;
    };
    let is_namespace = match &peer["namespaceSelector"] {
        Value::Null => namespace == own_namespace,
        selector => selects(selector, &namespace_labels(objects, namespace)),
    };
    is_namespace && selects(&peer["podSelector"], &borrowed(labels))
}

/// Kubernetes labels every namespace with its name.
fn namespace_labels<'a>(objects: &'a [Object], namespace: &'a str) -> BTreeMap<&'a str, &'a str> {
    let object = objects.iter().find(|object| object.is("Namespace", "", namespace));
    let mut labels = object.map_or_else(BTreeMap::new, |object| map(&object.0["metadata"]["labels"]));
    labels.insert("kubernetes.io/metadata.name", namespace);
    labels
}

/// Whether the range `10.0.0.0/8` holds the address.
fn contains(cidr: &str, address: IpAddr) -> bool {
    let (first, length) = cidr.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    let prefix = |bits: u128, width: u32| bits.checked_shr(width - length).unwrap_or(0);
    match (first.parse::<IpAddr>().unwrap(), address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            prefix(u128::from(first.to_bits()), 32) == prefix(u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => prefix(first.to_bits(), 128) == prefix(address.to_bits(), 128),
        _ => false,
    }
}

fn borrowed(labels: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[test]
fn a_range_holds_its_own_addresses_and_no_others() {
    for (cidr, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
        ("192.0.2.10/32", "192.0.2.10", "192.0.2.11"),
        ("0.0.0.0/0", "203.0.113.7", "2001:db8::1"),
        ("fc00::/7", "fd00::1", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.7"),
    ] {
        assert!(contains(cidr, inside.parse().unwrap()), "{cidr}");
        assert!(!contains(cidr, outside.parse().unwrap()), "{cidr}");
    }
}
