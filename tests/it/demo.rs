//! The demo's story, told to the end by the real program.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Program, http, wait};

/// Told with `--keep`, so that what goes on at the end can be looked at.
#[test]
fn the_demo_ends_well_and_its_agents_go_on_until_it_is_stopped() {
    let mut demo = Program::new(&["demo", "--keep"]).spawn();
    wait::for_some_within(Duration::from_mins(3), "the story's end", || {
        let is_over = demo.printed().contains("Everything keeps running");
        assert!(is_over || !demo.has_ended(), "{}", demo.printed());
        is_over.then_some(())
    });
    let printed = demo.printed();
    for told in [
        "certified",
        "chunks/",
        "order_items",
        "before and after",
        "freezes deletion",
        "$ kubebackup diff trusted latest",
        "$ kubebackup restore --backup trusted",
        "$ kubebackup accept-drift",
        "kill -USR1 ",
    ] {
        assert!(printed.contains(told), "'{told}' is not in:\n{printed}");
    }
    let ports: Vec<(SocketAddr, &str)> = printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("| http://")?.split_once('/'))
        .map(|(address, path)| (address.parse().unwrap(), path))
        .collect();
    let shown: Vec<String> = ports
        .iter()
        .map(|(address, path)| http::get(*address, &format!("/{path}")).unwrap().body)
        .collect();
    let [page, metrics, page_of_drills, metrics_of_drills] = &shown[..] else {
        panic!("{ports:?}")
    };
    assert!(
        page.contains("backup agent") && page_of_drills.contains("certified"),
        "{page}\n{page_of_drills}"
    );
    assert!(metrics.contains("agent=\"backup_agent\""), "{metrics}");
    assert!(
        metrics_of_drills.contains("agent=\"restore_agent\""),
        "{metrics_of_drills}"
    );

    demo.signal(Signal::SIGINT);
    demo.wait().ok();
    for (address, _) in ports {
        wait::until("an agent to be gone", || TcpStream::connect(address).is_err());
    }
}
