//! Chunks to stored bytes and back: one zstd frame for each segment, one after the other.
//!
//! A frame carries its content size and checksum; concatenated frames are a valid zstd stream, so `zstd -d` recovers a
//! whole chunk. Reading trusts nothing beyond the manifest's sizes: a frame that would expand to more is refused.

use std::io::{self, Cursor, Read};
use std::iter;

use bytes::Bytes;
use memmap2::MmapMut;
use zstd::bulk::Compressor;
use zstd::stream::read::Decoder;
use zstd::zstd_safe::{self, CParameter};

use super::error::{Error, Result};
use super::manifest::{Chunk, Frame};

/// A frame may make its reader remember 16 MiB of what it has decompressed: twice as much as any level up to 19 does.
const MAX_WINDOW_LOG: u32 = 24;

/// Stored bytes of fewer than these are no mapping of their own: there may be very many of them, and few mappings.
const MAPPED_FROM_BYTES: usize = 128 * 1024;

/// Compresses the frames of a chunk with one zstd context. Making one costs some ten microseconds, so that a chunk of
/// megabytes gains nothing from a context kept longer.
pub(super) struct Sealer {
    compressor: Compressor<'static>,
}

/// A chunk's stored bytes and how they divide.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) stored: Bytes,
    pub(super) frames: Vec<Frame>,
}

impl Sealer {
    pub(super) fn new(level: i32) -> Result<Self> {
        let mut compressor = Compressor::new(level).map_err(Error::Zstd)?;
        compressor
            .set_parameter(CParameter::ChecksumFlag(true))
            .map_err(Error::Zstd)?;
        Ok(Self { compressor })
    }

    /// One frame for each run of `raw` that ends at one of `frame_ends` (see [`check_frame_ends`]).
    ///
    /// They are written into a mapping: of its room for the worst case only what is written takes memory, and all of it goes
    /// back to the system with the last reference. An allocator keeps such pieces for every thread that compresses, and a
    /// backup of many chunks grew by them.
    pub(super) fn seal(&mut self, raw: &[u8], frame_ends: &[usize]) -> Result<Sealed> {
        check_frame_ends(raw.len(), frame_ends)?;
        let runs = || {
            let begins = iter::once(0).chain(frame_ends.iter().copied());
            begins.zip(frame_ends).map(|(begin, &end)| &raw[begin..end])
        };
        let at_most = runs().map(|run| zstd_safe::compress_bound(run.len())).sum();
        let mut mapping = MmapMut::map_anon(at_most).map_err(Error::Zstd)?;
        let mut frames = Vec::with_capacity(frame_ends.len());
        let mut written = 0;
        for run in runs() {
            let stored_bytes = self
                .compressor
                .compress_to_buffer(run, &mut mapping[written..])
                .map_err(Error::Zstd)?;
            frames.push(Frame {
                stored_bytes: stored_bytes as u64,
                raw_bytes: run.len() as u64,
            });
            written += stored_bytes;
        }
        let stored = if written < MAPPED_FROM_BYTES {
            Bytes::copy_from_slice(&mapping[..written])
        } else {
            Bytes::from_owner(mapping).slice(..written)
        };
        Ok(Sealed { stored, frames })
    }
}

/// Frame ends must rise from above 0 to the length of the raw bytes: no frame is empty, none is left out.
pub(super) fn check_frame_ends(raw_bytes: usize, frame_ends: &[usize]) -> Result<()> {
    let mut begin = 0;
    for &end in frame_ends {
        if end <= begin {
            return Err(Error::invalid(format!("a frame from byte {begin} ends at byte {end}")));
        }
        begin = end;
    }
    if begin == raw_bytes && raw_bytes > 0 {
        Ok(())
    } else {
        Err(Error::invalid(format!("frames end at byte {begin} of {raw_bytes}")))
    }
}

/// A chunk's stored bytes, their size and SHA-256 found right. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChunkBytes {
    key: String,
    stored: Bytes,
    frames: Vec<Frame>,
}

impl ChunkBytes {
    /// `stored` must already have been found to be what `chunk` says.
    pub(super) fn new(chunk: &Chunk, stored: Bytes) -> Self {
        Self {
            key: chunk.key.clone(),
            stored,
            frames: chunk.frames.clone(),
        }
    }

