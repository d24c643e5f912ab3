//! zstd bombs and forged frames in a bucket, under digests that are right: whoever reads them (`restore`, `verify`, a drill of the
//! agent) says which chunk is wrong and how, once, and its process never holds what they would expand to.

use std::fs;
use std::io::Write as _;

use kubebackup::repository::document;
use kubebackup::repository::id::{Blake3Digest, Sha256Digest};
use serde_json::{Value, json};
use zstd::stream::Encoder;

use crate::facts_memory::{MIB, peak_until_its_end};
use crate::support::agents::AgentProcess;
use crate::support::{World, wait};

/// What a bomb expands to.
const EXPANDED: u64 = 512 * MIB;

/// What any reader holds beside what it holds of an honest backup: some buffers, and by far no bomb.
const BESIDE: u64 = 64 * MIB;

/// Where a frame lies that is forged.
#[derive(Clone, Copy, Debug)]
enum Place {
    Rows,
    SchemaArchive,
    Index,
}

const PLACES: [Place; 3] = [Place::Rows, Place::SchemaArchive, Place::Index];

/// A frame that is not what the manifest says, and what a reader says of it.
#[derive(Clone, Copy, Debug)]
enum Bomb {
    /// It says itself that it is larger.
    Honest,
    /// It says what the manifest says, and holds more.
    Lying,
    /// It says nothing.
    Silent,
    /// It asks its reader to remember more than any chunk does.
    Remembering,
    /// Another frame follows in its place.
    Double,
}

const BOMBS: [Bomb; 5] = [Bomb::Honest, Bomb::Lying, Bomb::Silent, Bomb::Remembering, Bomb::Double];

impl Bomb {
    /// In the place of an `honest` frame of so many raw bytes.
    fn frame(self, honest: &[u8], raw_bytes: u64) -> Vec<u8> {
        match self {
            Self::Honest => zeros(|encoder| encoder.set_pledged_src_size(Some(EXPANDED)).unwrap()),
            Self::Silent => zeros(|encoder| encoder.include_contentsize(false).unwrap()),
            Self::Lying => saying(
                raw_bytes,
                zeros(|encoder| encoder.set_pledged_src_size(Some(EXPANDED)).unwrap()),
            ),
            Self::Remembering => {
                let frame = zeros(|encoder| {
                    encoder.window_log(27).unwrap();
                    encoder.set_pledged_src_size(Some(EXPANDED)).unwrap();
                });
                saying(raw_bytes, frame)
            }
            Self::Double => [honest, &zeros(|_| ())].concat(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Honest => "raw bytes instead of",
            Self::Silent => "does not say its raw size",
            Self::Lying | Self::Remembering => "does not decode",
            Self::Double => "ends after",
        }
    }
}

fn zeros(set: impl FnOnce(&mut Encoder<'_, Vec<u8>>)) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
    set(&mut encoder);
    let piece = vec![0; usize::try_from(MIB).unwrap()];
    for _ in 0..EXPANDED / MIB {
        encoder.write_all(&piece).unwrap();
    }
    encoder.finish().unwrap()
}

/// The same frame with another content size in its head: magic number, descriptor, window, and four bytes of it.
fn saying(raw_bytes: u64, mut frame: Vec<u8>) -> Vec<u8> {
    assert_eq!(frame[4] >> 6, 2, "a size of four bytes");
    assert_eq!(frame[4] & 0x20, 0, "with a window before it");
    frame[6..10].copy_from_slice(&u32::try_from(raw_bytes).unwrap().to_le_bytes());
    frame
}

/// A bucket that somebody else writes to.
struct Thief<'a> {
    world: &'a World,
    honest: String,
}

impl Thief<'_> {
    fn object(&self, key: &Value) -> Vec<u8> {
        self.world.s3.read(&World::object(key.as_str().unwrap()))
    }

