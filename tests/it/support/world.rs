//! A whole world for the program: production, a drill's target, a bucket, and a settings file like a user's.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kubebackup::demo::{Cluster, Ground};

use super::{Program, S3, source_cluster_with, target_cluster_with};

/// The role that the documents tell users to create: no superuser, scram password.
pub(crate) const BACKUP_ROLE: &str = "kubebackup";
pub(crate) const BACKUP_PASSWORD: &str = "pässword of the backup role";

/// How to make a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorldOptions<'a> {
    /// Created at the source; each is restored into `<name>_restored` by a drill, which is created and marked too.
    pub(crate) databases: &'a [&'a str],
    /// Whether the backup role may read tables with row-level security.
    pub(crate) bypass_rls: bool,
    pub(crate) source_settings: &'a [(&'a str, &'a str)],
    pub(crate) target_settings: &'a [(&'a str, &'a str)],
    /// YAML lines that the settings file ends with.
    pub(crate) settings: &'a str,
}

impl Default for WorldOptions<'_> {
    fn default() -> Self {
        Self {
            databases: &["shop"],
            bypass_rls: true,
            source_settings: &[],
            target_settings: &[],
            settings: "",
        }
    }
}

/// Production, target, bucket and settings; dropped, everything is gone.
pub(crate) struct World {
    pub(crate) source: Cluster,
    pub(crate) target: Cluster,
    pub(crate) s3: S3,
    pub(crate) settings_file: PathBuf,
    databases: Vec<String>,
    ground: Ground,
}

/// Where in the bucket the repository lies.
pub(crate) const PREFIX: &str = "it";

impl World {
    pub(crate) fn start() -> Self {
        Self::with(WorldOptions::default())
    }

    pub(crate) fn with(options: WorldOptions<'_>) -> Self {
        let source = source_cluster_with(options.source_settings);
        let target = target_cluster_with(options.target_settings);
        for database in options.databases {
            source
                .sql("postgres", &format!("CREATE DATABASE \"{database}\""))
                .unwrap();
            target
                .sql("postgres", &format!("CREATE DATABASE \"{database}_restored\""))
                .unwrap();
        }
        create_backup_role(&source, options.bypass_rls);
        let mut world = Self {
            source,
            target,
            s3: S3::start(),
            settings_file: PathBuf::new(),
            databases: options.databases.iter().map(ToString::to_string).collect(),
            ground: Ground::new().unwrap(),
        };
        world.settings_file = world.write_settings("settings.yaml", options.settings);
        world
    }

    /// The first (mostly the only) database.
    pub(crate) fn database(&self) -> &str {
        &self.databases[0]
    }

    /// The database that a drill rebuilds it in.
    pub(crate) fn restored(&self) -> String {
        format!("{}_restored", self.database())
    }

    #[track_caller]
    pub(crate) fn source_sql(&self, statements: &str) -> String {
        self.source.sql(self.database(), statements).unwrap()
    }

    #[track_caller]
    pub(crate) fn restored_sql(&self, statements: &str) -> String {
        self.target.sql(&self.restored(), statements).unwrap()
    }

    /// Where fixtures and tests put files of their own.
    pub(crate) fn directory(&self) -> &Path {
        self.ground.path()
    }

    /// `kubebackup --config <settings> <arguments>` with the bucket's credentials.
    pub(crate) fn program(&self, arguments: &[&str]) -> Program {
        let settings = self.settings_file.to_string_lossy().into_owned();
        let mut all = vec!["--config", settings.as_str()];
        all.extend(arguments);
        Program::new(&all).envs(S3::credentials())
    }

    /// Keys relative to the repository's prefix.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        self.s3
            .keys(&format!("{PREFIX}/{prefix}"))
            .iter()
            .filter_map(|key| key.strip_prefix(&format!("{PREFIX}/")).map(str::to_owned))
            .collect()
    }

    /// How many drills of that backup ended so.
    pub(crate) fn drills_ended(&self, backup_id: &str, state: &str) -> usize {
        let keys = self.keys(&format!("certificates/{backup_id}/"));
        let ending = format!(".{state}.json");
        keys.iter().filter(|key| key.ends_with(&ending)).count()
    }

    /// An object of the repository as the bucket knows it.
    pub(crate) fn object(key: &str) -> String {
        format!("{PREFIX}/{key}")
    }

    pub(crate) fn repository_id(&self) -> String {
        let repository = self.s3.read(&Self::object("repository.json"));
        let repository: serde_json::Value = serde_json::from_slice(&repository).unwrap();
        ["repository_id", "id"]
            .iter()
            .find_map(|name| repository[name].as_str())
            .expect("repository.json holds the repository's id")
            .to_owned()
    }

    /// What the owner of the targets does once: says that this repository's drills may destroy them.
    pub(crate) fn mark_targets(&self) {
        for database in &self.databases {
            mark_disposable(&self.target, &format!("{database}_restored"), &self.repository_id());
        }
    }

    /// Writes a settings file like a user's; `more` ends it.
    pub(crate) fn write_settings(&self, name: &str, more: &str) -> PathBuf {
        let source_password = self.write("source-password", BACKUP_PASSWORD);
        let target_password = self.write("target-password", self.target.password());
        let mut text = format!(
            "cluster: production\n\
             repository:\n  bucket: {bucket}\n  prefix: {PREFIX}\n  endpoint: {endpoint}\n  region: us-east-1\n  \
             path_style: true\n\
             source:\n  dsn: \"{source}\"\n  password_file: {source_password}\n  databases: [{databases}]\n\
             target:\n  dsn: \"{target}\"\n  password_file: {target_password}\n  databases:\n",
            bucket = super::s3::BUCKET,
            endpoint = self.s3.endpoint,
            source = self.source.dsn(BACKUP_ROLE, self.database()),
            source_password = source_password.display(),
            databases = self.databases.join(", "),
            target = self.target.dsn(self.target.superuser(), "postgres"),
            target_password = target_password.display(),
        );
        for database in &self.databases {
            writeln!(text, "    {database}: {database}_restored").unwrap();
        }
        text.push_str(more);
        self.write(name, &text)
    }

    fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.ground.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

/// Creates the documented role on `cluster`, by the script that users run.
pub(crate) fn create_backup_role(cluster: &Cluster, bypass_rls: bool) {
    let script = include_str!("../../../manifests/backup-role.sql");
    let attribute = if bypass_rls { "BYPASSRLS" } else { "NOBYPASSRLS" };
    let password = format!("ALTER ROLE {BACKUP_ROLE} {attribute} PASSWORD '{BACKUP_PASSWORD}';");
    cluster.sql("postgres", &format!("{script}\n{password}")).unwrap();
}

/// Puts the owner's marker on a database.
pub(crate) fn mark_disposable(target: &Cluster, database: &str, repository_id: &str) {
    target
        .sql(
            "postgres",
            &format!("ALTER DATABASE \"{database}\" SET kubebackup.disposable = '{repository_id}'"),
        )
        .unwrap();
}
