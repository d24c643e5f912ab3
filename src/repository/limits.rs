//! How large what lies in a repository may be. Whoever can write to the bucket can put objects of any size there and forge
//! every number in them: a reader takes no more than this into memory, and a writer makes nothing larger. Of roots:
//! [`MAX_ROOT_BYTES`](super::manifest::MAX_ROOT_BYTES).

/// Largest other record: `repository.json`, a lease, a hold, an acceptance, a tombstone (a root and little more).
pub(super) const MAX_RECORD_BYTES: u64 = 256 * 1024;

/// Largest certificate or damage record: some hundred bytes a table or damaged object.
pub(super) const MAX_REPORT_BYTES: u64 = 64 * 1024 * 1024;

/// Raw bytes of one index chunk at most. A root has room for fewer than 200 of them.
pub(super) const MAX_PIECE_BYTES: usize = 4 * 1024 * 1024;

/// Raw and stored bytes of any chunk at most: a row is at most 1 GiB as COPY text, and a chunk that is full holds at most
/// 256 MiB beside it. What does not compress grows by less than the rest.
pub(super) const MAX_CHUNK_BYTES: u64 = 1344 * 1024 * 1024;

/// Bytes of a database's definitions (a `pg_dump` archive, compressed), which are held in memory.
pub(super) const MAX_SCHEMA_ARCHIVE_BYTES: u64 = 256 * 1024 * 1024;