    /// Stores a chunk of these frames, and gives what a manifest says of it.
    fn chunk(&self, frames: &[(Vec<u8>, u64)], raw_blake3: &str) -> Value {
        let stored: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
        let sha256 = Sha256Digest::of(&stored).to_string();
        let key = format!("chunks/{}/{sha256}", &sha256[..2]);
        let path = self.world.s3.bucket().join(World::object(&key));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &stored).unwrap();
        let of_frame =
            |(frame, raw_bytes): &(Vec<u8>, u64)| json!({"stored_bytes": frame.len(), "raw_bytes": raw_bytes});
        json!({
            "key": key,
            "codec": "zstd",
            "stored_sha256": sha256,
            "stored_bytes": stored.len(),
            "raw_blake3": raw_blake3,
            "raw_bytes": frames.iter().map(|(_, raw_bytes)| raw_bytes).sum::<u64>(),
            "frames": frames.iter().map(of_frame).collect::<Vec<Value>>(),
        })
    }

    /// The frames of a chunk as they are stored, with their raw sizes.
    fn frames(&self, chunk: &Value) -> Vec<(Vec<u8>, u64)> {
        let stored = self.object(&chunk["key"]);
        let mut begin = 0;
        let frames = chunk["frames"].as_array().unwrap().iter();
        frames
            .map(|frame| {
                let end = begin + usize::try_from(frame["stored_bytes"].as_u64().unwrap()).unwrap();
                let bytes = stored[begin..end].to_vec();
                begin = end;
                (bytes, frame["raw_bytes"].as_u64().unwrap())
            })
            .collect()
    }

    /// The chunk once more with a bomb in the place of one of its frames.
    fn with_bomb(&self, chunk: &Value, number: usize, bomb: Bomb) -> Value {
        let mut frames = self.frames(chunk);
        let (honest, raw_bytes) = frames[number].clone();
        frames[number].0 = bomb.frame(&honest, raw_bytes);
        self.chunk(&frames, chunk["raw_blake3"].as_str().unwrap())
    }

    /// Publishes the honest backup under another id, with a bomb in that place: its id, and the chunk's key.
    fn plants(&self, place: Place, bomb: Bomb) -> (String, String) {
        let key = format!("manifests/{}.json", self.honest);
        let mut root: Value = document::decode(&key, &self.object(&json!(key))).unwrap();
        // Of what follows it; what is forged gets its own.
        root.as_object_mut().unwrap().remove("sha256");
        let index = root["index"][0].clone();
        assert_eq!(root["index"].as_array().unwrap().len(), 1);
        let planted = if matches!(place, Place::Index) {
            let planted = self.with_bomb(&index, 0, bomb);
            root["index"][0] = planted.clone();
            planted
        } else {
            let lines = zstd::decode_all(self.object(&index["key"]).as_slice()).unwrap();
            let lines = String::from_utf8(lines).unwrap();
            let mut records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let planted = self.plants_in(&mut records, place, bomb);
            let lines: String = records
                .iter()
                .flat_map(|record| [record.to_string(), "\n".to_owned()])
                .collect();
            let piece = zstd::bulk::compress(lines.as_bytes(), 3).unwrap();
            let raw_blake3 = Blake3Digest::of(lines.as_bytes()).to_string();
            root["index"][0] = self.chunk(&[(piece, lines.len() as u64)], &raw_blake3);
            planted
        };
        let (time, _) = self.honest.split_once('-').unwrap();
        let backup_id = format!("{time}-{:08x}", rand::random::<u32>());
        root["backup_id"] = json!(backup_id);
        let path = self
            .world
            .s3
            .bucket()
            .join(World::object(&format!("manifests/{backup_id}.json")));
        fs::write(path, document::encode(&root).unwrap()).unwrap();
        (backup_id, planted["key"].as_str().unwrap().to_owned())
    }

    fn plants_in(&self, records: &mut [Value], place: Place, bomb: Bomb) -> Value {
        let (kind, segments) = match place {
            Place::Rows => ("table", "segments"),
            _ => ("database", "schema_archive"),
        };
        let owner = records.iter().position(|record| record["record"] == kind).unwrap();
        let segment = records[owner][segments][0].clone();
        let number = |name: &str| usize::try_from(segment[name].as_u64().unwrap()).unwrap();
        // They come first.
        let mut planted = self.with_bomb(&records[number("chunk")], number("frame"), bomb);
        if records[owner]["stored_bytes"].is_u64() {
            records[owner]["stored_bytes"] = planted["frames"][number("frame")]["stored_bytes"].clone();
        }
        planted["record"] = json!("chunk");
        records[number("chunk")] = planted.clone();
        planted
    }
}

