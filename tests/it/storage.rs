//! The S3 store against a real S3 protocol: the suite every store passes, and what only a network can do to it.

use kubebackup::demo::{S3Server, S3ServerOptions};
use kubebackup::storage::conformance::conformance;
use kubebackup::storage::{ObjectStore as _, S3Credentials, S3Options, S3Store};

const BUCKET: &str = "backups";
const ACCESS_KEY: &str = "AKIDTEST";
const SECRET_KEY: &str = "a-secret-of-a-test";

struct Ground {
    server: S3Server,
    _root: tempfile::TempDir,
}

impl Ground {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let server = S3Server::start(&S3ServerOptions {
            root: root.path().to_owned(),
            bucket: BUCKET.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        })
        .await
        .unwrap();
        Self { server, _root: root }
    }

    fn options(&self) -> S3Options {
        S3Options {
            endpoint: Some(self.server.endpoint()),
            path_style: true,
            credentials: Some(S3Credentials {
                access_key_id: ACCESS_KEY.to_owned(),
                secret_access_key: SECRET_KEY.to_owned(),
                session_token: None,
            }),
            ..S3Options::new(BUCKET)
        }
    }
}

#[tokio::test]
async fn the_s3_store_does_what_a_store_must() {
    let ground = Ground::new().await;
    for prefix in ["", "some/prefix"] {
        let store = S3Store::open(S3Options {
            prefix: prefix.to_owned(),
            ..ground.options()
        })
        .await
        .unwrap();
        conformance(&store).await;
        let capabilities = store.capabilities("probes/").await.unwrap();
        assert!(
            capabilities.create_only && capabilities.checksum_sha256 && !capabilities.object_lock,
            "{capabilities:?}"
        );
        conformance(&store).await;
    }
}
