//! A directory as a store: a volume or a network mount, with the keys of the bucket as paths below it.
//!
//! An object appears whole or not at all: its body is written beside the others and made durable, then linked to its
//! name, which fails where the name is taken. So create-only holds between processes and machines alike, as far as the
//! file system keeps its word. Names that begin with a dot are the store's own and no keys; what is no regular file is
//! nobody's object.

mod error;
mod path;
mod place;
mod turn;
mod walk;

use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::{
    Capabilities, Error, ErrorKind, MAX_DELETES, ObjectMeta, ObjectStore, Operation, Outcome, Page, Put, RequestStats,
    Result,
};
use error::{is_device_error, translate};
use path::{Base, path_of};
use place::Placed;
use turn::{Turn, Turns};

/// Keys that one page holds at most, as on S3.
const MAX_PAGE: usize = 1000;

/// How long a volume may take for an answer, unless somebody says otherwise.
const PATIENCE: Duration = Duration::from_mins(1);

/// A directory below a mount.
#[derive(Debug)]
pub struct FilesystemStore {
    base: Arc<Base>,
    turns: Turns,
    shared: Arc<Shared>,
    capabilities: OnceCell<Capabilities>,
}

/// What the threads that do the work report to.
#[derive(Debug, Default)]
struct Shared {
    stats: Mutex<RequestStats>,
    /// The file server's time as a new file had it, and when that was.
    clock: Mutex<Option<(jiff::Timestamp, Instant)>>,
}

impl FilesystemStore {
    /// The directory `prefix` of `mount`, which itself has to be there whenever anything is asked for; a prefix is made.
    /// Looks at nothing yet: a volume may be mounted later than the program starts.
    #[must_use]
    pub fn new(mount: PathBuf, prefix: &str) -> Self {
        let root = mount.join(prefix);
        Self {
            turns: Turns::new(mount.display().to_string(), PATIENCE),
            base: Arc::new(Base { mount, root }),
            shared: Arc::default(),
            capabilities: OnceCell::new(),
        }
    }

    /// The same, and a volume that gives no answer for so long is unavailable.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            turns: Turns::new(self.base.mount.display().to_string(), patience),
            ..self
        }
    }

    /// Does `work` where blocking is allowed, and counts how it went.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &str,
        work: impl FnOnce(&Base, &Turn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.count(|stats| match operation {
            Operation::Put => stats.puts += 1,
            Operation::Get => stats.gets += 1,
            Operation::Head => stats.heads += 1,
            Operation::List => stats.lists += 1,
            Operation::Delete => stats.deletes += 1,
            Operation::Probe => {}
        });
        let base = self.base.clone();
        let done = self.turns.take(move |turn| work(&base, turn)).await;
        let result = done.unwrap_or_else(|no_answer| {
            Err(Error::new(ErrorKind::Unavailable, operation.as_str(), key).with_source(no_answer))
        });
        if operation != Operation::Put || result.is_err() {
            self.shared
                .count(|stats| stats.ended.add(operation, Outcome::of(&result)));
        }
        result
    }

    async fn read(&self, key: &str, wanted: Wanted) -> Result<Bytes> {
        let name = key.to_owned();
        let body = self
            .run(Operation::Get, key, move |base, turn| read(base, turn, &name, wanted))
            .await?;
        self.shared.count(|stats| stats.bytes_received += body.len() as u64);
        Ok(body)
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut RequestStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn knows_time(&self) -> bool {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn saw(&self, time: jiff::Timestamp) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, Instant::now()));
    }
}

#[async_trait]
impl ObjectStore for FilesystemStore {
    async fn put_new(&self, key: &str, body: Bytes) -> Result<Put> {
        let (name, bytes) = (key.to_owned(), body.len() as u64);
        let placed = self
            .run(Operation::Put, key, move |base, turn| {
                place::place(base, turn, &name, &body)
            })
            .await?;
        let put = match placed {
            Placed::Created { at } => {
                self.shared.saw(at);
                Put::Created
            }
            Placed::Exists => Put::Exists,
        };
        self.shared.count(|stats| {
            stats.bytes_sent += bytes;
            stats.ended.add(Operation::Put, Outcome::of_put(put));
        });
        Ok(put)
    }