    /// The raw bytes of frame `number`, exactly as many as the manifest says or an error that names the chunk.
    ///
    /// # Errors
    /// `Damaged` when there is no such frame, or it is not one zstd frame of the raw size that the manifest says.
    pub fn frame(&self, number: usize) -> Result<FrameReader> {
        let frame = self.frames.get(number);
        let frame = *frame.ok_or_else(|| Error::damaged(&self.key, format!("it has no frame {number}")))?;
        let begin = self.frames[..number]
            .iter()
            .map(|frame| frame.stored_bytes)
            .sum::<u64>();
        let bytes = slice(&self.stored, begin, frame.stored_bytes)
            .ok_or_else(|| Error::damaged(&self.key, format!("frame {number} reaches beyond its end")))?;
        check_frame(&bytes, frame.raw_bytes)
            .map_err(|reason| Error::damaged(&self.key, format!("frame {number} {reason}")))?;
        let mut decoder = Decoder::with_buffer(Cursor::new(bytes)).map_err(Error::Zstd)?;
        decoder.window_log_max(MAX_WINDOW_LOG).map_err(Error::Zstd)?;
        Ok(FrameReader {
            decoder: decoder.single_frame(),
            remaining: frame.raw_bytes,
            key: self.key.clone(),
            number,
        })
    }

