//! Sealed segments go to object storage and come back: real brokers, and a real S3 server.
//!
//! All of 2013 if `HEADWATER_FLIGHTS` names the file, otherwise the committed day, many times, which does not count as
//! having run.
#![allow(clippy::print_stderr, reason = "what was measured is for who runs it")]

mod clouds;
mod contract;
mod credentials;
mod damage;
mod emulators;
mod figures;
mod flights;
mod full;
mod kills;
mod outage;
mod restore;
#[path = "../../../broker/tests/s3_server/mod.rs"]
mod s3_server;
mod stage;
mod there_and_back;
