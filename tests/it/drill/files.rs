//! A file that the target's server has lost: the same verdict, whoever comes upon it first.

use std::fs;

use kubebackup::drill::{Cause, Verdict};
use tokio_util::sync::CancellationToken;

use super::Ground;

const CONTENTS: &str = "
CREATE TABLE t (i int, doubled int GENERATED ALWAYS AS (2 * i) STORED); INSERT INTO t SELECT generate_series(1, 100);
CREATE INDEX ON t (i); CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t; CREATE SEQUENCE s; SELECT nextval('s');";

impl Ground {
    /// Takes the file away in which a relation of the restored database lies.
    fn lose(&self, relation: &str) {
        let query = format!("CHECKPOINT; SELECT pg_relation_filepath('{relation}')");
        let path = self.restored(&query);
        fs::remove_file(self.target.data().join(path.lines().last().unwrap())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_targets_server_has_lost_leaves_a_drill_unverified_wherever_it_is_missed() {
    let ground = Ground::with(CONTENTS).await;
    for (phase, relation, who) in [
        ("post-data", "t", "pg_restore"),
        ("refresh", "t", "refresh materialized view"),
        ("compare", "t", "compare \"public\".\"t\""),
        ("compare", "s", "sequence"),
    ] {
        let lose = || ground.lose(relation);
        let ended = ground.drill_and(phase, &lose, &CancellationToken::new()).await;
        let certificate = ended.unwrap();
        let summary = &certificate.summary;
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(Cause::Interrupted),
            "{phase}, {relation}: {summary}"
        );
        assert!(
            summary.contains(who) && summary.contains("could not open file"),
            "{who}: {summary}"
        );
        assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
    }
}
