//! All the reading: what the Topic refers to. No judgement.

use std::sync::Arc;

use headwater_crds::{Cluster, Topic};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;

use crate::context::Context;
use crate::directory::Whereabouts;

/// What a Topic refers to.
pub(super) struct Found {
    /// The Cluster that it names.
    pub(super) cluster: Option<Arc<Cluster>>,
    /// Where its brokers are.
    pub(super) brokers: Whereabouts,
    /// Whether Clusters of that namespace are operated at all.
    pub(super) operated: bool,
    /// An older Topic that declares the same topic, `namespace/name`.
    pub(super) rival: Option<String>,
}

impl Found {
    /// Whether the topic is this resource's to delete, and there is a cluster to delete it from.
    pub(super) fn may_delete(&self) -> bool {
        let staying = |cluster: &Arc<Cluster>| cluster.metadata.deletion_timestamp.is_none();
        self.rival.is_none() && self.cluster.as_ref().is_some_and(staying)
    }
}

/// Reads it from the stores.
pub(super) fn dereference(context: &Context, topic: &Topic) -> Found {
    let (namespace, name) = topic.cluster();
    let key = (namespace.to_owned(), name.to_owned());
    let full_name = topic.full_name();
    let age = |topic: &Topic| (topic.creation_timestamp().map(|time| time.0), topic.uid());
    let own = age(topic);
    let rival = context
        .all_topics()
        .into_iter()
        .filter(|other| other.cluster() == (namespace, name) && other.full_name() == full_name)
        .filter(|other| other.uid() != topic.uid() && other.metadata.deletion_timestamp.is_none())
        .find(|other| age(other) < own);
    Found {
        cluster: context.cluster(namespace, name),
        brokers: context.directory.get(&key),
        operated: context.settings.cluster_namespaces.contains(&key.0),
        rival: rival.map(|rival| {
            format!(
                "{}/{}",
                rival.namespace().unwrap_or_default(),
                rival.name_any()
            )
        }),
    }
}

/// Whether the Topic's namespace is being deleted.
pub(super) async fn is_terminating(context: &Context, topic: &Topic) -> bool {
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let name = topic.namespace().unwrap_or_default();
    match namespaces.get_opt(&name).await {
        Ok(Some(namespace)) => namespace.metadata.deletion_timestamp.is_some(),
        Ok(None) => true,
        Err(_) => false,
    }
}
