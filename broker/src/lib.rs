//! The Headwater broker: gRPC in front, storage threads behind.
//!
//! A request comes in by `grpc/`, is turned into domain terms there, passes the [`facade`] (who
//! may, how much memory) and reaches the partition's storage thread in [`partition`]. What happens
//! to it is decided in `headwater-core` and `headwater-log`; this crate only carries.
//!
//! [`start`] runs a broker inside a program, [`run`] until it is told to stop.

pub mod admin_http;
pub mod args;
pub mod auth;
pub mod clock;
pub mod config;
pub mod error;
pub mod facade;
mod grpc;
pub mod limits;
pub mod memory;
pub mod metadata;
pub mod metrics;
pub mod partition;
pub mod restore;
mod secret;
mod standing;
mod startup;
pub mod storage;
pub mod telemetry;
pub mod tier;

use std::future::Future;

pub use startup::{Running, start};

use crate::config::Settings;

/// Runs a broker until `shutdown` is done or its data directory fails.
///
/// # Errors
/// When the data directory cannot be opened, an address cannot be listened on, or the data
/// directory fails.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::pin!(shutdown);
    let broker = tokio::select! {
        broker = start(settings) => broker?,
        // Nothing was acknowledged yet; what was begun the next start finishes.
        () = &mut shutdown => return Ok(()),
    };
    let mut failure = broker.failure();
    tokio::select! {
        () = &mut shutdown => {}
        _ = failure.wait_for(Option::is_some) => {}
    }
    broker.stop().await
}
