//! An S3 server for a test, on a thread and runtime of its own: it answers however much the test's thread blocks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use kubebackup::demo::{Ground, Identity, S3Controls, S3Server, S3ServerOptions};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

/// What the program's environment gets; signatures are really checked.
pub(crate) const ACCESS_KEY: &str = "kubebackup-test";
pub(crate) const SECRET_KEY: &str = "test-secret-of-the-s3-server";
pub(crate) const BUCKET: &str = "backups";

/// A running server with one empty bucket; dropped, it stops and its objects are gone.
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    /// Other identities, faults, and what was asked.
    pub(crate) controls: S3Controls,
    ground: Ground,
    /// Keeps the port for a server that is away: nobody listens there, and nobody else can.
    port: TcpSocket,
    server: Option<Server>,
}

/// Its thread.
struct Server {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl S3 {
    pub(crate) fn start() -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let controls = S3Controls::default();
        controls.admit(Identity::full(ACCESS_KEY, SECRET_KEY));
        let mut s3 = Self {
            endpoint: format!("http://{}", port.local_addr().unwrap()),
            controls,
            ground: Ground::new().unwrap(),
            port,
            server: None,
        };
        s3.start_server();
        s3
    }

    /// Serves what lies in the bucket at the same port, until it is stopped.
    pub(crate) fn start_server(&mut self) {
        let options = S3ServerOptions {
            root: self.ground.path().join("s3"),
            bucket: BUCKET.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        };
        let (address, controls) = (self.port.local_addr().unwrap(), self.controls.clone());
        let (tell, told) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                let _server = S3Server::start_on(listener, &options, controls).unwrap();
                tell.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        told.recv().unwrap();
        self.server = Some(Server { stop, thread });
    }

    /// From now on connections are refused, and those that were open are closed.
    pub(crate) fn stop_server(&mut self) {
        if let Some(Server { stop, thread }) = self.server.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }

    /// What a user sets in the environment of `kubebackup`.
    pub(crate) fn credentials() -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
    }

    /// The bucket's folder: an object `key` is the file of that path.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.ground.path().join("s3").join(BUCKET)
    }

    /// Keys of the objects under a prefix that ends with `/` (or is empty), sorted.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        collect(&self.bucket(), &self.bucket().join(prefix), &mut keys);
        keys.sort();
        keys
    }

    pub(crate) fn read(&self, key: &str) -> Vec<u8> {
        fs::read(self.bucket().join(key)).unwrap()
    }

    /// Changes an object behind the server's back.
    pub(crate) fn overwrite(&self, key: &str, contents: &[u8]) {
        fs::write(self.bucket().join(key), contents).unwrap();
    }

    /// Flips one bit in the middle of an object, as a bad disk would.
    pub(crate) fn flip_a_bit(&self, key: &str) {
        let mut contents = self.read(key);
        let middle = contents.len() / 2;
        contents[middle] ^= 1;
        self.overwrite(key, &contents);
    }

    pub(crate) fn remove(&self, key: &str) {
        fs::remove_file(self.bucket().join(key)).unwrap();
    }
}

fn collect(root: &Path, directory: &Path, keys: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // The server keeps its own notes in files that begin with a dot.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, keys);
        } else {
            keys.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
}
