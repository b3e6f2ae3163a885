//! The promises about Kubernetes, held against a real one: API server, kubelet and containers.
//!
//! They run with `HEADWATER_E2E=1` on whatever `KUBECONFIG` names, in turns, and share one installed
//! chart. What was measured is printed.
#![allow(clippy::print_stderr, reason = "what was measured is for who runs it")]

mod bad_manifests;
mod broker_deleted;
mod clusters;
mod command_line;
mod figures;
mod first_path;
mod operator_and_api;
mod rights;
mod tier;
mod topics;
mod uninstall;
