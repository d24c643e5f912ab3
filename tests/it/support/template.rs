//! Clusters copied from data directories that `initdb` makes once per machine, user, server version and flavour.
//!
//! Copying takes 0.03 s, `initdb` half a second. The two flavours have different system identifiers, as production
//! and a drill's target must.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kubebackup::demo::{Cluster, ClusterOptions, fast_place, find_bin_directory, initialize};
use nix::unistd::geteuid;

pub(crate) fn source_cluster() -> Cluster {
    source_cluster_with(&[])
}

/// A source with `postgresql.conf` settings of its own.
pub(crate) fn source_cluster_with(settings: &[(&str, &str)]) -> Cluster {
    start("source", settings)
}

pub(crate) fn target_cluster() -> Cluster {
    target_cluster_with(&[])
}

pub(crate) fn target_cluster_with(settings: &[(&str, &str)]) -> Cluster {
    start("target", settings)
}

fn start(flavour: &str, settings: &[(&str, &str)]) -> Cluster {
    let bin_directory = find_bin_directory().unwrap();
    Cluster::start(&ClusterOptions {
        settings: settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        template: Some(template(&bin_directory, flavour)),
        bin_directory: Some(bin_directory),
    })
    .unwrap()
}

/// The stopped data directory of `flavour`, made now if nobody has made it yet.
fn template(bin_directory: &Path, flavour: &str) -> PathBuf {
    let cache = fast_place().join(format!("kubebackup-templates-{}", geteuid()));
    fs::create_dir_all(&cache).unwrap();
    let owner = fs::metadata(&cache).unwrap().uid();
    assert_eq!(
        owner,
        geteuid().as_raw(),
        "{} belongs to somebody else",
        cache.display()
    );
    let template = cache.join(format!("{}-{flavour}", server_version(bin_directory)));
    if !template.exists() {
        make(bin_directory, &cache, &template);
    }
    template
}

/// Made under another name and renamed, because other test processes do the same at the same time.
fn make(bin_directory: &Path, cache: &Path, template: &Path) {
    let workshop = tempfile::Builder::new().prefix("making-").tempdir_in(cache).unwrap();
    fs::set_permissions(workshop.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let data = workshop.path().join("data");
    initialize(bin_directory, &data).unwrap();
    if let Err(error) = fs::rename(&data, template) {
        assert!(template.exists(), "keep the template: {error}");
    }
}

fn server_version(bin_directory: &Path) -> String {
    let output = Command::new(bin_directory.join("postgres"))
        .arg("--version")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || *character == '.')
        .collect()
}
