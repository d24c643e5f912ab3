//! Whoever can write to the bucket writes documents whose digests are right: every kind of object, bent in every way that
//! a structure can be bent, is read without a panic, within bounds, and either makes sense or is refused in one line.
//!
//! What once was interesting lies in `tests/corpus` and is read on every run; the generators add more for a bounded time.

pub(crate) mod corpus;
pub(crate) mod mutation;
mod sizes;

use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use self::mutation::{Mutation, mutation};
use super::codec::Sealer;
use super::drift::DriftAcceptance;
use super::error::{Error, Result};
use super::id::{Blake3Digest, LeaseScope, Sha256Digest};
use super::layout::{self, Key};
use super::lease::LeaseOptions;
use super::manifest::{Chunk, Codec, Manifest};
use super::testing::{Ground, backup_id, time, two_tables};
use super::{Acquisition, document};
use crate::storage::{ObjectStore as _, list_all};

/// The kinds of documents that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Repository,
    Root,
    Index,
    Incoming,
    Lease,
    Hold,
    Acceptance,
    Tombstone,
    Damage,
}

const KINDS: [(Kind, &str); 9] = [
    (Kind::Repository, "repository"),
    (Kind::Root, "root"),
    (Kind::Index, "index"),
    (Kind::Incoming, "incoming"),
    (Kind::Lease, "lease"),
    (Kind::Hold, "hold"),
    (Kind::Acceptance, "acceptance"),
    (Kind::Tombstone, "tombstone"),
    (Kind::Damage, "damage"),
];

