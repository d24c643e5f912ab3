//! The pipeline's scripts do what they are there for, with a stand-in for kubectl whose pods are the real program.

mod stand_in;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use stand_in::StandIn;

const SECRETS: [(&str, &str); 5] = [
    ("BACKUP_AWS_ACCESS_KEY_ID", "AKIABACKUP"),
    ("BACKUP_AWS_SECRET_ACCESS_KEY", "secret+of/the backup=agent"),
    ("RESTORE_AWS_ACCESS_KEY_ID", "AKIARESTORE"),
    ("RESTORE_AWS_SECRET_ACCESS_KEY", "secret+of/the restore=agent"),
    ("SOURCE_PASSWORD", "pässword 'of' the $role"),
];

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
    let [backup, restore, source] = &applied[..] else {
        panic!("{applied:?}")
    };
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
    assert!(cluster.applied()[0].contains(&BASE64.encode("from a file")));

    let ended = cluster.run("secrets.sh", &SECRETS[..4]).expect(1);
    assert!(ended.stderr.contains("SOURCE_PASSWORD is not set"), "{}", ended.stderr);
}

#[test]
fn the_image_is_pushed_to_the_registry_or_imported_into_k3s() {
    let cluster = StandIn::new();
    let builder = cluster.program("docker", "#!/bin/sh\necho \"docker $*\"\n[ \"$1\" != login ] || cat\n");
    let k3s = cluster.program("k3s", "#!/bin/sh\necho \"k3s $*\"\n");
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
    assert!(imported.contains("\nk3s ctr images import /"), "{imported}");

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
