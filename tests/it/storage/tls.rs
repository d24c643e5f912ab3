//! A store behind TLS with a certificate of a private authority.

use bytes::Bytes;
use kubebackup::storage::conformance::conformance;
use kubebackup::storage::{ErrorKind, ObjectStore as _, S3Options, S3Store};

use super::{Bucket, chain};
use crate::support::certificates;
use crate::support::tls_front::TlsFront;

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named_and_only_then() {
    let bucket = Bucket::new().await;
    let directory = tempfile::tempdir().unwrap();
    certificates::make(directory.path());
    let front = TlsFront::before(&bucket.server.endpoint(), directory.path());
    let open = |ca_file: Option<&str>| {
        S3Store::open(S3Options {
            endpoint: Some(front.endpoint.clone()),
            ca_file: ca_file.map(|name| directory.path().join(name)),
            max_attempts: 1,
            ..bucket.options()
        })
    };
    conformance(&open(Some("ca.crt")).await.unwrap()).await;
    for ca_file in [None, Some("other.crt")] {
        let store = open(ca_file).await.unwrap();
        let error = store.put_new("key", Bytes::from_static(b"body")).await.unwrap_err();
        let text = chain(&error);
        assert_eq!(error.kind, ErrorKind::Unavailable, "{text}");
        assert!(text.contains("certificate") && text.contains("ca_file"), "{text}");
    }
    assert_eq!(bucket.stored("key"), None);
}