/// A repository with one object of each kind, all of them sound.
struct Scene {
    ground: Ground,
    manifest: Manifest,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (ground, manifest) = runtime.block_on(async {
            let ground = Ground::new().await;
            let stored = ground.try_backup(0, &two_tables()).await.unwrap();
            let repository = &ground.repository;
            let acceptance = DriftAcceptance::new(&stored, time(1), "somebody".to_owned(), "meant".to_owned());
            repository.accept_drift(&acceptance).await.unwrap();
            repository.hold(&backup_id(0), "audit", time(1)).await.unwrap();
            repository
                .put_tombstone(stored.manifest.clone(), time(1))
                .await
                .unwrap();
            let root = document::encode(&stored.manifest).unwrap();
            ground.store.put_new(&key(Kind::Incoming), root).await.unwrap();
            let record = serde_json::json!({"format_version": 1, "damaged_objects": [stored.manifest.index[0].key]});
            let record = document::encode(&record).unwrap();
            ground.store.put_new(&key(Kind::Damage), record).await.unwrap();
            let Acquisition::Held(lease) = repository.acquire_lease(lease_of("another")).await.unwrap() else {
                panic!("nobody holds it yet");
            };
            drop(lease);
            (ground, stored.manifest)
        });
        Self {
            ground,
            manifest,
            runtime,
        }
    }

    /// The sound document, as JSON; of an index, its lines.
    fn document(&self, kind: Kind) -> Vec<Value> {
        self.runtime.block_on(async {
            if kind == Kind::Index {
                let lines = self.ground.repository.read_index_lines(&self.manifest).await.unwrap();
                let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                return lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
            }
            let mut document: Value = serde_json::from_slice(&self.ground.object(&key(kind)).await).unwrap();
            document.as_object_mut().unwrap().remove("sha256");
            vec![document]
        })
    }

    /// Puts this text in the document's place, sealed with the digest that it has.
    fn put_sealed(&self, kind: Kind, text: &[u8]) {
        if kind == Kind::Index {
            self.put_index(text);
        } else {
            self.put_raw(kind, sealed(text));
        }
    }

    fn put_raw(&self, kind: Kind, object: Vec<u8>) {
        self.ground.store.replace(&key(kind), object.into());
    }

    /// An index of these bytes, and a root that refers to it.
    fn put_index(&self, lines: &[u8]) {
        let mut manifest = self.manifest.clone();
        manifest.index = (!lines.is_empty()).then(|| self.put_chunk(lines)).into_iter().collect();
        self.put_raw(Kind::Root, document::encode(&manifest).unwrap().to_vec());
    }

    fn put_chunk(&self, raw: &[u8]) -> Chunk {
        let sealed = Sealer::new(1).unwrap().seal(raw, &[raw.len()]).unwrap();
        let sha256 = Sha256Digest::of(&sealed.stored);
        let key = Key::Chunk { sha256, copy: 0 }.to_string();
        let stored_bytes = sealed.stored.len() as u64;
        self.ground.store.replace(&key, sealed.stored);
        Chunk {
            key,
            codec: Codec::Zstd,
            stored_sha256: sha256,
            stored_bytes,
            raw_blake3: Blake3Digest::of(raw),
            raw_bytes: raw.len() as u64,
            frames: sealed.frames,
            locked_until: None,
        }
    }

    /// Reads it as the program does; what is read makes sense.
    fn read(&self, kind: Kind) -> Result<()> {
        self.runtime.block_on(self.read_now(kind))
    }

    async fn read_now(&self, kind: Kind) -> Result<()> {
        let repository = &self.ground.repository;
        match kind {
            Kind::Repository => super::Repository::open(self.ground.store.clone()).await.map(drop),
            Kind::Root | Kind::Index => {
                let stored = repository.read_manifest(&backup_id(0)).await?;
                let backup = repository.read_index(stored.clone()).await;
                // Who wants the chunks alone is refused the same.
                let chunks = repository.read_chunks_of_index(stored).await;
                assert_eq!(chunks.as_ref().ok(), backup.as_ref().ok().map(|backup| &backup.chunks));
                let words = |error: &Error| error.to_string();
                assert_eq!(chunks.as_ref().err().map(words), backup.as_ref().err().map(words));
                let backup = backup?;
                assert_eq!(backup.manifest.repository_id, *repository.id());
                for chunk in backup.chunks.iter().chain(&backup.manifest.index) {
                    assert!(matches!(chunk.key.parse(), Ok(Key::Chunk { .. })), "{}", chunk.key);
                }
                for database in &backup.databases {
                    for segment in database.segments() {
                        // Read or refused, but never beyond an end.
                        drop(repository.read_segments(&backup, std::slice::from_ref(segment)).await);
                    }
                }
                Ok(())
            }
            Kind::Incoming => repository.read_incoming(&backup_id(0)).await.map(drop),
            Kind::Lease => {
                // Whatever it says, it keeps others away for a bounded time or not at all.
                let acquired = repository.acquire_lease(lease_of("us")).await?;
                if let Acquisition::Busy(occupant) = &acquired {
                    let away = occupant.expires.duration_since(self.ground.store.now());
                    assert!(away.as_secs() <= 3600 + 60, "{occupant:?}");
                }
                let leases = list_all(self.ground.store.as_ref(), layout::LEASES, None).await?;
                for lease in leases {
                    self.ground.store.delete(&lease.key).await?;
                }
                Ok(())
            }
            Kind::Hold => {
                // It exists, so it holds.
                assert!(repository.hold_of(&backup_id(0)).await?.is_some());
                Ok(())
            }
            Kind::Acceptance => repository.drift_acceptance(&backup_id(0)).await.map(drop),
            Kind::Tombstone => repository.read_tombstone(&backup_id(0)).await.map(drop),
            Kind::Damage => repository.damaged_keys().await.map(drop),
        }
    }
}

fn key(kind: Kind) -> String {
    let backup_id = backup_id(0);
    let key = match kind {
        Kind::Repository => Key::Repository,
        Kind::Root | Kind::Index => Key::Manifest(backup_id),
        Kind::Incoming => Key::Incoming(backup_id),
        Kind::Lease => Key::Lease {
            scope: LeaseScope::of("shop"),
            generation: 1,
        },
        Kind::Hold => Key::Hold {
            backup_id,
            generation: 1,
        },
        Kind::Acceptance => Key::DriftAcceptance(backup_id),
        Kind::Tombstone => Key::Tombstone(backup_id),
        Kind::Damage => Key::Damage(super::id::VerifyId::new(time(2), 1)),
    };
    key.to_string()
}

fn lease_of(holder: &str) -> LeaseOptions {
    LeaseOptions {
        cluster: "shop".to_owned(),
        holder: holder.to_owned(),
        duration: std::time::Duration::from_mins(1),
    }
}

