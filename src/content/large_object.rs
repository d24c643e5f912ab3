//! The canonical fingerprint of large objects' contents.
//!
//! Servers store large objects in pages whose size depends on how they were built, leave holes out, and may or may not
//! store trailing zeros. So contents are seen as blocks of [`LARGE_OBJECT_BLOCK_BYTES`] bytes at multiples of that offset,
//! zeros at a block's end trimmed, empty blocks skipped. One row is the object's OID (little-endian u32), the block's
//! offset (little-endian u64) and its bytes; rows are hashed and summed like those of a table.

use super::RowTally;

/// Block size of the canonical form, in bytes.
pub const LARGE_OBJECT_BLOCK_BYTES: u64 = 2048;

/// Takes pages in and gives the tally of canonical blocks.
#[derive(Debug, Default)]
pub struct LargeObjectTally {
    tally: RowTally,
    /// The block being filled: object, offset of its first byte, bytes so far.
    object: u32,
    offset: u64,
    block: Vec<u8>,
}

impl LargeObjectTally {
    /// Takes `data` of object `loid` at byte `offset` in. Pages must come in ascending order of both and not overlap.
    pub fn add_page(&mut self, loid: u32, offset: u64, data: &[u8]) {
        let (mut offset, mut rest) = (offset, data);
        while !rest.is_empty() {
            let within = offset % LARGE_OBJECT_BLOCK_BYTES;
            self.open_block(loid, offset - within);
            self.block.resize(usize_of(within).max(self.block.len()), 0);
            let room = usize_of(LARGE_OBJECT_BLOCK_BYTES - within);
            let (taken, after) = rest.split_at(room.min(rest.len()));
            self.block.extend_from_slice(taken);
            offset += taken.len() as u64;
            rest = after;
        }
    }

    /// The tally of all blocks: `rows` counts those that are not all zero.
    #[must_use]
    pub fn finish(mut self) -> RowTally {
        self.close_block();
        self.tally
    }

    fn open_block(&mut self, loid: u32, offset: u64) {
        if (self.object, self.offset) != (loid, offset) {
            self.close_block();
            self.object = loid;
            self.offset = offset;
        }
    }

    fn close_block(&mut self) {
        let end = self
            .block
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if end > 0 {
            let mut row = Vec::with_capacity(12 + end);
            row.extend_from_slice(&self.object.to_le_bytes());
            row.extend_from_slice(&self.offset.to_le_bytes());
            row.extend_from_slice(&self.block[..end]);
            self.tally.add_row(&row);
        }
        self.block.clear();
    }
}

/// A position within a block always fits.
fn usize_of(within_block: u64) -> usize {
    usize::try_from(within_block).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(pages: &[(u32, u64, &[u8])]) -> RowTally {
        let mut tally = LargeObjectTally::default();
        for (loid, offset, data) in pages {
            tally.add_page(*loid, *offset, data);
        }
        tally.finish()
    }

    #[test]
    fn the_servers_page_size_does_not_matter() {
        let contents: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        let in_pages_of = |size: usize| {
            let pages: Vec<(u32, u64, &[u8])> = contents
                .chunks(size)
                .enumerate()
                .map(|(n, page)| (7, (n * size) as u64, page))
                .collect();
            tally(&pages)
        };
        let usual = in_pages_of(2048);
        assert_eq!(usual.rows, 10);
        for size in [256, 1024, 8192, 20_000] {
            assert_eq!(in_pages_of(size), usual, "{size}");
        }
    }

    #[test]
    fn holes_and_zeros_are_the_same() {
        let explicit = tally(&[(1, 0, &[0; 2048]), (1, 2048, b"x\0\0")]);
        assert_eq!(explicit, tally(&[(1, 2048, b"x")]));
        let hole_within = tally(&[(1, 0, b"a"), (1, 1024, b"b")]);
        let mut filled = vec![0; 1025];
        (filled[0], filled[1024]) = (b'a', b'b');
        assert_eq!(hole_within, tally(&[(1, 0, &filled)]));
        assert_eq!(tally(&[(1, 0, &[])]), RowTally::default());
    }

    #[test]
    fn object_offset_and_bytes_all_count() {
        let one = tally(&[(1, 0, b"x")]);
        assert_ne!(one.fingerprint, tally(&[(2, 0, b"x")]).fingerprint);
        assert_ne!(one.fingerprint, tally(&[(1, 2048, b"x")]).fingerprint);
        assert_ne!(one.fingerprint, tally(&[(1, 1, b"x")]).fingerprint);
        assert_ne!(one.fingerprint, tally(&[(1, 0, b"y")]).fingerprint);
    }
}
