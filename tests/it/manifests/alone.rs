//! Both agents as the manifests start them, with nothing that they need there yet: no PostgreSQL, no store, no Secret.
//!
//! In the pod that is how every start begins, since the sidecar comes before PostgreSQL: it must neither end nor seem dead.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::objects::text;
use super::program::{arguments, each_agent, settings_file};
use crate::support::{Program, wait};

#[test]
fn an_agent_that_is_alone_answers_every_probe_and_ends_when_it_is_told() {
    each_agent(|name, pod, container, _, objects| {
        let settings = settings_file(name, pod, container, objects);
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut agent = Program::new(&arguments(container))
            .env("KUBEBACKUP_CONFIG", &settings.path().display().to_string())
            .env("KUBEBACKUP_AGENT_LISTEN", &format!("127.0.0.1:{port}"))
            // Without credentials no store is asked for anything.
            .env("HOME", &home.path().display().to_string())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .spawn();
        let mut has_ended = false;
        for path in probes(container) {
            wait::until(&format!("{name} to answer {path}"), || {
                assert!(!has_ended, "{name}: {}", agent.printed());
                has_ended = agent.has_ended();
                answers(port, path)
            });
        }
        agent.signal(Signal::SIGTERM);
        agent.wait().ok();
    });
}

/// Paths that the kubelet asks for.
fn probes(container: &Value) -> Vec<&str> {
    let paths: Vec<&str> = ["livenessProbe", "readinessProbe"]
        .iter()
        .filter(|probe| container[*probe].is_object())
        .map(|probe| text(&container[*probe]["httpGet"]["path"]))
        .collect();
    assert!(!paths.is_empty());
    paths
}

/// Whether a GET is answered by 200.
fn answers(port: u16, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut answer = String::new();
    let asked = write!(stream, "GET {path} HTTP/1.0\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.contains(" 200 ")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