/// A JSON object as `document::encode` would seal it: only the digest is looked at before the rest is read.
fn sealed(text: &[u8]) -> Vec<u8> {
    let body = text.strip_prefix(b"{").unwrap_or(text);
    let mut object = format!("{{\"sha256\":\"{}\",\n", Sha256Digest::of(body)).into_bytes();
    object.extend_from_slice(body);
    object
}

/// One line that names the object, in bounds, without control characters: fit for a log and for a terminal.
pub(crate) fn check_refusal(refused: &Error) {
    let text = refused.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() < 2000, "{} bytes", text.len());
    assert!(
        matches!(refused, Error::Damaged { .. } | Error::UnknownFormat { .. }),
        "{refused:?}"
    );
}

fn join(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}

fn apply_and_read(kind: Kind, mutations: &[(prop::sample::Index, Mutation)]) {
    thread_local! {
        static SCENE: Scene = Scene::new();
    }
    SCENE.with(|scene| {
        let root = scene.runtime.block_on(scene.ground.object(&key(kind)));
        let mut texts: Vec<Vec<u8>> = Vec::new();
        let documents = scene.document(kind);
        let chosen: Vec<(usize, &Mutation)> = mutations
            .iter()
            .map(|(index, mutation)| (index.index(documents.len()), mutation))
            .collect();
        for (number, document) in documents.into_iter().enumerate() {
            let of_this = chosen
                .iter()
                .filter(|(at, _)| *at == number)
                .map(|(_, mutation)| *mutation);
            texts.push(mutation::apply(&document, of_this));
        }
        let text = if kind == Kind::Index {
            join(&texts)
        } else {
            texts.concat()
        };
        scene.put_sealed(kind, &text);
        let read = scene.read(kind);
        scene.ground.store.replace(&key(kind), root);
        if let Err(refused) = read {
            check_refusal(&refused);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_document_bent_in_any_way_makes_sense_or_is_refused_in_one_line(
        kind in prop::sample::select(KINDS.map(|(kind, _)| kind).to_vec()),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), mutation()), 1..4),
    ) {
        apply_and_read(kind, &mutations);
    }
}

#[test]
fn a_document_cut_at_any_byte_is_refused_although_its_digest_is_right() {
    let scene = Scene::new();
    for (kind, name) in KINDS {
        let object = scene.runtime.block_on(scene.ground.object(&key(kind)));
        let texts = scene.document(kind);
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| serde_json::to_vec(text).unwrap()).collect();
        let text = if kind == Kind::Index {
            join(&texts)
        } else {
            texts.concat()
        };
        let step = text.len() / 400 + 1;
        for length in (1..text.len()).step_by(step) {
            scene.put_sealed(kind, &text[..length]);
            match scene.read(kind) {
                Err(refused) => check_refusal(&refused),
                // An index that ends after a whole record is one of fewer records.
                Ok(()) if kind == Kind::Index => assert_eq!(text[length - 1], b'\n', "{length} bytes"),
                // What cannot be read keeps others away, holds, or names no damage.
                Ok(()) => assert!(
                    matches!(kind, Kind::Lease | Kind::Hold | Kind::Damage),
                    "{name}, {length} bytes"
                ),
            }
        }
        scene.ground.store.replace(&key(kind), object);
    }
}

#[test]
fn a_document_that_is_none_at_all_is_refused() {
    let scene = Scene::new();
    let deep = |open: &str| format!("{{\"format_version\":1,\"a\":{}", open.repeat(30_000)).into_bytes();
    for (kind, name) in KINDS {
        let object = scene.runtime.block_on(scene.ground.object(&key(kind)));
        for text in [
            Vec::new(),
            b"\0".to_vec(),
            b"\xff\xfe{\x00}".to_vec(),
            b"null".to_vec(),
            b"{}".to_vec(),
            b"[]".to_vec(),
            deep("["),
            deep("{\"a\":"),
        ] {
            for object in [text.clone(), sealed(&text)] {
                if kind == Kind::Index {
                    scene.put_index(&text);
                } else {
                    scene.put_raw(kind, object);
                }
                match scene.read(kind) {
                    Err(refused) => check_refusal(&refused),
                    Ok(()) => assert!(
                        matches!(kind, Kind::Lease | Kind::Hold | Kind::Damage),
                        "{name}: {text:?}"
                    ),
                }
            }
        }
        scene.ground.store.replace(&key(kind), object);
    }
}
