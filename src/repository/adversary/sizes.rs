//! Objects that are larger than they may be, and frames that expand to more than was recorded.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use zstd::stream::Encoder;

use super::{Kind, Scene, key};
use crate::repository::codec::ChunkBytes;
use crate::repository::error::Error;
use crate::repository::id::{Blake3Digest, Sha256Digest};
use crate::repository::layout::Key;
use crate::repository::limits::{MAX_CHUNK_BYTES, MAX_PIECE_BYTES, MAX_RECORD_BYTES, MAX_REPORT_BYTES};
use crate::repository::manifest::{Chunk, Codec, Frame, MAX_ROOT_BYTES};
use crate::storage::ObjectStore as _;

#[test]
fn an_object_that_is_larger_than_it_may_be_is_refused_before_it_is_read() {
    let scene = Scene::new();
    let record = usize::try_from(MAX_RECORD_BYTES).unwrap();
    for (kind, limit) in [
        (Kind::Repository, record),
        (Kind::Root, MAX_ROOT_BYTES),
        (Kind::Incoming, MAX_ROOT_BYTES),
        (Kind::Lease, record),
        (Kind::Hold, record),
        (Kind::Acceptance, record),
        (Kind::Tombstone, record),
        (Kind::Damage, usize::try_from(MAX_REPORT_BYTES).unwrap()),
    ] {
        let object = scene.runtime.block_on(scene.ground.object(&key(kind)));
        let received = scene.ground.store.stats().bytes_received;
        scene.put_raw(kind, vec![b' '; limit + 1]);
        match scene.read(kind) {
            Err(Error::Damaged { key: named, reason }) => {
                assert_eq!(named, key(kind));
                assert!(reason.starts_with("larger than it may be: it has "), "{reason}");
            }
            Ok(()) => assert!(matches!(kind, Kind::Lease | Kind::Hold | Kind::Damage), "{kind:?}"),
            Err(other) => panic!("{kind:?}: {other}"),
        }
        let read = scene.ground.store.stats().bytes_received - received;
        assert_eq!(read, 0, "{kind:?}: {read} bytes");
        scene.ground.store.replace(&key(kind), object);
    }
}

#[test]
fn an_index_cannot_make_its_reader_hold_more_than_a_piece_at_a_time() {
    let scene = Scene::new();
    let line = b"{\"record\":\"membership\",\"role\":\"a\",\"member\":\"b\",\"admin_option\":false}\n";
    scene.put_index(&line.repeat(MAX_PIECE_BYTES / line.len() + 1));
    let refused = scene.read(Kind::Index).unwrap_err().to_string();
    assert!(refused.contains("larger than a piece of an index may be"), "{refused}");
}

#[test]
fn a_chunk_that_is_longer_than_was_recorded_is_refused_before_it_is_read() {
    let scene = Scene::new();
    let chunk = scene.put_chunk(b"some rows");
    let longer = Bytes::from(vec![0; 5_000_000]);
    scene.ground.store.replace(&chunk.key, longer);
    let received = scene.ground.store.stats().bytes_received;
    let refused = scene
        .runtime
        .block_on(scene.ground.repository.read_chunk(&chunk))
        .unwrap_err();
    assert!(refused.to_string().contains("larger than it may be"), "{refused}");
    assert_eq!(scene.ground.store.stats().bytes_received, received);
}

/// A chunk of one frame that says it expands to `raw_bytes`.
fn chunk_of(stored: &[u8], raw_bytes: u64) -> Chunk {
    let sha256 = Sha256Digest::of(stored);
    let stored_bytes = stored.len() as u64;
    Chunk {
        key: Key::Chunk { sha256, copy: 0 }.to_string(),
        codec: Codec::Zstd,
        stored_sha256: sha256,
        stored_bytes,
        raw_blake3: Blake3Digest::of(b""),
        raw_bytes,
        frames: vec![Frame {
            stored_bytes,
            raw_bytes,
        }],
        locked_until: None,
    }
}

#[test]
fn a_frame_whose_header_lies_about_its_size_expands_to_no_more_than_was_recorded() {
    let raw = vec![0; 40_000_000];
    let mut stored = zstd::bulk::compress(&raw, 1).unwrap();
    // Magic, descriptor (4 bytes of content size), window, content size.
    assert_eq!((stored[4] >> 6, stored[4] & 0x20), (2, 0), "the header is as expected");
    stored[6..10].copy_from_slice(&100_000_u32.to_le_bytes());
    let bytes = ChunkBytes::new(&chunk_of(&stored, 100_000), stored.clone().into());
    assert!(bytes.frame_bytes(0).is_err());
    let mut reader = bytes.frame(0).unwrap();
    let (mut buffer, mut expanded) = (vec![0; 4096], 0);
    let ended = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break None,
            Ok(read) => expanded += read,
            Err(error) => break Some(error),
        }
    };
    assert!(ended.is_some() && expanded <= 100_000, "{expanded} bytes, {ended:?}");
}

#[test]
fn a_frame_that_wants_more_memory_than_any_of_ours_is_refused() {
    let raw_bytes = 1 << 26;
    let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(26).unwrap();
    encoder.include_contentsize(true).unwrap();
    encoder.set_pledged_src_size(Some(raw_bytes)).unwrap();
    encoder.write_all(&vec![0; 1 << 26]).unwrap();
    let stored = encoder.finish().unwrap();
    let bytes = ChunkBytes::new(&chunk_of(&stored, raw_bytes), stored.into());
    let refused = bytes.frame_bytes(0).unwrap_err().to_string();
    assert!(refused.contains("too much memory"), "{refused}");
}

#[test]
fn a_frame_of_a_level_that_can_be_set_is_read() {
    let raw: Vec<u8> = (0..20_000_000_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3] >> 3)
        .collect();
    let stored = zstd::bulk::compress(&raw, 1).unwrap();
    let mut long = Encoder::new(Vec::new(), 1).unwrap();
    // As level 19 has it for the largest rows.
    long.window_log(23).unwrap();
    long.set_pledged_src_size(Some(raw.len() as u64)).unwrap();
    long.write_all(&raw).unwrap();
    for stored in [stored, long.finish().unwrap()] {
        let bytes = ChunkBytes::new(&chunk_of(&stored, raw.len() as u64), stored.into());
        assert!(bytes.frame_bytes(0).unwrap() == raw);
    }
}

#[test]
fn a_chunk_that_claims_more_than_any_holds_is_refused_without_reserving_memory() {
    let stored = zstd::bulk::compress(b"rows", 1).unwrap();
    let refused = crate::repository::index::check_chunk(&chunk_of(&stored, MAX_CHUNK_BYTES + 1)).unwrap_err();
    assert!(refused.contains("larger than any chunk may be"), "{refused}");
}
