//! A store behind certificates of its own: those of one file are trusted, and no others.

use std::path::Path;

use aws_sdk_s3::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::storage::{Error, ErrorKind, Result};

/// The SDK's own client in all but its certificates; the proxy variables hold for it, too.
///
/// # Errors
/// `Settings` when the file cannot be read or holds no certificate.
pub(super) fn client_that_trusts(path: &Path) -> Result<SharedHttpClient> {
    let failed = |problem: String| {
        Error::new(ErrorKind::Settings, "open", "").with_source(format!("ca_file {}: {problem}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    check(&pem).map_err(failed)?;
    let context = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(pem))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    }))
}

/// The client would panic over what it cannot read, at its first connection.
fn check(pem: &[u8]) -> std::result::Result<(), String> {
    let certificates: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| format!("no PEM certificates: {error}"))?;
    if certificates.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, problem) in [
            ("", "no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\n", "no PEM certificates"),
            (broken, "ca_file"),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = client_that_trusts(file.path()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Settings);
            let text = error.source.unwrap().to_string();
            assert!(
                text.contains(problem) && text.contains(file.path().to_str().unwrap()),
                "{text}"
            );
        }
        assert!(client_that_trusts(Path::new("/nonexistent")).is_err());
    }
}
