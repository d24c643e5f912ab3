//! What both agents tell Prometheus, by its own tool and from real ports.

use kubebackup::http::sample;

use crate::support::http::{Port, get};
use crate::support::prometheus::check_metrics;

#[test]
fn prometheus_own_tool_finds_nothing_wrong_with_what_both_agents_can_show() {
    for status in [sample::backup_agent(), sample::restore_agent()] {
        let port = Port::of(status);
        let scrape = get(port.address, "/metrics").unwrap();
        assert_eq!(scrape.code, 200);
        check_metrics(&scrape.body);
    }
}
