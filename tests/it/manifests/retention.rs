//! The `CronJob` that expires and prunes: an identity of its own, and nothing of anybody else's.

use clap::Parser as _;
use kubebackup::config;
use serde_json::Value;

use super::objects::{Object, list, text};
use super::render::Copy;

/// An overlay with the component, as `manifests/components/retention` tells to use it.
fn rendered() -> Vec<Object> {
    let copy = Copy::new();
    copy.add(
        "retention",
        &[
            (
                "kustomization.yaml",
                "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../s3-compatible]
components: [../../components/retention]
configMapGenerator:
  - name: kubebackup-retention-settings
    namespace: app-restore-test
    files: [settings.yaml=retention.yaml]
images:
  - {name: kubebackup, newName: registry.example/kubebackup, newTag: 1.2.3}
",
            ),
            (
                "retention.yaml",
                "repository: {bucket: mine}\nretention: {keep_daily: 7}\n",
            ),
        ],
    );
    copy.render("retention")
}

fn of_kind<'a>(objects: &'a [Object], kind: &str, beginning: &str) -> &'a Object {
    let found = objects
        .iter()
        .find(|object| object.kind() == kind && object.name().starts_with(beginning));
    found.unwrap_or_else(|| panic!("no {kind} {beginning}"))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|field| list(&pod[field]))
}

#[test]
fn the_cron_job_expires_and_then_prunes_by_the_settings_of_the_overlay() {
    let objects = rendered();
    let job = of_kind(&objects, "CronJob", "kubebackup-retention");
    let pod = &job.0["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let verbs: Vec<&str> = containers(pod).map(|container| text(&container["args"][0])).collect();
    assert_eq!(verbs, ["expire", "prune"]);
    for verb in verbs {
        kubebackup::cli::Arguments::try_parse_from(["kubebackup", verb]).unwrap();
    }
    let settings = of_kind(&objects, "ConfigMap", "kubebackup-retention-settings");
    let mounted = pod["volumes"][0]["configMap"]["name"].as_str().unwrap();
    assert_eq!(mounted, settings.name());
    assert!(text(&settings.0["data"]["settings.yaml"]).contains("keep_daily: 7"));
}

#[test]
fn the_example_settings_of_the_cron_job_are_taken_and_have_a_rule() {
    let file = super::render::root().join("manifests/components/retention/settings.yaml");
    let settings = config::load(Some(&file), []).unwrap();
    settings.repository.require_location().unwrap();
    assert!(settings.retention.has_rule());
    assert!(settings.source.dsn.is_none() && settings.target.dsn.is_none());
}

#[test]
fn the_cron_job_has_an_identity_that_no_other_pod_has() {
    let objects = rendered();
    let job = of_kind(&objects, "CronJob", "kubebackup-retention");
    let pod = &job.0["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "kubebackup-retention");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let secrets: Vec<&str> = list(&pod["volumes"])
        .iter()
        .filter_map(|volume| volume["secret"]["secretName"].as_str())
        .collect();
    assert_eq!(secrets, ["kubebackup-retention-s3"]);
    for other in objects.iter().filter(|object| object.kind() != "CronJob") {
        let text = other.0.to_string();
        assert!(!text.contains("kubebackup-retention-s3"), "{other}");
    }
    for container in containers(pod) {
        let security = &container["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"]}));
        assert_eq!(container["resources"]["requests"], container["resources"]["limits"]);
        // The same program as everywhere: overlays replace it by name.
        assert!(
            text(&container["image"]).starts_with("registry.example/kubebackup:"),
            "{container}"
        );
    }
    let policy = of_kind(&objects, "NetworkPolicy", "kubebackup-retention");
    let label = &job.0["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["kubebackup.io/agent"];
    assert_eq!(
        policy.0["spec"]["podSelector"]["matchLabels"]["kubebackup.io/agent"],
        *label
    );
    assert!(policy.0["spec"]["ingress"].is_null());
}
