//! Where a chunk ends: the row hashes decide.
//!
//! A row ends the chunk with a probability proportional to its length, and the draw is the row's own hash, so that rows
//! inserted or deleted in the middle of a table change only the chunks around them: the next row that draws an end
//! draws it in the next backup too. Minimum and maximum bound what chance may do.

use super::options::ChunkSizes;
use crate::content::RowTally;
use crate::postgres::copy::rows;

/// How far a message's rows go into the chunk being filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowRun {
    pub(super) bytes: usize,
    pub(super) rows: u64,
    /// The chunk ends behind them.
    pub(super) ends_chunk: bool,
}

/// Decides after each row; knows nothing but sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutter {
    sizes: ChunkSizes,
    /// Ends per byte, as a fraction of 2^64.
    threshold_per_byte: u64,
}

impl Cutter {
    pub(super) fn new(sizes: ChunkSizes) -> Self {
        // A chunk is `min` bytes for sure and then as many as it takes to draw an end: `mean - min` on average.
        let spread = sizes.mean_bytes.saturating_sub(sizes.min_bytes).max(1) as u64;
        Self {
            sizes,
            threshold_per_byte: u64::MAX / spread,
        }
    }

    /// Hashes and tallies the rows of `message` up to the first that ends the chunk of `chunk_bytes`, or all of them. A run
    /// without rows means that not even the first has room.
    pub(super) fn run(&self, chunk_bytes: usize, message: &[u8], tally: &mut RowTally) -> RowRun {
        let mut run = RowRun::default();
        for row in rows(message) {
            if self.is_full(chunk_bytes + run.bytes, row.len()) {
                run.ends_chunk = true;
                return run;
            }
            let row_hash = tally.add_row(row);
            run.bytes += row.len();
            run.rows += 1;
            if self.ends_with(chunk_bytes + run.bytes, row.len(), row_hash) {
                run.ends_chunk = true;
                return run;
            }
        }
        run
    }

    /// The chunk must end before a row of `row_bytes` is added to its `chunk_bytes`.
    pub(super) fn is_full(&self, chunk_bytes: usize, row_bytes: usize) -> bool {
        chunk_bytes > 0 && chunk_bytes + row_bytes > self.sizes.max_bytes
    }

    /// The chunk, now of `chunk_bytes`, ends with the row just added, whose length and hash are given.
    pub(super) fn ends_with(&self, chunk_bytes: usize, row_bytes: usize, row_hash: u128) -> bool {
        if chunk_bytes < self.sizes.min_bytes {
            return false;
        }
        let threshold = self.threshold_per_byte.saturating_mul(row_bytes as u64);
        // The upper half of the hash; any fixed half serves.
        #[allow(clippy::cast_possible_truncation, reason = "the upper 64 bits of 128")]
        let draw = (row_hash >> 64) as u64;
        chunk_bytes >= self.sizes.max_bytes || draw < threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::row_hash;

    const SIZES: ChunkSizes = ChunkSizes {
        min_bytes: 2_000,
        mean_bytes: 8_000,
        max_bytes: 16_000,
    };

    #[test]
    fn a_run_goes_as_far_as_rows_taken_one_by_one() {
        let rows = rows(20_000);
        let message = rows.concat();
        let cutter = Cutter::new(SIZES);
        let (mut runs, mut chunk_bytes, mut tally, mut rest) = (Vec::new(), 0, RowTally::default(), message.as_slice());
        while !rest.is_empty() {
            // Messages end anywhere between rows.
            let end = rest.len().min(7_000);
            let end = end + memchr::memchr(b'\n', &rest[end - 1..]).unwrap();
            let run = cutter.run(chunk_bytes, &rest[..end], &mut tally);
            chunk_bytes += run.bytes;
            rest = &rest[run.bytes..];
            if run.ends_chunk {
                runs.push(std::mem::take(&mut chunk_bytes));
            }
        }
        runs.push(chunk_bytes);
        let one_by_one: Vec<usize> = cut(&rows)
            .iter()
            .map(|chunk| chunk.iter().map(Vec::len).sum())
            .collect();
        assert_eq!(runs, one_by_one);
        let expected = rows.iter().fold(RowTally::default(), |mut tally, row| {
            tally.add_row(row);
            tally
        });
        assert_eq!(tally, expected);
    }

    /// The chunks, as numbers of bytes, that `rows` are cut into.
    fn cut(rows: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        let cutter = Cutter::new(SIZES);
        let (mut chunks, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
        for row in rows {
            if cutter.is_full(bytes, row.len()) {
                chunks.push(std::mem::take(&mut chunk));
                bytes = 0;
            }
            chunk.push(row.clone());
            bytes += row.len();
            if cutter.ends_with(bytes, row.len(), row_hash(row)) {
                chunks.push(std::mem::take(&mut chunk));
                bytes = 0;
            }
        }
        chunks.push(chunk);
        chunks
    }

    fn rows(count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|n| format!("{n}\tvalue {}\n", n * 7919 % 104_729).into_bytes())
            .collect()
    }

    #[test]
    fn sizes_keep_their_bounds_and_their_mean() {
        let chunks = cut(&rows(200_000));
        let sizes: Vec<usize> = chunks.iter().map(|chunk| chunk.iter().map(Vec::len).sum()).collect();
        let (last, whole) = sizes.split_last().unwrap();
        assert!(
            whole
                .iter()
                .all(|&size| (SIZES.min_bytes..=SIZES.max_bytes).contains(&size))
        );
        assert!(*last <= SIZES.max_bytes);
        let mean = whole.iter().sum::<usize>() / whole.len();
        assert!((6_000..9_000).contains(&mean), "{mean}");
    }

    #[test]
    fn a_row_in_the_middle_changes_only_the_chunks_around_it() {
        let mut rows = rows(100_000);
        let before: std::collections::HashSet<_> = cut(&rows).into_iter().collect();
        rows.insert(50_000, b"one more row\n".to_vec());
        rows.remove(20_000);
        let after = cut(&rows);
        let changed = after.iter().filter(|chunk| !before.contains(*chunk)).count();
        assert!(
            (1..=8).contains(&changed),
            "{changed} of {} chunks changed",
            after.len()
        );
    }

    #[test]
    fn a_row_larger_than_the_maximum_has_a_chunk_of_its_own() {
        let large = vec![b'x'; 50_000];
        let chunks = cut(&[b"1\n".to_vec(), large.clone(), b"2\n".to_vec()]);
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[1], [large]);
    }
}