    async fn get_at_most(&self, key: &str, limit: u64) -> Result<Bytes> {
        self.read(key, Wanted::AtMost(limit)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.read(key, Wanted::Range(range)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let name = key.to_owned();
        self.run(Operation::Head, key, move |base, _| {
            let path = path_of(base, "head", &name)?;
            let found = std::fs::symlink_metadata(path).map_err(|error| translate("head", &name, base, &error))?;
            walk::meta(&name, &found).ok_or_else(|| Error::new(ErrorKind::NotFound, "head", &name))
        })
        .await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Page> {
        let (text, after) = (prefix.to_owned(), start_after.map(str::to_owned));
        let shared = (!self.shared.knows_time()).then(|| Arc::clone(&self.shared));
        self.run(Operation::List, prefix, move |base, _| {
            // As a bucket's answer tells the time. Who may not write sees this machine's.
            if let Some(time) = shared.and_then(|shared| Some((place::tell_time(base).ok()?, shared))) {
                time.1.saw(time.0);
            }
            walk::page(base, &text, after.as_deref(), limit.clamp(1, MAX_PAGE))
                .map_err(|error| translate("list", &text, base, &error))
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let name = key.to_owned();
        self.run(Operation::Delete, key, move |base, turn| {
            place::remove(base, turn, &name)
        })
        .await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<Vec<Error>> {
        let mut stay = Vec::new();
        for batch in keys.chunks(MAX_DELETES) {
            let first = batch.first().map_or("", String::as_str);
            let batch = batch.to_vec();
            let left = self.run(Operation::Delete, first, move |base, turn| {
                let mut left = Vec::new();
                for key in &batch {
                    match place::remove(base, turn, key) {
                        Ok(()) => {}
                        Err(error) if error.kind == ErrorKind::Denied => left.push(error),
                        Err(error) => return Err(error),
                    }
                }
                Ok(left)
            });
            stay.extend(left.await?);
        }
        Ok(stay)
    }

    async fn remove_unfinished(&self, before: jiff::Timestamp) -> Result<u64> {
        let now = self.now();
        self.run(Operation::List, "", move |base, _| {
            place::remove_unfinished(base, before, now).map_err(|error| translate("list", "", base, &error))
        })
        .await
    }

    async fn capabilities(&self, probe_prefix: &str) -> Result<Capabilities> {
        let probe = || async {
            let key = format!("{probe_prefix}{:032x}", rand::random::<u128>());
            self.put_new(&key, Bytes::new()).await?;
            let again = self.put_new(&key, Bytes::new()).await;
            // Who may create but not remove leaves an empty file; it harms nobody.
            if let Err(error) = self.delete(&key).await {
                tracing::debug!(key, kind = ?error.kind, "a probe's object stays");
            }
            Ok(Capabilities {
                create_only: again? == Put::Exists,
                checksum_sha256: false,
                object_lock: false,
            })
        };
        self.capabilities.get_or_try_init(probe).await.copied()
    }

    async fn tell_time(&self, prefix: &str) -> Result<jiff::Timestamp> {
        let name = prefix.to_owned();
        let told = self.run(Operation::List, prefix, move |base, _| match place::tell_time(base) {
            Ok(time) => Ok(Some(time)),
            Err(error) => match translate("list", &name, base, &error) {
                error if error.kind == ErrorKind::Denied => Ok(None),
                // Nothing was ever stored there.
                error if error.kind == ErrorKind::NotFound && !base.root.exists() => Ok(None),
                error => Err(error),
            },
        });
        if let Some(time) = told.await? {
            self.shared.saw(time);
        }
        Ok(self.now())
    }

    fn stats(&self) -> RequestStats {
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> jiff::Timestamp {
        let clock = *self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let told = clock.and_then(|(time, seen)| time.checked_add(seen.elapsed()).ok());
        told.unwrap_or_else(jiff::Timestamp::now)
    }
}

/// How much of a file.
#[derive(Clone)]
enum Wanted {
    AtMost(u64),
    Range(Range<u64>),
}

/// A file whose blocks cannot be read on a volume that answers otherwise is damage: so a disk tells of a bad sector, and a
/// file system with checksums of what has rotted. A volume that is away fails with the same words, and at every file.
fn read(base: &Base, turn: &Turn, key: &str, wanted: Wanted) -> Result<Bytes> {
    let is_io = |error: &Error| error.kind == ErrorKind::Unavailable && is_device_error(error);
    match read_once(base, turn, key, wanted.clone()) {
        Err(error) if is_io(&error) => {}
        done => return done,
    }
    match read_once(base, turn, key, wanted) {
        Err(error) if is_io(&error) && place::tell_time(base).is_ok() => Err(Error {
            kind: ErrorKind::Checksum,
            ..error
        }),
        done => done,
    }
}

fn read_once(base: &Base, turn: &Turn, key: &str, wanted: Wanted) -> Result<Bytes> {
    let fail = |error: std::io::Error| translate("get", key, base, &error);
    let path = path_of(base, "get", key)?;
    // Asked before it is opened: opening a pipe that somebody put there would wait for ever.
    if !std::fs::symlink_metadata(&path).map_err(fail)?.is_file() {
        return Err(Error::new(ErrorKind::NotFound, "get", key));
    }
    let mut file = std::fs::File::open(&path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let range = match wanted {
        Wanted::AtMost(limit) if size > limit => return Err(Error::too_large("get", key, size, limit)),
        Wanted::AtMost(_) => 0..size,
        Wanted::Range(range) => range,
    };
    if range.end > size {
        return Err(Error::new(ErrorKind::InvalidRange, "get", key));
    }
    file.seek(SeekFrom::Start(range.start)).map_err(fail)?;
    let wanted = range.end - range.start;
    turn.carries(wanted);
    let mut body = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
    file.take(wanted).read_to_end(&mut body).map_err(fail)?;
    if body.len() as u64 == wanted {
        return Ok(body.into());
    }
    Err(Error::new(ErrorKind::Unavailable, "get", key).with_source("the file shrank while it was read"))
}

#[cfg(test)]
mod tests;
