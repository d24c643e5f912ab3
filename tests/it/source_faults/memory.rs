//! Memory stays within the pool however the way to the server behaves.

use super::Proxied;
use crate::facts_memory::{MIB, peak_until_its_end};
use crate::support::tcp_proxy::{Fault, Way};

#[test]
fn the_peak_of_a_backup_stays_within_its_pool_when_the_way_is_slow_and_when_it_breaks() {
    let ground = Proxied::start(
        "CREATE TABLE t AS SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 31) j) AS text
         FROM generate_series(1, 60000) i",
    );
    for (fault, code) in [
        (Fault::Slow(Way::ToClient, 200_000), 0),
        (Fault::Cut(Way::ToClient, 50 * MIB), 1),
    ] {
        ground.proxy.on("copy", 0, fault);
        let (ended, peak) = peak_until_its_end(ground.backup().spawn());
        println!("{fault:?}: {} MiB at most", peak / MIB);
        ended.expect(code);
        assert!(peak < 128 * MIB, "{fault:?}: {} MiB", peak / MIB);
        ground.proxy.clear();
    }
    assert!(ground.proxy.passed("copy") > 100 * MIB);
}
