//! The Headwater operator: Cluster and Topic resources in, brokers and topics out.
//!
//! Each kind has one loop that reads like a story: dereference (all reading), validate and build or
//! plan (pure), apply, status. [`run`] elects one operator by a Lease and starts the loops. The
//! operator holds desired state only; what brokers know they are asked for, on their internal
//! listener.

pub mod apply;
pub mod args;
pub mod brokers;
pub mod cluster;
pub mod context;
pub mod directory;
pub mod events;
#[cfg(test)]
mod fake;
mod finalizers;
mod follow;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod topic;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
pub use finalizers::release as release_finalizers;
use futures::FutureExt as _;
use kube::client::ClientBuilder;
use tokio::sync::watch;

use crate::args::Args;
use crate::brokers::Tonic;
use crate::context::{Context, Settings};
use crate::lease::Lease;
use crate::metrics::{CountRequests, Metrics};

/// How long one look at one resource may take. Every step may be repeated.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long what was begun may take to end when the operator is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Operates until `shutdown` is done or the Lease is lost.
///
/// # Errors
/// When the API server cannot be reached at the start, an address cannot be listened on, a loop ends
/// by itself, or the Lease is lost: another operator may act then, and this one must end.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = Metrics::register(&mut registry);
    let config = kube::Config::infer()
        .await
        .context("neither inside of Kubernetes nor with a kubeconfig")?;
    let client = ClientBuilder::try_from(config)?
        .with_layer(&CountRequests(metrics.clone()))
        .build();
    let listener = http::listen(args.http_listen).await?;
    let server = tokio::spawn(http::serve(listener, Arc::new(registry)));

    let shutdown = shutdown.shared();
    let lease = Lease::new(
        client.clone(),
        &args.namespace,
        &args.lease_name,
        args.identity(),
    );
    tokio::select! {
        () = lease.acquire() => {}
        () = shutdown.clone() => return Ok(()),
    }
    metrics.leader.set(1);
    tracing::info!("holds the lease and operates");

    let (stop, stopped) = watch::channel(false);
    let settings = Settings {
        namespace: args.namespace.clone(),
        cluster_namespaces: args.cluster_namespaces(),
        default_image: args.default_image.clone(),
    };
    let context = Context::new(
        client,
        settings,
        Arc::new(Tonic::default()),
        metrics.clone(),
    );
    let mut operating = tokio::spawn(operate(context, stopped));
    let keeping = lease.keep();
    tokio::pin!(keeping);
    let outcome = tokio::select! {
        () = shutdown => {
            stop.send_replace(true);
            // The lease is kept while what was begun ends.
            tokio::select! {
                _ = tokio::time::timeout(STOP_TIMEOUT, &mut operating) => Ok(()),
                () = &mut keeping => Ok(()),
            }
        }
        () = &mut keeping => Err(anyhow::anyhow!(
            "the lease {} is lost: it could not be renewed in time, or another operator has it",
            args.lease_name
        )),
        ended = &mut operating => Err(anyhow::anyhow!("a loop has ended by itself: {ended:?}")),
    };
    metrics.leader.set(0);
    operating.abort();
    if outcome.is_ok() {
        lease.release().await;
    }
    server.abort();
    outcome
}

async fn operate(context: Arc<Context>, stopped: watch::Receiver<bool>) {
    let clusters = cluster::run(context.clone(), stopped.clone());
    let topics = topic::run(context, stopped);
    futures::join!(clusters, topics);
}

/// Done when the operator is told to stop.
pub(crate) async fn until(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}
