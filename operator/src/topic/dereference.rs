//! All the reading: what the Topic refers to. No judgement.

use headwater_crds::Topic;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;

use crate::context::{Context, Declared};
use crate::directory::Whereabouts;

/// What a Topic refers to.
pub(super) struct Found {
    /// The Cluster that it names.
    pub(super) cluster: Declared,
    /// Where its brokers are.
    pub(super) brokers: Whereabouts,
    /// An older Topic that declares the same topic, `namespace/name`.
    pub(super) rival: Option<String>,
}

impl Found {
    /// Whether nothing can be said yet: the operator has just started.
    pub(super) fn is_early(&self) -> bool {
        match self.cluster {
            Declared::NotListed => true,
            Declared::Is(_) => self.brokers == Whereabouts::NotLooked,
            Declared::NotOperated | Declared::Absent => false,
        }
    }

    /// Whether the topic is this resource's to delete, and there is a cluster to delete it from.
    pub(super) fn may_delete(&self) -> bool {
        match &self.cluster {
            Declared::Is(cluster) => {
                self.rival.is_none() && cluster.metadata.deletion_timestamp.is_none()
            }
            Declared::NotOperated | Declared::NotListed | Declared::Absent => false,
        }
    }
}

/// Reads it from the stores.
pub(super) fn dereference(context: &Context, topic: &Topic) -> Found {
    let (namespace, name) = topic.cluster();
    let all = context.all_topics();
    Found {
        cluster: context.cluster(namespace, name),
        brokers: context
            .directory
            .get(&(namespace.to_owned(), name.to_owned())),
        rival: rival(topic, all.iter().map(|other| &**other)),
    }
}

/// The older one of those that declare the same topic. Of two of the same second the smaller UID
/// counts as older.
pub(super) fn rival<'a>(topic: &Topic, all: impl Iterator<Item = &'a Topic>) -> Option<String> {
    let age = |topic: &Topic| (topic.creation_timestamp().map(|time| time.0), topic.uid());
    let own = age(topic);
    let mut others = all
        .filter(|other| other.names() == topic.names() && other.cluster() == topic.cluster())
        .filter(|other| other.uid() != topic.uid() && other.metadata.deletion_timestamp.is_none());
    let rival = others.find(|other| age(other) < own)?;
    let namespace = rival.namespace().unwrap_or_default();
    Some(format!("{namespace}/{}", rival.name_any()))
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
