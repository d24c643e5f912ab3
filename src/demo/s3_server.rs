//! An S3 server on loopback, in process: s3s over a folder, with real `SigV4` checks.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::s3_behaviour::Behaving;
use super::s3_controls::{Identity, S3Controls};

/// Where the server keeps its objects and who may ask.
#[derive(Clone, Debug)]
pub struct S3ServerOptions {
    /// Created when absent; each bucket is a folder in it.
    pub root: PathBuf,
    pub bucket: String,
    pub access_key: String,
    pub secret_key: String,
}

/// A running server; dropped, it stops.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    root: PathBuf,
    controls: S3Controls,
    _stop: DropGuard,
}

impl S3Server {
    /// Creates the bucket and serves it from the current tokio runtime on a free port.
    ///
    /// # Errors
    /// When the folder cannot be made or no port be had.
    pub async fn start(options: &S3ServerOptions) -> Result<Self> {
        let controls = S3Controls::default();
        controls.admit(Identity::full(&options.access_key, &options.secret_key));
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("listen on loopback")?;
        Self::start_on(listener, options, controls)
    }

    /// The same at the caller's port and under the caller's controls, as a server that was away comes back.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn start_on(listener: TcpListener, options: &S3ServerOptions, controls: S3Controls) -> Result<Self> {
        std::fs::create_dir_all(options.root.join(&options.bucket))?;
        let files = s3s_fs::FileSystem::new(&options.root).map_err(|error| anyhow!("open the S3 folder: {error:?}"))?;
        let mut builder = S3ServiceBuilder::new(Behaving::new(files, controls.clone(), options.root.clone()));
        builder.set_auth(controls.clone());
        builder.set_access(controls.clone());
        let service = builder.build();
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let answers = controls.clone();
        tokio::spawn(async move {
            let connections = tokio_util::task::TaskTracker::new();
            let serve = async {
                while let Ok((socket, _)) = listener.accept().await {
                    let service = service.clone();
                    let controls = answers.clone();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let path = request.uri().path().to_owned();
                        let answer = Service::call(&service, request);
                        let controls = controls.clone();
                        async move { controls.keep_or_lose(&path, answer.await?) }
                    });
                    connections.spawn(async move {
                        let server = Builder::new(TokioExecutor::new());
                        // A client that hangs up is its own affair.
                        let _ = server.serve_connection(TokioIo::new(socket), service).await;
                    });
                }
            };
            stopped.run_until_cancelled(serve).await;
        });
        Ok(Self {
            address,
            root: options.root.clone(),
            controls,
            _stop: stop.drop_guard(),
        })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who may do what, what goes wrong, and what was asked.
    #[must_use]
    pub fn controls(&self) -> &S3Controls {
        &self.controls
    }

    /// The folder whose sub-folders are buckets.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}
