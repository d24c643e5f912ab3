//! TLS by libpq's `sslmode`: encryption alone (`prefer`, `require`), the chain (`verify-ca`), chain and name
//! (`verify-full`).
//!
//! One difference from libpq: a certificate's name is taken from its subject alternative names alone, never from its
//! common name. A server certificate that is itself the trusted root (self-signed, as many servers have) is accepted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Error, Result};

/// How a connection is secured; libpq's `sslmode`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// TLS where the server offers it, nothing verified.
    #[default]
    Prefer,
    /// TLS or nothing, nothing verified.
    Require,
    /// The server's certificate comes from one of these.
    VerifyCa(RootCertificates),
    /// And it is for the host that was asked for.
    VerifyFull(RootCertificates),
}

/// Whom to trust; libpq's `sslrootcert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// The machine's own store.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// Where Linux distributions keep the machine's store as one file.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

impl TlsMode {
    /// `sslmode` and `sslrootcert` for libpq programs. `system` is unknown to libpq before 16, so they get the file.
    pub(super) fn child_environment(&self) -> Vec<(&'static str, String)> {
        let (mode, roots) = match self {
            Self::Disable => ("disable", None),
            Self::Prefer => ("prefer", None),
            Self::Require => ("require", None),
            Self::VerifyCa(roots) => ("verify-ca", Some(roots)),
            Self::VerifyFull(roots) => ("verify-full", Some(roots)),
        };
        let path = match roots {
            Some(RootCertificates::File(path)) => Some(path.as_path()),
            Some(RootCertificates::System) => SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()),
            None => None,
        };
        let mut environment = vec![("PGSSLMODE", mode.to_owned())];
        environment.extend(path.map(|path| ("PGSSLROOTCERT", path.display().to_string())));
        environment
    }

    /// What makes TLS of a connection; none where there is to be none.
    ///
    /// # Errors
    /// `Error::Settings` when the roots cannot be read.
    pub(super) fn connector(&self) -> Result<Option<MakeRustlsConnect>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let check = match self {
            Self::Disable => return Ok(None),
            Self::Prefer | Self::Require => Check::Nothing,
            Self::VerifyCa(roots) => Check::Chain(roots.load()?),
            Self::VerifyFull(roots) => Check::ChainAndName(roots.load()?),
        };
        let verifier = Arc::new(Verifier {
            provider: provider.clone(),
            check,
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Settings(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(config)))
    }
}

/// Trust anchors, and the certificates they came from.
#[derive(Debug)]
struct Roots {
    anchors: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl RootCertificates {
    fn load(&self) -> Result<Roots> {
        let certificates = match self {
            Self::System => rustls_native_certs::load_native_certs().certs,
            Self::File(path) => read_pem(path)?,
        };
        let mut anchors = RootCertStore::empty();
        let (added, _) = anchors.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 {
            return Err(Error::Settings(match self {
                Self::System => "this machine has no certificates of its own to trust; install ca-certificates or set \
                                 sslrootcert to a file"
                    .to_owned(),
                Self::File(path) => format!("sslrootcert {}: no certificate in it", path.display()),
            }));
        }
        Ok(Roots { anchors, certificates })
    }
}

fn read_pem(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |error: rustls_pki_types::pem::Error| {
        Error::Settings(format!("sslrootcert {} cannot be read: {error}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
    certificates.collect::<std::result::Result<_, _>>().map_err(failed)
}

#[derive(Debug)]
enum Check {
    Nothing,
    Chain(Roots),
    ChainAndName(Roots),
}

/// Signatures of the handshake are verified in every mode: the peer holds the key of the certificate it shows.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    check: Check,
}

impl Verifier {
    fn verify_chain(
        &self,
        roots: &Roots,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<(), rustls::Error> {
        // The usual check refuses an end entity that may sign others, which a self-signed certificate often may.
        if roots.certificates.iter().any(|root| root == end_entity) {
            return Ok(());
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots.anchors,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        match &self.check {
            Check::Nothing => {}
            Check::Chain(roots) => self.verify_chain(roots, end_entity, intermediates, now)?,
            Check::ChainAndName(roots) => {
                self.verify_chain(roots, end_entity, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
