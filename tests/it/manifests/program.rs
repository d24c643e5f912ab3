//! What the manifests say to the program, said to the program: settings files, arguments, variables, ports, paths.

use std::collections::BTreeSet;
use std::fs;

use clap::Parser as _;
use kubebackup::config::{self, Settings};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::AGENT;
use super::objects::{Object, Pod, data, list, pods, text, variable};
use super::render::overlays;

/// Runs with one container of the program, its pod, and the settings that it reads.
pub(super) fn each_agent(check: impl Fn(&str, &Pod<'_>, &Value, &Settings, &[Object])) {
    for (overlay, objects) in overlays() {
        for pod in pods(objects) {
            if let Some(container) = pod.container(AGENT) {
                let name = format!("{overlay}: {}", pod.owner);
                let settings = settings(&name, &pod, container, objects);
                check(&name, &pod, container, &settings, objects);
            }
        }
    }
}

/// The file that `KUBEBACKUP_CONFIG` names.
pub(super) fn settings_file(name: &str, pod: &Pod<'_>, container: &Value, objects: &[Object]) -> NamedTempFile {
    let path = variable(container, "KUBEBACKUP_CONFIG").unwrap();
    let text = pod
        .file(container, path, objects)
        .unwrap_or_else(|| panic!("{name}: {path} is not mounted"));
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

/// Reads that file, with the container's other variables.
fn settings(name: &str, pod: &Pod<'_>, container: &Value, objects: &[Object]) -> Settings {
    let file = settings_file(name, pod, container, objects);
    let variables = list(&container["env"])
        .iter()
        .filter_map(|variable| Some((text_of(variable, "name")?, text_of(variable, "value")?)));
    config::load(Some(file.path()), variables).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text_of(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().map(str::to_owned)
}

#[test]
fn the_program_takes_every_settings_file_and_variable() {
    each_agent(|name, _, container, settings, _| {
        settings.repository.require_location().unwrap();
        match arguments(container)[..] {
            ["backup-agent"] => {
                settings.require_cluster().unwrap();
                assert!(settings.source.dsn.is_some() && settings.target.dsn.is_none(), "{name}");
            }
            ["restore-agent"] => {
                settings.require_target_dsn().unwrap();
                assert!(settings.source.dsn.is_none(), "{name}");
            }
            ref other => panic!("{name}: {other:?}"),
        }
    });
}

#[test]
fn the_program_takes_every_argument_and_nothing_replaces_its_entrypoint() {
    each_agent(|name, _, container, _, _| {
        assert!(container["command"].is_null(), "{name}");
        let all = std::iter::once("kubebackup").chain(arguments(container));
        let parsed = kubebackup::cli::Arguments::try_parse_from(all);
        assert!(parsed.is_ok(), "{name}: {}", parsed.unwrap_err());
    });
}

#[test]
fn the_port_is_the_one_that_the_program_listens_on() {
    each_agent(|name, _, container, settings, _| {
        let expected = serde_json::json!([{"name": "metrics", "containerPort": settings.agent.listen.port()}]);
        assert_eq!(container["ports"], expected, "{name}");
        assert!(settings.agent.listen.ip().is_unspecified(), "{name}");
    });
}

#[test]
fn both_agents_of_an_overlay_look_at_the_same_repository() {
    for (overlay, objects) in overlays() {
        let places: BTreeSet<_> = pods(objects)
            .iter()
            .filter_map(|pod| {
                let repository = settings(overlay, pod, pod.container(AGENT)?, objects).repository;
                Some((
                    repository.bucket,
                    repository.prefix,
                    repository.endpoint,
                    repository.region,
                ))
            })
            .collect();
        assert_eq!(places.len(), 1, "{overlay}: {places:?}");
    }
}

/// A file that a setting or a variable names lies in a Secret that is mounted there.
#[test]
fn every_file_of_secrets_is_mounted() {
    each_agent(|name, pod, container, settings, objects| {
        let of_settings = [
            &settings.source.password_file,
            &settings.target.password_file,
            &settings.notify.webhook_file,
        ];
        let of_variables = variable(container, "AWS_SHARED_CREDENTIALS_FILE").map(str::to_owned);
        let paths = of_settings.into_iter().flatten().map(|path| path.display().to_string());
        for path in paths.chain(of_variables) {
            let contents = pod.file(container, &path, objects);
            assert!(
                contents.is_some_and(|text| text.contains("change-me")),
                "{name}: {path}"
            );
        }
        let has_keys = variable(container, "AWS_SHARED_CREDENTIALS_FILE").is_some();
        assert_eq!(has_keys, !name.starts_with("aws-irsa"), "{name}");
        assert_eq!(variable(container, "AWS_EC2_METADATA_DISABLED"), Some("true"), "{name}");
    });
}

/// Without keys, EKS's webhook gives the pods a token by the annotation of their accounts.
#[test]
fn with_roles_for_accounts_every_agent_has_an_account_with_its_own_role_and_no_other_container_uses_it() {
    let objects = &overlays()["aws-irsa"];
    let mut roles = BTreeSet::new();
    for pod in pods(objects) {
        let account = text(&pod.spec()["serviceAccountName"]);
        let account = objects
            .iter()
            .find(|object| object.is("ServiceAccount", pod.namespace(), account))
            .unwrap();
        roles.insert(text(
            &account.0["metadata"]["annotations"]["eks.amazonaws.com/role-arn"],
        ));
        let skipped = text(&pod.template["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"]);
        let others = pod
            .containers()
            .into_iter()
            .map(|container| text(&container["name"]))
            .filter(|name| *name != AGENT);
        assert_eq!(
            others.collect::<Vec<_>>(),
            skipped.split(',').collect::<Vec<_>>(),
            "{}",
            pod.owner
        );
        // A token that another user's container can read belongs to the pod's group.
        assert!(pod.spec()["securityContext"]["fsGroup"].is_u64(), "{}", pod.owner);
    }
    assert_eq!(roles.len(), 2, "{roles:?}");
}

/// Each database that is backed up has its marked target, under the name that the settings give it.
#[test]
fn the_throw_away_server_makes_the_databases_that_are_rebuilt() {
    for (overlay, objects) in overlays() {
        let find = |namespace| {
            pods(objects)
                .into_iter()
                .find(|pod| pod.namespace() == namespace)
                .unwrap()
        };
        let (source, target) = (find("app-test"), find("app-restore-test"));
        let backed_up = settings(overlay, &source, source.container(AGENT).unwrap(), objects)
            .source
            .databases;
        let rebuilt = settings(overlay, &target, target.container(AGENT).unwrap(), objects).target;
        let wanted: Vec<&str> = backed_up
            .iter()
            .map(|database| rebuilt.database_for(database))
            .collect();
        let server = target.container("postgres").unwrap();
        let made = text(&list(&server["envFrom"])[0]["configMapRef"]["name"]);
        let made = objects
            .iter()
            .find(|object| object.is("ConfigMap", "app-restore-test", made))
            .unwrap();
        let made = data(made);
        assert_eq!(made["DATABASES"].split(' ').collect::<Vec<_>>(), wanted, "{overlay}");
        assert!(made.contains_key("REPOSITORY_ID"), "{overlay}");
        let dsn = rebuilt.dsn.unwrap();
        let socket = list(&server["volumeMounts"])
            .iter()
            .find(|mount| mount["name"] == "socket")
            .unwrap();
        assert!(
            dsn.expose().contains(&format!("host={}", text(&socket["mountPath"]))),
            "{overlay}"
        );
        for path in [
            variable(server, "HBA_FILE").unwrap(),
            text(&list(&server["command"])[1]),
        ] {
            assert!(target.file(server, path, objects).is_some(), "{overlay}: {path}");
        }
    }
}

/// The same image family on both sides: musl and glibc sort text differently.
#[test]
fn the_throw_away_server_is_the_source_s_own_image() {
    for (overlay, objects) in overlays() {
        let images: Vec<&str> = pods(objects)
            .iter()
            .filter_map(|pod| pod.container("postgres"))
            .map(|container| text(&container["image"]))
            .collect();
        assert!(images.len() == 2 && images[0] == images[1], "{overlay}: {images:?}");
    }
}

pub(super) fn arguments(container: &Value) -> Vec<&str> {
    list(&container["args"]).iter().map(text).collect()
}
