//! The Kubernetes manifests: every overlay is rendered by kustomize and looked at as a cluster would see it.
//!
//! Shown here: the objects fit the schemas of several Kubernetes versions, whatever they name is there, every container
//! is as the pod security standard `restricted` wants it and more, nothing names what the program does not have, and
//! nothing secret is in git. What only a cluster can show (scheduling, admission, routing) is not.

mod alone;
mod any_stateful_set;
mod container;
mod network;
mod objects;
mod pages;
mod program;
mod reach;
mod references;
mod render;
mod restricted;
mod rights;
mod schemas;
mod secrets;
mod throw_away;

/// Directories below `manifests/overlays`; a test compares them with what is there.
const OVERLAYS: [&str; 3] = ["aws-irsa", "k3s-demo", "s3-compatible"];

/// The container that runs the program, in every pod that has one.
const AGENT: &str = "kubebackup";
