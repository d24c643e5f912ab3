//! A store behind TLS with a certificate of a private authority.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kubebackup::storage::conformance::conformance;
use kubebackup::storage::{ErrorKind, ObjectStore as _, S3Options, S3Store};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Bucket, chain};
use crate::support::certificates;

/// Takes TLS connections for the bucket's server; returns the endpoint to use instead.
async fn behind_tls(bucket: &Bucket, directory: &Path) -> String {
    let chain = CertificateDer::pem_file_iter(directory.join("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let target = bucket.server.endpoint().replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                // A client that does not trust us hangs up.
                let Ok(mut client) = acceptor.accept(client).await else {
                    return;
                };
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named_and_only_then() {
    let bucket = Bucket::new().await;
    let directory = tempfile::tempdir().unwrap();
    certificates::make(directory.path());
    let endpoint = behind_tls(&bucket, directory.path()).await;
    let open = |ca_file: Option<&str>| {
        S3Store::open(S3Options {
            endpoint: Some(endpoint.clone()),
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
        assert!(text.contains("certificate"), "{text}");
    }
    assert_eq!(bucket.stored("key"), None);
}
