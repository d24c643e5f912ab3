//! TLS before a server that has none, with a certificate of a test's own authority, on a thread and runtime of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// Takes TLS connections for another server; dropped, it stops.
pub(crate) struct TlsFront {
    /// What a client asks instead of the server.
    pub(crate) endpoint: String,
    handshakes: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsFront {
    /// Before whoever serves `http://<host>:<port>`, as `server.crt` of `certificates` ([`super::certificates::make`]).
    pub(crate) fn before(endpoint: &str, certificates: &Path) -> Self {
        let upstream = endpoint
            .strip_prefix("http://")
            .expect("an endpoint without TLS")
            .to_owned();
        let acceptor = acceptor(certificates);
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&handshakes);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, acceptor, upstream, counted) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            endpoint: format!("https://localhost:{port}"),
            handshakes,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Clients that trusted it so far.
    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().expect("the front's thread");
        }
    }
}

fn acceptor(certificates: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificates.join("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, upstream: String, handshakes: Arc<AtomicUsize>) {
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, upstream, handshakes) = (acceptor.clone(), upstream.clone(), Arc::clone(&handshakes));
        tokio::spawn(async move {
            // A client that does not trust us hangs up.
            let Ok(mut client) = acceptor.accept(client).await else {
                return;
            };
            handshakes.fetch_add(1, Ordering::SeqCst);
            let Ok(mut server) = TcpStream::connect(upstream).await else {
                return;
            };
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}
