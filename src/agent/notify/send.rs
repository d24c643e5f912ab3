//! One POST. Nothing here ever shows the URL: errors are stripped of it.

use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::message::Message;
use crate::config::NotifySettings;

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("read notify.webhook_file")]
    File(#[source] std::io::Error),
    #[error("notify.webhook_file holds no URL")]
    NoUrl,
    #[error("set TLS up")]
    Tls(#[source] rustls::Error),
    /// Without its URL.
    #[error("reach the receiver")]
    Http(#[source] reqwest::Error),
    #[error("the receiver answered {0}")]
    Refused(StatusCode),
}

impl Error {
    fn http(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }

    /// Whether another try may meet a better receiver without anybody's doing.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Refused(status) => {
                status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            Self::File(_) | Self::NoUrl | Self::Tls(_) => false,
        }
    }
}

/// The client, made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Sender {
    client: Option<Client>,
}

impl Sender {
    /// Sends; any status of success will do.
    pub(super) async fn send(&mut self, settings: &NotifySettings, message: &Message) -> Result<(), Error> {
        let url = url(settings).await?;
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(client()?).clone(),
        };
        let body = message.body(settings);
        let request = client.post(url).timeout(settings.timeout.0).json(&body);
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(Error::Refused(response.status())),
            Err(error) => Err(Error::http(error)),
        }
    }
}

/// Read anew each time: whoever mounts the file may change it.
async fn url(settings: &NotifySettings) -> Result<Url, Error> {
    let text = match (&settings.webhook_file, &settings.webhook) {
        (Some(path), _) => tokio::fs::read_to_string(path).await.map_err(Error::File)?,
        (None, Some(url)) => url.expose().to_owned(),
        (None, None) => return Err(Error::NoUrl),
    };
    text.trim().parse().map_err(|_| Error::NoUrl)
}

/// Trusts what the machine trusts; `SSL_CERT_FILE` names a private authority. Follows no redirection: what is sent is
/// for the receiver that was named.
fn client() -> Result<Client, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .user_agent(concat!("kubebackup/", env!("CARGO_PKG_VERSION")));
    client.build().map_err(Error::http)
}
