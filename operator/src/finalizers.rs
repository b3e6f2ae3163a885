//! `release-finalizers`: nothing may wait for an operator that is about to go.

use anyhow::Context as _;
use headwater_crds::{CLUSTER_FINALIZER, Cluster, TOPIC_FINALIZER, Topic};
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::apply;
use crate::args::Args;
use crate::lease::Lease;

/// Takes our finalizers off all Topics, and off the Clusters of the namespaces that are operated.
/// What they would have deleted stays. The operator that acts is made to stop first.
///
/// # Errors
/// When the API server cannot be reached or refuses. Resource definitions that are not installed
/// are no error.
pub async fn release(args: &Args) -> anyhow::Result<()> {
    let client = Client::try_default().await?;
    let identity = format!("{}-release-finalizers", args.identity());
    let lease = Lease::new(client.clone(), &args.namespace, &args.lease_name, identity);
    lease.seize().await.context("taking the lease")?;
    release_all::<Topic>(&client, Api::all(client.clone()), TOPIC_FINALIZER).await?;
    for namespace in args.cluster_namespaces() {
        let clusters = Api::namespaced(client.clone(), &namespace);
        release_all::<Cluster>(&client, clusters, CLUSTER_FINALIZER).await?;
    }
    lease.leave().await.context("leaving the lease")
}

async fn release_all<K>(client: &Client, all: Api<K>, finalizer: &str) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let listed = match all.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        listed => listed?,
    };
    for object in listed {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(client.clone(), &namespace);
        if !object
            .finalizers()
            .iter()
            .any(|present| present == finalizer)
        {
            continue;
        }
        let name = object.name_any();
        match apply::finalizer(&api, &object, finalizer, false).await {
            Ok(()) => tracing::info!(kind = %K::kind(&()), %namespace, %name, "released"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