fn world() -> (World, String) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 2000) i");
    let honest = world.back_up();
    world.mark_targets();
    (world, honest)
}

#[test]
fn a_bomb_in_any_place_is_told_by_its_chunk_and_neither_a_restore_nor_a_verification_expands_it() {
    let (world, honest) = world();
    let cluster = &world.target;
    let into = cluster.dsn(cluster.superuser(), "made");
    let restore = |backup_id: &str| {
        let arguments = ["restore", "--backup", backup_id, "--into", &into, "--create-database"];
        let program = world.program(&arguments).env("PGPASSWORD", cluster.password());
        let measured = peak_until_its_end(program.spawn());
        cluster.sql("postgres", "DROP DATABASE IF EXISTS made").unwrap();
        measured
    };
    let verify = |backup_id: &str| peak_until_its_end(world.program(&["verify", "--backup", backup_id]).spawn());
    let (restored, restore_peak) = restore(&honest);
    restored.ok();
    let (verified, verify_peak) = verify(&honest);
    verified.ok();
    let thief = Thief { world: &world, honest };
    for place in PLACES {
        for bomb in BOMBS {
            let what = format!("{bomb:?} in {place:?}");
            let (backup_id, key) = thief.plants(place, bomb);
            let (ended, peak) = restore(&backup_id);
            let ended = ended.expect(5);
            assert!(peak < restore_peak + BESIDE, "{what}: restore held {} MiB", peak / MIB);
            let errors: Vec<&str> = ended
                .stderr
                .lines()
                .filter(|line| line.starts_with("error: "))
                .collect();
            assert_eq!(errors.len(), 1, "{what}: {}", ended.stderr);
            assert!(
                errors[0].contains(&key) && errors[0].contains(bomb.words()),
                "{what}: {}",
                ended.stderr
            );
            assert!(!ended.printed().contains("panicked"), "{what}: {}", ended.printed());

            let (ended, peak) = verify(&backup_id);
            let ended = ended.expect(5);
            assert!(peak < verify_peak + BESIDE, "{what}: verify held {} MiB", peak / MIB);
            let said = ended.printed();
            assert!(said.contains(&key) && said.contains(bomb.words()), "{what}: {said}");
            assert!(!said.contains("panicked"), "{what}: {said}");
        }
    }
}

#[test]
fn a_bomb_fails_its_drill_with_the_chunks_name_and_the_agent_holds_no_more_and_goes_on() {
    let (world, honest) = world();
    let agent = AgentProcess::start(&world, "restore-agent", &[]);
    wait::until("the honest one to be certified", || {
        world.drills_ended(&honest, "certified") == 1
    });
    let quiet = agent.peak();
    agent.stop();
    let thief = Thief { world: &world, honest };
    let planted = PLACES.map(|place| (place, thief.plants(place, Bomb::Lying)));
    let agent = AgentProcess::start(&world, "restore-agent", &[]);
    for (place, (backup_id, key)) in planted {
        wait::until("a bomb to fail its drill", || {
            world.drills_ended(&backup_id, "failed") > 0
        });
        let failed = world.keys(&format!("certificates/{backup_id}/"));
        let failed = failed.iter().find(|key| key.ends_with(".failed.json")).unwrap();
        let certificate = String::from_utf8(world.s3.read(&World::object(failed))).unwrap();
        for words in [key.as_str(), Bomb::Lying.words()] {
            assert!(certificate.contains(words), "{place:?}: no '{words}' in {certificate}");
        }
    }
    let peak = agent.peak();
    assert!(peak < quiet + BESIDE, "{} MiB against {} MiB", peak / MIB, quiet / MIB);
    let next = world.back_up();
    wait::until("the next one to be certified", || {
        world.drills_ended(&next, "certified") == 1
    });
    agent.stop();
}
