//! The demo's database holds what the demo tells about it, the same rows every time.

use kubebackup::demo::shop;

use crate::support::{oracle, source_cluster};

#[test]
fn the_shop_is_the_same_every_time_and_has_what_is_told_about_it() {
    let cluster = source_cluster();
    shop::create(&cluster, "shop").unwrap();
    shop::create(&cluster, "another").unwrap();
    let contents = oracle::contents(&cluster, "shop");
    oracle::assert_same(&contents, &oracle::contents(&cluster, "another"));

    let tables = contents.keys().filter(|name| name.starts_with("table")).count();
    let rows: u64 = contents
        .iter()
        .filter(|(name, _)| name.starts_with("table"))
        .map(|(_, digest)| digest.split(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert!((28..40).contains(&tables), "{tables} tables");
    assert!((190_000..230_000).contains(&rows), "{rows} rows");

    let kinds = cluster
        .sql(
            "shop",
            "SELECT string_agg(DISTINCT relkind::text, '' ORDER BY relkind::text) FROM pg_class WHERE oid > 16384",
        )
        .unwrap();
    assert_eq!(kinds, "IScimprtv");
    shop::change(&cluster, "shop").unwrap();
    let changed = oracle::contents(&cluster, "shop");
    let differing = changed
        .iter()
        .filter(|(name, digest)| contents.get(*name) != Some(digest))
        .count();
    assert!((8..16).contains(&differing), "{differing} of {} differ", changed.len());
}
