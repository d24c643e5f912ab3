//! Large objects' pages as rows of COPY text `(loid, byte offset, data)`.
//!
//! Read from `pg_largeobject` itself: `lo_get` is denied to `pg_read_all_data`. The offset is computed by the server
//! from its own block size, so that the rows mean the same on a server that was built otherwise.

use tokio_postgres::Client;

use super::databases::acl_texts;
use super::error::{Error, Result};
use super::row::column;
use crate::content::LargeObject;

/// `COPY ... TO STDOUT` of every page, ordered by object and offset.
#[must_use]
pub fn copy_statement() -> String {
    "COPY (SELECT loid, pageno::bigint * (current_setting('block_size')::int / 4), data \
     FROM pg_catalog.pg_largeobject ORDER BY loid, pageno) TO STDOUT (FORMAT text)"
        .to_owned()
}

/// Whether the database has any large object.
///
/// # Errors
/// `Error::Query`.
pub async fn any_large_object(client: &Client) -> Result<bool> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata) AS any",
            &[],
        )
        .await
        .map_err(Error::query("look for large objects"))?;
    column(&row, "any")
}

/// Every large object with owner, privileges and size, by OID.
///
/// # Errors
/// `Error::Query`, also when the role may not read `pg_largeobject`.
pub async fn read_large_objects(client: &Client) -> Result<Vec<LargeObject>> {
    if !any_large_object(client).await? {
        return Ok(Vec::new());
    }
    let acl = acl_texts("coalesce(m.lomacl, pg_catalog.acldefault('L', m.lomowner))");
    let query = format!(
        "SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner)::text AS owner, {acl} AS acl,
                pg_catalog.obj_description(m.oid, 'pg_largeobject') AS comment,
                coalesce((SELECT p.pageno::bigint * (pg_catalog.current_setting('block_size')::int / 4)
                                 + pg_catalog.length(p.data)
                          FROM pg_catalog.pg_largeobject p WHERE p.loid = m.oid ORDER BY p.pageno DESC LIMIT 1), 0) AS bytes
         FROM pg_catalog.pg_largeobject_metadata m ORDER BY m.oid"
    );
    let rows = client
        .query(&query, &[])
        .await
        .map_err(Error::query("list the large objects"))?;
    rows.iter()
        .map(|row| {
            Ok(LargeObject {
                oid: column(row, "oid")?,
                owner: column(row, "owner")?,
                acl: column(row, "acl")?,
                comment: column(row, "comment")?,
                bytes: column::<i64>(row, "bytes")?.cast_unsigned(),
            })
        })
        .collect()
}

/// One row of [`copy_statement`]: object, byte offset, bytes.
///
/// # Errors
/// `Error::Protocol` when the row has another shape; its contents are never part of the text.
pub fn parse_row(row: &[u8]) -> Result<(u32, u64, Vec<u8>)> {
    fields(row).ok_or_else(|| Error::Protocol("a large object page is not (loid, offset, hexadecimal data)".to_owned()))
}

fn fields(row: &[u8]) -> Option<(u32, u64, Vec<u8>)> {
    let mut fields = row.strip_suffix(b"\n").unwrap_or(row).split(|byte| *byte == b'\t');
    let loid = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let offset = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    // The backslash of bytea's `\x` is doubled by COPY.
    let data = hex::decode(fields.next()?.strip_prefix(br"\\x")?).ok()?;
    fields.next().is_none().then_some((loid, offset, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_back_and_nothing_else_is() {
        let (loid, offset, data) = parse_row(b"4294967295\t2048\t\\\\x00ff41\n").unwrap();
        assert_eq!(
            (loid, offset, data.as_slice()),
            (u32::MAX, 2048, b"\x00\xffA".as_slice())
        );
        assert_eq!(parse_row(b"1\t0\t\\\\x\n").unwrap().2, b"");
        for wrong in [
            b"1\t0\n".as_slice(),
            b"1\t0\t\\\\x0\n",
            b"1\t0\t00\n",
            b"1\t0\t\\\\x00\t1\n",
            b"",
        ] {
            assert!(parse_row(wrong).is_err());
        }
    }
}
