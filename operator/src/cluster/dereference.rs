//! All the reading: what there is of the Cluster's children, disks and broker. No judgement.

use std::collections::BTreeSet;

use headwater_crds::{Cluster, internal_secret_name};
use headwater_proto::internal::v1::{BrokerState, GetBrokerResponse};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::build;
use crate::brokers::{BrokerEndpoint, BrokerError};
use crate::context::Context;

/// Port of the broker's internal listener.
pub(super) const INTERNAL_PORT: u16 = 7651;

/// What there is.
#[derive(Default)]
pub(super) struct Found {
    pub(super) secret: Option<InternalSecret>,
    /// Keys of the Secret with the tier's credentials that hold something; none: there is no such
    /// Secret, or the resource names none.
    pub(super) tier_keys: Option<BTreeSet<String>>,
    pub(super) stateful_set: Option<StatefulSet>,
    /// The broker's pod.
    pub(super) pod: Option<Pod>,
    /// The broker's claim.
    pub(super) claim: Option<PersistentVolumeClaim>,
    /// Where the broker listens for the operator, if it runs.
    pub(super) endpoint: Option<BrokerEndpoint>,
    /// What the broker says of itself, if it answers.
    pub(super) broker: Option<GetBrokerResponse>,
    /// Why it does not, if it runs and does not.
    pub(super) silence: Option<BrokerError>,
}

impl Found {
    /// Where a broker serves the public API on its internal listener.
    pub(super) fn endpoint_if_serving(&self) -> Option<BrokerEndpoint> {
        let serving = self.broker.as_ref()?.state() == BrokerState::Serving;
        serving.then(|| self.endpoint.clone()).flatten()
    }

    /// Whether the broker's disk is of another cluster than this one is known to be. No Topic may be
    /// carried out there.
    pub(super) fn is_another_cluster(&self) -> bool {
        let known = self.secret.as_ref().filter(|secret| secret.formed);
        let known = known.and_then(|secret| secret.cluster_id.as_ref());
        let found = self.broker.as_ref().map(|broker| &broker.cluster_id);
        matches!((known, found), (Some(known), Some(found)) if known != found)
    }
}

/// The Secret `<cluster>-internal`: which cluster this is, and what its brokers and its operator
/// show each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InternalSecret {
    /// 64 hexadecimal digits.
    pub(super) secret: String,
    /// UUID of the cluster, once it was chosen.
    pub(super) cluster_id: Option<String>,
    /// The version of the object that was read.
    pub(super) version: Option<String>,
    /// Whether the cluster was formed: from then on an empty disk is a lost one.
    pub(super) formed: bool,
}

impl InternalSecret {
    fn read(secret: &Secret) -> InternalSecret {
        let text = |key: &str| {
            let value = secret.data.as_ref()?.get(key)?;
            let text = String::from_utf8_lossy(&value.0).trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        InternalSecret {
            version: secret.resource_version(),
            secret: text("secret").unwrap_or_default(),
            cluster_id: text("clusterId"),
            formed: text("formed").as_deref() == Some("true"),
        }
    }

    /// Whether brokers would take it.
    pub(super) fn is_usable(&self) -> bool {
        self.secret.len() == 64 && self.secret.bytes().all(|digit| digit.is_ascii_hexdigit())
    }
}

/// Reads it from the API server and the broker.
pub(super) async fn dereference(context: &Context, cluster: &Cluster) -> kube::Result<Found> {
    let namespace = cluster.namespace().unwrap_or_default();
    let name = cluster.name_any();
    let client = &context.client;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let of_cluster = ListParams::default().labels(&build::selector(&name));
    let secret_name = internal_secret_name(&name);
    let (secret, tier_secret, stateful_set, pods, claims) = futures::try_join!(
        secrets.get_opt(&secret_name),
        tier_secret(&secrets, cluster),
        sets.get_opt(&name),
        pods.list(&of_cluster),
        claims.list(&of_cluster),
    )?;
    let secret = secret.as_ref().map(InternalSecret::read);
    let tier_keys = tier_secret.as_ref().map(keys_with_values);
    let pod = named(pods.items, &build::pod_name(&name));
    let claim = named(claims.items, &build::claim_name(&name));
    let endpoint = address(pod.as_ref())
        .zip(secret.as_ref())
        .map(|(address, secret)| {
            let secret = secret.secret.clone();
            BrokerEndpoint { address, secret }
        });
    let described = match &endpoint {
        Some(at) => Some(context.brokers.describe(at).await),
        None => None,
    };
    let (broker, silence) = match described {
        Some(Ok(broker)) => (Some(broker), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    Ok(Found {
        secret,
        tier_keys,
        stateful_set,
        pod,
        claim,
        endpoint,
        broker,
        silence,
    })
}

/// The Secret with the tier's credentials, if the resource names one. Fetched by its name; its
/// values are for the broker alone.
async fn tier_secret(secrets: &Api<Secret>, cluster: &Cluster) -> kube::Result<Option<Secret>> {
    let tier = cluster.spec.tier.as_ref();
    match tier.and_then(|tier| tier.credentials_secret.as_ref()) {
        Some(named) => secrets.get_opt(&named.name).await,
        None => Ok(None),
    }
}

fn keys_with_values(secret: &Secret) -> BTreeSet<String> {
    let data = secret.data.iter().flatten();
    let filled = data.filter(|(_, value)| !value.0.is_empty());
    filled.map(|(key, _)| key.clone()).collect()
}

fn named<K: kube::ResourceExt>(mut objects: Vec<K>, name: &str) -> Option<K> {
    let at = objects
        .iter()
        .position(|object| object.name_any() == name)?;
    Some(objects.swap_remove(at))
}

/// Where a running pod's broker listens for the operator.
fn address(pod: Option<&Pod>) -> Option<String> {
    let status = pod?.status.as_ref()?;
    let running = status.container_statuses.iter().flatten().any(|container| {
        container
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    });
    let ip = status.pod_ip.as_deref().filter(|_| running)?;
    Some(match ip.contains(':') {
        true => format!("[{ip}]:{INTERNAL_PORT}"),
        false => format!("{ip}:{INTERNAL_PORT}"),
    })
}