    /// The same, all at once.
    ///
    /// # Errors
    /// `Damaged` as for [`ChunkBytes::frame`], and when the frame does not decode.
    pub fn frame_bytes(&self, number: usize) -> Result<Vec<u8>> {
        let mut reader = self.frame(number)?;
        let mut raw = Vec::new();
        usize::try_from(reader.remaining)
            .ok()
            .and_then(|bytes| raw.try_reserve_exact(bytes).ok())
            .ok_or_else(|| Error::damaged(&self.key, format!("frame {number} does not fit into memory")))?;
        match reader.read_to_end(&mut raw) {
            Ok(_) => Ok(raw),
            Err(error) => Err(Error::of_frame(error)),
        }
    }

    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

fn slice(stored: &Bytes, begin: u64, bytes: u64) -> Option<Bytes> {
    let end = usize::try_from(begin.checked_add(bytes)?).ok()?;
    (end <= stored.len()).then(|| stored.slice(usize::try_from(begin).unwrap_or(end)..end))
}

/// `bytes` must be one zstd frame and nothing else, and say itself how much it expands to.
fn check_frame(bytes: &[u8], raw_bytes: u64) -> std::result::Result<(), String> {
    match zstd_safe::find_frame_compressed_size(bytes) {
        Ok(size) if size == bytes.len() => {}
        Ok(size) => return Err(format!("ends after {size} of {} bytes", bytes.len())),
        Err(code) => return Err(format!("is not zstd: {}", zstd_safe::get_error_name(code))),
    }
    match zstd_safe::get_frame_content_size(bytes) {
        Ok(Some(size)) if size == raw_bytes => Ok(()),
        Ok(Some(size)) => Err(format!("holds {size} raw bytes instead of {raw_bytes}")),
        Ok(None) | Err(_) => Err("does not say its raw size".to_owned()),
    }
}

/// Raw bytes of one frame. Ends without error only after exactly as many bytes as the manifest says; its errors wrap
/// an `Error::Damaged`.
pub struct FrameReader {
    decoder: Decoder<'static, Cursor<Bytes>>,
    remaining: u64,
    key: String,
    number: usize,
}

impl FrameReader {
    fn wrong(&self, what: impl std::fmt::Display) -> io::Error {
        let reason = format!("frame {} {what}", self.number);
        io::Error::new(io::ErrorKind::InvalidData, Error::damaged(&self.key, reason))
    }
}

impl Read for FrameReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self
            .decoder
            .read(buffer)
            .map_err(|error| self.wrong(format_args!("does not decode: {error}")))?;
        match self.remaining.checked_sub(read as u64) {
            Some(remaining) if read > 0 || remaining == 0 => {
                self.remaining = remaining;
                Ok(read)
            }
            Some(remaining) => Err(self.wrong(format_args!("ends {remaining} bytes early"))),
            None => Err(self.wrong("holds more than its raw size")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repository::id::{Blake3Digest, Sha256Digest};
    use crate::repository::layout::Key;
    use crate::repository::manifest::Codec;

    fn sealed(raw: &[u8], frame_ends: &[usize]) -> (Chunk, Bytes) {
        let Sealed { stored, frames } = Sealer::new(1).unwrap().seal(raw, frame_ends).unwrap();
        let sha256 = Sha256Digest::of(&stored);
        let chunk = Chunk {
            key: Key::Chunk { sha256, copy: 0 }.to_string(),
            codec: Codec::Zstd,
            stored_sha256: sha256,
            stored_bytes: stored.len() as u64,
            raw_blake3: Blake3Digest::of(raw),
            raw_bytes: raw.len() as u64,
            frames,
            locked_until: None,
        };
        (chunk, stored)
    }

    fn ends(lengths: &[usize]) -> Vec<usize> {
        let running = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        running.collect()
    }

    fn lengths() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(prop_oneof![1..50usize, 1..200_000usize], 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn frames_read_back_as_they_were(lengths in lengths(), seed in any::<u64>()) {
            let ends = ends(&lengths);
            let raw: Vec<u8> = (0..ends[ends.len() - 1] as u64)
                .map(|at| at.wrapping_mul(seed | 1).to_le_bytes()[2])
                .collect();
            let (chunk, stored) = sealed(&raw, &ends);
            let bytes = ChunkBytes::new(&chunk, stored.clone());
            let mut begin = 0;
            for (number, end) in ends.iter().enumerate() {
                prop_assert_eq!(bytes.frame_bytes(number).unwrap(), &raw[begin..*end]);
                begin = *end;
            }
            prop_assert!(bytes.frame(ends.len()).is_err());
            // The escape hatch: the object as a whole is one zstd stream.
            prop_assert_eq!(zstd::stream::decode_all(stored.as_ref()).unwrap(), raw);
        }
    }

    #[test]
    fn frame_ends_that_do_not_fit_are_refused() {
        let mut sealer = Sealer::new(1).unwrap();
        for (raw, ends) in [
            (&b""[..], &[][..]),
            (b"", &[0]),
            (b"abc", &[]),
            (b"abc", &[2]),
            (b"abc", &[4]),
            (b"abc", &[0, 3]),
            (b"abc", &[2, 2, 3]),
            (b"abc", &[3, 2]),
        ] {
            assert!(matches!(sealer.seal(raw, ends), Err(Error::Invalid { .. })), "{ends:?}");
        }
    }

    #[test]
    fn a_frame_that_would_expand_to_more_than_the_manifest_says_is_refused() {
        let (mut chunk, stored) = sealed(&vec![0; 50_000_000], &[50_000_000]);
        chunk.frames[0].raw_bytes = 1000;
        let bytes = ChunkBytes::new(&chunk, stored);
        let refused = bytes.frame_bytes(0).unwrap_err().to_string();
        assert!(
            refused.contains("holds 50000000 raw bytes instead of 1000"),
            "{refused}"
        );
    }

    #[test]
    fn a_frame_that_does_not_say_its_raw_size_is_refused() {
        let mut streamed = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        std::io::Write::write_all(&mut streamed, b"some rows").unwrap();
        let stored = streamed.finish().unwrap();
        let (mut chunk, _) = sealed(b"some rows", &[9]);
        chunk.frames[0].stored_bytes = stored.len() as u64;
        assert!(ChunkBytes::new(&chunk, stored.into()).frame(0).is_err());
    }

    #[test]
    fn no_damaged_byte_gets_through_even_without_the_sha256() {
        let raw: Vec<u8> = (0..2000u32)
            .flat_map(|row| format!("{row}\tname {row}\n").into_bytes())
            .collect();
        let (chunk, stored) = sealed(&raw, &[1000, raw.len()]);
        for at in (0..stored.len()).step_by(7) {
            let mut flipped = stored.to_vec();
            flipped[at] ^= 0x10;
            let bytes = ChunkBytes::new(&chunk, flipped.into());
            let read = [bytes.frame_bytes(0), bytes.frame_bytes(1)];
            // A flip in what zstd does not use may leave the rows as they are, but never changes them.
            let rows = read
                .into_iter()
                .collect::<Result<Vec<_>>>()
                .map(|frames| frames.concat());
            assert!(rows.is_err() || rows.unwrap() == raw, "byte {at}");
        }
    }

    #[test]
    fn frames_swapped_within_a_chunk_are_told_by_their_sizes() {
        let (mut chunk, stored) = sealed(b"first row\nsecond\n", &[10, 17]);
        chunk.frames.swap(0, 1);
        assert!(ChunkBytes::new(&chunk, stored).frame_bytes(0).is_err());
    }
}
