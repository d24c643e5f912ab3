//! The pipeline: GitLab takes it, and its scripts do what they are there for with a stand-in for kubectl, whose pods are the
//! real program.

mod hooks;
mod proof;
mod stand_in;

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use yaml_rust2::{Yaml, YamlLoader};

use stand_in::{ROOT, StandIn};

const SECRETS: [(&str, &str); 5] = [
    ("BACKUP_AWS_ACCESS_KEY_ID", "AKIABACKUP"),
    ("BACKUP_AWS_SECRET_ACCESS_KEY", "secret+of/the backup=agent"),
    ("RESTORE_AWS_ACCESS_KEY_ID", "AKIARESTORE"),
    ("RESTORE_AWS_SECRET_ACCESS_KEY", "secret+of/the restore=agent"),
    ("SOURCE_PASSWORD", "pässword 'of' the $role"),
];

#[test]
fn gitlab_takes_the_pipeline() {
    let checked = Command::new(format!("{ROOT}/target/tools/venv/bin/check-jsonschema"))
        .args(["--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml"])
        .current_dir(ROOT)
        .output()
        .expect("`make tools` installs check-jsonschema");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// A push that mends the test for which the one before was not deployed changes nothing of the program itself.
#[test]
fn what_a_push_does_not_deploy_by_itself_can_be_deployed_by_hand() {
    let text = std::fs::read_to_string(format!("{ROOT}/.gitlab-ci.yml")).unwrap();
    let pipeline = &YamlLoader::load_from_str(&text).unwrap()[0];
    let rules = pipeline["container"]["rules"].as_vec().unwrap();
    let [scheduled, pushed, ..] = rules.as_slice() else {
        panic!("{rules:?}");
    };
    assert_eq!(
        (scheduled["if"].as_str(), scheduled["when"].as_str()),
        (Some("$CI_PIPELINE_SOURCE == \"schedule\""), Some("never")),
        "a schedule tries and deploys nothing"
    );
    let changes: Vec<&str> = pushed["changes"]
        .as_vec()
        .unwrap()
        .iter()
        .filter_map(Yaml::as_str)
        .collect();
    for deploying in [".gitlab-ci.yml", "scripts/ci/**/*", "src/**/*", "manifests/*/**/*"] {
        assert!(changes.contains(&deploying), "{changes:?}");
    }
    let last = rules.last().unwrap();
    let (when, may_fail) = (last["when"].as_str(), last["allow_failure"].as_bool());
    assert_eq!(
        (when, may_fail),
        (Some("manual"), Some(true)),
        "or the pipeline would wait for it"
    );
    assert_eq!(last["if"], pushed["if"]);
    assert_eq!(pipeline[".cluster"]["rules"].as_vec().unwrap(), rules);
}

/// What is not in it is not in the program either: the compiler takes no other crates than those of the lock file.
#[test]
fn the_bill_of_materials_holds_every_crate_of_the_program_with_its_checksum_and_none_of_the_tests() {
    let bill = |target: &str| {
        let written = Command::new(format!("{ROOT}/scripts/sbom.sh"))
            .env("TARGET", target)
            .output()
            .unwrap();
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        written.stdout
    };
    let text = bill("x86_64-unknown-linux-gnu");
    assert_eq!(text, bill("x86_64-unknown-linux-gnu"), "the same bytes each time");
    let bill: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    assert_eq!(bill["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
    let components = bill["components"].as_array().unwrap();
    let lock = std::fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    for component in components {
        let checksum = component["hashes"][0]["content"]
            .as_str()
            .unwrap_or_else(|| panic!("{component}"));
        assert!(lock.contains(&format!("checksum = \"{checksum}\"")), "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
    }
    let has = |name: &str| components.iter().any(|component| component["name"] == name);
    for compiled in [
        "tokio",
        "tokio-postgres",
        "aws-sdk-s3",
        "rustls",
        "zstd-sys",
        "serde_json",
    ] {
        assert!(has(compiled), "{compiled}");
    }
    for other in ["kubebackup", "proptest", "insta", "s3s", "tempfile", "windows-sys"] {
        assert!(!has(other), "{other}");
    }
    let references: Vec<&str> = components
        .iter()
        .filter_map(|component| component["bom-ref"].as_str())
        .collect();
    for dependency in bill["dependencies"].as_array().unwrap() {
        for needed in dependency["dependsOn"].as_array().unwrap() {
            assert!(references.contains(&needed.as_str().unwrap()), "{needed}");
        }
    }
}

#[test]
fn the_pipeline_checks_the_dependencies_and_keeps_their_bill() {
    let text = std::fs::read_to_string(format!("{ROOT}/.gitlab-ci.yml")).unwrap();
    let pipeline = &YamlLoader::load_from_str(&text).unwrap()[0];
    let job = &pipeline["dependencies"];
    assert_eq!(job["script"][0].as_str(), Some("make deny sbom"));
    assert_eq!(job["artifacts"]["paths"][0].as_str(), Some("target/sbom.cdx.json"));
    assert_eq!(
        job["artifacts"]["reports"]["cyclonedx"].as_str(),
        Some("target/sbom.cdx.json")
    );
    assert_eq!(job["allow_failure"], Yaml::BadValue, "it may not fail");
}

#[test]
fn credentials_reach_their_secrets_and_are_in_no_argument_and_no_output() {
    let cluster = StandIn::new();
    let ended = cluster.run("secrets.sh", &SECRETS).expect(0);

    let applied = cluster.applied();
    let holds = |secret: &str, namespace: &str, name: &str, key: &str, value: &str| {
        let line = format!("  {key}: {}\n", BASE64.encode(value));
        secret.contains(&format!("  namespace: {namespace}\n  name: {name}\n")) && secret.contains(&line)
    };
    let credentials = |id, secret| format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let [namespaces, backup, restore, source] = &applied[..] else {
        panic!("{applied:?}")
    };
    assert!(namespaces.contains("kind: Namespace\n"), "{namespaces}");
    let of_backup = credentials("AKIABACKUP", "secret+of/the backup=agent");
    assert!(holds(backup, "app-test", "kubebackup-s3", "credentials", &of_backup));
    let of_restore = credentials("AKIARESTORE", "secret+of/the restore=agent");
    assert!(holds(
        restore,
        "app-restore-test",
        "kubebackup-s3",
        "credentials",
        &of_restore
    ));
    let password = "pässword 'of' the $role";
    assert!(holds(source, "app-test", "kubebackup-source", "password", password));

    for shown in [ended.printed(), cluster.calls()] {
        for (name, value) in SECRETS {
            assert!(!shown.contains(value), "{name} is in:\n{shown}");
            assert!(!shown.contains(&BASE64.encode(value)), "{name} is in:\n{shown}");
        }
    }
}

#[test]
fn a_variable_of_type_file_is_read_and_one_that_is_missing_is_named() {
    let cluster = StandIn::new();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "from a file").unwrap();
    let file = password.path().to_string_lossy().into_owned();
    let only_password = [("SKIP_S3_SECRETS", "true"), ("SOURCE_PASSWORD", file.as_str())];
    cluster.run("secrets.sh", &only_password).expect(0);
    assert!(cluster.applied()[1].contains(&BASE64.encode("from a file")));

    let ended = cluster.run("secrets.sh", &SECRETS[..4]).expect(1);
    assert!(ended.stderr.contains("SOURCE_PASSWORD is not set"), "{}", ended.stderr);
}

#[test]
fn the_image_is_pushed_to_the_registry_or_imported_into_k3s() {
    let cluster = StandIn::new();
    let builder = cluster.program("docker", "#!/bin/sh\necho \"docker $*\"\n[ \"$1\" != login ] || cat\n");
    let k3s = cluster.program("k3s", "#!/bin/sh\necho \"k3s $*\"\ncat\n");
    let programs = [
        ("BUILDER", builder.to_str().unwrap()),
        ("K3S", k3s.to_str().unwrap()),
        ("IMAGE_TAG", "abc"),
    ];

    let imported = cluster.run("image.sh", &programs).expect(0).stdout;
    assert!(
        imported.contains("docker build --tag docker.io/library/kubebackup:abc "),
        "{imported}"
    );
    // The archive came by standard input, which this K3s prints.
    let archive = "\nk3s ctr images import -\ndocker save docker.io/library/kubebackup:abc\n";
    assert!(imported.contains(archive), "{imported}");

    // What buildah writes, it writes to a file, and that is gone afterwards.
    let buildah = "#!/bin/sh\necho \"buildah $*\"\n[ \"$1\" != push ] || { name=${3#docker-archive:}; echo archive > \"${name%%:*}\"; }\n";
    let buildah = cluster.program("buildah", buildah);
    let temporary = tempfile::tempdir().unwrap();
    let of_buildah = [
        ("BUILDER", buildah.to_str().unwrap()),
        programs[1],
        programs[2],
        ("TMPDIR", temporary.path().to_str().unwrap()),
    ];
    let imported = cluster.run("image.sh", &of_buildah).expect(0).stdout;
    assert!(imported.contains("\nk3s ctr images import -\narchive\n"), "{imported}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);

    let to_registry = [
        ("IMAGE_REGISTRY", "registry.example.org/group/kubebackup"),
        ("REGISTRY_USER", "runner"),
        ("REGISTRY_PASSWORD", "of the registry"),
    ];
    let pushed = cluster
        .run("image.sh", &[&programs[..], &to_registry].concat())
        .expect(0)
        .stdout;
    // The password came by standard input, which this builder prints.
    let login = "docker login --username runner --password-stdin registry.example.org\nof the registry\n";
    assert!(pushed.contains(login), "{pushed}");
    assert!(
        pushed.contains("docker push registry.example.org/group/kubebackup:abc\n"),
        "{pushed}"
    );
    assert!(!pushed.contains("k3s"), "{pushed}");
}

/// sudo lets a star match further arguments: the line of the page is one command line, and the one that the script runs.
#[test]
fn the_runner_may_run_one_command_line_as_root_and_that_is_the_script_s() {
    let read = |file: &str| std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap();
    let page = read("docs/pipeline.md");
    let allowed = page.lines().find_map(|line| line.split_once("NOPASSWD: ")).unwrap().1;
    assert_eq!(allowed, "/usr/local/bin/k3s ctr images import -");
    let script = read("scripts/ci/image.sh");
    let calls: Vec<&str> = script.lines().filter(|line| line.contains("sudo -n")).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    for call in calls {
        let call = call.replace("${K3S:-sudo -n /usr/local/bin/k3s}", "/usr/local/bin/k3s");
        let call = call.split(" | ").last().unwrap().split(" < ").next().unwrap();
        assert_eq!(call.trim().trim_end_matches(" ;;"), allowed);
    }
}

#[test]
fn every_overlay_is_deployed_with_the_image_of_the_commit() {
    for overlay in std::fs::read_dir(format!("{ROOT}/manifests/overlays")).unwrap() {
        let overlay = overlay.unwrap().file_name().into_string().unwrap();
        let cluster = StandIn::new();
        cluster
            .run(
                "deploy.sh",
                &[("OVERLAY", &overlay), ("CI_COMMIT_SHORT_SHA", "0123abcd")],
            )
            .expect(0);
        let [applied] = &cluster.applied()[..] else {
            panic!("{overlay} is not applied once")
        };
        let images: Vec<&str> = applied
            .lines()
            .filter_map(|line| line.trim().strip_prefix("image: "))
            .filter(|image| image.contains("kubebackup"))
            .collect();
        assert_eq!(images, ["docker.io/library/kubebackup:0123abcd"; 2], "{overlay}");
        for waited_for in [
            "app-test statefulset/postgres",
            "app-restore-test deployment/kubebackup-restore",
        ] {
            let call = format!("rollout status --namespace {waited_for} ");
            assert!(cluster.calls().contains(&call), "{}", cluster.calls());
        }
    }
    let ended = StandIn::new().run("deploy.sh", &[("OVERLAY", "none")]).expect(1);
    assert!(
        ended.stderr.contains("there is no overlay manifests/overlays/none"),
        "{}",
        ended.stderr
    );
}
